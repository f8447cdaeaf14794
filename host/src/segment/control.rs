//! What all processes share beside the slots: events to wait on, requests, and how far the stream has come.

use super::event::Event;
use super::failpoint::Armed;
use super::queue::Next;
use super::shares::Shares;
use super::sync::{AtomicU32, AtomicU64};

/// Once in the segment. Zero is its first value; numbers that may be unknown are stored plus one.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Control {
    /// A message was queued: workers wait for it.
    pub(crate) queued: Event,
    /// A slot became free: the commander waits for it.
    pub(crate) freed: Event,
    /// A batch became ready, or the stream ended: consumers wait for it.
    pub(crate) ready: Event,
    /// Not 0 once the host wants to stop.
    pub(crate) stop: AtomicU32,
    /// Not 0 where the commander shall end before its next message.
    pub(crate) relieve_commander: AtomicU32,
    /// How often messages may have been queued again, see `queue`.
    pub(super) requeues: AtomicU32,
    /// Which messages the workers of each crew may take.
    pub(crate) shares: Shares,
    /// Where workers look for the oldest message.
    pub(super) next: Next,
    /// The number of the next message to be queued: all before are queued, or were delivered by an earlier run.
    pub(super) commanded: AtomicU64,
    /// The last message that a consumer waits for: what comes after is not worth a wake. All, where they are taken as they come.
    pub(super) wanted: AtomicU64,
    /// The number of messages of the whole stream plus one, once it is over; 0 before.
    pub(super) end: AtomicU64,
    /// The number of messages that the commander expects plus one; 0 where it is not known.
    pub(super) total: AtomicU64,
    /// How long the commander waited for a free slot.
    pub(crate) commander_wait_nanos: AtomicU64,
    /// The failpoint that a test has armed.
    pub(crate) armed: Armed,
}

#[cfg(all(test, cobuf_loom))]
impl Control {
    pub(crate) fn new() -> Self {
        Self {
            queued: Event::new(),
            freed: Event::new(),
            ready: Event::new(),
            stop: AtomicU32::new(0),
            relieve_commander: AtomicU32::new(0),
            requeues: AtomicU32::new(0),
            shares: Shares::new(),
            next: Next(AtomicU64::new(0)),
            commanded: AtomicU64::new(0),
            wanted: AtomicU64::new(0),
            end: AtomicU64::new(0),
            total: AtomicU64::new(0),
            commander_wait_nanos: AtomicU64::new(0),
            armed: Armed::new(),
        }
    }
}
