//! The operations on slots: claim, publish, commit, release, and look at them.
//!
//! Each operation changes a slot's word by one transition, which publishes everything that was
//! written under the claim. Then it adds the slot to a set (`slot_set`; `queue` has the exception)
//! and wakes the processes that may wait for it. `search` has a worker's claim, `recovery` the
//! slots of dead processes.

use std::time::{Duration, Instant};

use super::claim::{Claim, Commanding, Producing, Reading, Role};
use super::clock;
use super::control::Control;
use super::failpoint::Failpoint;
use super::patience::Patience;
use super::queue::Queue;
use super::slot::{Outcome, SlotHeader, SlotLook, Written};
use super::slot_set::{Members, SlotSet};
use super::sync::{Ordering, will_write};
use super::word::{Owner, Snapshot};
use crate::limits::LOW_BACKLOG_PART;

/// The slots of a run, and what its processes share beside them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Table<'a> {
    pub(crate) control: &'a Control,
    pub(crate) slots: &'a [SlotHeader],
}

/// The free slots that a commander has taken from the set and not claimed yet.
#[derive(Debug, Default)]
pub(crate) struct Supply {
    free: Members,
}

impl<'a> Table<'a> {
    /// The slots that may be free.
    pub(super) fn free(self) -> SlotSet<'a> {
        self.control.free.slots.of(self.slots.len())
    }

    /// The slots that may be ready.
    pub(super) fn ready(self) -> SlotSet<'a> {
        self.control.ready.slots.of(self.slots.len())
    }

    /// The slots that may have a queued message.
    pub(crate) fn queue(self) -> Queue<'a> {
        self.control.queued.of(self.slots.len())
    }

    /// Whether a new crew may begin.
    pub(crate) fn is_open_for(self, crew: usize) -> bool {
        self.control.shares.is_open_for(crew)
    }

    /// Gives all messages from now on to the other crew, and returns the first of them. `taken`
    /// returns the least number above all that the workers of the old crew have noted.
    pub(crate) fn cut(self, old: usize, taken: impl FnOnce() -> u64) -> u64 {
        let first = self.control.shares.cut(old, taken, || self.commanded());
        self.wake_everyone();
        first
    }

    /// Adds all slots to the free set, and makes this the first message. Before a commander is
    /// started.
    pub(crate) fn begin_at(self, sequence: u64) {
        (0..self.slots.len()).for_each(|slot| self.free().add(slot));
        self.control.progress.commanded.store(sequence, Ordering::Release);
        self.control.shares.begin_at(sequence);
    }

    // The commander's part, or the application's if it is the commander.

    /// Claims a free slot for a message.
    pub(crate) fn claim_free(self, supply: &mut Supply) -> Option<Claim<Commanding>> {
        loop {
            let Some(index) = supply.free.next() else {
                supply.free = self.free().take()?;
                continue;
            };
            if let Some(claim) = self.claim_if_free(index) {
                return Some(claim);
            }
        }
    }

    /// Waits for a free slot until the deadline, after a look in vain. Meanwhile workers know that they
    /// may have to wake this process. If it dies, they look in vain until the next wait ends.
    pub(crate) fn wait_for_free<T>(
        self,
        patience: &Patience,
        deadline: Option<Instant>,
        look: impl FnMut() -> Option<T>,
    ) -> (Option<T>, Duration) {
        self.queue().set_starved(true);
        // Nothing is queued meanwhile: no worker may sleep beside one that has more than it can do.
        let sleeps = || {
            self.queue().wake_for_the_rest();
            None
        };
        let found = self.control.free.event.wait_and_tell(patience, deadline, look, sleeps);
        self.queue().set_starved(false);
        found
    }

    /// Claims a free slot for a message of the application: the first from the slot `from` on. The
    /// other free slots stay in the set, where a worker sees that a sleeping thread may be woken for
    /// them. Threads do this one after the other.
    pub(crate) fn claim_free_from(self, from: usize) -> Option<Claim<Commanding>> {
        self.free().members_from(from).find_map(|index| {
            // Before the word is read: a slot that is freed afterwards is added again.
            self.free().remove(index);
            self.claim_if_free(index)
        })
    }

    fn claim_if_free(self, index: usize) -> Option<Claim<Commanding>> {
        let slot = self.slots.get(index)?;
        will_write(&slot.word);
        let snapshot = slot.word.transition_to_commanding(slot.word.load())?;
        slot.since_nanos.store(clock::now_nanos(), Ordering::Relaxed);
        self.control.armed.pass(Failpoint::CommandClaimed);
        Some(Claim { index, snapshot, role: Commanding })
    }

    /// Queues the message that was written into the claimed slot.
    pub(crate) fn publish(self, claim: Claim<Commanding>, sequence: u64, message_bytes: usize) {
        let slot = &self.slots[claim.index];
        slot.message_bytes.store(message_bytes as u32, Ordering::Relaxed);
        slot.sequence.store(sequence + 1, Ordering::Relaxed);
        let now = clock::now_nanos();
        slot.since_nanos.store(now, Ordering::Relaxed);
        // From here on the message counts as queued, although its word does not say so yet: see
        // `reclaim_commander`.
        self.control.progress.commanded.store(sequence + 1, Ordering::Release);
        self.control.armed.pass(Failpoint::CommandCounted);
        // Before the word changes: see `queue`.
        self.queue().set.add(claim.index);
        expect_held(slot.word.transition_to_queued(claim.snapshot));
        self.control.armed.pass(Failpoint::CommandQueued);
        self.control.queued.event.notify_one_if(|| {
            let woken = &self.control.progress.woken_nanos;
            if self.queue().is_tended(now, woken.load(Ordering::Relaxed)) {
                return None;
            }
            woken.store(now, Ordering::Relaxed);
            Some(self.queue().last_sleeper())
        });
    }

    /// Frees the claimed slot, if there is no message for it.
    pub(crate) fn abandon(self, claim: Claim<Commanding>) {
        expect_held(self.slots[claim.index].word.transition_to_abandoned(claim.snapshot));
        self.free().add(claim.index);
    }

    /// Ends the stream before message `end`.
    pub(crate) fn end_stream(self, end: u64) {
        let order = std::sync::atomic::Ordering::Relaxed;
        let _ = self.control.ended_nanos.compare_exchange(0, clock::now_nanos(), order, order);
        self.control.end.store(end.saturating_add(1), Ordering::Release);
        self.control.ready.event.notify_all();
        // No later message wakes a worker for those that were left to one, see `queue`.
        self.queue().wake_for_the_rest();
    }

    pub(crate) fn set_total(self, total: Option<u64>) {
        self.control.total.store(total.map_or(0, |total| total.saturating_add(1)), Ordering::Relaxed);
    }

    // A worker's part.

    /// Whether few enough messages are queued to wake a sleeping commander, which then fills all
    /// free slots. A wake for each slot would cost more than the messages. The process that makes
    /// the backlog low or frees a slot wakes it: a worker or a consumer.
    pub(super) fn is_backlog_low(self) -> bool {
        !self.queue().set.has_more_than(self.slots.len() / LOW_BACKLOG_PART)
    }

    /// Makes the claimed slot's batch, or the report in its place, ready.
    pub(crate) fn commit(self, claim: Claim<Producing>, outcome: Outcome) {
        let slot = &self.slots[claim.index];
        // After the batch is ready, the slot may soon hold another message.
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
        self.ready().add(claim.index);
        self.control
            .ready
            .event
            .notify_all_if(|| sequence <= self.control.ready.wanted.load(Ordering::Relaxed));
    }

    // The application's part.

    /// Sets the last message whose batch a consumer waits for. The consumer calls it before it
    /// looks for the batch.
    pub(crate) fn want(self, sequence: u64) {
        self.control.ready.wanted.store(sequence, Ordering::Relaxed);
    }

    /// Frees the slot of a batch.
    #[inline]
    pub(crate) fn release(self, claim: Claim<Reading>) {
        let slot = &self.slots[claim.index];
        slot.sequence.store(0, Ordering::Relaxed);
        expect_held(slot.word.transition_to_free(claim.snapshot));
        self.free().add(claim.index);
        self.control.free.event.notify_all_if(|| self.is_backlog_low());
    }

    // The supervisor's part; more of it is in `recovery`.

    /// Wakes all processes, so that they look again.
    pub(crate) fn wake_everyone(self) {
        self.control.queued.event.rouse();
        self.control.free.event.rouse();
        self.control.ready.event.rouse();
        self.control.shares.opened.rouse();
    }

    /// Makes every process stop at its next look.
    pub(crate) fn request_stop(self) {
        self.control.stop.store(1, Ordering::SeqCst);
        self.wake_everyone();
    }

    // For every process.

    pub(crate) fn stop_requested(self) -> bool {
        self.control.stop.load(Ordering::SeqCst) != 0
    }

    /// The number of messages of the whole stream, if it has ended.
    pub(crate) fn end(self) -> Option<u64> {
        self.control.end.load(Ordering::Acquire).checked_sub(1)
    }

    /// How long the commander has waited for free slots, and has had nothing to do since the stream's end.
    pub(crate) fn commander_idle(self) -> Duration {
        let waited = Duration::from_nanos(self.control.progress.wait_nanos.load(Ordering::Relaxed));
        match self.control.ended_nanos.load(std::sync::atomic::Ordering::Relaxed) {
            0 => waited,
            ended => waited.saturating_add(clock::since(ended)),
        }
    }

    /// The number of messages that the commander expects.
    pub(crate) fn total(self) -> Option<u64> {
        self.control.total.load(Ordering::Relaxed).checked_sub(1)
    }

    /// The number of the next message to be queued.
    pub(crate) fn commanded(self) -> u64 {
        self.control.progress.commanded.load(Ordering::Acquire)
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

    /// Whether a claimed slot has a report in place of a batch.
    pub(crate) fn is_failed(self, claim: &Claim<Reading>) -> bool {
        self.slots[claim.index].failed.load(Ordering::Relaxed) != 0
    }

    /// The outcome of the batch in a claimed slot.
    pub(crate) fn outcome(self, claim: &Claim<Reading>) -> Outcome {
        self.outcome_at(claim.index)
    }

    /// The outcome of the batch in a slot, without a claim: another batch's, if the slot is in use
    /// again. For reports only.
    pub(crate) fn outcome_at(self, slot: usize) -> Outcome {
        let slot = &self.slots[slot];
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

    /// Each slot at this moment.
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
            // A free slot has no message number.
            let sequence = header.sequence.load(Ordering::Relaxed).checked_sub(1)?;
            let there = bytes > 0 && snapshot.owner() != Owner::Commander;
            there.then_some(Written { slot, snapshot, sequence, bytes })
        };
        self.slots.iter().enumerate().filter_map(written).collect()
    }

    /// The slot with the least message number among those whose word and number are as wanted.
    pub(super) fn oldest(self, wanted: impl Fn(Snapshot, u64) -> bool) -> Option<(usize, Snapshot, u64)> {
        let candidates = self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let snapshot = slot.word.load();
            let sequence = slot.message_number();
            wanted(snapshot, sequence).then_some((index, snapshot, sequence))
        });
        candidates.min_by_key(|&(.., sequence)| sequence)
    }
}

/// Only its holder changes a claimed slot, so the holder's transitions succeed. They fail only if a
/// plugin wrote over the word; then the slot stays as the plugin left it.
fn expect_held(transition: Option<Snapshot>) {
    if transition.is_none() {
        tracing::error!(
            "a slot was changed by a process that did not hold it; did a plugin write outside its arrays?"
        );
    }
}
