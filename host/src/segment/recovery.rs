//! Recovery: what becomes of the slots of processes that died. For the supervisor, once they were reaped.
//!
//! Whoever is called dead here must be: taking a slot back from a living process tears its payload.

use super::claim::{Claim, Producing};
use super::clock;
use super::place::Place;
use super::sync::Ordering;
use super::table::Table;
use super::word::{Owner, SlotState, Snapshot};

/// What became of a dead worker's slot.
#[derive(Debug)]
pub(crate) enum Reclaimed {
    /// Its message is queued again.
    Requeued { sequence: u64, attempts: u32 },
    /// Its message was tried often enough; the claim is now the supervisor's, to commit a report.
    GivenUp { claim: Claim<Producing>, sequence: u64, attempts: u32 },
}

impl Table<'_> {
    /// After a death, and where somebody may have written over the hints: sets them all anew, and wakes everyone. The dead may have changed a
    /// slot's word and not yet said so, taken hints that they did not come to follow, and swallowed a wake.
    pub(crate) fn restore(self) {
        for (index, slot) in self.slots.iter().enumerate() {
            match slot.word.load().state() {
                SlotState::Free => self.free.add(index),
                SlotState::Ready => self.ready.add(index),
                SlotState::Writing | SlotState::Reading => {}
            }
        }
        self.note_requeue();
        self.wake_everyone();
    }

    /// The message in the slot that the worker in a place holds.
    pub(crate) fn held_by(self, place: Place) -> Option<u64> {
        let held = |snapshot: Snapshot, _| snapshot.is(SlotState::Writing, Owner::Worker(place));
        self.oldest(held).map(|(.., sequence)| sequence)
    }

    /// Whether a message is of a crew's share. Where a dead worker's is not, the worker was cut off, and died before it gave it back.
    pub(crate) fn is_of_share(self, crew: usize, sequence: u64) -> bool {
        self.control.shares.now().of(crew).contains(&sequence)
    }

    /// Whether there is a message that only this crew may take.
    pub(crate) fn has_work(self, crew: usize) -> bool {
        self.oldest_queued(self.control.shares.now().of(crew)).is_some()
    }

    /// Takes back what a dead worker held: its message is queued again, or given up after `max_attempts`. Without them its
    /// death was not the message's doing, and is no attempt.
    pub(crate) fn reclaim_worker(self, place: Place, max_attempts: Option<u32>) -> Option<Reclaimed> {
        let held = |snapshot: Snapshot, _| snapshot.is(SlotState::Writing, Owner::Worker(place));
        let (index, snapshot, sequence) = self.oldest(held)?;
        let slot = &self.slots[index];
        let attempts = snapshot.attempts() + u32::from(max_attempts.is_some());
        if max_attempts.is_some_and(|most| attempts >= most) {
            let claim = Claim { index, snapshot, role: Producing { place } };
            return Some(Reclaimed::GivenUp { claim, sequence, attempts });
        }
        slot.since_nanos.store(clock::now_nanos(), Ordering::Relaxed);
        slot.word.transition_to_requeued(snapshot, place, attempts)?;
        self.note_requeue();
        Some(Reclaimed::Requeued { sequence, attempts })
    }

    /// Takes back what the dead commander held. A message that it had counted as queued is queued, others never were.
    pub(crate) fn reclaim_commander(self) {
        let held = |snapshot: Snapshot, _| snapshot.is(SlotState::Writing, Owner::Commander);
        while let Some((index, snapshot, _)) = self.oldest(held) {
            let slot = &self.slots[index];
            let sequence = slot.sequence.load(Ordering::Relaxed);
            if sequence != 0 && sequence == self.control.commanded.load(Ordering::Acquire) {
                slot.word.transition_to_queued(snapshot);
            } else {
                slot.sequence.store(0, Ordering::Relaxed);
                slot.word.transition_to_abandoned(snapshot);
            }
        }
        self.queue.mend();
    }
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;
    use crate::segment::arrivals::{Arrivals, Wanted};
    use crate::segment::fixture::segment;
    use crate::segment::memory::Segment;
    use crate::segment::search::Scout;
    use crate::segment::slot::Outcome;
    use crate::segment::table::Supply;

    const PLACE: Place = Place::FIRST;

    fn claim(segment: &Segment, scout: &mut Scout) -> Option<Claim<Producing>> {
        segment.table().claim_queued(PLACE, &segment.worker_place(PLACE).noted, scout)
    }

    #[test]
    fn is_the_last_message_of_a_dead_commander_found_whose_slot_an_old_entry_names() {
        let segment = segment(3);
        let table = segment.table();
        table.want(0);
        // An earlier death.
        table.restore();
        let (mut supply, mut scout, mut arrivals) = (Supply::default(), Scout::default(), Arrivals::new(3));
        // Message 0 in slot 0: a worker that looks at all slots takes it before it is entered.
        let held = table.claim_free(&mut supply).unwrap();
        assert_eq!(held.index(), 0);
        table.queue_unentered(held, 0, 1);
        let claimed = claim(&segment, &mut scout).unwrap();
        table.queue.enter(0);
        table.commit(claimed, Outcome::default());
        table.release(arrivals.take(table, Wanted::Sequence(0)).unwrap());
        // Messages 1 and 2 in slots 1 and 2; slot 0 is claimed for message 3.
        for sequence in 1..3 {
            let held = table.claim_free(&mut supply).unwrap();
            table.publish(held, sequence, 1);
        }
        let held = table.claim_free(&mut supply).unwrap();
        assert_eq!(held.index(), 0);
        // The worker goes by entry 0, whose slot the commander holds, and claims message 1 ...
        let seen = table.slots[1].word.load();
        let snapshot = table.slots[1].word.transition_to_producing(seen, PLACE).unwrap();
        // ... meanwhile message 3 is queued, and the commander killed before it enters it, and buried ...
        table.queue_unentered(held, 3, 1);
        table.reclaim_commander();
        table.restore();
        // ... and the worker goes on.
        table.queue.pass(1);
        table.slots[1].word.transition_to_ready(snapshot, PLACE).unwrap();
        table.ready.add(1);
        let claimed = claim(&segment, &mut scout).expect("message 2");
        assert_eq!(table.sequence(&claimed), 2);
        table.commit(claimed, Outcome::default());
        let claimed = claim(&segment, &mut scout).expect("message 3");
        assert_eq!(table.sequence(&claimed), 3);
    }

    #[test]
    fn is_a_message_found_whose_entry_was_written_over_while_later_ones_were_taken() {
        let segment = segment(2);
        let table = segment.table();
        table.want(u64::MAX);
        let (mut supply, mut scout, mut arrivals) = (Supply::default(), Scout::default(), Arrivals::new(2));
        // After an earlier death, a worker that looks at all slots takes message 0 before it is entered.
        table.restore();
        let held = table.claim_free(&mut supply).unwrap();
        table.queue_unentered(held, 0, 1);
        let claimed = claim(&segment, &mut scout).unwrap();
        table.queue.enter(0);
        table.commit(claimed, Outcome::default());
        table.release(arrivals.take(table, Wanted::Any).unwrap());
        assert!(claim(&segment, &mut scout).is_none(), "nothing is left to look for in all slots");
        // Message 1 is in slot 1; the old entry leads to message 2 in slot 0, which is done before it.
        let held = table.claim_free(&mut supply).unwrap();
        table.publish(held, 1, 1);
        let held = table.claim_free(&mut supply).unwrap();
        assert_eq!(held.index(), 0);
        table.queue_unentered(held, 2, 1);
        let claimed = claim(&segment, &mut scout).unwrap();
        assert_eq!(table.sequence(&claimed), 2);
        table.queue.enter(0);
        table.commit(claimed, Outcome::default());
        table.release(arrivals.take(table, Wanted::Any).unwrap());
        // The entry of message 3, in slot 0 again, takes the place of that of message 1.
        let held = table.claim_free(&mut supply).unwrap();
        table.publish(held, 3, 1);
        let found: Vec<u64> = std::iter::from_fn(|| claim(&segment, &mut scout))
            .map(|claimed| {
                let sequence = table.sequence(&claimed);
                table.commit(claimed, Outcome::default());
                sequence
            })
            .collect();
        assert_eq!(found, [1, 3]);
    }
}
