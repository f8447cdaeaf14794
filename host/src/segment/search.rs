//! Search: how a worker finds and claims the oldest queued message of its crew's share.
//!
//! ```text
//!   next slot of the set: the expected message? ─► note it, compare-and-swap, still of this share?
//!        └─ no: the least message of the set ────►┘
//! ```
//!
//! Invariant: no queued message is passed over for ever. A worker claims a message without a look
//! at all others only if no older one is queued. It expects the next one only if it knows that no
//! older one is queued.

use std::ops::Range;

use super::claim::{Claim, Producing};
use super::failpoint::Failpoint;
use super::place::Place;
use super::queue::Expected;
use super::sync::{AtomicU64, Ordering, will_write};
use super::table::Table;
use super::word::{Owner, SlotState, Snapshot};

/// A queued message, as a worker saw it.
#[derive(Debug, Clone, Copy)]
struct Queued {
    index: usize,
    seen: Snapshot,
    sequence: u64,
}

impl Table<'_> {
    /// Claims the oldest queued message of the share of the worker's crew. `noted` is the worker's
    /// note of the messages that it may have claimed, see `shares`. `step` is how far messages are
    /// apart, 1 or the number of ranks: the next one is looked for there.
    pub(crate) fn claim_queued(self, place: Place, noted: &AtomicU64, step: u64) -> Option<Claim<Producing>> {
        let (shares, crew) = (&self.control.shares, place.crew());
        let queue = self.queue();
        loop {
            let messages = shares.glance().of(crew);
            if messages.is_empty() {
                return None;
            }
            let expected = queue.expected();
            let (queued, is_known) = self.find_queued(&messages, expected)?;
            let Queued { index, seen, sequence } = queued;
            if noted.load(Ordering::Relaxed) <= sequence {
                noted.store(sequence.saturating_add(1), Ordering::SeqCst);
            }
            // If another worker was faster, look again: each loss is another worker's gain.
            let Some(snapshot) = self.slots[index].word.transition_to_producing(seen, place) else {
                continue;
            };
            queue.set.remove(index);
            if !shares.now().of(crew).contains(&sequence) {
                // The cut came in between: the message is the other crew's.
                queue.set.add(index);
                self.slots[index].word.transition_to_requeued(snapshot, place, snapshot.attempts());
                queue.note_requeue();
                self.control.queued.event.notify_all();
                continue;
            }
            if is_known {
                queue.expect_after(expected, index, sequence.wrapping_add(step));
            }
            if queue.is_starved() && self.is_backlog_low() {
                self.control.free.event.wake_sleepers_if(|| self.free().has_any());
            }
            self.control.armed.pass(Failpoint::WorkClaimed);
            return Some(Claim { index, snapshot, role: Producing { place } });
        }
    }

    /// The oldest queued message of a share, and whether no older one is queued for certain: the
    /// commander may have queued one during the look.
    fn find_queued(self, messages: &Range<u64>, expected: Expected) -> Option<(Queued, bool)> {
        let queued = |index: usize| {
            let slot = self.slots.get(index)?;
            let seen = slot.word.load();
            let sequence = slot.message_number();
            let there = seen.is(SlotState::Writing, Owner::Nobody) && messages.contains(&sequence);
            there.then_some(Queued { index, seen, sequence })
        };
        let set = self.queue().set;
        let first = set.members_from(expected.slot).next()?;
        self.slots.get(first).inspect(|slot| will_write(&slot.word));
        let next = queued(first);
        if let Some(next) = next.filter(|next| expected.is_oldest(next.sequence)) {
            return Some((next, true));
        }
        // All of these but the last were queued before the look begins. The last one may be queued
        // during it.
        let commanded = self.commanded();
        let mut oldest: Option<Queued> = None;
        for found in set.members_from(expected.slot).filter_map(queued) {
            if expected.is_oldest(found.sequence) {
                return Some((found, true));
            }
            if oldest.is_none_or(|oldest| found.sequence < oldest.sequence) {
                oldest = Some(found);
            }
        }
        oldest.map(|oldest| (oldest, oldest.sequence < commanded))
    }
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;
    use crate::segment::arrivals::{Arrivals, Wanted};
    use crate::segment::fixture::segment;
    use crate::segment::slot::Outcome;
    use crate::segment::table::Supply;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// One thread: each claim is of the oldest message, whatever was expected.
        #[test]
        fn oldest_message_is_claimed_first(
            slots in prop::sample::select(vec![1_usize, 5, 64, 130]),
            ranks in 1_u64..4,
            steps in prop::collection::vec((0_u8..6, 1_usize..9), 1..200),
        ) {
            let segment = segment(slots);
            let (table, mut supply, mut arrivals) = (segment.table(), Supply::default(), Arrivals::new(slots));
            let (mut queued, mut producing) = (BTreeSet::new(), Vec::new());
            let place = |nth: usize| Place::new(0, nth);
            for (step, times) in steps {
                for _ in 0..times {
                    match step {
                        0 | 1 => {
                            let Some(claim) = table.claim_free(&mut supply) else { break };
                            let sequence = table.commanded() + ranks - 1;
                            queued.insert(sequence);
                            table.publish(claim, sequence, 1);
                        }
                        2 => {
                            let worker = place(producing.len());
                            let claim = table.claim_queued(worker, &segment.worker_place(worker).noted, ranks);
                            prop_assert_eq!(claim.as_ref().map(|claim| table.sequence(claim)), queued.pop_first());
                            producing.extend(claim);
                        }
                        3 => {
                            let Some(claim) = producing.pop() else { break };
                            table.commit(claim, Outcome::default());
                        }
                        4 => {
                            let Some(claim) = arrivals.take(table, Wanted::Any) else { break };
                            table.release(claim);
                        }
                        _ => {
                            let Some(lost) = producing.pop() else { break };
                            queued.insert(table.sequence(&lost));
                            table.reclaim_worker(place(producing.len()), None);
                            table.restore();
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn expectation_that_a_plugin_wrote_over_hides_no_message() {
        for word in [0, 1, u64::MAX, u64::MAX << 32, 0xffff << 32, 1 << 63] {
            let segment = segment(3);
            let (table, mut supply) = (segment.table(), Supply::default());
            (0..3).for_each(|sequence| {
                table.publish(table.claim_free(&mut supply).expect("a free slot"), sequence, 1);
            });
            table.control.queued.next.store(word, Ordering::Relaxed);
            let noted = &segment.worker_place(Place::FIRST).noted;
            let claims = std::iter::from_fn(|| table.claim_queued(Place::FIRST, noted, 1));
            let mut sequences: Vec<u64> = claims.map(|claim| table.sequence(&claim)).collect();
            sequences.sort();
            assert_eq!(sequences, [0, 1, 2]);
        }
    }
}
