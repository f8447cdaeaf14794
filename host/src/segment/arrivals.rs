//! Arrivals: the ready slots that the application has seen and not yet claimed, oldest first.
//!
//! ```text
//!   ready set  ──► collected ──► 12  14  15       in order: 12, if it is next; in any order: 12
//! ```
//!
//! All consumers of a host share one, behind a lock. An entry is a hint, like the bit that it comes
//! from: the slot's word and number decide whether the batch is still there.

use std::collections::VecDeque;

use super::claim::{Claim, Reading};
use super::clock;
use super::sync::{Ordering, will_write};
use super::table::Table;
use super::word::{SlotState, Snapshot};

/// Which ready batch a consumer wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Only the batch with this number.
    Sequence(u64),
    /// The oldest ready batch.
    Any,
}

/// Messages' numbers and their slots, in ascending order of the numbers. Batches become ready nearly
/// in this order, so that a new entry's place is at or near the end.
#[derive(Debug)]
pub(crate) struct Arrivals(VecDeque<(u64, usize)>);

impl Arrivals {
    /// Has room for this many slots.
    pub(crate) fn new(slots: usize) -> Self {
        Self(VecDeque::with_capacity(slots))
    }

    /// Takes a ready batch.
    #[inline]
    pub(crate) fn take(&mut self, table: Table<'_>, wanted: Wanted) -> Option<Claim<Reading>> {
        loop {
            let (index, seen) = self.find(table, wanted)?;
            self.0.pop_front();
            let slot = &table.slots[index];
            if let Some(snapshot) = slot.word.transition_to_reading(seen) {
                slot.since_nanos.store(clock::now_nanos(), Ordering::Relaxed);
                return Some(Claim { index, snapshot, role: Reading });
            }
        }
    }

    /// Whether there is a batch to take.
    pub(crate) fn has(&mut self, table: Table<'_>, wanted: Wanted) -> bool {
        self.find(table, wanted).is_some()
    }

    /// The slot of the batch that is wanted, and its word; its entry is then the first one.
    fn find(&mut self, table: Table<'_>, wanted: Wanted) -> Option<(usize, Snapshot)> {
        loop {
            match self.oldest(table) {
                Some((sequence, index, seen))
                    if wanted == Wanted::Any || wanted == Wanted::Sequence(sequence) =>
                {
                    return Some((index, seen));
                }
                _ if self.collect(table) => {}
                _ => return None,
            }
        }
    }

    /// The oldest batch that is still there: its number, its slot, and the slot's word. Drops
    /// entries that lead to nothing.
    fn oldest(&mut self, table: Table<'_>) -> Option<(u64, usize, Snapshot)> {
        loop {
            let &(sequence, index) = self.0.front()?;
            let slot = &table.slots[index];
            let seen = slot.word.load();
            if seen.state() == SlotState::Ready && slot.message_number() == sequence {
                return Some((sequence, index, seen));
            }
            self.0.pop_front();
        }
    }

    /// Collects the slots that became ready. Returns whether there was one.
    fn collect(&mut self, table: Table<'_>) -> bool {
        let mut found = false;
        will_write(&table.control.ready.wanted);
        while let Some(members) = table.ready().take() {
            let inside = members.filter(|&index| index < table.slots.len());
            // The number is read after the word, which publishes it.
            let ready = inside.filter(|&index| {
                will_write(&table.slots[index].word);
                table.slots[index].word.load().state() == SlotState::Ready
            });
            for index in ready {
                self.insert(table.slots[index].message_number(), index);
                found = true;
            }
        }
        found
    }

    fn insert(&mut self, sequence: u64, index: usize) {
        if self.0.back().is_none_or(|&(newest, _)| newest <= sequence) {
            return self.0.push_back((sequence, index));
        }
        let place = self.0.partition_point(|&(known, _)| known <= sequence);
        self.0.insert(place, (sequence, index));
    }
}
