//! The words that all processes share beside the slots: events to wait on, requests, and the
//! stream's progress.

use super::event::Event;
use super::failpoint::Armed;
use super::queue::Next;
use super::shares::Shares;
use super::sync::{AtomicU32, AtomicU64};

/// There is one in the segment. It begins as zeroes, so numbers that may be unknown are stored plus
/// one.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Control {
    /// A message was queued: workers wait for this.
    pub(crate) queued: Event,
    /// A slot became free: the commander waits for this, or the application's threads in its place.
    pub(crate) freed: Event,
    /// A batch became ready, or the stream ended: consumers wait for this.
    pub(crate) ready: Event,
    /// Not 0 if the host is stopping.
    pub(crate) stop: AtomicU32,
    /// Not 0 if the commander is to exit before its next message.
    pub(crate) relieve_commander: AtomicU32,
    /// How often a message may have been queued again, see `queue`.
    pub(super) requeues: AtomicU32,
    /// Which messages the workers of each crew may claim.
    pub(crate) shares: Shares,
    /// Where workers expect the oldest message.
    pub(super) next: Next,
    /// The number of the next message to be queued. All messages before it were queued, or were
    /// delivered by an earlier run.
    pub(super) commanded: AtomicU64,
    /// The last message that a consumer waits for; later ones are not worth a wake. `u64::MAX` in
    /// any order.
    pub(super) wanted: AtomicU64,
    /// The number of messages of the whole stream plus one; 0 until the stream ends.
    pub(super) end: AtomicU64,
    /// The number of messages that the commander expects plus one; 0 if it is unknown.
    pub(super) total: AtomicU64,
    /// How long the commander waited for a free slot, or the application's threads in its place.
    pub(crate) commander_wait_nanos: AtomicU64,
    /// Since when the stream has its end, by `clock`; 0 before. For figures only: models do not play it.
    pub(super) ended_nanos: std::sync::atomic::AtomicU64,
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
            ended_nanos: std::sync::atomic::AtomicU64::new(0),
            armed: Armed::new(),
        }
    }
}
