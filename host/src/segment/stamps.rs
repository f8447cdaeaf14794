//! The moments at which a slot's message passed from one process to the next, for the trace of a
//! run.
//!
//! ```text
//!   commander: begun ─► queued        worker: claimed ─► ready        the host notes the rest itself
//! ```
//!
//! They lie in the segment only if a trace was asked for, so a run without one does no more than
//! without this module. The holder of the claim on the slot writes them; the slot's word publishes
//! them. A plugin may have written over them: they are for pictures only, and their reader puts
//! them in order.

use super::clock;
use super::sync::{AtomicU64, Ordering};

/// One slot's stamps, by `clock::precise_nanos`; 0 if the message has not come so far. On a cache
/// line of its own.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Stamps {
    begun: AtomicU64,
    queued: AtomicU64,
    claimed: AtomicU64,
    ready: AtomicU64,
}

/// Copies of a slot's stamps. They may be any numbers.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamped {
    /// When the commander began with the message.
    pub(crate) begun: u64,
    /// When the message was queued.
    pub(crate) queued: u64,
    /// When a worker began with the latest attempt.
    pub(crate) claimed: u64,
    /// When the producer had filled the batch, or had failed.
    pub(crate) ready: u64,
}

impl Stamps {
    /// The commander begins with a message for this slot.
    pub(crate) fn note_begun(&self) {
        self.begun.store(clock::precise_nanos(), Ordering::Relaxed);
    }

    /// The message is about to be queued.
    pub(crate) fn note_queued(&self) {
        self.queued.store(clock::precise_nanos(), Ordering::Relaxed);
        // Those of the slot's message before.
        self.claimed.store(0, Ordering::Relaxed);
        self.ready.store(0, Ordering::Relaxed);
    }

    /// A worker begins with the message.
    pub(crate) fn note_claimed(&self) {
        self.claimed.store(clock::precise_nanos(), Ordering::Relaxed);
    }

    /// The producer took so long. So the trace and the worker's counters say the same.
    pub(crate) fn note_ready(&self, busy_nanos: u64) {
        let ready = self.claimed.load(Ordering::Relaxed).saturating_add(busy_nanos);
        self.ready.store(ready, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Stamped {
        let load = |stamp: &AtomicU64| stamp.load(Ordering::Relaxed);
        Stamped {
            begun: load(&self.begun),
            queued: load(&self.queued),
            claimed: load(&self.claimed),
            ready: load(&self.ready),
        }
    }
}
