//! Loom's atomics, at each access to which the process that makes it may be killed. In models only.
//!
//! ```text
//!   is_killed_at(3, || publish(…))    access 0 ─► 1 ─► 2 ─► killed: what it wrote stays, what it held and knew is lost
//! ```
//!
//! Who is killed unwinds out of the shipped code. Nothing there cleans up behind itself, a claim neither, so that the segment is left as
//! SIGKILL leaves it.

use std::cell::Cell;
use std::ops::Deref;
use std::panic::resume_unwind;
#[cfg(test)]
use std::panic::{AssertUnwindSafe, catch_unwind};

use loom::sync::atomic;

pub(crate) type AtomicU32 = Mortal<atomic::AtomicU32>;
pub(crate) type AtomicU64 = Mortal<atomic::AtomicU64>;

loom::thread_local! {
    /// How many accesses this process still makes, where it is to be killed.
    static LEFT: Cell<Option<usize>> = Cell::new(None);
}

/// What a killed process unwinds with.
struct Killed;

/// An atomic of loom's. To reach it is to access it.
#[derive(Debug, Default)]
pub(crate) struct Mortal<A>(A);

#[cfg(test)]
impl Mortal<atomic::AtomicU32> {
    pub(crate) fn new(value: u32) -> Self {
        Self(atomic::AtomicU32::new(value))
    }
}

#[cfg(test)]
impl Mortal<atomic::AtomicU64> {
    pub(crate) fn new(value: u64) -> Self {
        Self(atomic::AtomicU64::new(value))
    }
}

impl<A> Mortal<A> {
    /// The kernel's accesses, at which nobody is killed.
    pub(super) fn immortal(&self) -> &A {
        &self.0
    }
}

impl<A> Deref for Mortal<A> {
    type Target = A;

    fn deref(&self) -> &A {
        let left = LEFT.with(Cell::get);
        if left == Some(0) {
            resume_unwind(Box::new(Killed));
        }
        LEFT.with(|cell| cell.set(left.map(|left| left - 1)));
        &self.0
    }
}

/// Plays a process that is killed before its access of this number, from 0; says whether it came so far.
#[cfg(test)]
pub(super) fn is_killed_at(access: usize, process: impl FnOnce()) -> bool {
    LEFT.with(|left| left.set(Some(access)));
    let ended = catch_unwind(AssertUnwindSafe(process));
    LEFT.with(|left| left.set(None));
    match ended {
        Ok(()) => false,
        Err(cause) if cause.is::<Killed>() => true,
        Err(cause) => resume_unwind(cause),
    }
}
