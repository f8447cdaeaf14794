//! Claims: the right to touch a slot's payload.
//!
//! Only a successful transition of a slot's word makes a [`Claim`]. It cannot be cloned, and the
//! next transition uses it up. In between it is the exclusive right to the slot's payload. The
//! type's parameter names the role of its holder. If the holder's process dies, the claim is still
//! in the word, where the supervisor finds it.

use super::place::Place;
use super::word::Snapshot;

/// The role of a claim's holder.
pub(crate) trait Role {}
/// The commander, which writes a message.
#[derive(Debug)]
pub(crate) struct Commanding;
/// A worker, which fills arrays; after its death, the supervisor.
#[derive(Debug)]
pub(crate) struct Producing {
    pub(super) place: Place,
}
/// The application, which reads a batch.
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

    /// How many attempts at the message ended with a worker's death.
    pub(crate) fn attempts(&self) -> u32 {
        self.snapshot.attempts()
    }
}
