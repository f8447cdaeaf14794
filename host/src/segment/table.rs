//! What the processes of a run do with its slots: claim them, publish, commit, release, and look at them.
//!
//! Each changes a slot's word by one transition, which publishes what was written under the claim before; then it says where to find
//! the slot (`slot_set`, `queue`), and whoever may wait for it is woken. How a worker comes by a message is in `search`, what becomes of the
//! slots of the dead in `recovery`.

use super::claim::{Claim, Commanding, Producing, Reading, Role};
use super::clock;
use super::control::Control;
use super::failpoint::Failpoint;
use super::queue::Queue;
use super::slot::{Outcome, SlotHeader, SlotLook, Written};
use super::slot_set::{Members, SlotSet};
use super::sync::Ordering;
use super::word::{Owner, SlotState, Snapshot};
use crate::limits::LOW_BACKLOG_PART;

/// The slots of a run and what is shared beside them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Table<'a> {
    pub(crate) control: &'a Control,
    pub(crate) slots: &'a [SlotHeader],
    /// Those that may be free.
    pub(super) free: SlotSet<'a>,
    /// Those that may be ready.
    pub(super) ready: SlotSet<'a>,
    pub(super) queue: Queue<'a>,
}

/// What a commander's process knows: the free slots that it has come upon and not yet claimed.
#[derive(Debug, Default)]
pub(crate) struct Supply {
    free: Members,
}

impl Table<'_> {
    /// Whether a new crew may begin.
    pub(crate) fn is_open_for(self, crew: usize) -> bool {
        self.control.shares.is_open_for(crew)
    }

    /// Hands all messages from now on over to the other crew; gives the first of them. `taken` gives the least number above all that
    /// the workers of the old crew have noted.
    pub(crate) fn cut(self, old: usize, taken: impl FnOnce() -> u64) -> u64 {
        let first = self.control.shares.cut(old, taken, || self.commanded());
        self.wake_everyone();
        first
    }

    /// Makes all slots known as free, and this the first message to be queued. Before there is a commander.
    pub(crate) fn begin_at(self, sequence: u64) {
        (0..self.slots.len()).for_each(|slot| self.free.add(slot));
        self.control.commanded.store(sequence, Ordering::Release);
        self.control.shares.begin_at(sequence);
    }

    // The commander's part.

    /// Claims a free slot for a message.
    pub(crate) fn claim_free(self, supply: &mut Supply) -> Option<Claim<Commanding>> {
        loop {
            let Some(index) = supply.free.next() else {
                supply.free = self.free.take()?;
                continue;
            };
            let Some(slot) = self.slots.get(index) else { continue };
            if let Some(snapshot) = slot.word.transition_to_commanding(slot.word.load()) {
                slot.since_nanos.store(clock::now_nanos(), Ordering::Relaxed);
                self.control.armed.pass(Failpoint::CommandClaimed);
                return Some(Claim { index, snapshot, role: Commanding });
            }
        }
    }

    /// Queues the message that was written into the claimed slot.
    pub(crate) fn publish(self, claim: Claim<Commanding>, sequence: u64, message_bytes: usize) {
        let slot = claim.index;
        self.queue_unentered(claim, sequence, message_bytes);
        if self.queue.is_lapped() {
            self.note_requeue();
        }
        self.queue.enter(slot);
        self.control.queued.notify_one();
    }

    /// The message is queued, and no entry leads to it yet.
    pub(super) fn queue_unentered(self, claim: Claim<Commanding>, sequence: u64, message_bytes: usize) {
        let slot = &self.slots[claim.index];
        slot.message_bytes.store(message_bytes as u32, Ordering::Relaxed);
        slot.sequence.store(sequence + 1, Ordering::Relaxed);
        slot.since_nanos.store(clock::now_nanos(), Ordering::Relaxed);
        // From here on the message counts as queued, though its word does not say so yet: see `reclaim_commander`.
        self.control.commanded.store(sequence + 1, Ordering::Release);
        self.control.armed.pass(Failpoint::CommandCounted);
        expect_held(slot.word.transition_to_queued(claim.snapshot));
        self.control.armed.pass(Failpoint::CommandQueued);
    }

    /// Gives the claimed slot back: no message came of it.
    pub(crate) fn abandon(self, claim: Claim<Commanding>) {
        expect_held(self.slots[claim.index].word.transition_to_abandoned(claim.snapshot));
        self.free.add(claim.index);
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

    /// Whether so few messages are queued that a sleeping commander is to be woken, to fill all free slots: waking it for each would cost
    /// more than its messages. Whoever gets there wakes it, be it by taking a message or by giving a slot back.
    pub(super) fn is_backlog_low(self) -> bool {
        let low = self.slots.len() as u64 / LOW_BACKLOG_PART;
        let is_queued = |slot: &SlotHeader| slot.word.load().is(SlotState::Writing, Owner::Nobody);
        if self.queue.backlog() > low {
            self.queue.settle(|index| self.slots.get(index).is_some_and(is_queued));
        }
        self.queue.backlog() <= low
    }

    /// Says that a message was queued that the queue does not lead to.
    pub(super) fn note_requeue(self) {
        self.control.requeues.fetch_add(1, Ordering::AcqRel);
    }

    /// Makes the claimed slot's batch, or the report in its place, ready.
    pub(crate) fn commit(self, claim: Claim<Producing>, outcome: Outcome) {
        let slot = &self.slots[claim.index];
        // Once the batch is ready the slot may soon be another message's.
        let sequence = slot.message_number();
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
        self.ready.add(claim.index);
        self.control.ready.notify_all_if(|| sequence <= self.control.wanted.load(Ordering::Relaxed));
    }

    // The application's part.

    /// Says which message's batch is the last that a consumer waits for. Before it looks for it.
    pub(crate) fn want(self, sequence: u64) {
        self.control.wanted.store(sequence, Ordering::Relaxed);
    }

    /// Gives the slot of a batch back.
    pub(crate) fn release(self, claim: Claim<Reading>) {
        let slot = &self.slots[claim.index];
        slot.sequence.store(0, Ordering::Relaxed);
        expect_held(slot.word.transition_to_free(claim.snapshot));
        self.free.add(claim.index);
        self.control.freed.notify_all_if(|| self.is_backlog_low());
    }

    // The supervisor's part; more of it is in `recovery`.

    /// Wakes everyone to look again.
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
        self.slots[claim.index].message_number()
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

    /// The slot with the least sequence number among those whose word and number are as wanted.
    pub(super) fn oldest(self, wanted: impl Fn(Snapshot, u64) -> bool) -> Option<(usize, Snapshot, u64)> {
        let candidates = self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let snapshot = slot.word.load();
            let sequence = slot.message_number();
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
