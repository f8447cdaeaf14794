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
            let seen = slot.word.load();
            match (seen.state(), seen.owner()) {
                (SlotState::Free, _) => self.free.add(index),
                (SlotState::Ready, _) => self.ready.add(index),
                // If a worker claims it meanwhile, it must stay out of the set.
                (SlotState::Writing, Owner::Nobody)
                    if !self.queue.set.has(index) && slot.word.load() == seen =>
                {
                    self.queue.set.add(index);
                }
                (SlotState::Writing | SlotState::Reading, _) => {}
            }
        }
        self.queue.note_requeue();
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
        let share = self.control.shares.now().of(crew);
        let left = |snapshot: Snapshot, sequence| {
            snapshot.is(SlotState::Writing, Owner::Nobody) && share.contains(&sequence)
        };
        self.oldest(left).is_some()
    }

    /// Takes back what a dead worker held: its message is queued again, or given up after `max_attempts`. Without them its
    /// death was not the message's doing, and is no attempt.
    pub(crate) fn reclaim_worker(self, place: Place, max_attempts: Option<u32>) -> Option<Reclaimed> {
        let held = |snapshot: Snapshot, _| snapshot.is(SlotState::Writing, Owner::Worker(place));
        let (index, snapshot, sequence) = self.oldest(held)?;
        let slot = &self.slots[index];
        let attempts = snapshot.attempts() + u32::from(max_attempts.is_some());
        if max_attempts.is_some_and(|most| attempts >= most) {
            // The worker may have died before it did.
            self.queue.set.remove(index);
            let claim = Claim { index, snapshot, role: Producing { place } };
            return Some(Reclaimed::GivenUp { claim, sequence, attempts });
        }
        slot.since_nanos.store(clock::now_nanos(), Ordering::Relaxed);
        slot.word.transition_to_requeued(snapshot, place, attempts)?;
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
    }
}
