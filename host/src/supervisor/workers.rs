//! A worker's life.
//!
//! ```text
//!             ┌──────────── died: at once, or later each time ◄─────────┐
//!             ▼                                                         │
//!   Off ─► Due ─► Starting ─► Ready ─────────────────────────────────── ┤
//!    ▲                          └─► Retiring (finishes its message) ─► Off
//!    └── GivenUp: it died too often in a row before its plugin was constructed
//! ```

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use cobuf_plugin_api::Report;

use super::{Supervisor, count};
use crate::error::StreamError;
use crate::failure::{Death, NotedAttempt};
use crate::limits::{
    KEPT_LOG_LINE_BYTES, KEPT_LOG_LINES, MAX_FAILED_STARTS, MAX_RESTART_BACKOFF, OUTCOME_CAPACITY,
    RESTART_BACKOFF,
};
use crate::process::protocol::{Exit, Request, Role};
use crate::process::stack::RawStack;
use crate::segment::clock;
use crate::segment::failpoint::Failpoint;
use crate::segment::recovery::Reclaimed;
use crate::segment::sync::Ordering;
use crate::segment::table::{Claim, Outcome, Producing};

/// Where a worker is in its life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Life {
    /// There is no process, and shall be none.
    #[default]
    Off,
    /// It is to be started at this time.
    Due(Instant),
    /// Its process was started then, and its plugin is being constructed; or constructed again, after a panic.
    Starting(Instant),
    /// It produces.
    Ready,
    /// It ends after the message that it holds; then it may be wanted again.
    Retiring { again: bool },
    /// It could not be started.
    GivenUp,
}

/// Why a worker was killed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Verdict {
    pub(super) death: Death,
    /// The message that it was about: another one that it holds by now is innocent.
    pub(super) about: Option<u64>,
}

/// What is known of one worker.
#[derive(Debug, Default, Clone)]
pub(super) struct Worker {
    pub(super) life: Life,
    /// The number of its process, counted up with each start.
    incarnation: u32,
    /// How often in a row it died before its plugin was constructed.
    failed_starts: u32,
    /// How often in a row it died without having done a message.
    useless_lives: u32,
    /// The messages that it had done when it was last started.
    produced_before: u64,
    /// Why its plugin could not be set up, as its process said before it ended.
    setup_failure: Option<String>,
    pub(super) verdict: Option<Verdict>,
    log: VecDeque<String>,
    stack: Option<RawStack>,
}

impl Worker {
    /// A worker that the start has seen ready.
    pub(super) fn ready() -> Self {
        Self { life: Life::Ready, ..Self::default() }
    }

    /// When it is to be started.
    pub(super) fn start_at(&self) -> Option<Instant> {
        if let Life::Due(at) = self.life { Some(at) } else { None }
    }

    pub(super) fn role(&self, worker: usize) -> Role {
        Role::Worker { worker: worker as u32, incarnation: self.incarnation }
    }

    pub(super) fn keep_log(&mut self, line: &str) {
        if self.log.len() == KEPT_LOG_LINES {
            self.log.pop_front();
        }
        self.log.push_back(line[..line.floor_char_boundary(KEPT_LOG_LINE_BYTES)].to_owned());
    }

    pub(super) fn note_setup_failure(&mut self, reason: String) {
        self.setup_failure = Some(reason);
    }

    pub(super) fn note_stack(&mut self, stack: RawStack) {
        self.stack = Some(stack);
    }

    pub(super) fn is_process(&self) -> bool {
        matches!(self.life, Life::Starting(_) | Life::Ready | Life::Retiring { .. })
    }
}

impl Supervisor {
    /// Wants so many workers from now on.
    pub(super) fn set_workers(&mut self, number: usize) {
        if self.stream.table().stop_requested() {
            return;
        }
        tracing::info!(from = self.target, to = number, "the number of workers changes");
        self.target = number;
        if self.workers.len() < number {
            self.workers.resize_with(number, Worker::default);
        }
        for (index, worker) in self.workers.iter_mut().enumerate() {
            worker.life = match (worker.life, index < number) {
                (Life::Off | Life::GivenUp, true) => {
                    worker.failed_starts = 0;
                    Life::Due(Instant::now())
                }
                (Life::Retiring { .. }, again) => Life::Retiring { again },
                (Life::Starting(_) | Life::Ready, false) => {
                    self.stream.segment.worker_place(index as u32).retire.store(1, Ordering::SeqCst);
                    Life::Retiring { again: false }
                }
                (Life::Due(_), false) => Life::Off,
                (life, _) => life,
            };
        }
        self.count_workers();
        // Those that retire may be asleep.
        self.stream.table().wake_everyone();
    }

    pub(super) fn count_workers(&self) {
        let counters = &self.stream.counters;
        counters.workers.store(self.target as u64, Ordering::Relaxed);
        counters.most_workers.fetch_max(self.workers.len() as u64, Ordering::Relaxed);
    }

    pub(super) fn start_workers_due(&mut self) {
        let now = Instant::now();
        let due = |worker: &Worker| worker.start_at().is_some_and(|at| at <= now);
        for index in 0..self.workers.len() {
            if due(&self.workers[index]) {
                self.start_worker(index);
            }
        }
    }

    fn start_worker(&mut self, index: usize) {
        let (worker, place) = (&mut self.workers[index], self.stream.segment.worker_place(index as u32));
        worker.incarnation += 1;
        worker.life = Life::Starting(Instant::now());
        worker.produced_before = place.produced.load(Ordering::Relaxed);
        worker.log.clear();
        worker.stack = None;
        place.retire.store(0, Ordering::SeqCst);
        place.looked_nanos.store(u64::MAX, Ordering::Relaxed);
        let role = worker.role(index);
        self.ask(&Request::Start(role, None));
    }

    pub(super) fn worker_ready(&mut self, worker: u32) {
        let looked = &self.stream.segment.worker_place(worker).looked_nanos;
        // One that is stopped before its first look shall be missed, too.
        let (order, now) = (Ordering::Relaxed, clock::now_nanos());
        let _ = looked.compare_exchange(u64::MAX, now, order, order);
        let worker = &mut self.workers[worker as usize];
        if matches!(worker.life, Life::Starting(_)) {
            worker.life = Life::Ready;
        }
        worker.failed_starts = 0;
    }

    /// Its producer is made anew, which may hang as at a start.
    pub(super) fn worker_renews(&mut self, worker: u32) {
        let worker = &mut self.workers[worker as usize];
        if worker.life == Life::Ready {
            worker.life = Life::Starting(Instant::now());
        }
    }

    /// The process could not be forked.
    pub(super) fn worker_not_forked(&mut self, worker: u32, reason: String) {
        self.workers[worker as usize].setup_failure = Some(reason);
        self.plan_restart(worker, Death::Exit(Exit::Code(0)));
    }

    /// What follows on a worker's death, once it was reaped.
    pub(super) fn bury_worker(&mut self, worker: u32, how: Death) {
        let state = &mut self.workers[worker as usize];
        let (verdict, plugin) = (state.verdict.take(), &self.names.producer);
        let death = verdict.map_or(how, |verdict| verdict.death);
        let retired = matches!(state.life, Life::Retiring { .. }) && how == Death::Exit(Exit::Code(0));
        if retired {
            tracing::info!(%plugin, worker, "a worker has retired");
        } else {
            tracing::warn!(%plugin, worker, how = %death, "a worker died");
        }
        self.reclaim(worker, death, verdict);
        self.stream.table().wake_everyone();
        self.plan_restart(worker, death);
    }

    /// Takes back the slot that the dead worker held.
    fn reclaim(&mut self, worker: u32, death: Death, verdict: Option<Verdict>) {
        let table = self.stream.table();
        let Some(sequence) = table.held_by(worker) else { return };
        if table.control.armed.take(Failpoint::Reclaim).is_some() {
            self.server.kill();
        }
        let innocent = verdict.is_some_and(|verdict| verdict.about != Some(sequence));
        if !innocent {
            let Worker { log, stack, .. } = &self.workers[worker as usize];
            let log = log.iter().cloned().collect();
            let attempt = NotedAttempt { worker, death, log, stack: stack.clone() };
            self.stream.history.note_attempt(sequence, attempt);
        }
        match table.reclaim_worker(worker, (!innocent).then_some(self.care.max_attempts)) {
            None => {}
            Some(Reclaimed::Requeued { sequence, attempts }) => {
                count(&self.stream.counters.retries);
                tracing::info!(sequence, attempts, "the dead worker's message is queued again");
            }
            Some(Reclaimed::GivenUp { claim, sequence, attempts }) => {
                tracing::error!(sequence, attempts, "a message is given up");
                self.commit_failure(worker, claim, sequence, death);
            }
        }
    }

    /// Puts a report in the place of the batch.
    fn commit_failure(&self, worker: u32, mut claim: Claim<Producing>, sequence: u64, death: Death) {
        let summary = summary(&self.stream.history.attempts(sequence));
        let bytes = Report::from_host(death.kind(), summary).encode(OUTCOME_CAPACITY);
        self.stream.segment.outcome_mut(&mut claim)[..bytes.len()].copy_from_slice(&bytes);
        let outcome = Outcome { failed: true, bytes: bytes.len(), rows: None, nanos: 0, worker };
        self.stream.table().commit(claim, outcome);
    }

    /// A worker that was of use is started again at once, one that was of none later each time, and one that cannot be started,
    /// at last no more.
    pub(super) fn plan_restart(&mut self, worker: u32, death: Death) {
        let place = self.stream.segment.worker_place(worker);
        let state = &mut self.workers[worker as usize];
        let setup_failure = state.setup_failure.take();
        match state.life {
            Life::Retiring { again: true } => {
                state.life = Life::Due(Instant::now());
                return;
            }
            _ if worker as usize >= self.target => {
                state.life = Life::Off;
                return;
            }
            Life::Starting(_) => state.failed_starts += 1,
            _ => {}
        }
        let useless = place.produced.load(Ordering::Relaxed) == state.produced_before;
        state.useless_lives = if useless { state.useless_lives + 1 } else { 0 };
        if state.failed_starts < MAX_FAILED_STARTS {
            count(&self.stream.counters.worker_restarts);
            state.life = Life::Due(Instant::now() + backoff(state.useless_lives));
            return;
        }
        state.life = Life::GivenUp;
        let reason = setup_failure.unwrap_or_else(|| death.to_string());
        tracing::error!(plugin = %self.names.producer, worker, %reason, "a worker is given up");
        if self.workers[..self.target].iter().all(|worker| worker.life == Life::GivenUp) {
            self.stream.fail_now(StreamError::WorkersLost { reason });
        }
    }

    /// The fork server died, and all workers with it, which is none of their messages' doing.
    pub(super) fn bury_all_workers(&mut self) {
        for index in 0..self.workers.len() {
            if let Some(Reclaimed::Requeued { sequence, .. }) =
                self.stream.table().reclaim_worker(index as u32, None)
            {
                count(&self.stream.counters.retries);
                tracing::info!(sequence, "a message is queued again");
            }
            let worker = &mut self.workers[index];
            worker.verdict = None;
            if worker.is_process() {
                worker.life = if index < self.target { Life::Due(Instant::now()) } else { Life::Off };
            }
        }
    }
}

/// The pause before a worker is started again that died so often in a row without having done a message.
pub(super) fn backoff(useless_lives: u32) -> Duration {
    match useless_lives {
        0 | 1 => Duration::ZERO,
        lives => (RESTART_BACKOFF * (1 << (lives - 2).min(10))).min(MAX_RESTART_BACKOFF),
    }
}

/// What all attempts at a message came to: `the worker was ended at each of 3 attempts, by exit code 3, exit code 3 and signal 9
/// (SIGKILL)`, with the last line of the log.
fn summary(attempts: &[NotedAttempt]) -> String {
    let deaths: Vec<String> = attempts.iter().map(|attempt| attempt.death.to_string()).collect();
    let number = deaths.len();
    let text = match deaths.split_last() {
        None => "the worker was ended".to_owned(),
        Some((last, [])) => format!("the worker was ended by {last}"),
        Some((last, others)) if others.iter().all(|other| other == last) => {
            format!("the worker was ended at each of {number} attempts by {last}")
        }
        Some((last, others)) => {
            format!("the worker was ended at each of {number} attempts, by {} and {last}", others.join(", "))
        }
    };
    match attempts.last().and_then(|attempt| attempt.log.last()) {
        Some(line) => format!("{text}; its last log line: {line}"),
        None => text,
    }
}
