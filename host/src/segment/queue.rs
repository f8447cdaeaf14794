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

use super::slot_set::SlotSet;
use super::sync::{AtomicU32, AtomicU64, Ordering};

const NUMBER_BITS: u32 = 32;
const SLOT_BITS: u32 = 16;

/// The expectation, in one word. On a cache line of its own.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Next(pub(super) AtomicU64);

/// The queue in shared memory. The commander adds, workers remove.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Queue<'a> {
    pub(super) set: SlotSet<'a>,
    pub(super) next: &'a Next,
    /// How often a message may have been queued again.
    pub(super) requeues: &'a AtomicU32,
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

impl<'a> Queue<'a> {
    /// The expectation at this moment.
    pub(super) fn expected(self) -> Expected {
        let requeues = self.requeues.load(Ordering::Acquire) as u16;
        let next = self.next.0.load(Ordering::Relaxed);
        let holds = (next >> (NUMBER_BITS + SLOT_BITS)) as u16 == requeues;
        let slot = usize::from((next >> NUMBER_BITS) as u16);
        Expected { requeues, slot, number: holds.then_some(next as u32) }
    }

    /// Expects the message `next`, after the oldest one, before it, was found in this slot.
    pub(super) fn expect_after(self, expected: Expected, slot: usize, next: u64) {
        let requeues = u64::from(expected.requeues) << (NUMBER_BITS + SLOT_BITS);
        let slot = u64::from((slot as u16).wrapping_add(1)) << NUMBER_BITS;
        let number = u64::from(next as u32);
        self.next.0.store(requeues | slot | number, Ordering::Relaxed);
    }

    /// Counts that a message was queued again, so that no worker relies on an older expectation.
    pub(super) fn note_requeue(self) {
        self.requeues.fetch_add(1, Ordering::AcqRel);
    }
}
