//! Recovery: what happens to the slots of dead processes. Only the supervisor calls it, after they
//! were reaped.
//!
//! ```text
//!   reaped ─► take back its slots ─► restore: set the hints again from all words, wake all processes
//! ```
//!
//! A process that is called dead here must be dead: taking a slot back from a living process tears
//! its payload.

use super::claim::{Claim, Producing};
use super::clock;
use super::place::Place;
use super::sync::Ordering;
use super::table::Table;
use super::word::{Owner, SlotState, Snapshot};

/// The outcome for a dead worker's slot.
#[derive(Debug)]
pub(crate) enum Reclaimed {
    /// Its message is queued again.
    Requeued { sequence: u64, attempts: u32 },
    /// Its message had its last attempt. The supervisor now has the claim, to commit a report.
    GivenUp { claim: Claim<Producing>, sequence: u64, attempts: u32 },
}

impl Table<'_> {
    /// Sets all hints again from the slots' words, and wakes all processes. For every death, and if
    /// a plugin may have written over the hints. A dead process may have changed a word without
    /// adding the slot to a set, taken hints without using them, or received a wake that others
    /// needed.
    pub(crate) fn restore(self) {
        for (index, slot) in self.slots.iter().enumerate() {
            let seen = slot.word.load();
            match (seen.state(), seen.owner()) {
                (SlotState::Free, _) => self.free().add(index),
                (SlotState::Ready, _) => self.ready().add(index),
                // A slot that a worker claims meanwhile must stay out of the set.
                (SlotState::Writing, Owner::Nobody)
                    if !self.queue().set.has(index) && slot.word.load() == seen =>
                {
                    self.queue().set.add(index);
                }
                (SlotState::Writing | SlotState::Reading, _) => {}
            }
        }
        self.queue().note_requeue();
        self.queue().forget_tender();
        self.wake_everyone();
    }

    /// The message in the slot that the worker in a place holds.
    pub(crate) fn held_by(self, place: Place) -> Option<u64> {
        let held = |snapshot: Snapshot, _| snapshot.is(SlotState::Writing, Owner::Worker(place));
        self.oldest(held).map(|(.., sequence)| sequence)
    }

    /// Whether a message belongs to a crew's share. If a dead worker's does not, the cut came
    /// before the worker died, and it died before it gave the message back.
    pub(crate) fn is_of_share(self, crew: usize, sequence: u64) -> bool {
        self.control.shares.now().of(crew).contains(&sequence)
    }

    /// Whether a queued message is left that only this crew may claim.
    pub(crate) fn has_work(self, crew: usize) -> bool {
        let share = self.control.shares.now().of(crew);
        let left = |snapshot: Snapshot, sequence| {
            snapshot.is(SlotState::Writing, Owner::Nobody) && share.contains(&sequence)
        };
        self.oldest(left).is_some()
    }

    /// Takes back a dead worker's slot: queues its message again, or gives it up after
    /// `max_attempts`. Without `max_attempts` the message did not cause the death, so this was no
    /// attempt.
    pub(crate) fn reclaim_worker(self, place: Place, max_attempts: Option<u32>) -> Option<Reclaimed> {
        let held = |snapshot: Snapshot, _| snapshot.is(SlotState::Writing, Owner::Worker(place));
        let (index, snapshot, sequence) = self.oldest(held)?;
        let slot = &self.slots[index];
        let attempts = snapshot.attempts() + u32::from(max_attempts.is_some());
        if max_attempts.is_some_and(|most| attempts >= most) {
            // The worker may have died before it removed the slot.
            self.queue().set.remove(index);
            let claim = Claim { index, snapshot, role: Producing { place } };
            return Some(Reclaimed::GivenUp { claim, sequence, attempts });
        }
        slot.since_nanos.store(clock::now_nanos(), Ordering::Relaxed);
        slot.word.transition_to_requeued(snapshot, place, attempts)?;
        Some(Reclaimed::Requeued { sequence, attempts })
    }

    /// Takes back the dead commander's slots. Queues a message that the commander had counted as
    /// queued, and frees all other slots.
    pub(crate) fn reclaim_commander(self) {
        let held = |snapshot: Snapshot, _| snapshot.is(SlotState::Writing, Owner::Commander);
        while let Some((index, snapshot, _)) = self.oldest(held) {
            let slot = &self.slots[index];
            let sequence = slot.sequence.load(Ordering::Relaxed);
            if sequence != 0 && sequence == self.commanded() {
                slot.word.transition_to_queued(snapshot);
            } else {
                slot.sequence.store(0, Ordering::Relaxed);
                slot.word.transition_to_abandoned(snapshot);
            }
        }
    }
}
