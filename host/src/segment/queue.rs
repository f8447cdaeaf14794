//! The queued messages: which slots hold them, and where the oldest one is expected.
//!
//! ```text
//!   slot         0    1    2    3    4    5    6    7
//!   message           98        95        97        96      95 was claimed last
//!   set          .    x    .    .    .    x    .    x       x: a message is queued here
//!                               └─ next: message 96, in the first slot of the set after slot 3
//! ```
//!
//! The commander fills free slots in ascending order, so the oldest message is usually in the next
//! slot of the set. If it is not, a worker reads the numbers of all messages in the set and claims
//! the least.
//!
//! Set and expectation are hints: the slot's word decides.
//!
//! - The set has every queued slot, because a slot is added before its word says "queued" and
//!   removed after a worker has claimed it. Its size is the length of the queue, except for slots
//!   that the commander is about to queue or that a worker has just claimed. A death leaves no
//!   other bits behind: the supervisor adds what it queues again and removes what it gives up.
//! - The expectation says that no older message is queued. Only a message that is queued again
//!   makes it wrong. `requeues` counts these messages, and workers ignore an expectation that was
//!   made at an older count.

use super::event::Event;
use super::slot_set::{SetWords, SlotSet};
use super::sync::{AtomicU32, AtomicU64, Ordering};

const NUMBER_BITS: u32 = 32;
const SLOT_BITS: u32 = 16;

/// What is known of the queued messages. A worker that claims one writes almost all of it, so that it lies
/// together: up to 320 slots, on one cache line.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Queued {
    /// A message was queued: workers wait for this.
    pub(crate) event: Event,
    /// How often a message may have been queued again.
    requeues: AtomicU32,
    /// The expectation, in one word.
    pub(super) next: AtomicU64,
    /// Not 0 while the commander waits for a free slot, or a thread of the application in its place.
    /// Workers look here first: consumers write the line of its event.
    starved: AtomicU32,
    slots: SetWords,
}

impl Queued {
    #[cfg(all(test, cobuf_loom))]
    pub(super) fn new() -> Self {
        let starved = AtomicU32::new(0);
        // Loom orders sequentially consistent stores only, and a first value is none.
        starved.store(0, Ordering::SeqCst);
        let (requeues, next) = (AtomicU32::new(0), AtomicU64::new(0));
        Self { event: Event::new(), requeues, next, starved, slots: SetWords::new() }
    }

    /// The queue of a run with this many slots.
    pub(super) fn of(&self, slots: usize) -> Queue<'_> {
        Queue { set: self.slots.of(slots), queued: self }
    }
}

/// The queue in shared memory. The commander adds, workers remove.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Queue<'a> {
    pub(super) set: SlotSet<'a>,
    queued: &'a Queued,
}

/// Where a worker looks for the oldest message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    /// The low bits of `requeues`, from before the look.
    requeues: u16,
    /// The first slot to look at.
    pub(super) slot: usize,
    /// The low bits of the least number that a queued message can have, if it is known.
    number: Option<u32>,
}

impl Expected {
    /// Whether a queued message with this number is the oldest.
    pub(super) fn is_oldest(self, sequence: u64) -> bool {
        self.number == Some(sequence as u32)
    }
}

impl Queue<'_> {
    /// The expectation at this moment.
    pub(super) fn expected(self) -> Expected {
        let requeues = self.queued.requeues.load(Ordering::Acquire) as u16;
        let next = self.queued.next.load(Ordering::Relaxed);
        let holds = (next >> (NUMBER_BITS + SLOT_BITS)) as u16 == requeues;
        let slot = usize::from((next >> NUMBER_BITS) as u16);
        Expected { requeues, slot, number: holds.then_some(next as u32) }
    }

    /// Expects the message `next`, after the oldest one, before it, was found in this slot.
    pub(super) fn expect_after(self, expected: Expected, slot: usize, next: u64) {
        let requeues = u64::from(expected.requeues) << (NUMBER_BITS + SLOT_BITS);
        let slot = u64::from((slot as u16).wrapping_add(1)) << NUMBER_BITS;
        let number = u64::from(next as u32);
        self.queued.next.store(requeues | slot | number, Ordering::Relaxed);
    }

    /// Whether a process waits for a free slot. Sequentially consistent with the removal from the set
    /// before it: either the worker sees that it waits, or it sees the shorter queue.
    pub(super) fn is_starved(self) -> bool {
        self.queued.starved.load(Ordering::SeqCst) != 0
    }

    /// Says whether a process waits for a free slot. One process at a time does.
    pub(super) fn set_starved(self, starved: bool) {
        self.queued.starved.store(starved.into(), Ordering::SeqCst);
    }

    /// Counts that a message was queued again, so that no worker relies on an older expectation.
    pub(super) fn note_requeue(self) {
        self.queued.requeues.fetch_add(1, Ordering::AcqRel);
    }
}
