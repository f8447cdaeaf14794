//! Which messages of a stream are done, as ranges, because they are completed nearly in order.
//!
//! ```text
//!   0 ──────────── base ░░░ ████ ░ ██ ░░░░ …
//!   all of these       └─ beyond: the done ones among those that come later
//! ```
//!
//! A stream in order only moves `base`, which allocates nothing.

use std::ops::Range;

use rangemap::RangeSet;
use serde::{Deserialize, Serialize};

/// The sequence numbers that are done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Vec<[u64; 2]>", from = "Vec<[u64; 2]>")]
pub(crate) struct Ledger {
    /// All numbers below it are done; `base` itself is not.
    base: u64,
    /// The done ranges above `base`. None is empty, and none begins at `base`.
    beyond: RangeSet<u64>,
}

impl Ledger {
    /// A ledger in which all numbers below `end` are done, except the wanted ones.
    pub(crate) fn all_but(wanted: impl IntoIterator<Item = u64>, end: u64) -> Self {
        let mut ledger = Self::default();
        let mut from = 0;
        let mut wanted: Vec<u64> = wanted.into_iter().collect();
        wanted.sort_unstable();
        for sequence in wanted {
            ledger.insert(from..sequence);
            from = sequence + 1;
        }
        ledger.insert(from..end);
        ledger
    }

    /// Marks one message as done, and with it all numbers below `next`, which nobody waits for.
    pub(crate) fn add(&mut self, sequence: u64, next: u64) {
        if sequence != self.base {
            self.insert(sequence..next);
            return;
        }
        self.base = next;
        self.absorb();
    }

    /// The first number from `from` on that is not done.
    pub(crate) fn next_missing(&self, from: u64) -> u64 {
        let from = from.max(self.base);
        self.beyond.get(&from).map_or(from, |done| done.end)
    }

    /// Whether the message is done.
    pub(crate) fn has(&self, sequence: u64) -> bool {
        self.next_missing(sequence) != sequence
    }

    /// How many numbers below `end` are done.
    pub(crate) fn count_below(&self, end: u64) -> u64 {
        let beyond = self.beyond.iter().map(|done| done.end.min(end).saturating_sub(done.start));
        self.base.min(end) + beyond.sum::<u64>()
    }

    /// The done ranges, ascending. None is empty, and no two touch each other.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        let base = (self.base > 0).then_some(0..self.base);
        base.into_iter().chain(self.beyond.iter().cloned())
    }

    /// Marks a range as done.
    pub(crate) fn insert(&mut self, done: Range<u64>) {
        let done = done.start.max(self.base)..done.end;
        if !done.is_empty() {
            self.beyond.insert(done);
            self.absorb();
        }
    }

    /// Moves `base` over the ranges that it has reached.
    fn absorb(&mut self) {
        while let Some(first) = self.beyond.first().filter(|first| first.start <= self.base).cloned() {
            self.base = self.base.max(first.end);
            self.beyond.remove(first);
        }
    }
}

/// The ranges; the first number is included, the second is not.
impl From<Ledger> for Vec<[u64; 2]> {
    fn from(ledger: Ledger) -> Self {
        ledger.ranges().map(|done| [done.start, done.end]).collect()
    }
}

impl From<Vec<[u64; 2]>> for Ledger {
    fn from(ranges: Vec<[u64; 2]>) -> Self {
        let mut ledger = Self::default();
        ranges.into_iter().for_each(|[start, end]| ledger.insert(start..end));
        ledger
    }
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn a_ledger_agrees_with_a_set(
            sequences in prop::collection::vec(0u64..40, 0..60),
            from in 0u64..45,
        ) {
            let (mut ledger, set) = (Ledger::default(), BTreeSet::from_iter(sequences.iter().copied()));
            sequences.into_iter().for_each(|sequence| ledger.add(sequence, sequence + 1));
            prop_assert_eq!(ledger.next_missing(from), (from..).find(|n| !set.contains(n)).unwrap());
            prop_assert_eq!(ledger.has(from), set.contains(&from));
            prop_assert_eq!(ledger.count_below(from), set.range(..from).count() as u64);
            let ranges = Vec::from(ledger.clone());
            prop_assert!(ranges.windows(2).all(|pair| pair[0][1] < pair[1][0]), "{ranges:?}");
            let mut ledger_to_50 = ledger.clone();
            (50..60).for_each(|sequence| ledger_to_50.add(sequence, sequence + 1));
            let missing = (0..50).filter(|n| !set.contains(n));
            prop_assert_eq!(Ledger::all_but(missing, 60), ledger_to_50);
            prop_assert_eq!(Ledger::from(ranges), ledger);
        }
    }

    #[test]
    fn base_passes_all_ranges_that_it_reaches() {
        let mut ledger = Ledger::from(vec![[2, 3], [4, 5], [7, 9]]);
        ledger.add(0, 7);
        assert_eq!(Vec::from(ledger), [[0, 9]]);
    }

    #[test]
    fn ranges_that_overlap_or_are_empty_can_be_read() {
        let ledger = Ledger::from(vec![[5, 9], [7, 3], [0, 2], [1, 3], [8, u64::MAX]]);
        assert_eq!(Vec::from(ledger.clone()), [[0, 3], [5, u64::MAX]]);
        assert_eq!((ledger.next_missing(0), ledger.next_missing(6)), (3, u64::MAX));
    }
}
