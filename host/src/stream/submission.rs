//! The application's messages, if it is the commander: queued by its own threads, one after the
//! other, as a commander's process queues its own.
//!
//! ```text
//!   submit ──► encoded ──► lock: over? an older message first; a free slot? ──► number, written, queued
//!                ▲                           └─ none: wait for the turn to sleep on `freed`
//!                └── looks again ◄──────────────┘
//!   checkpoint ──► lock: copies of the messages in all slots, and of those that wait for one
//!   release    ──► lock: the next message of an earlier run, as long as there are any
//! ```
//!
//! Invariants:
//!
//! - **Messages are queued in the order of their numbers**, since the lock is held from the choice of
//!   a number until the message is queued. It is held neither in a wait nor while code of the
//!   application runs, which encodes a message.
//! - **A message is in its slot until its batch is released.** So nothing is copied for a checkpoint
//!   before it is made; and while the lock is held, no message is added.
//! - **A thread sleeps only if it saw no free slot.** As a commander's process, it is woken once few
//!   messages are queued, by the process that releases a slot or claims a message. One thread sleeps
//!   there at a time; when it goes on, in whatever way, the next one looks.
//! - **Messages of an earlier run come first.** As long as some of them have no slot, none is free:
//!   each release queues the next.

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use parking_lot::{Mutex, MutexGuard};

use crate::record::ledger::Ledger;
use crate::record::letter::Letter;
use crate::segment::claim::{Claim, Commanding};
use crate::segment::memory::Segment;
use crate::segment::patience::Patience;
use crate::segment::stamps::Stamps;
use crate::segment::sync::Ordering;

/// The messages of an application that is the commander.
#[derive(Debug)]
pub(crate) struct Submission {
    state: Mutex<State>,
    /// Held by the thread that sleeps until a slot is free. The others wait for their turn: so a wake
    /// wakes one of them, which may have filled all slots before the next one runs.
    turn: Mutex<()>,
    /// The number at which the stream ends, whatever is submitted.
    limit: Option<u64>,
    patience: Patience,
    /// Whether the application was told that it takes no batches.
    warned: AtomicBool,
}

/// Why no message is taken any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// The host was stopped.
    Stopped,
    /// The application submits no more, or replays dead letters.
    Closed,
    /// The stream has as many messages as it may have.
    Limit(u64),
    /// The stream has ended with an error.
    Failed,
}

#[derive(Debug)]
struct State {
    /// The number of the next message that is submitted.
    next: u64,
    /// How many messages were given a slot.
    queued: u64,
    /// Messages of an earlier run that have no slot yet, by ascending number.
    backlog: VecDeque<Letter>,
    /// The slot from which on a free one is looked for. Slots are filled in turns, since a worker
    /// looks for the next message in the next slot.
    from: usize,
    over: Option<Over>,
}

/// The messages while none is added.
#[derive(Debug)]
pub(super) struct Held<'a>(MutexGuard<'a, State>);

impl Submission {
    /// For a run that begins with these messages of an earlier one, by ascending number, each of
    /// which fits a slot; `done` are those that the earlier run has delivered. With `over`, nothing
    /// can be submitted beside them.
    pub(crate) fn new(backlog: Vec<Letter>, done: &Ledger, limit: Option<u64>, over: Option<Over>) -> Self {
        let next = done.next_missing(backlog.last().map_or(0, |last| last.sequence.saturating_add(1)));
        let state = State { next, queued: 0, backlog: backlog.into(), from: 0, over };
        let (state, patience, warned) = (Mutex::new(state), Patience::default(), AtomicBool::new(false));
        Self { state, turn: Mutex::default(), limit, patience, warned }
    }

    /// Queues the messages of an earlier run for which there are slots, and ends the stream if
    /// nothing can be submitted. Before the workers are started.
    pub(super) fn begin(&self, segment: &Segment) {
        segment.table().set_total(self.limit);
        let mut state = self.state.lock();
        if let Some(over) = state.over.take() {
            self.end(&mut state, segment, over);
        }
        self.end_at_limit(&mut state, segment);
        self.queue_backlog(&mut state, segment);
    }

    /// Submits an encoded message that fits a slot. Waits for a free one until the deadline; `None`
    /// if there is none by then.
    pub(super) fn submit(
        &self,
        segment: &Segment,
        done: &Ledger,
        message: &[u8],
        deadline: Option<Instant>,
    ) -> Option<Result<u64, Over>> {
        let look = || self.look(segment, done, message);
        if let Some(found) = look() {
            return Some(found);
        }
        let since = Instant::now();
        if deadline.is_some_and(|deadline| deadline <= since) {
            return None;
        }
        let table = segment.table();
        let turn = match deadline {
            None => Some(self.turn.lock()),
            Some(deadline) => self.turn.try_lock_until(deadline),
        };
        let found = match turn {
            Some(_turn) => table.wait_for_free(&self.patience, deadline, look).0,
            None => look(),
        };
        table.control.progress.wait_nanos.fetch_add(since.elapsed().as_nanos() as u64, Ordering::Relaxed);
        found
    }

    /// Queues the message if a slot is free, and gives its number; or says that it never will be.
    fn look(&self, segment: &Segment, done: &Ledger, message: &[u8]) -> Option<Result<u64, Over>> {
        let mut state = self.state.lock();
        let stopped = segment.table().stop_requested().then_some(Over::Stopped);
        if let Some(over) = stopped.or(state.over) {
            return Some(Err(over));
        }
        if self.queue_backlog(&mut state, segment) {
            return None;
        }
        let claim = segment.table().claim_free_from(state.from)?;
        let sequence = state.next;
        state.queue(segment, claim, sequence, message);
        state.next = done.next_missing(sequence.saturating_add(1));
        self.end_at_limit(&mut state, segment);
        Some(Ok(sequence))
    }

    /// Queues messages of an earlier run in free slots. Whether some are left that are to be queued.
    pub(super) fn go_on_with_backlog(&self, segment: &Segment) -> bool {
        self.queue_backlog(&mut self.state.lock(), segment)
    }

    fn queue_backlog(&self, state: &mut State, segment: &Segment) -> bool {
        while let Some(first) = state.backlog.front() {
            // Later ones stay for a run with a greater limit.
            if self.limit.is_some_and(|limit| limit <= first.sequence) {
                return false;
            }
            let Some(claim) = segment.table().claim_free_from(state.from) else { return true };
            let Some(Letter { sequence, encoded }) = state.backlog.pop_front() else { return false };
            state.queue(segment, claim, sequence, &encoded);
        }
        false
    }

    /// Takes no more messages. The first reason stays.
    pub(super) fn close(&self, segment: &Segment, over: Over) {
        let mut state = self.state.lock();
        if state.over.is_none() {
            self.end(&mut state, segment, over);
        }
    }

    fn end_at_limit(&self, state: &mut State, segment: &Segment) {
        if let Some(limit) = self.limit.filter(|&limit| limit <= state.next && state.over.is_none()) {
            self.end(state, segment, Over::Limit(limit));
        }
    }

    /// No message is added from here on. The stream ends with those before, unless it has ended by
    /// an error.
    fn end(&self, state: &mut State, segment: &Segment, over: Over) {
        state.over = Some(over);
        let table = segment.table();
        if over != Over::Failed {
            let end = self.limit.map_or(state.next, |limit| limit.min(state.next));
            table.set_total(Some(end));
            table.end_stream(end);
        }
        // Other threads wait for a free slot.
        table.control.free.event.rouse();
    }

    /// Whether the application was not told yet that it takes no batches.
    pub(super) fn is_first_warning(&self) -> bool {
        !self.warned.swap(true, Ordering::Relaxed)
    }

    /// Whether batches are missing of which so many were taken, or a free slot, without which a thread cannot
    /// submit; or else the end of the stream.
    pub(super) fn is_owed(&self, taken: u64) -> bool {
        let state = self.state.lock();
        state.queued > taken || !state.backlog.is_empty() || state.over.is_some() || self.turn.is_locked()
    }

    /// Adds no message while the result is held.
    pub(super) fn hold(&self) -> Held<'_> {
        Held(self.state.lock())
    }
}

impl State {
    fn queue(&mut self, segment: &Segment, mut claim: Claim<Commanding>, sequence: u64, message: &[u8]) {
        self.from = claim.index() + 1;
        self.queued += 1;
        let stamps = segment.stamps(claim.index());
        stamps.into_iter().for_each(Stamps::note_begun);
        segment.message_mut(&mut claim)[..message.len()].copy_from_slice(message);
        stamps.into_iter().for_each(Stamps::note_queued);
        segment.table().publish(claim, sequence, message.len());
    }
}

impl Held<'_> {
    /// Copies of all messages in slots, also of batches that are being released, and of those that
    /// wait for a slot; by ascending number.
    pub(super) fn messages(&self, segment: &Segment) -> Vec<Letter> {
        let queued = segment.messages().map(|(sequence, encoded)| Letter { sequence, encoded });
        let mut all: Vec<Letter> = queued.chain(self.0.backlog.iter().cloned()).collect();
        all.sort_unstable_by_key(|letter| letter.sequence);
        all
    }
}
