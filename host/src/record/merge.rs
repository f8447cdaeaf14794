//! The parts of a job's ranks made into one checkpoint, and back.
//!
//! ```text
//!   rank 0 of 3   ordinals 0 1 2 · 4       index = ordinal × 3 + rank       number: as `portion`
//!   rank 1 of 3   ordinals 0 1             ┌ rows ┐
//!   rank 2 of 3   ordinals 0 1 2           012 345 678 … ─► 0 to 6, 8, 12 are done
//! ```
//!
//! Below the row that each rank has finished, all messages are one range. Only those beyond are
//! looked at one by one: as many as the ranks are out of step, times their number.
//!
//! Parts belong together if they have the same number of ranks, the same identity, and the same
//! ledger at the job's beginning. Then no message is in two of them.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::checkpoint::{Checkpoint, CheckpointError, typed};
use super::ledger::Ledger;
use super::part::Part;
use super::portion::{Given, Portion};
use super::rank::Seat;
use super::state::StateAt;

/// Why parts cannot be made into one checkpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// There are no parts.
    #[error("there is no checkpoint to merge; give the part of each rank")]
    Nothing,
    /// A checkpoint is no part, beside others.
    #[error("one of the checkpoints is the whole of a run, and no rank's part; give the parts of one job")]
    Whole,
    /// Parts are missing.
    #[error("the part of {} is missing; give the part of each rank", missing_of(ranks, *of))]
    Missing {
        /// The ranks whose parts are missing, ascending.
        ranks: Vec<u32>,
        /// The number of ranks.
        of: u32,
    },
    /// There are two parts of a rank: what they have delivered overlaps.
    #[error("there are two parts of {}; give one part of each rank", Seat { rank: *rank, of: *of })]
    Twice {
        /// The rank.
        rank: u32,
        /// The number of ranks.
        of: u32,
    },
    /// The parts are of jobs with different numbers of ranks: what they have delivered may overlap.
    #[error("one part is of a job of {one} ranks and another of a job of {other}; give the parts of one job")]
    Worlds {
        /// The number of ranks in the first part.
        one: u32,
        /// The number of ranks in another part.
        other: u32,
    },
    /// Parts are of different runs.
    #[error(
        "the parts of rank {one} and rank {other} belong to different runs: {difference}; start all ranks with the same settings"
    )]
    OtherRun {
        /// The rank of the first part.
        one: u32,
        /// The rank of the other part.
        other: u32,
        /// The first difference, as rank `other` has it.
        difference: String,
    },
    /// The ranks began after different deliveries: what they have delivered may overlap.
    #[error(
        "rank {one} began after {one_delivered} delivered messages and rank {other} after {other_delivered}, or after others; \
         give the parts of one job, whose ranks began with the same checkpoint"
    )]
    OtherBeginning {
        /// The rank of the first part.
        one: u32,
        /// The number of messages that were delivered when it began.
        one_delivered: u64,
        /// The rank of the other part.
        other: u32,
        /// The number of messages that were delivered when that one began.
        other_delivered: u64,
    },
    /// The application saved the parts at different steps.
    #[error("rank {one} was saved at step {} and rank {other} at step {}; give the parts of one step", said(*one_step), said(*other_step))]
    Steps {
        /// The rank of the first part.
        one: u32,
        /// Its step.
        one_step: Option<u64>,
        /// The rank of the other part.
        other: u32,
        /// Its step.
        other_step: Option<u64>,
    },
    /// The applications' states cannot be added up.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

impl Checkpoint {
    /// Makes the parts of all ranks of a job into one checkpoint, from which a run of its own can
    /// resume, and ranks in any number. Their order does not matter. A checkpoint that is no part
    /// stays as it is, if it is the only one.
    ///
    /// The result has no application state; [`merge_with`](Self::merge_with) adds them up.
    ///
    /// # Errors
    /// [`MergeError`]: a part is missing or there twice, or parts are of different jobs, runs or
    /// steps.
    ///
    /// ```no_run
    /// # use cobuf_host::{Checkpoint, Host, Source};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let parts = [Checkpoint::read("0.json")?, Checkpoint::read("1.json")?];
    /// let builder = Host::builder().source(Source::Resume(Checkpoint::merge(parts)?));
    /// # Ok(())
    /// # }
    /// ```
    pub fn merge(parts: impl IntoIterator<Item = Self>) -> Result<Self, MergeError> {
        let parts: Vec<Self> = parts.into_iter().collect();
        match of_one_job(&parts)? {
            Job::Whole(checkpoint) => Ok(checkpoint.clone()),
            Job::Parts(beginning, parts) => joined(beginning, &parts),
        }
    }

    /// As [`merge`](Self::merge), and adds up the application's states: that of the job's beginning,
    /// then that of each rank, by ascending ranks. A part without one is left out.
    ///
    /// # Errors
    /// As [`merge`](Self::merge), and [`MergeError::Checkpoint`] if a state is of another type.
    pub fn merge_with<S: Serialize + DeserializeOwned>(
        parts: impl IntoIterator<Item = Self>,
        add: impl FnMut(S, S) -> S,
    ) -> Result<Self, MergeError> {
        let parts: Vec<Self> = parts.into_iter().collect();
        match of_one_job(&parts)? {
            Job::Whole(checkpoint) => Ok(checkpoint.clone()),
            Job::Parts(beginning, parts) => joined_with(beginning, &parts, add),
        }
    }

    /// Makes a whole checkpoint into parts of as many ranks, none of which has delivered anything
    /// since. It is the reverse of [`merge`](Self::merge).
    ///
    /// # Errors
    /// [`CheckpointError::OtherRank`] if the checkpoint is a part itself, and
    /// [`CheckpointError::Rank`] if there is no rank or there are too many.
    pub fn split(&self, of: u32) -> Result<Vec<Self>, CheckpointError> {
        crate::record::rank::Rank::new(0, of)?;
        (0..of).map(|rank| self.part_of(Seat { rank, of })).collect()
    }
}

/// Checkpoints that belong together.
enum Job<'a> {
    Whole(&'a Checkpoint),
    /// The beginning, in the checkpoint of one part, and the parts of all ranks, ascending.
    Parts(&'a Checkpoint, Vec<&'a Part>),
}

fn of_one_job(checkpoints: &[Checkpoint]) -> Result<Job<'_>, MergeError> {
    let first = checkpoints.first().ok_or(MergeError::Nothing)?;
    let Some(Part { seat: Seat { of, .. }, .. }) = first.part else {
        return if checkpoints.len() == 1 { Ok(Job::Whole(first)) } else { Err(MergeError::Whole) };
    };
    let mut by_rank = BTreeMap::new();
    for checkpoint in checkpoints {
        let part = checkpoint.part.as_ref().ok_or(MergeError::Whole)?;
        checkpoint.check_format()?;
        if part.seat.of != of {
            return Err(MergeError::Worlds { one: of, other: part.seat.of });
        }
        if by_rank.insert(part.seat.rank, part).is_some() {
            return Err(MergeError::Twice { rank: part.seat.rank, of });
        }
        belongs(first, checkpoint)?;
    }
    let ranks: Vec<u32> = (0..of).filter(|rank| !by_rank.contains_key(rank)).collect();
    if !ranks.is_empty() {
        return Err(MergeError::Missing { ranks, of });
    }
    Ok(Job::Parts(first, by_rank.into_values().collect()))
}

/// The checkpoint of a job that began so, from the parts of all of its ranks, ascending.
pub(crate) fn joined(beginning: &Checkpoint, parts: &[&Part]) -> Result<Checkpoint, MergeError> {
    let first = parts.first().ok_or(MergeError::Nothing)?;
    if let Some(other) = parts.iter().find(|part| part.step != first.step) {
        let (one, one_step) = (first.seat.rank, first.step);
        return Err(MergeError::Steps { one, one_step, other: other.seat.rank, other_step: other.step });
    }
    let done = add_up(&beginning.done, first.seat.of, parts.iter().map(|part| &part.done));
    let missing = done.next_missing(0);
    let states = parts.iter().filter_map(|part| part.commander.as_ref()).chain(&beginning.commander);
    let state: Option<StateAt> =
        states.filter(|state| state.sequence <= missing).max_by_key(|state| state.sequence).cloned();
    Ok(Checkpoint::new(beginning.identity.clone(), done, state, Vec::new()))
}

/// As [`joined`], with the sum of the application's states.
pub(crate) fn joined_with<S: Serialize + DeserializeOwned>(
    beginning: &Checkpoint,
    parts: &[&Part],
    add: impl FnMut(S, S) -> S,
) -> Result<Checkpoint, MergeError> {
    let merged = joined(beginning, parts)?;
    let mut states: Vec<S> = beginning.state_of_beginning()?.into_iter().collect();
    for part in parts {
        states.extend(typed(&part.application)?);
    }
    match states.into_iter().reduce(add) {
        Some(sum) => Ok(merged.with_application_state(&sum)?),
        None => Ok(merged),
    }
}

/// Whether a part is of the same job as the first one.
fn belongs(first: &Checkpoint, other: &Checkpoint) -> Result<(), MergeError> {
    let rank = |checkpoint: &Checkpoint| checkpoint.part.as_ref().map_or(0, |part| part.seat.rank);
    let (one, other_rank) = (rank(first), rank(other));
    if let Some(difference) = other.identity.difference(&first.identity) {
        return Err(MergeError::OtherRun { one, other: other_rank, difference });
    }
    if other.done != first.done {
        let delivered = |checkpoint: &Checkpoint| checkpoint.done.count_below(u64::MAX);
        return Err(MergeError::OtherBeginning {
            one,
            one_delivered: delivered(first),
            other: other_rank,
            other_delivered: delivered(other),
        });
    }
    Ok(())
}

/// The ledger of a job that began with this one, and whose ranks, in their order, have delivered the
/// messages with these ordinals.
pub(crate) fn add_up<'a>(
    earlier: &Ledger,
    of: u32,
    parts: impl Iterator<Item = &'a Ledger> + Clone,
) -> Ledger {
    let of = u64::from(of);
    let whole = Portion::from(Given { earlier: earlier.clone(), ..Given::default() });
    let mut ledger = earlier.clone();
    let rows = parts.clone().map(|done| done.next_missing(0)).min().unwrap_or(0);
    whole.mark(&mut ledger, 0..rows.saturating_mul(of));
    let mut beyond = Vec::new();
    for (rank, done) in (0..).zip(parts) {
        for range in done.ranges() {
            beyond.extend((range.start.max(rows)..range.end).map(|ordinal| ordinal * of + rank));
        }
    }
    beyond.sort_unstable();
    for run in beyond.chunk_by(|one, next| one + 1 == *next) {
        if let (Some(&first), Some(&last)) = (run.first(), run.last()) {
            whole.mark(&mut ledger, first..last + 1);
        }
    }
    ledger
}

/// Such as `rank 2 of 8`, or `ranks 2, 3 and 5 more of 8`.
fn missing_of(ranks: &[u32], of: u32) -> String {
    const NAMED: usize = 8;
    if let [rank] = *ranks {
        return Seat { rank, of }.to_string();
    }
    let named: Vec<String> = ranks.iter().take(NAMED).map(u32::to_string).collect();
    let more = ranks.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("ranks {}{more} of {of}", named.join(", "))
}

fn said(step: Option<u64>) -> String {
    step.map_or_else(|| "(none)".to_owned(), |step| step.to_string())
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;
    use crate::record::identity::Identity;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn whole(done: Ledger) -> Checkpoint {
        Checkpoint::new(Identity::default(), done, None, Vec::new())
    }

    /// Delivers these own messages, by their ordinals.
    fn deliver(part: &mut Checkpoint, ordinals: impl IntoIterator<Item = u64>) {
        let part = part.part.as_mut().unwrap();
        ordinals.into_iter().for_each(|ordinal| part.done.add(ordinal, ordinal + 1));
    }

    fn numbers(ledger: &Ledger) -> BTreeSet<u64> {
        ledger.ranges().flatten().collect()
    }

    proptest! {
        #[test]
        fn merged_ledger_is_the_union_over_generations_of_any_worlds(
            generations in prop::collection::vec((1u32..9, prop::collection::vec(0u64..12, 0..40)), 1..5),
        ) {
            let (mut checkpoint, mut delivered) = (whole(Ledger::default()), BTreeSet::new());
            for (of, deliveries) in generations {
                let mut parts = checkpoint.split(of).unwrap();
                for (turn, ordinal) in deliveries.into_iter().enumerate() {
                    let at = turn % of as usize;
                    let portion = parts[at].portion(Default::default());
                    let own = portion.own_in(&portion.covered());
                    let ordinal = own.next_missing(ordinal);
                    // As a run asks for it.
                    let fresh = Portion::from(Given {
                        earlier: checkpoint.done.clone(),
                        seat: Seat { rank: at as u32, of },
                        ..Given::default()
                    });
                    let sequence = (0..=ordinal).fold(None, |before: Option<u64>, _| {
                        Some(before.map_or_else(|| fresh.next(0), |before| fresh.after(before)))
                    });
                    prop_assert!(delivered.insert(sequence.unwrap()), "delivered twice");
                    deliver(&mut parts[at], [ordinal]);
                }
                parts.reverse();
                checkpoint = Checkpoint::merge(parts).unwrap();
                prop_assert_eq!(numbers(&checkpoint.done), delivered.clone());
            }
        }
    }

    fn refusal(parts: Vec<Checkpoint>) -> String {
        Checkpoint::merge(parts).unwrap_err().to_string()
    }

    #[test]
    fn parts_that_do_not_belong_together_are_refused() {
        let parts = whole(Ledger::default()).split(3).unwrap();
        assert_eq!(
            refusal(vec![parts[0].clone(), parts[2].clone()]),
            "the part of rank 1 of 3 is missing; give the part of each rank"
        );
        assert_eq!(
            refusal(vec![parts[1].clone()]),
            "the part of ranks 0, 2 of 3 is missing; give the part of each rank"
        );
        let mut twice = parts.clone();
        twice.push(parts[1].clone());
        assert_eq!(refusal(twice), "there are two parts of rank 1 of 3; give one part of each rank");
        let mut worlds = parts.clone();
        worlds[2] = whole(Ledger::default()).split(4).unwrap()[2].clone();
        assert_eq!(
            refusal(worlds),
            "one part is of a job of 3 ranks and another of a job of 4; give the parts of one job"
        );
        let mut later = parts.clone();
        later[1] = whole(Ledger::from(vec![[0, 9]])).split(3).unwrap()[1].clone();
        assert_eq!(
            refusal(later),
            "rank 0 began after 0 delivered messages and rank 1 after 9, or after others; \
             give the parts of one job, whose ranks began with the same checkpoint"
        );
        let mut steps: Vec<Checkpoint> = parts.iter().map(|part| part.clone().with_step(7)).collect();
        steps[2] = steps[2].clone().with_step(8);
        assert_eq!(
            refusal(steps),
            "rank 0 was saved at step 7 and rank 2 at step 8; give the parts of one step"
        );
        assert_eq!(refusal(vec![]), "there is no checkpoint to merge; give the part of each rank");
        refusal(vec![whole(Ledger::default()), whole(Ledger::default())]);
    }

    #[test]
    fn application_states_are_added_up_with_that_of_the_beginning() {
        let begin = whole(Ledger::from(vec![[0, 4]])).with_application_state(&100).unwrap();
        let mut parts = begin.split(3).unwrap();
        parts[0] = parts[0].clone().with_application_state(&1).unwrap();
        parts[2] = parts[2].clone().with_application_state(&20).unwrap();
        let merged = Checkpoint::merge_with(parts, |a: i32, b| a + b).unwrap();
        assert_eq!(merged.application_state::<i32>().unwrap(), Some(121));
        assert_eq!(merged.done, begin.done);
    }
}
