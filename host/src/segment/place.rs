//! A worker's place in the segment: its number and its crew.
//!
//! Two crews live side by side while the producer is swapped, so that there are two workers with
//! each number. Places alternate between the crews: worker 0 of crew 0, worker 0 of crew 1, worker
//! 1 of crew 0, and so on.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How many crews there can be at a time: one, and a second while the producer's code is swapped.
pub(crate) const CREWS: usize = 2;

/// A worker's place. A worker keeps its place over its restarts, and a slot's word names its owner
/// by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Place(u32);

impl Place {
    /// The place of worker 0 of crew 0.
    #[cfg(any(test, feature = "bench-parts"))]
    pub(crate) const FIRST: Self = Self::new(0, 0);

    /// The place of the worker with this number in its crew.
    pub(crate) const fn new(crew: usize, worker: usize) -> Self {
        Self((worker * CREWS + crew) as u32)
    }

    /// The place at this index, as a slot's word has it.
    pub(crate) fn at(index: usize) -> Self {
        Self(index as u32)
    }

    /// Its index among the places of all crews.
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }

    /// The worker's number in its crew, from 0.
    pub(crate) fn worker(self) -> u32 {
        self.0 / CREWS as u32
    }

    /// The worker's crew.
    pub(crate) fn crew(self) -> usize {
        self.index() % CREWS
    }
}

/// `worker 3`: users do not see crews.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {}", self.worker())
    }
}
