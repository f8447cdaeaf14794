//! The consumers' side of a run: which batch is next; whether the stream is over, and why.
//!
//! The [`Stream`] is shared by the host, its supervisor, every [`Batches`](crate::Batches) and
//! every [`Batch`](crate::Batch); the mapping lives as long as the last of them.

use std::sync::atomic::{AtomicBool, AtomicU32};
use std::thread;
use std::time::{Duration, Instant};

use cobuf_plugin_api::{Report, ReportKind, codec};
use parking_lot::Mutex;

use super::error::{BatchError, StreamError};
use super::figures::Marks;
use super::history::History;
use super::replay::{Again, Replay};
use super::roster::Roster;
use super::silence::{Facts, Silence};
use super::submission::{Over, Submission};
use super::timeline::{Timeline, What};
use super::watch::Watch;
use crate::limits::SPIN_LIMIT;
use crate::own;
use crate::record::checkpoint::Checkpoint;
use crate::record::policy::{OnFailure, PerKind};
use crate::record::portion::Remainder;
use crate::segment::arrivals::{Arrivals, Wanted};
use crate::segment::claim::{Claim, Reading};
use crate::segment::clock;
use crate::segment::counters::Counters;
use crate::segment::memory::Segment;
use crate::segment::notices::NoticeKind;
use crate::segment::patience::Patience;
use crate::segment::slot::Outcome;
use crate::segment::sync::Ordering;
use crate::segment::table::Table;
use crate::segment::word::SlotState;
use crate::text::chain;

/// The cause of a consumer's wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitingFor {
    /// Batches of the application hold every slot: none comes until the application drops one.
    HeldBatches {
        /// The number of held batches.
        held: usize,
    },
    /// Messages are queued or in production.
    Producers,
    /// There is no message to produce: the commander has given none.
    Commander,
    /// There is no message to produce: the application is the commander, and has submitted none.
    Submissions,
}

/// The state that consumers, host and supervisor share.
pub(crate) struct Stream {
    pub(crate) segment: Segment,
    pub(crate) ordered: bool,
    pub(crate) started: Instant,
    pub(crate) settled: Settled,
    pub(crate) history: History,
    pub(crate) roster: Roster,
    /// The application's messages, if it is the commander.
    pub(super) submission: Option<Submission>,
    /// The kept batches, if they are delivered again and again.
    pub(super) replay: Option<Replay>,
    /// What was asked for and not given, if plugins could make the host see something else.
    silence: Option<Silence>,
    on_failure: PerKind<OnFailure>,
    position: Mutex<Position>,
    patience: Patience,
    /// Waits for consumers that cannot.
    pub(crate) watch: Watch,
    /// The process that started the run. In a fork of it nothing may change.
    owner: u32,
    /// What happened when, if the run is traced.
    pub(super) timeline: Option<Timeline>,
    /// The owner, or 0 if the run is traced: so one comparison tells whether a look has nothing to do
    /// beside it.
    pub(super) looks_alone: u32,
    /// The owner, or 0 if the run is traced, batches are kept or silence is looked for, or as long as messages of an earlier run
    /// wait for a slot; otherwise as `looks_alone`.
    pub(super) releases_alone: AtomicU32,
    /// Whether a fork of the owner was told that the stream is not its.
    told: AtomicBool,
    pub(super) marks: Marks,
    /// The number of CPUs that this process, and so the run, may use.
    pub(super) cpus: usize,
}

/// The supervisor's settings, for the host. Out of the reach of plugins, unlike the segment's
/// counters.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    /// The number of workers to keep alive, and the greatest number so far.
    pub(crate) workers: AtomicU32,
    pub(crate) most_workers: AtomicU32,
    /// The number of swaps of the producer.
    pub(crate) edition: AtomicU32,
    /// The fork server's process number.
    pub(crate) fork_server: AtomicU32,
}

/// How far the consumers are. The lock is held while the slots are looked at, never during a wait.
#[derive(Debug)]
struct Position {
    arrivals: Arrivals,
    /// In ordered mode, the next message.
    next: u64,
    /// The number of slots taken so far.
    taken: u64,
    /// The failure that ends the stream early.
    failure: Option<Failure>,
    /// Whether there was a failure, also after it was delivered.
    failed: bool,
    /// Whether the end was delivered.
    ended: bool,
}

impl Position {
    /// Whether the stream ends with a failure, whatever is still in production.
    fn is_lost(&self) -> bool {
        self.failure.as_ref().is_some_and(|failure| !failure.after_commanded)
    }
}

#[derive(Debug)]
struct Failure {
    error: StreamError,
    /// Whether the messages of the commander so far can still be produced.
    after_commanded: bool,
}

impl Stream {
    /// The stream of a commander's process.
    pub(crate) fn new(
        segment: Segment,
        ordered: bool,
        on_failure: PerKind<OnFailure>,
        history: History,
    ) -> Self {
        let first = history.portion().next(0);
        segment.table().begin_at(history.portion().begin());
        segment.table().want(if ordered { first } else { u64::MAX });
        let arrivals = Arrivals::new(segment.layout().sizes.slots);
        let position =
            Position { arrivals, next: first, taken: 0, failure: None, failed: false, ended: false };
        Self {
            segment,
            ordered,
            started: Instant::now(),
            settled: Settled::default(),
            history,
            roster: Roster::default(),
            submission: None,
            replay: None,
            silence: None,
            on_failure,
            position: Mutex::new(position),
            patience: Patience::default(),
            watch: Watch::new(),
            owner: own::process(),
            timeline: None,
            looks_alone: own::process(),
            releases_alone: AtomicU32::new(own::process()),
            told: AtomicBool::new(false),
            marks: Marks::default(),
            cpus: thread::available_parallelism().map_or(1, usize::from),
        }
    }

    /// The same stream, for which the application is the commander. Before workers are started.
    pub(crate) fn submitted(mut self, submission: Submission) -> Self {
        submission.begin(&self.segment);
        self.submission = Some(submission);
        self.releases_alone.store(0, Ordering::Relaxed);
        self
    }

    /// The same stream, whose batches are delivered again and again.
    pub(crate) fn replayed(mut self, replay: Replay) -> Self {
        self.replay = Some(replay);
        self.releases_alone.store(0, Ordering::Relaxed);
        self
    }

    /// The same stream, of which the supervisor looks whether nothing comes.
    pub(crate) fn guarded(mut self, silence: Silence) -> Self {
        self.silence = Some(silence);
        self.releases_alone.store(0, Ordering::Relaxed);
        self
    }

    /// How long no batch has come although the commander, or the application as one, owes none any
    /// more, if that is for too long. `owed` is about a commander's process.
    pub(crate) fn silent_for(&self, owed: bool, now: Instant) -> Option<Duration> {
        let silence = self.silence.as_ref()?;
        let taken = self.taken();
        let owed = self.submission.as_ref().map_or(owed, |submission| submission.is_owed(taken));
        let slots = self.segment.layout().sizes.slots as u64;
        silence.look(Facts { taken, slots, owed }, now).filter(|_| !self.has_failed())
    }

    /// Whether the application is the commander.
    pub(crate) fn is_submitted(&self) -> bool {
        self.submission.is_some()
    }

    /// Whether this process is a fork of the one that started the run. Locks may be held there by
    /// threads that do not exist here.
    pub(crate) fn is_foreign(&self) -> bool {
        self.owner != own::process()
    }

    pub(crate) fn table(&self) -> Table<'_> {
        self.segment.table()
    }

    pub(crate) fn counters(&self) -> &Counters {
        self.segment.counters()
    }

    /// Tells processes that look from outside what has happened.
    pub(crate) fn notice(&self, kind: NoticeKind, text: &str) {
        self.segment.notices().write(kind, clock::now_nanos(), text);
    }

    /// Waits for the next item until the deadline, which is asked for only if there is no item yet:
    /// most batches are there, and reading the clock takes as long as the look. If none comes,
    /// returns the cause of the wait.
    pub(crate) fn next(&self, deadline: impl FnOnce() -> Option<Instant>) -> Result<Item, WaitingFor> {
        let found = self.look().or_else(|| self.wait_for(deadline(), || self.look()));
        found.ok_or_else(|| self.waiting_for())
    }

    /// Waits until the deadline for something that [`poll`](Self::poll) would give, and leaves it
    /// there. If nothing comes, returns the cause of the wait.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> Result<(), WaitingFor> {
        let found = self.wait_for(deadline, || self.has_next().then_some(()));
        if found.is_some() {
            // The wake was perhaps meant for a consumer that would have taken the item.
            self.table().control.ready.event.wake_sleepers_if(|| true);
        }
        found.ok_or_else(|| self.waiting_for())
    }

    /// Waits until the poll returns something, or the deadline, and counts the time.
    fn wait_for<T>(&self, deadline: Option<Instant>, poll: impl FnMut() -> Option<T>) -> Option<T> {
        let ready = &self.table().control.ready.event;
        if self.is_foreign() {
            return ready.wait_for(&self.patience, deadline, poll).0;
        }
        let since = self.timeline.as_ref().map(|_| Instant::now());
        let began = self.counters().exposure.begin();
        self.silence.iter().for_each(Silence::begin);
        let (found, waited) = ready.wait_for(&self.patience, deadline, poll);
        self.silence.iter().for_each(Silence::end);
        self.counters().exposure.end(began, waited);
        self.note_wait(since, waited, found.is_none());
        found
    }

    /// Lets other processes run for a moment, for a consumer that has waited since then and cannot
    /// sleep. Whether it did; if not, a longer wait is to be expected.
    pub(crate) fn yields(&self, since: Instant) -> bool {
        self.patience.yields(since)
    }

    /// Notes a wait of a consumer that only yielded. If it did other things meanwhile, these are no
    /// part of the wait.
    pub(crate) fn note_yields(&self, since: Instant) {
        let lasted = since.elapsed().min(SPIN_LIMIT);
        self.patience.learn(lasted);
        self.counters().exposure.add(lasted);
        self.note_wait(Some(since), lasted, true);
    }

    /// Notes a wait since then. It goes on if it gave nothing and the consumer waits again.
    fn note_wait(&self, since: Option<Instant>, waited: Duration, goes_on: bool) {
        if waited > Duration::ZERO && !self.is_foreign() {
            let counters = self.counters();
            counters.consumer_wait_nanos.fetch_add(waited.as_nanos() as u64, Ordering::Relaxed);
            self.mark_first();
            if let Some((timeline, since)) = self.timeline.as_ref().zip(since) {
                timeline.note_wait(since, waited, goes_on);
            }
        }
    }

    /// The next item, if there is one.
    pub(crate) fn poll(&self) -> Result<Item, WaitingFor> {
        self.look().ok_or_else(|| self.waiting_for())
    }

    /// The next item, or the end, if there is one.
    pub(crate) fn look(&self) -> Option<Item> {
        if self.looks_alone == own::process() { self.look_alone() } else { self.look_and_note() }
    }

    /// The look in a process that is not the run's, or in a traced run.
    #[cold]
    fn look_and_note(&self) -> Option<Item> {
        if self.is_foreign() {
            let told = self.told.swap(true, Ordering::Relaxed);
            return Some(if told { Item::End } else { Item::Error(StreamError::Forked) });
        }
        let item = self.look_alone();
        if let (Some(Item::Batch(claim, _)), Some(timeline)) = (&item, &self.timeline) {
            timeline.note_taken(claim.index());
        }
        item
    }

    #[inline]
    fn look_alone(&self) -> Option<Item> {
        loop {
            let taken = self.take(&mut self.position.lock());
            match taken {
                Taken::Claim(claim) => {
                    if let Some(item) = self.open(claim) {
                        return Some(item);
                    }
                }
                Taken::Error(error) => return Some(Item::Error(error)),
                Taken::End => {
                    self.mark_end();
                    return Some(Item::End);
                }
                Taken::Nothing => return None,
            }
        }
    }

    fn take(&self, position: &mut Position) -> Taken {
        let table = self.table();
        if table.stop_requested() || position.ended {
            return self.take_again(position);
        }
        // Read before the slots: batches that were ready when the stream failed are then found.
        let lost = position.is_lost();
        if let Some(claim) = position.arrivals.take(table, self.wanted_of(position)) {
            position.taken += 1;
            if self.ordered {
                position.next = self.history.portion().after(position.next);
                table.want(position.next);
            }
            // Under the lock, so that another consumer gets no later item.
            position.ended = self.stops(&claim);
            return Taken::Claim(claim);
        }
        if lost || self.is_all(position.taken) {
            position.ended = true;
            return match position.failure.take() {
                Some(failure) => Taken::Error(failure.error),
                None => self.take_again(position),
            };
        }
        Taken::Nothing
    }

    /// The item after the stream is over: the end, or a batch that was kept.
    #[cold]
    fn take_again(&self, position: &Position) -> Taken {
        let stopped = self.table().stop_requested() || position.failed;
        match self.replay.as_ref().filter(|_| !stopped).map(|replay| replay.take(position.taken)) {
            None | Some(Again::End) => Taken::End,
            Some(Again::Held) => Taken::Nothing,
            Some(Again::Batch(claim, is_first)) => {
                if is_first {
                    self.marks.first.get_or_init(|| self.figures());
                }
                Taken::Claim(claim)
            }
        }
    }

    /// Whether [`look`](Self::look) would find something. A failure that the policy skips counts:
    /// the look frees its slot.
    fn has_next(&self) -> bool {
        if self.is_foreign() {
            return true;
        }
        let position = &mut *self.position.lock();
        let (table, wanted) = (self.table(), self.wanted_of(position));
        let over = || position.ended || self.is_all(position.taken);
        let waits =
            || self.replay.as_ref().is_some_and(|replay| !position.failed && !replay.has(position.taken));
        table.stop_requested()
            || position.is_lost()
            || position.arrivals.has(table, wanted)
            || over() && !waits()
    }

    fn wanted_of(&self, position: &Position) -> Wanted {
        if !self.ordered {
            return Wanted::Any;
        }
        // It comes in the place of an own message that the stream does not have.
        let repeated = self.repeated().filter(|&repeated| repeated < position.next);
        Wanted::Sequence(repeated.unwrap_or(position.next))
    }

    /// The message of another rank that the commander has queued as the last one, because the rank
    /// has none in the last row.
    fn repeated(&self) -> Option<u64> {
        let portion = self.history.portion();
        if portion.remainder() != Remainder::Repeat {
            return None;
        }
        let commanded = self.table().commanded();
        (commanded > portion.begin()).then(|| commanded - 1).filter(|&last| !portion.has(last))
    }

    /// Whether the stream ends after so many slots. A plugin that wrote over the end may have made
    /// it less.
    fn is_all(&self, taken: u64) -> bool {
        let own = self.table().end().map(|end| self.history.portion().count_below(end));
        own.is_some_and(|own| own + u64::from(self.repeated().is_some()) <= taken)
    }

    /// Ends the stream with an error, after all messages of the commander so far.
    pub(crate) fn fail_after_commanded(&self, error: StreamError) {
        self.fail(Failure { error, after_commanded: true });
        self.table().end_stream(self.table().commanded());
    }

    /// Ends the stream with an error, after the batches that are ready now.
    pub(crate) fn fail_now(&self, error: StreamError) {
        self.fail(Failure { error, after_commanded: false });
        self.end_early();
    }

    /// Wakes all that wait, after the stream has ended with an error.
    fn end_early(&self) {
        self.submission.iter().for_each(|submission| submission.close(&self.segment, Over::Failed));
        self.replay.iter().for_each(Replay::close);
        self.table().wake_everyone();
    }

    /// Frees a batch's slot: its message counts as delivered.
    pub(crate) fn release(&self, claim: Claim<Reading>) {
        if self.releases_alone.load(Ordering::Relaxed) == own::process() {
            self.free(claim);
        } else if !self.is_foreign() {
            self.note_release(&claim);
            self.silence.iter().for_each(Silence::note_released);
            match &self.replay {
                Some(replay) => self.keep(replay, claim),
                None => {
                    self.free(claim);
                    self.go_on_with_backlog();
                }
            }
        }
    }

    /// Keeps a batch for its next delivery. Whether there is one or it was an error, a consumer may wait
    /// for that.
    fn keep(&self, replay: &Replay, claim: Claim<Reading>) {
        if self.table().is_failed(&claim) {
            self.free(claim);
            replay.note_error();
        } else {
            replay.keep(claim);
        }
        self.table().control.ready.event.notify_all();
    }

    fn free(&self, claim: Claim<Reading>) {
        self.history.note_done(self.table().sequence(&claim));
        self.table().release(claim);
    }

    /// Gives free slots to messages of an earlier run.
    #[cold]
    fn go_on_with_backlog(&self) {
        let left =
            self.submission.as_ref().is_some_and(|messages| messages.go_on_with_backlog(&self.segment));
        if !left && self.timeline.is_none() && self.silence.is_none() {
            self.releases_alone.store(self.owner, Ordering::Relaxed);
        }
    }

    /// The deliveries up to now, and the submitted messages without one.
    pub(crate) fn checkpoint(&self) -> Checkpoint {
        // A message that is submitted later could be delivered before the rest is read.
        let held = self.submission.as_ref().map(Submission::hold);
        let submitted = held.as_ref().map_or_else(Vec::new, |held| held.messages(&self.segment));
        self.note(|| What::Checkpoint);
        self.counters().checkpoint_nanos.store(clock::now_nanos(), Ordering::Relaxed);
        self.history.checkpoint(submitted)
    }

    /// Whether kept batches are being delivered again.
    pub(super) fn replays(&self) -> bool {
        self.replay.as_ref().is_some_and(Replay::has_begun)
    }

    pub(crate) fn waiting_for(&self) -> WaitingFor {
        let [free, writing, ready, held] = self.table().occupancy();
        if free + writing + ready == 0 || self.replays() {
            WaitingFor::HeldBatches { held }
        } else if self.table().look().any(|slot| slot.sequence.is_some() && slot.state == SlotState::Writing)
        {
            WaitingFor::Producers
        } else if self.is_submitted() {
            WaitingFor::Submissions
        } else {
            WaitingFor::Commander
        }
    }

    /// In an ordered run, the number of the next batch.
    pub(crate) fn wanted(&self) -> Option<u64> {
        self.ordered.then(|| self.position.lock().next)
    }

    /// The number of slots that consumers have taken.
    pub(crate) fn taken(&self) -> u64 {
        self.position.lock().taken
    }

    /// Whether the stream ends early, or has ended early.
    pub(crate) fn has_failed(&self) -> bool {
        self.position.lock().failed
    }

    /// Notes a failure. The first one stays, since later ones follow from it; but a failure that
    /// ends the stream at once is not put off by one for which messages are still waited for.
    fn fail(&self, failure: Failure) {
        let mut position = self.position.lock();
        position.failed = true;
        position.failure = Some(match position.failure.take() {
            Some(first) if first.after_commanded && !failure.after_commanded => {
                Failure { error: failure.error.after(first.error), after_commanded: false }
            }
            Some(first) => first,
            None => failure,
        });
    }

    /// Whether the policy ends the stream with the item in this slot.
    fn stops(&self, claim: &Claim<Reading>) -> bool {
        self.table().is_failed(claim)
            && self.on_failure.of(Report::decode(self.segment.outcome(claim)).kind) == OnFailure::Stop
    }

    /// Notes a batch with fewer rows than the schema's.
    fn note_short(&self, rows: usize) {
        let missing = self.segment.layout().sizes.schema.rows().unwrap_or(rows).saturating_sub(rows);
        self.counters().missing_rows.fetch_add(missing as u64, Ordering::Relaxed);
    }

    /// The item in a taken slot: a batch, or an error, whose slot is freed at once. `None` if the
    /// policy skips the failure.
    fn open(&self, claim: Claim<Reading>) -> Option<Item> {
        let (outcome, sequence) = (self.table().outcome(&claim), self.table().sequence(&claim));
        let impossible = self.segment.impossible(&claim, &outcome);
        if !outcome.failed && impossible.is_none() {
            // Of a batch that was produced after all, nobody asks for them.
            if claim.attempts() > 0 {
                self.history.take_attempts(sequence);
            }
            // In this order, the rows of a batch are never counted before it is known how many it has.
            outcome.rows.into_iter().for_each(|rows| self.note_short(rows));
            self.counters().delivered.fetch_add(1, Ordering::Relaxed);
            return Some(Item::Batch(claim, outcome));
        }
        let encoded = self.segment.message(&claim);
        let report = match impossible {
            Some(text) => Report::from_host(ReportKind::Crash, text),
            None => Report::decode(self.segment.outcome(&claim)),
        };
        let policy = self.on_failure.of(report.kind);
        let error = BatchError {
            sequence,
            worker: outcome.worker,
            edition: outcome.edition,
            // It was checked to be a dictionary when the commander wrote it.
            message: codec::decode("the message", encoded).unwrap_or_default(),
            report,
            attempts: self.history.take_attempts(sequence).into_iter().map(Into::into).collect(),
            ends_stream: policy == OnFailure::Stop,
        };
        self.history.note_failure(&error, encoded);
        self.notice(NoticeKind::Failure, &chain(&error));
        if policy == OnFailure::Stop {
            // Before the slot is free, for which a thread may wait to submit. Other consumers may wait
            // for later items.
            self.end_early();
        }
        self.release(claim);
        if policy == OnFailure::Skip {
            self.counters().skipped.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(%error, "a message is skipped");
            return None;
        }
        self.counters().errors.fetch_add(1, Ordering::Relaxed);
        Some(Item::Error(StreamError::Batch(Box::new(error))))
    }
}

/// An item of the stream, for a consumer.
#[derive(Debug)]
pub(crate) enum Item {
    /// A slot with a finished batch.
    Batch(Claim<Reading>, Outcome),
    /// The error in a batch's place, or the stream's own.
    Error(StreamError),
    /// The stream is over, or the host was stopped.
    End,
}

/// The result of a look at the slots.
enum Taken {
    Claim(Claim<Reading>),
    /// The stream's last item.
    Error(StreamError),
    End,
    Nothing,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("segment", &self.segment).finish_non_exhaustive()
    }
}
