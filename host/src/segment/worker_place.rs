//! A worker's place in the segment: its counters for the supervisor, and the supervisor's request
//! that it exits.

use super::sync::{AtomicU32, AtomicU64, Ordering};

/// One worker's place in the segment, kept over its restarts. On a cache line of its own.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct WorkerPlace {
    /// Messages that it has finished.
    pub(crate) produced: AtomicU64,
    /// Time that it waited for messages.
    pub(crate) wait_nanos: AtomicU64,
    /// Time in the producer.
    pub(crate) busy_nanos: AtomicU64,
    /// When the worker last looked for a message, by `clock`: it has held its slot for no longer
    /// than since then. `u64::MAX` while it does something that has no deadline.
    pub(crate) looked_nanos: AtomicU64,
    /// The least number above all messages that the worker has noted, see `shares`.
    pub(crate) noted: AtomicU64,
    /// Whether the worker is to exit, see [`Retire`].
    retire: AtomicU32,
}

/// Whether, and when, a worker is to exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retire {
    /// Never.
    No = 0,
    /// After the message that it holds.
    Next = 1,
    /// When nothing is left that its crew may claim.
    Drained = 2,
}

impl WorkerPlace {
    pub(crate) fn retire(&self) -> Retire {
        match self.retire.load(Ordering::SeqCst) {
            0 => Retire::No,
            2 => Retire::Drained,
            _ => Retire::Next,
        }
    }

    pub(crate) fn set_retire(&self, retire: Retire) {
        self.retire.store(retire as u32, Ordering::SeqCst);
    }

    /// Has a worker that has not looked for a message yet count as if it had looked now.
    pub(crate) fn watch_from(&self, nanos: u64) {
        let order = Ordering::Relaxed;
        let _ = self.looked_nanos.compare_exchange(u64::MAX, nanos, order, order);
    }
}
