//! A set of slots, one bit each: the slots that may be free, ready or queued, so that no process
//! has to look at all slots.
//!
//! ```text
//!   a consumer frees slot 5:  word of slot 5 → Free, then bit 5
//!   the commander:            takes the bits of 64 slots at once, then looks at each slot's word
//! ```
//!
//! A set is a hint: the slot's word decides. An extra bit is harmless. A bit is missing if a
//! process died after it had changed the word, or after it had taken the bit;
//! [`restore`](super::table::Table::restore) sets it again.
//!
//! The set of queued slots is used in another way, see `queue`: workers look at its bits and leave
//! them there until they have claimed a slot.

use super::sync::{AtomicU64, Ordering};
use crate::limits::MAX_SLOTS;

const BITS: usize = u64::BITS as usize;

/// How many slots a set has room for: models have few, because each word costs them time.
const MOST_SLOTS: usize = if cfg!(all(cobuf_loom, not(cobuf_lines))) { 2 * BITS } else { MAX_SLOTS };

/// The words of a set, in shared memory: there is room for the most slots that a run may have.
#[repr(transparent)]
#[derive(Debug)]
pub(crate) struct SetWords([AtomicU64; MOST_SLOTS.div_ceil(BITS)]);

impl SetWords {
    #[cfg(all(test, cobuf_loom))]
    pub(super) fn new() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }

    /// The set of a run with this many slots.
    pub(super) fn of(&self, slots: usize) -> SlotSet<'_> {
        SlotSet(&self.0[..slots.div_ceil(BITS)])
    }
}

/// A set in shared memory. Every process may add; one process takes, or several remove.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SlotSet<'a>(pub(super) &'a [AtomicU64]);

impl SlotSet<'_> {
    /// Adds a slot. Sequentially consistent, as all changes of a set that is counted.
    pub(super) fn add(self, slot: usize) {
        self.0[slot / BITS].fetch_or(1 << (slot % BITS), Ordering::SeqCst);
    }

    /// Removes a slot, after its word was changed. Sequentially consistent with
    /// [`has_more_than`](Self::has_more_than): if several workers remove slots and then count, the
    /// last one sees that all of them are gone.
    pub(super) fn remove(self, slot: usize) {
        self.0[slot / BITS].fetch_and(!(1 << (slot % BITS)), Ordering::SeqCst);
    }

    /// Whether a slot is in the set.
    pub(super) fn has(self, slot: usize) -> bool {
        self.0[slot / BITS].load(Ordering::Acquire) >> (slot % BITS) & 1 == 1
    }

    /// Whether the set has more than `most` slots.
    pub(super) fn has_more_than(self, most: usize) -> bool {
        let mut count = 0;
        self.0.iter().any(|word| {
            let bits = word.load(Ordering::SeqCst);
            if bits != 0 {
                count += bits.count_ones() as usize;
            }
            count > most
        })
    }

    /// All slots of the set: first those from `slot` on, then those before it.
    pub(super) fn members_from(self, slot: usize) -> impl Iterator<Item = usize> {
        let words = self.0.len();
        let first = if slot / BITS < words { slot / BITS } else { 0 };
        let from = !0 << (slot % BITS);
        let members = move |index: usize, of_interest: u64| Members {
            first: index * BITS,
            bits: self.0[index].load(Ordering::Acquire) & of_interest,
        };
        let (mut nth, mut found) = (0, members(first, from));
        std::iter::from_fn(move || {
            loop {
                if let Some(slot) = found.next() {
                    return Some(slot);
                }
                nth += 1;
                let index = if first + nth < words { first + nth } else { first + nth - words };
                found = match nth {
                    _ if nth < words => members(index, !0),
                    _ if nth == words => members(index, !from),
                    _ => return None,
                };
            }
        })
    }

    /// Whether the set has a slot.
    pub(super) fn has_any(self) -> bool {
        self.0.iter().any(|word| word.load(Ordering::Relaxed) != 0)
    }

    /// Takes the first slots of the set, up to 64 of them.
    pub(super) fn take(self) -> Option<Members> {
        let some = |word: &AtomicU64| match word.load(Ordering::Relaxed) {
            0 => 0,
            _ => word.swap(0, Ordering::AcqRel),
        };
        self.0.iter().enumerate().find_map(|(index, word)| {
            let bits = some(word);
            (bits != 0).then_some(Members { first: index * BITS, bits })
        })
    }
}

/// Slots of one word of a set, lowest first.
#[derive(Debug, Default)]
pub(super) struct Members {
    first: usize,
    bits: u64,
}

impl Iterator for Members {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let bit = (self.bits != 0).then_some(self.bits.trailing_zeros() as usize)?;
        self.bits &= self.bits - 1;
        Some(self.first + bit)
    }
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn each_slot_that_was_added_is_taken_once(slots in prop::collection::vec(0usize..300, 0..100)) {
            let words: Vec<AtomicU64> = (0..300_usize.div_ceil(BITS)).map(|_| AtomicU64::new(0)).collect();
            let set = SlotSet(&words);
            slots.iter().for_each(|&slot| set.add(slot));
            prop_assert_eq!(set.has_any(), !slots.is_empty());
            let taken: Vec<usize> = std::iter::from_fn(|| set.take()).flatten().collect();
            let sorted: Vec<usize> = BTreeSet::from_iter(slots).into_iter().collect();
            prop_assert_eq!(taken, sorted, "each once, lowest first");
            prop_assert!(!set.has_any());
        }

        #[test]
        fn members_are_found_once_from_any_slot_on(
            slots in prop::collection::btree_set(0usize..300, 0..100),
            removed in prop::collection::btree_set(0usize..300, 0..100),
            from in 0usize..320,
        ) {
            let words: Vec<AtomicU64> = (0..300_usize.div_ceil(BITS)).map(|_| AtomicU64::new(0)).collect();
            let set = SlotSet(&words);
            slots.iter().for_each(|&slot| set.add(slot));
            removed.iter().for_each(|&slot| set.remove(slot));
            let left: Vec<usize> = slots.difference(&removed).copied().collect();
            let (before, behind): (Vec<usize>, Vec<usize>) = left.iter().partition(|&&slot| slot < from);
            let found: Vec<usize> = set.members_from(from).collect();
            prop_assert_eq!(found, [behind, before].concat());
            (0..300).for_each(|slot| assert_eq!(set.has(slot), left.contains(&slot)));
            prop_assert!(!set.has_more_than(left.len()));
            prop_assert!(left.is_empty() || set.has_more_than(left.len() - 1));
        }
    }
}
