//! Loom's atomics that can kill the modelled process before any access. For loom's tests only.
//!
//! ```text
//!   is_killed_at(3, || publish(…))   access 0 ─► 1 ─► 2 ─► killed: stores stay, claims are lost
//! ```
//!
//! A killed process unwinds out of the shipped code. Nothing in that code has a destructor that
//! touches the segment, not even a claim. So the segment is left as SIGKILL leaves it.

use std::cell::Cell;
use std::ops::Deref;
use std::panic::resume_unwind;
#[cfg(test)]
use std::panic::{AssertUnwindSafe, catch_unwind};

use loom::sync::atomic;

pub(crate) type AtomicU32 = Mortal<atomic::AtomicU32>;
pub(crate) type AtomicU64 = Mortal<atomic::AtomicU64>;

loom::thread_local! {
    /// How many more accesses this process makes, if it is to be killed.
    static LEFT: Cell<Option<usize>> = Cell::new(None);
}

/// The payload of a killed process's unwinding.
struct Killed;

/// One of loom's atomics. Each dereference counts as an access.
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
    /// For the kernel's accesses, at which no process is killed.
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

/// Runs a process that is killed before its access of this number, counted from 0. Returns whether
/// it was killed.
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
