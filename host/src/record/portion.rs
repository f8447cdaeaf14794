//! A portion: the messages of a stream that one rank of a job delivers.
//!
//! ```text
//!   ledger      ███ ░ ░ ██ ░ ░ ░ █ ░ ░ ░ …      █ was delivered before, by whichever rank
//!   index           0 1    2 3 4   5 6 7 …      of the missing messages
//!   rank of 3       0 1    2 0 1   2 0 1 …      index mod 3
//!   ordinal         0 0    0 1 1   1 2 2 …      of each rank's own messages: index / 3, a row
//! ```
//!
//! The `i`-th missing message belongs to rank `i mod W`. So each message belongs to one rank, for
//! any number of ranks and any holes, and the ranks' counts differ by one at most. A run without
//! ranks has rank 0 of 1: all missing messages.
//!
//! All ranks compute it alike, from the ledger that the job began with. No rank asks another one.
//! The ledger is kept as its gaps, each with the index of its first number; a step from one own
//! message to the next behind all gaps is an addition, and elsewhere a binary search.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ledger::Ledger;
use super::rank::Seat;

/// What the ranks do with the last messages of the stream, if their number is not a multiple of the
/// number of ranks. The default is [`Short`](Self::Short).
///
/// A rank learns the number of messages only at the end of the stream. With [`Drop`](Self::Drop)
/// and [`Repeat`](Self::Repeat) it therefore asks its commander for two messages in each row of
/// messages, one of which is its own, before it gives its own to a worker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Remainder {
    /// The first ranks get one message more than the others.
    #[default]
    Short,
    /// No rank gets the last messages. They are not delivered, and checkpoints say so.
    Drop,
    /// Each rank without a message in the last row gets the row's first message again, which is
    /// rank 0's. [`Batch::is_repeated`](crate::Batch::is_repeated) tells; in checkpoints it is rank
    /// 0's alone.
    Repeat,
}

/// A text is no [`Remainder`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected short, drop or repeat")]
pub struct RemainderError;

/// `short`, `drop` or `repeat`.
impl FromStr for Remainder {
    type Err = RemainderError;

    fn from_str(text: &str) -> Result<Self, RemainderError> {
        match text {
            "short" => Ok(Self::Short),
            "drop" => Ok(Self::Drop),
            "repeat" => Ok(Self::Repeat),
            _ => Err(RemainderError),
        }
    }
}

/// The messages that this rank delivers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Given", into = "Given")]
pub(crate) struct Portion {
    given: Given,
    /// The runs of missing numbers, ascending. The last one has no end.
    gaps: Vec<Gap>,
    /// From this number on, no message was delivered before.
    plain_from: u64,
}

/// What a portion is computed from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Given {
    /// What was delivered when the job began, by whichever rank. The same for each rank of the job.
    pub(crate) earlier: Ledger,
    pub(crate) seat: Seat,
    /// The rank's own messages that it delivered since then, in an earlier run, by their ordinals.
    pub(crate) done: Ledger,
    pub(crate) remainder: Remainder,
}

/// A run of missing numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Gap {
    start: u64,
    /// The index of its first number among the missing ones.
    index: u64,
}

/// A row of messages: one for each rank, as far as the stream has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    /// The message of rank 0.
    pub(crate) first: u64,
    /// The message of the last rank.
    pub(crate) last: u64,
}

impl Portion {
    /// All messages that are not done.
    pub(crate) fn whole(earlier: Ledger) -> Self {
        Self::from(Given { earlier, ..Given::default() })
    }

    pub(crate) fn earlier(&self) -> &Ledger {
        &self.given.earlier
    }

    pub(crate) fn seat(&self) -> Seat {
        self.given.seat
    }

    pub(crate) fn remainder(&self) -> Remainder {
        self.given.remainder
    }

    /// The first own message from this number on that is to be delivered.
    pub(crate) fn next(&self, from: u64) -> u64 {
        self.number(self.given.done.next_missing(self.ordinal_from(from)))
    }

    /// The own message after this one, which is the rank's own.
    pub(crate) fn after(&self, own: u64) -> u64 {
        if own >= self.plain_from {
            return own.saturating_add(self.given.seat.of.into());
        }
        self.next(own.saturating_add(1))
    }

    /// The number at which the run begins: no message below it is of any use to it.
    pub(crate) fn begin(&self) -> u64 {
        self.opening(self.next(0))
    }

    /// The first message that the commander is asked for to give this own one.
    pub(crate) fn opening(&self, own: u64) -> u64 {
        match self.given.remainder {
            Remainder::Repeat => self.row(own).first,
            Remainder::Short | Remainder::Drop => own,
        }
    }

    /// The row of an own message.
    pub(crate) fn row(&self, own: u64) -> Row {
        let of = u64::from(self.given.seat.of);
        let first = self.index_from(own) / of * of;
        Row { first: self.number_at(first), last: self.number_at(first.saturating_add(of - 1)) }
    }

    /// Whether the message is the rank's own, and was not delivered before.
    pub(crate) fn has(&self, sequence: u64) -> bool {
        self.next(sequence) == sequence
    }

    /// How many own messages below `end` are to be delivered.
    pub(crate) fn count_below(&self, end: u64) -> u64 {
        let own = self.ordinal_from(end);
        own - self.given.done.count_below(own)
    }

    /// How many messages the rank gets in all since the job began, in a stream that ends at `end`.
    pub(crate) fn total(&self, end: u64) -> u64 {
        let of = u64::from(self.given.seat.of);
        match self.given.remainder {
            Remainder::Short => self.ordinal_from(end),
            Remainder::Drop => self.index_from(end) / of,
            Remainder::Repeat => self.index_from(end).div_ceil(of),
        }
    }

    /// A ledger of all numbers that this run does not deliver, as far as it has come: those that
    /// were delivered before, and other ranks' ones up to its first own message.
    pub(crate) fn covered(&self) -> Ledger {
        let mut ledger = self.given.earlier.clone();
        ledger.insert(0..self.number(0));
        for done in self.given.done.ranges() {
            ledger.insert(self.number(done.start)..self.number(done.end));
        }
        ledger
    }

    /// The ordinals of the own messages that are in such a ledger.
    pub(crate) fn own_in(&self, covered: &Ledger) -> Ledger {
        let mut own = Ledger::default();
        for range in covered.ranges() {
            own.insert(self.ordinal_from(range.start)..self.ordinal_from(range.end));
        }
        own
    }

    /// The numbers of all messages with these indices are marked as delivered.
    pub(crate) fn mark(&self, ledger: &mut Ledger, indices: std::ops::Range<u64>) {
        if !indices.is_empty() {
            // The numbers in between that have no index were delivered before.
            ledger.insert(self.number_at(indices.start)..self.number_at(indices.end - 1).saturating_add(1));
        }
    }

    /// The number of an own message.
    fn number(&self, ordinal: u64) -> u64 {
        let Seat { rank, of } = self.given.seat;
        self.number_at(ordinal.saturating_mul(of.into()).saturating_add(rank.into()))
    }

    /// The ordinal of the first own message from this number on.
    fn ordinal_from(&self, sequence: u64) -> u64 {
        let Seat { rank, of } = self.given.seat;
        self.index_from(sequence).saturating_sub(rank.into()).div_ceil(of.into())
    }

    /// The number of the missing message with this index.
    fn number_at(&self, index: u64) -> u64 {
        let next = self.gaps.partition_point(|gap| gap.index <= index);
        let Gap { start, index: first } = self.gaps[next.saturating_sub(1)];
        start.saturating_add(index - first)
    }

    /// The index of the first missing message from this number on.
    fn index_from(&self, sequence: u64) -> u64 {
        let next = self.gaps.partition_point(|gap| gap.start <= sequence);
        let Some(gap) = next.checked_sub(1).map(|at| self.gaps[at]) else { return 0 };
        let index = gap.index.saturating_add(sequence - gap.start);
        self.gaps.get(next).map_or(index, |after| index.min(after.index))
    }
}

impl From<Given> for Portion {
    fn from(given: Given) -> Self {
        let (mut gaps, mut start, mut index) = (Vec::new(), 0, 0);
        for done in given.earlier.ranges() {
            if start < done.start {
                gaps.push(Gap { start, index });
                index += done.start - start;
            }
            start = done.end;
        }
        gaps.push(Gap { start, index });
        let mut portion = Self { given, gaps, plain_from: start };
        if let Some(last) = portion.given.done.ranges().last() {
            portion.plain_from = start.max(portion.number(last.end));
        }
        portion
    }
}

impl From<Portion> for Given {
    fn from(portion: Portion) -> Self {
        portion.given
    }
}

impl Default for Portion {
    fn default() -> Self {
        Self::whole(Ledger::default())
    }
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn ledger(done: &BTreeSet<u64>) -> Ledger {
        let mut ledger = Ledger::default();
        done.iter().for_each(|&sequence| ledger.add(sequence, sequence + 1));
        ledger
    }

    fn portion(earlier: &Ledger, rank: u32, of: u32) -> Portion {
        Given { earlier: earlier.clone(), seat: Seat { rank, of }, ..Given::default() }.into()
    }

    /// The own messages below `end`, as a run asks for them.
    fn own(portion: &Portion, end: u64) -> Vec<u64> {
        let first = portion.next(0);
        std::iter::successors(Some(first), |&own| Some(portion.after(own))).take_while(|&n| n < end).collect()
    }

    proptest! {
        #[test]
        fn portions_are_a_partition_and_differ_by_one_at_most(
            done in prop::collection::btree_set(0u64..60, 0..50),
            of in 1u32..12,
            end in 0u64..80,
        ) {
            let earlier = ledger(&done);
            let missing: Vec<u64> = (0..end).filter(|n| !done.contains(n)).collect();
            let mut all = Vec::new();
            for rank in 0..of {
                let portion = portion(&earlier, rank, of);
                let own = own(&portion, end);
                let expected = missing.iter().skip(rank as usize).step_by(of as usize).copied();
                prop_assert!(own.iter().copied().eq(expected), "{own:?}");
                prop_assert_eq!(portion.count_below(end), own.len() as u64);
                prop_assert!((0..end).all(|n| portion.has(n) == own.contains(&n)));
                prop_assert!(own.len().abs_diff(missing.len() / of as usize) <= 1);
                all.extend(own);
            }
            all.sort_unstable();
            prop_assert_eq!(all, missing);
        }

        #[test]
        fn portion_that_goes_on_lacks_exactly_what_was_delivered(
            done in prop::collection::btree_set(0u64..60, 0..50),
            seat in (1u32..12).prop_flat_map(|of| (0..of).prop_map(move |rank| Seat { rank, of })),
            delivered in prop::collection::btree_set(0usize..20, 0..20),
            end in 0u64..120,
        ) {
            let fresh = portion(&ledger(&done), seat.rank, seat.of);
            let all = own(&fresh, 400);
            let mut covered = fresh.covered();
            prop_assert_eq!(covered.next_missing(0), all[0]);
            for &ordinal in &delivered {
                let Some(&sequence) = all.get(ordinal) else { continue };
                covered.add(sequence, fresh.after(sequence));
            }
            let ordinals = fresh.own_in(&covered);
            let expected: Vec<u64> = delivered.iter().map(|&n| n as u64).filter(|&n| n < all.len() as u64).collect();
            prop_assert!((0..all.len() as u64).all(|n| ordinals.has(n) == expected.contains(&n)));
            let again = Portion::from(Given { done: ordinals.clone(), ..fresh.given });
            let left: Vec<u64> = (0..).zip(&all).filter(|(n, _)| !expected.contains(n)).map(|(_, &n)| n).collect();
            prop_assert_eq!(again.count_below(end), left.iter().filter(|&&n| n < end).count() as u64);
            prop_assert_eq!(own(&again, 400), left);
            prop_assert_eq!(again.covered(), covered);
            prop_assert_eq!(again.own_in(&again.covered()), ordinals);
            let text = serde_json::to_string(&again).unwrap();
            prop_assert_eq!(serde_json::from_str::<Portion>(&text).unwrap(), again);
        }
    }

    #[test]
    fn row_has_one_message_for_each_rank() {
        // Missing: 1 2 5 6 7 8 …
        let portion = portion(&Ledger::from(vec![[0, 1], [3, 5]]), 1, 3);
        assert_eq!(own(&portion, 9), [2, 7]);
        assert_eq!(portion.row(2), Row { first: 1, last: 5 });
        assert_eq!(portion.row(7), Row { first: 6, last: 8 });
    }

    #[test]
    fn total_of_a_rank_follows_the_remainder() {
        let total = |rank, remainder| {
            let given = Given { seat: Seat { rank, of: 4 }, remainder, ..Given::default() };
            Portion::from(given).total(10)
        };
        let of_all = |remainder| [0, 1, 2, 3].map(|rank| total(rank, remainder));
        assert_eq!(of_all(Remainder::Short), [3, 3, 2, 2]);
        assert_eq!(of_all(Remainder::Drop), [2, 2, 2, 2]);
        assert_eq!(of_all(Remainder::Repeat), [3, 3, 3, 3]);
    }

    #[test]
    fn numbers_at_the_end_of_all_numbers_do_not_overflow() {
        let portion = portion(&Ledger::from(vec![[0, u64::MAX - 1]]), 2, 3);
        assert_eq!(portion.next(0), u64::MAX);
        assert_eq!((portion.after(u64::MAX), portion.count_below(u64::MAX)), (u64::MAX, 0));
    }
}
