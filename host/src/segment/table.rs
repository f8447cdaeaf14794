//! What the processes of a run do with its slots: claim them, publish, commit, release, and look at them.
//!
//! Each changes a slot's word by one transition, which publishes what was written under the claim before; whoever may wait for it
//! is woken afterwards. What becomes of the slots of the dead is in `recovery`.

use std::ops::Range;

use super::claim::{Claim, Commanding, Producing, Reading, Role};
use super::clock;
use super::control::Control;
use super::failpoint::Failpoint;
use super::shares::crew_of;
use super::slot::{Outcome, SlotHeader, SlotLook, Written};
use super::sync::{AtomicU64, Ordering};
use super::word::{Owner, SlotState, Snapshot};

/// Which ready batch a consumer wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// This one only.
    Sequence(u64),
    /// The oldest of those that are ready.
    Any,
}

/// The slots of a run and what is shared beside them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Table<'a> {
    pub(crate) control: &'a Control,
    pub(crate) slots: &'a [SlotHeader],
}

impl Table<'_> {
    /// Makes this the first message to be queued. Before there is a commander.
    pub(crate) fn begin_at(self, sequence: u64) {
        self.control.commanded.store(sequence, Ordering::Release);
        self.control.shares.begin_at(sequence);
    }

    // The commander's part.

    /// Claims a free slot for a message.
    pub(crate) fn claim_free(self) -> Option<Claim<Commanding>> {
        self.slots.iter().enumerate().find_map(|(index, slot)| {
            let snapshot = slot.word.transition_to_commanding(slot.word.load())?;
            slot.since_nanos.store(clock::now_nanos(), Ordering::Relaxed);
            self.control.armed.pass(Failpoint::CommandClaimed);
            Some(Claim { index, snapshot, role: Commanding })
        })
    }

    /// Queues the message that was written into the claimed slot.
    pub(crate) fn publish(self, claim: Claim<Commanding>, sequence: u64, message_bytes: usize) {
        let slot = &self.slots[claim.index];
        slot.message_bytes.store(message_bytes as u32, Ordering::Relaxed);
        slot.sequence.store(sequence + 1, Ordering::Relaxed);
        slot.since_nanos.store(clock::now_nanos(), Ordering::Relaxed);
        // From here on the message counts as queued, though its word does not say so yet: see `reclaim_commander`.
        self.control.commanded.store(sequence + 1, Ordering::Release);
        self.control.armed.pass(Failpoint::CommandCounted);
        expect_held(slot.word.transition_to_queued(claim.snapshot));
        self.control.armed.pass(Failpoint::CommandQueued);
        self.control.queued.notify_one();
    }

    /// Gives the claimed slot back: no message came of it.
    pub(crate) fn abandon(self, claim: Claim<Commanding>) {
        expect_held(self.slots[claim.index].word.transition_to_abandoned(claim.snapshot));
    }

    /// Says that the stream ends before message `end`.
    pub(crate) fn end_stream(self, end: u64) {
        self.control.end.store(end.saturating_add(1), Ordering::Release);
        self.control.ready.notify_all();
    }

    pub(crate) fn set_total(self, total: Option<u64>) {
        self.control.total.store(total.map_or(0, |total| total.saturating_add(1)), Ordering::Relaxed);
    }

    // A worker's part.

    /// Claims the oldest queued message of its crew's share for the worker in a place. `noted` is the worker's own note of how far it has
    /// come, see `shares`.
    pub(crate) fn claim_queued(self, place: u32, noted: &AtomicU64) -> Option<Claim<Producing>> {
        let (shares, crew) = (&self.control.shares, crew_of(place));
        loop {
            let (index, seen, sequence) = self.oldest_queued(shares.glance().of(crew))?;
            if noted.load(Ordering::Relaxed) <= sequence {
                noted.store(sequence.saturating_add(1), Ordering::SeqCst);
            }
            // Where another worker was faster, look again: each such loss is another's gain.
            let Some(snapshot) = self.slots[index].word.transition_to_producing(seen, place) else {
                continue;
            };
            if !shares.now().of(crew).contains(&sequence) {
                // Cut off in between: the other crew's.
                self.slots[index].word.transition_to_requeued(snapshot, place, snapshot.attempts());
                self.control.queued.notify_all();
                continue;
            }
            self.control.armed.pass(Failpoint::WorkClaimed);
            return Some(Claim { index, snapshot, role: Producing { place } });
        }
    }

    /// Makes the claimed slot's batch, or the report in its place, ready.
    pub(crate) fn commit(self, claim: Claim<Producing>, outcome: Outcome) {
        let slot = &self.slots[claim.index];
        slot.since_nanos.store(clock::now_nanos(), Ordering::Relaxed);
        slot.failed.store(outcome.failed.into(), Ordering::Relaxed);
        slot.outcome_bytes.store(outcome.bytes as u32, Ordering::Relaxed);
        slot.rows.store(outcome.rows.map_or(u64::MAX, |rows| rows as u64), Ordering::Relaxed);
        slot.produce_nanos.store(outcome.nanos, Ordering::Relaxed);
        self.control.armed.pass(Failpoint::CommitHalfWritten);
        slot.worker.store(outcome.worker, Ordering::Relaxed);
        slot.edition.store(outcome.edition, Ordering::Relaxed);
        expect_held(slot.word.transition_to_ready(claim.snapshot, claim.role.place));
        self.control.armed.pass(Failpoint::CommitReady);
        self.control.ready.notify_all();
    }

    // The application's part.

    /// Takes a ready batch.
    pub(crate) fn take_ready(self, wanted: Wanted) -> Option<Claim<Reading>> {
        loop {
            let ready = |snapshot: Snapshot| snapshot.state() == SlotState::Ready;
            let (index, seen) = match wanted {
                Wanted::Any => {
                    self.oldest(|snapshot, _| ready(snapshot)).map(|(index, seen, _)| (index, seen))?
                }
                Wanted::Sequence(sequence) => self.slots.iter().enumerate().find_map(|(index, slot)| {
                    let snapshot = slot.word.load();
                    let found =
                        ready(snapshot) && slot.sequence.load(Ordering::Relaxed) == sequence.wrapping_add(1);
                    found.then_some((index, snapshot))
                })?,
            };
            if let Some(snapshot) = self.slots[index].word.transition_to_reading(seen) {
                self.slots[index].since_nanos.store(clock::now_nanos(), Ordering::Relaxed);
                return Some(Claim { index, snapshot, role: Reading });
            }
        }
    }

    /// Gives the slot of a batch back.
    pub(crate) fn release(self, claim: Claim<Reading>) {
        let slot = &self.slots[claim.index];
        slot.sequence.store(0, Ordering::Relaxed);
        expect_held(slot.word.transition_to_free(claim.snapshot));
        self.control.freed.notify_one();
    }

    // The supervisor's part; more of it is in `recovery`.

    /// Wakes everyone: after a death, which may have swallowed a wake, and at a stop.
    pub(crate) fn wake_everyone(self) {
        self.control.queued.rouse();
        self.control.freed.rouse();
        self.control.ready.rouse();
        self.control.shares.opened.rouse();
    }

    /// Makes every process stop at its next look.
    pub(crate) fn request_stop(self) {
        self.control.stop.store(1, Ordering::SeqCst);
        self.wake_everyone();
    }

    // What anyone may ask.

    pub(crate) fn stop_requested(self) -> bool {
        self.control.stop.load(Ordering::SeqCst) != 0
    }

    /// The number of messages of the whole stream, once it is over.
    pub(crate) fn end(self) -> Option<u64> {
        self.control.end.load(Ordering::Acquire).checked_sub(1)
    }

    /// The number of messages that the commander expects.
    pub(crate) fn total(self) -> Option<u64> {
        self.control.total.load(Ordering::Relaxed).checked_sub(1)
    }

    /// The number of the next message to be queued.
    pub(crate) fn commanded(self) -> u64 {
        self.control.commanded.load(Ordering::Acquire)
    }

    /// The number of slots in each state: free, writing, ready, reading.
    pub(crate) fn occupancy(self) -> [usize; 4] {
        let mut count = [0; 4];
        for slot in self.slots {
            count[slot.word.load().state() as usize] += 1;
        }
        count
    }

    /// The sequence number of the message in a claimed slot.
    pub(crate) fn sequence(self, claim: &Claim<impl Role>) -> u64 {
        self.slots[claim.index].sequence.load(Ordering::Relaxed).saturating_sub(1)
    }

    /// The length of the message in a claimed slot.
    pub(crate) fn message_bytes(self, claim: &Claim<impl Role>) -> usize {
        self.slots[claim.index].message_bytes.load(Ordering::Relaxed) as usize
    }

    /// What was said of the batch in a taken slot.
    pub(crate) fn outcome(self, claim: &Claim<Reading>) -> Outcome {
        let slot = &self.slots[claim.index];
        let rows = slot.rows.load(Ordering::Relaxed);
        Outcome {
            failed: slot.failed.load(Ordering::Relaxed) != 0,
            bytes: slot.outcome_bytes.load(Ordering::Relaxed) as usize,
            rows: (rows != u64::MAX).then_some(rows as usize),
            nanos: slot.produce_nanos.load(Ordering::Relaxed),
            worker: slot.worker.load(Ordering::Relaxed),
            edition: slot.edition.load(Ordering::Relaxed),
        }
    }

    /// What each slot holds.
    pub(crate) fn look(self) -> impl Iterator<Item = SlotLook> {
        self.slots.iter().map(|slot| {
            let snapshot = slot.word.load();
            SlotLook {
                state: snapshot.state(),
                owner: snapshot.owner(),
                attempts: snapshot.attempts(),
                sequence: slot.sequence.load(Ordering::Relaxed).checked_sub(1),
                since_nanos: slot.since_nanos.load(Ordering::Relaxed),
            }
        })
    }

    /// The messages in the slots.
    pub(super) fn messages(self) -> Vec<Written> {
        let written = |(slot, header): (usize, &SlotHeader)| {
            let snapshot = header.word.load();
            let bytes = header.message_bytes.load(Ordering::Relaxed) as usize;
            // A slot that is free by now no longer knows its message's number.
            let sequence = header.sequence.load(Ordering::Relaxed).checked_sub(1)?;
            let there = bytes > 0 && snapshot.owner() != Owner::Commander;
            there.then_some(Written { slot, snapshot, sequence, bytes })
        };
        self.slots.iter().enumerate().filter_map(written).collect()
    }

    /// The slot with the least of these messages that is queued.
    pub(super) fn oldest_queued(self, messages: Range<u64>) -> Option<(usize, Snapshot, u64)> {
        self.oldest(|snapshot, sequence| {
            snapshot.is(SlotState::Writing, Owner::Nobody) && messages.contains(&sequence)
        })
    }

    /// The slot with the least sequence number among those whose word and number are as wanted.
    pub(super) fn oldest(self, wanted: impl Fn(Snapshot, u64) -> bool) -> Option<(usize, Snapshot, u64)> {
        let candidates = self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let snapshot = slot.word.load();
            // Also where it was written over and is no number any more: the slot is held all the same.
            let sequence = slot.sequence.load(Ordering::Relaxed).saturating_sub(1);
            wanted(snapshot, sequence).then_some((index, snapshot, sequence))
        });
        candidates.min_by_key(|&(.., sequence)| sequence)
    }
}

/// Only its holder changes a claimed slot, so that its transitions succeed; unless somebody wrote over the segment, where the
/// slot is then left to whatever was written.
fn expect_held(transition: Option<Snapshot>) {
    if transition.is_none() {
        tracing::error!(
            "a slot was changed by somebody who did not hold it; did a plugin write outside of its arrays?"
        );
    }
}
