//! Claims: who may touch which payload.
//!
//! A [`Claim`] is made by a successful transition of a slot's word only, is not cloned, and is used up by the next
//! transition; it stands for the exclusive right to the slot's payload in between. The type's parameter says whose
//! it is. A claim that is lost with its process stays in the word, where the supervisor finds it.

use super::place::Place;
use super::word::Snapshot;

/// Whose claim it is.
pub(crate) trait Role {}
/// The commander's, writing a message.
#[derive(Debug)]
pub(crate) struct Commanding;
/// A worker's, filling arrays; the supervisor's after the worker's death.
#[derive(Debug)]
pub(crate) struct Producing {
    pub(super) place: Place,
}
/// The application's, reading a batch.
#[derive(Debug)]
pub(crate) struct Reading;
impl Role for Commanding {}
impl Role for Producing {}
impl Role for Reading {}

/// The exclusive right to one slot's payload.
#[derive(Debug)]
#[must_use = "a claim that is dropped keeps its slot for ever"]
pub(crate) struct Claim<R: Role> {
    pub(super) index: usize,
    pub(super) snapshot: Snapshot,
    pub(super) role: R,
}

impl<R: Role> Claim<R> {
    /// The slot's number.
    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// How many attempts at the message ended in a worker's death.
    pub(crate) fn attempts(&self) -> u32 {
        self.snapshot.attempts()
    }
}
