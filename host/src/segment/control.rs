//! The words that all processes share beside the slots: events to wait on, requests, and the
//! stream's progress.
//!
//! ```text
//!   cache line   written by                                   has
//!   queued       the commander, then a worker                 event │ requeues │ expectation │ set of slots
//!   ready        a worker, then a consumer                    event │ wanted   │ set of slots
//!   free         a consumer, then the commander               event │ set of slots
//!   (seldom)     at a stop, a swap and the stream's end       requests │ shares │ end …
//!   progress     the commander                                commanded …
//! ```
//!
//! A message passes from core to core by cache lines, and each move of a line takes as long as
//! several hundred instructions. So what a process writes in one step lies on one line, and what is read
//! often and written seldom lies on a line of its own. `cache_lines` counts the moves.

use super::event::Event;
use super::failpoint::Armed;
use super::queue::Queued;
use super::shares::Shares;
use super::slot_set::SetWords;
use super::sync::{AtomicU32, AtomicU64};

/// There is one in the segment. It begins as zeroes, so numbers that may be unknown are stored plus
/// one.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) queued: Queued,
    pub(crate) ready: Ready,
    pub(crate) free: Free,
    /// Not 0 if the host is stopping.
    pub(crate) stop: AtomicU32,
    /// Not 0 if the commander is to exit before its next message.
    pub(crate) relieve_commander: AtomicU32,
    /// Which messages the workers of each crew may claim.
    pub(crate) shares: Shares,
    /// The number of messages of the whole stream plus one; 0 until the stream ends.
    pub(super) end: AtomicU64,
    /// The number of messages that the commander expects plus one; 0 if it is unknown.
    pub(super) total: AtomicU64,
    /// Since when the stream has its end, by `clock`; 0 before. For figures only: models do not play it.
    pub(super) ended_nanos: std::sync::atomic::AtomicU64,
    /// The failpoint that a test has armed.
    pub(crate) armed: Armed,
    pub(crate) progress: Progress,
}

/// The slots that may be ready, and for which of them consumers wait.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Ready {
    /// A batch became ready, or the stream ended: consumers wait for this.
    pub(crate) event: Event,
    /// The last message that a consumer waits for; later ones are not worth a wake. `u64::MAX` in
    /// any order.
    pub(super) wanted: AtomicU64,
    pub(super) slots: SetWords,
}

/// The slots that may be free.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Free {
    /// A slot became free: the commander waits for this, or the application's threads in its place.
    pub(crate) event: Event,
    pub(super) slots: SetWords,
}

/// What the commander has done, or the application's threads in its place.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Progress {
    /// The number of the next message to be queued. All messages before it were queued, or were
    /// delivered by an earlier run.
    pub(super) commanded: AtomicU64,
    /// How long they waited for a free slot.
    pub(crate) wait_nanos: AtomicU64,
    /// When they last woke a worker, by `clock`.
    pub(super) woken_nanos: AtomicU64,
}

#[cfg(all(test, cobuf_loom))]
impl Control {
    pub(crate) fn new() -> Self {
        Self {
            queued: Queued::new(),
            ready: Ready { event: Event::new(), wanted: AtomicU64::new(0), slots: SetWords::new() },
            free: Free { event: Event::new(), slots: SetWords::new() },
            stop: AtomicU32::new(0),
            relieve_commander: AtomicU32::new(0),
            shares: Shares::new(),
            end: AtomicU64::new(0),
            total: AtomicU64::new(0),
            ended_nanos: std::sync::atomic::AtomicU64::new(0),
            armed: Armed::new(),
            progress: Progress {
                commanded: AtomicU64::new(0),
                wait_nanos: AtomicU64::new(0),
                woken_nanos: AtomicU64::new(0),
            },
        }
    }
}
