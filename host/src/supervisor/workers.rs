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

use super::{Supervisor, count};
use crate::error::StreamError;
use crate::failure::{Death, NotedAttempt};
use crate::limits::{
    KEPT_LOG_LINE_BYTES, KEPT_LOG_LINES, MAX_FAILED_STARTS, MAX_RESTART_BACKOFF, RESTART_BACKOFF,
};
use crate::process::protocol::{Exit, Request, Role};
use crate::process::stack::RawStack;
use crate::segment::clock;
use crate::segment::sync::Ordering;

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
    Retiring {
        again: bool,
        /// Since when its plugin is being constructed, where it still is.
        since: Option<Instant>,
    },
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

    /// Since when its plugin is being constructed.
    pub(super) fn constructing_since(&self) -> Option<Instant> {
        match self.life {
            Life::Starting(since) => Some(since),
            Life::Retiring { since, .. } => since,
            _ => None,
        }
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

    /// What is known of an attempt that has just ended it.
    pub(super) fn attempt(&self, worker: u32, death: Death) -> NotedAttempt {
        let log = self.log.iter().cloned().collect();
        NotedAttempt { worker, death, log, stack: self.stack.clone() }
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
                (Life::Retiring { since, .. }, again) => Life::Retiring { again, since },
                (Life::Starting(_) | Life::Ready, false) => {
                    self.stream.segment.worker_place(index as u32).retire.store(1, Ordering::SeqCst);
                    Life::Retiring { again: false, since: worker.constructing_since() }
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
            if due(&self.workers[index]) && !self.watchdog.server_is_busy() {
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
        worker.setup_failure = None;
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
        match &mut worker.life {
            life @ Life::Starting(_) => *life = Life::Ready,
            Life::Retiring { since, .. } => *since = None,
            _ => {}
        }
        worker.failed_starts = 0;
    }

    /// Its producer is made anew, which may hang as at a start.
    pub(super) fn worker_renews(&mut self, worker: u32) {
        let worker = &mut self.workers[worker as usize];
        match &mut worker.life {
            life @ Life::Ready => *life = Life::Starting(Instant::now()),
            Life::Retiring { since, .. } => *since = Some(Instant::now()),
            _ => {}
        }
    }

    /// The process could not be forked.
    pub(super) fn worker_not_forked(&mut self, worker: u32, reason: String) {
        self.workers[worker as usize].setup_failure = Some(reason);
        self.plan_restart(worker, Death::Exit(Exit::Code(0)));
    }

    /// A worker that was of use is started again at once, one that was of none later each time, and one that cannot be started,
    /// at last no more.
    pub(super) fn plan_restart(&mut self, worker: u32, death: Death) {
        let place = self.stream.segment.worker_place(worker);
        let state = &mut self.workers[worker as usize];
        let setup_failure = state.setup_failure.take();
        match state.life {
            Life::Retiring { again: true, .. } => {
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
}

/// The pause before a worker is started again that died so often in a row without having done a message.
pub(super) fn backoff(useless_lives: u32) -> Duration {
    match useless_lives {
        0 | 1 => Duration::ZERO,
        lives => (RESTART_BACKOFF * (1 << (lives - 2).min(10))).min(MAX_RESTART_BACKOFF),
    }
}
