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
//!
//! A wake costs as much as many tiny messages. So a worker whose messages are quick *tends* the queue from
//! its claim until it sleeps, and the commander wakes nobody meanwhile:
//!
//! ```text
//!   worker      claim, tend ─► produce ─► look, claim, tend … look in vain ─► leave ─► sleep
//!   commander        queue: tended, no wake        queue: no wake        │      queue: wakes the
//!                                                                        │      last that went to sleep
//!                                          left over? wakes another ◄────┘
//! ```
//!
//! A tending worker looks again before it sleeps: it finds what was queued meanwhile, or passes it on. If
//! it dies, the supervisor forgets it and wakes all. If its next message is not quick after all, others are
//! woken by the next message that is queued 250 µs later, when the commander sleeps, or at the stream's end.

use super::event::Event;
use super::place::Place;
use super::slot_set::{SetWords, SlotSet};
use super::sync::{AtomicU32, AtomicU64, Mark, Ordering};
use crate::limits::TENDED_FOR;

const NUMBER_BITS: u32 = 32;
const SLOT_BITS: u32 = 16;

/// What is known of the queued messages. A worker that claims one writes almost all of it, so all of it is on
/// one cache line, for up to 256 slots.
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
    /// The mark of the worker that went to sleep last; 0 if it was woken since. It is the one whose caches
    /// still have what it needs.
    last_asleep: AtomicU32,
    /// When a worker whose messages are quick last claimed one, by `clock`; 0 after it has left.
    tended_nanos: AtomicU64,
    slots: SetWords,
}

impl Queued {
    #[cfg(all(test, cobuf_loom))]
    pub(super) fn new() -> Self {
        let starved = AtomicU32::new(0);
        // Loom orders sequentially consistent stores only, and a first value is none.
        starved.store(0, Ordering::SeqCst);
        let tended_nanos = AtomicU64::new(0);
        tended_nanos.store(0, Ordering::SeqCst);
        let [requeues, last_asleep] = [0; 2].map(AtomicU32::new);
        let (event, next, slots) = (Event::new(), AtomicU64::new(0), SetWords::new());
        Self { event, requeues, next, starved, last_asleep, tended_nanos, slots }
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

    /// Says that a worker whose messages are quick has claimed one now. It will look for the next one
    /// soon, and calls [`leave`](Self::leave) before it sleeps or ends.
    pub(crate) fn tend(self, now_nanos: u64) {
        self.queued.tended_nanos.store(now_nanos, Ordering::Relaxed);
    }

    /// Says that a worker which tended the queue looks no more for now, after a look in vain. What was
    /// queued since it tended may have woken nobody: if something is left, such as another crew's
    /// message, wakes another worker. Not for each look in vain: two workers that find nothing of theirs
    /// would wake each other all the time.
    pub(crate) fn leave(self) {
        self.forget_tender();
        self.wake_for_the_rest();
    }

    /// Notes that a worker goes to sleep, and returns its mark.
    pub(crate) fn note_sleeper(self, place: Place) -> Mark {
        let mark = Mark::new(1_u32.rotate_left(place.worker())).unwrap_or(Mark::MIN);
        self.queued.last_asleep.store(mark.get(), Ordering::Relaxed);
        mark
    }

    /// The mark of the worker that went to sleep last, to wake it.
    pub(super) fn last_sleeper(self) -> Option<Mark> {
        let mark = Mark::new(self.queued.last_asleep.load(Ordering::Relaxed));
        if mark.is_some() {
            self.queued.last_asleep.store(0, Ordering::Relaxed);
        }
        mark
    }

    /// Wakes a worker if a message is queued and one sleeps.
    pub(super) fn wake_for_the_rest(self) {
        self.queued.event.wake_one_if(|| self.set.has_more_than(0));
    }

    /// Whether a message that is queued now need not wake a worker: one is about to look that needs less
    /// time for it than the wake takes. If messages are left to it for long, others are woken after all,
    /// now and then. `woken_nanos` says when the last one was, by `clock`.
    pub(super) fn is_tended(self, now_nanos: u64, woken_nanos: u64) -> bool {
        let lately =
            |nanos: u64| cfg!(cobuf_loom) || now_nanos.abs_diff(nanos) < TENDED_FOR.as_nanos() as u64;
        let tended = self.queued.tended_nanos.load(Ordering::SeqCst);
        tended != 0 && lately(tended) && (lately(woken_nanos) || !self.set.has_more_than(1))
    }

    /// Forgets that a worker tends the queue: it leaves, or one has died.
    pub(super) fn forget_tender(self) {
        self.queued.tended_nanos.store(0, Ordering::SeqCst);
    }

    /// Counts that a message was queued again, so that no worker relies on an older expectation.
    pub(super) fn note_requeue(self) {
        self.queued.requeues.fetch_add(1, Ordering::AcqRel);
    }
}
