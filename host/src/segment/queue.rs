//! The queue of messages: slots in the order in which the commander queued them, so that a worker finds the oldest at once.
//!
//! ```text
//!   ticket     … 41    42    43    44 │ 45 …
//!   slot          7     2     0     5 │            a ring of as many entries as there are slots, or a few more
//!   taken        yes   yes   no    no
//!               head ──────►┘         └─ the commander writes the next entry here
//! ```
//!
//! A hint: the slot's word decides. An entry is written once the word says "queued", and a worker goes by each whose word does not.
//! What no entry leads to is found by a look at all slots: messages that were queued again after a death, the last one of a
//! commander that died before it entered it, those before a cut, which the new crew goes by (`shares`), and those whose entries were written
//! over before anybody passed them. `requeues` says that there may be some; a worker that hears of it looks at all slots until those are gone
//! that were commanded by then.

use super::sync::{AtomicU64, Ordering};

const SLOT_BITS: u32 = 16;

/// How many entries a queue for so many slots has.
pub(super) const fn entries(slots: usize) -> usize {
    slots.next_power_of_two()
}

/// The number of the next message that may be queued. On a cache line of its own.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Head(pub(super) AtomicU64);

/// The ticket of the commander's next entry. On a cache line of its own.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Tail(pub(super) AtomicU64);

/// The ring in shared memory. The commander writes, workers read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Queue<'a> {
    pub(super) head: &'a Head,
    pub(super) tail: &'a Tail,
    /// The ticket plus one and the slot; 0 where there never was one. As many as a power of two.
    pub(super) entries: &'a [AtomicU64],
}

impl Queue<'_> {
    /// Enters a slot whose message was queued. Only the commander does.
    pub(super) fn enter(self, slot: usize) {
        let ticket = self.tail.0.load(Ordering::Relaxed);
        self.entry(ticket).store((ticket.wrapping_add(1)) << SLOT_BITS | slot as u64, Ordering::Release);
        self.tail.0.store(ticket.wrapping_add(1), Ordering::Relaxed);
    }

    /// Whether the next entry takes the place of one that nobody has passed. As long as messages are taken in their order there is room
    /// for all. But a worker that looks at all slots may take a later one first, and so may one that an old entry leads to a later use of
    /// its slot; and where the application wants them as they come, it may have given that one's slot back.
    pub(super) fn is_lapped(self) -> bool {
        self.backlog() >= self.entries.len() as u64
    }

    /// Makes good what a commander left half done that died: an entry, and not yet the tail. The next one would write over it. Once it
    /// is dead.
    pub(super) fn mend(self) {
        let entered = self.entries.iter().map(|entry| entry.load(Ordering::Relaxed) >> SLOT_BITS).max();
        self.tail.0.fetch_max(entered.unwrap_or(0), Ordering::Relaxed);
    }

    /// Moves the head over entries that lead to no queued message: taken by a worker that died before it passed them, or before
    /// they were entered.
    pub(super) fn settle(self, is_queued: impl Fn(usize) -> bool) {
        let stale = self.iter().take_while(|&(_, slot)| !is_queued(slot)).last();
        stale.into_iter().for_each(|(ticket, _)| self.pass(ticket));
    }

    /// About how many messages are queued.
    pub(super) fn backlog(self) -> u64 {
        let (head, tail) = (self.head.0.load(Ordering::Relaxed), self.tail.0.load(Ordering::Relaxed));
        tail.saturating_sub(head)
    }

    /// The slots that may hold queued messages, oldest first, with their tickets.
    pub(super) fn iter(self) -> impl Iterator<Item = (u64, usize)> {
        let size = self.entries.len() as u64;
        let mut ticket = self.head.0.load(Ordering::Relaxed);
        std::iter::from_fn(move || {
            loop {
                let entry = self.entry(ticket).load(Ordering::Acquire);
                let (next, slot) = (entry >> SLOT_BITS, entry & ((1 << SLOT_BITS) - 1));
                if next <= ticket {
                    return None;
                }
                let found = next - 1;
                if found == ticket {
                    ticket += 1;
                    return Some((found, slot as usize));
                }
                // Written over by a later round: so is all that is a round older than the entry.
                ticket = (ticket + 1).max(next.saturating_sub(size));
            }
        })
    }

    /// Notes that the messages up to this ticket are not to be looked for any more.
    pub(super) fn pass(self, ticket: u64) {
        self.head.0.fetch_max(ticket + 1, Ordering::Relaxed);
    }

    fn entry(&self, ticket: u64) -> &AtomicU64 {
        &self.entries[ticket as usize & (self.entries.len() - 1)]
    }
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;

    struct Ring {
        head: Head,
        tail: Tail,
        entries: Vec<AtomicU64>,
    }

    impl Ring {
        fn new(slots: usize) -> Self {
            let entries = (0..entries(slots)).map(|_| AtomicU64::new(0)).collect();
            Self { head: Head(AtomicU64::new(0)), tail: Tail(AtomicU64::new(0)), entries }
        }

        fn queue(&self) -> Queue<'_> {
            Queue { head: &self.head, tail: &self.tail, entries: &self.entries }
        }

        fn found(&self) -> Vec<(u64, usize)> {
            self.queue().iter().collect()
        }
    }

    #[test]
    fn are_slots_found_in_the_order_in_which_they_were_entered() {
        let ring = Ring::new(3);
        assert_eq!(ring.found(), []);
        [2, 0, 1].into_iter().for_each(|slot| ring.queue().enter(slot));
        assert_eq!(ring.found(), [(0, 2), (1, 0), (2, 1)]);
        ring.queue().pass(1);
        assert_eq!((ring.found(), ring.queue().backlog()), (vec![(2, 1)], 1));
        // Who comes late does not go back.
        ring.queue().pass(0);
        assert_eq!(ring.found(), [(2, 1)]);
    }

    #[test]
    fn is_a_head_that_was_left_rounds_behind_caught_up_with() {
        let ring = Ring::new(4);
        (0..1_000_003).for_each(|ticket| ring.queue().enter(ticket % 4));
        assert_eq!(ring.found(), [(999_999, 3), (1_000_000, 0), (1_000_001, 1), (1_000_002, 2)]);
    }

    #[test]
    fn are_words_that_were_written_over_looked_at_for_a_bounded_time() {
        for word in [0, 1, u64::MAX - 1, u64::MAX, 1 << 63, 0xffff] {
            for at in 0..6 {
                let ring = Ring::new(4);
                (0..7).for_each(|ticket| ring.queue().enter(ticket % 4));
                let words = [&ring.head.0, &ring.tail.0];
                words.into_iter().chain(&ring.entries).nth(at).unwrap().store(word, Ordering::Relaxed);
                assert!(ring.queue().iter().count() <= 4);
                ring.queue().enter(0);
                ring.queue().pass(word.saturating_sub(1));
                ring.queue().backlog();
            }
        }
    }
}
