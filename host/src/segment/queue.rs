//! The queued messages: which slots hold them, and where the oldest one is expected.
//!
//! ```text
//!   slot         0    1    2    3    4    5    6    7
//!   message           98        95        97        96      95 was claimed last
//!   set          .    x    .    .    .    x    .    x       x: a message is queued here
//!                               └─ next: message 96, in the first slot of the set behind slot 3
//! ```
//!
//! The commander fills free slots in ascending order, so the oldest message is mostly in the next slot of the set. If it is not, a
//! worker reads the numbers of all messages in the set and takes the least.
//!
//! Both are hints: the slot's word decides. The set holds every queued slot, because a slot is added before its word says "queued" and
//! removed after a worker has claimed it. So no death loses a queued message, and the set is as large as the queue, except for slots that
//! the commander is about to queue or that a worker has just claimed.
//!
//! What is expected next becomes wrong if a message is queued again. `requeues` counts that, and what is expected names the count at
//! which it was found out.

use super::slot_set::SlotSet;
use super::sync::{AtomicU32, AtomicU64, Ordering};

const NUMBER_BITS: u32 = 32;
const SLOT_BITS: u32 = 16;

/// Where the oldest message is expected. On a cache line of its own.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Next(pub(super) AtomicU64);

/// The queue in shared memory. The commander adds, workers remove.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Queue<'a> {
    pub(super) set: SlotSet<'a>,
    pub(super) next: &'a Next,
    /// How often messages may have been queued again.
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
    /// What is expected.
    pub(super) fn expected(self) -> Expected {
        let requeues = self.requeues.load(Ordering::Acquire) as u16;
        let next = self.next.0.load(Ordering::Relaxed);
        let holds = (next >> (NUMBER_BITS + SLOT_BITS)) as u16 == requeues;
        let slot = usize::from((next >> NUMBER_BITS) as u16);
        Expected { requeues, slot, number: holds.then_some(next as u32) }
    }

    /// Notes that the message with this number was the oldest, and was in this slot.
    pub(super) fn expect_after(self, expected: Expected, slot: usize, sequence: u64) {
        let requeues = u64::from(expected.requeues) << (NUMBER_BITS + SLOT_BITS);
        let slot = u64::from((slot as u16).wrapping_add(1)) << NUMBER_BITS;
        let number = u64::from((sequence as u32).wrapping_add(1));
        self.next.0.store(requeues | slot | number, Ordering::Relaxed);
    }

    /// Says that a message was queued again: what workers expect may be wrong.
    pub(super) fn note_requeue(self) {
        self.requeues.fetch_add(1, Ordering::AcqRel);
    }
}
