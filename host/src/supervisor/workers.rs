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

use super::crews::Duty;
use super::{Supervisor, count};
use crate::limits::{
    KEPT_LOG_LINE_BYTES, KEPT_LOG_LINES, MAX_FAILED_STARTS, MAX_RESTART_BACKOFF, RESTART_BACKOFF,
};
use crate::protocol::message::{Request, SetupFailure};
use crate::protocol::role::Role;
use crate::record::death::Death;
use crate::record::death::Exit;
use crate::record::raw_stack::RawStack;
use crate::segment::clock;
use crate::segment::place::Place;
use crate::segment::sync::Ordering;
use crate::segment::worker_place::Retire;
use crate::stream::error::StreamError;
use crate::stream::failure::NotedAttempt;

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
#[derive(Debug, Default)]
pub(super) struct Worker {
    pub(super) life: Life,
    /// How often it was started, with the plugin that it has now.
    starts: u32,
    /// How often in a row it died before its plugin was constructed.
    failed_starts: u32,
    /// How often in a row it died without having done a message.
    useless_lives: u32,
    /// The messages that it had done when it was last started.
    produced_before: u64,
    /// Why its plugin could not be set up, as its process said before it ended.
    setup_failure: Option<SetupFailure>,
    pub(super) verdict: Option<Verdict>,
    log: VecDeque<String>,
    stack: Option<RawStack>,
}

impl Worker {
    /// A worker that the start has seen ready.
    pub(super) fn ready() -> Self {
        Self { life: Life::Ready, starts: 1, ..Self::default() }
    }

    /// It is another plugin's from now on. All processes before have ended.
    pub(super) fn renew(&mut self) {
        self.starts = 0;
    }

    /// What it failed at is forgotten: it was not wanted meanwhile.
    pub(super) fn forgive(&mut self) {
        self.failed_starts = 0;
    }

    /// Whether it has not yet failed too often.
    pub(super) fn can_start(&self) -> bool {
        self.failed_starts < MAX_FAILED_STARTS
    }

    /// It is to be started again, later each time that it was of no use.
    pub(super) fn due(&self) -> Life {
        Life::Due(Instant::now() + backoff(self.useless_lives))
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

    pub(super) fn role(&self, place: Place) -> Role {
        Role::Worker { place, incarnation: self.starts.saturating_sub(1) }
    }

    pub(super) fn keep_log(&mut self, line: &str) {
        if self.log.len() == KEPT_LOG_LINES {
            self.log.pop_front();
        }
        self.log.push_back(line[..line.floor_char_boundary(KEPT_LOG_LINE_BYTES)].to_owned());
    }

    pub(super) fn note_setup_failure(&mut self, failure: SetupFailure) {
        self.setup_failure = Some(failure);
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
    pub(super) fn start_workers_due(&mut self) {
        let now = Instant::now();
        let due = |worker: &Worker| worker.start_at().is_some_and(|at| at <= now);
        for place in 0..self.workers.len() {
            if due(&self.workers[place]) && !self.watchdog.server_is_busy() {
                self.start_worker(Place::at(place));
            }
        }
    }

    fn start_worker(&mut self, place: Place) {
        let goes = self.crews[place.crew()].duty == Duty::Goes;
        let (worker, shared) = (&mut self.workers[place.index()], self.stream.segment.worker_place(place));
        let now = Instant::now();
        worker.starts += 1;
        worker.life =
            if goes { Life::Retiring { again: false, since: Some(now) } } else { Life::Starting(now) };
        worker.produced_before = shared.produced.load(Ordering::Relaxed);
        worker.log.clear();
        worker.setup_failure = None;
        worker.stack = None;
        shared.set_retire(if goes { Retire::Drained } else { Retire::No });
        shared.looked_nanos.store(u64::MAX, Ordering::Relaxed);
        let role = worker.role(place);
        self.ask(&Request::Start(role, None));
    }

    pub(super) fn worker_ready(&mut self, place: Place) {
        let looked = &self.stream.segment.worker_place(place).looked_nanos;
        // One that is stopped before its first look shall be missed, too.
        let (order, now) = (Ordering::Relaxed, clock::now_nanos());
        let _ = looked.compare_exchange(u64::MAX, now, order, order);
        let worker = &mut self.workers[place.index()];
        match &mut worker.life {
            life @ Life::Starting(_) => *life = Life::Ready,
            Life::Retiring { since, .. } => *since = None,
            _ => {}
        }
        worker.failed_starts = 0;
    }

    /// Its producer is made anew, which may hang as at a start.
    pub(super) fn worker_renews(&mut self, place: Place) {
        let worker = &mut self.workers[place.index()];
        match &mut worker.life {
            life @ Life::Ready => *life = Life::Starting(Instant::now()),
            Life::Retiring { since, .. } => *since = Some(Instant::now()),
            _ => {}
        }
    }

    /// The process could not be forked.
    pub(super) fn worker_not_forked(&mut self, place: Place, reason: String) {
        self.workers[place.index()].setup_failure = Some(SetupFailure::Init(reason));
        self.plan_restart(place, Death::Exit(Exit::Code(0)));
    }

    /// A worker that was of use is started again at once, one that was of none later each time, and one that cannot be started,
    /// at last no more.
    pub(super) fn plan_restart(&mut self, place: Place, death: Death) {
        let (crew, wanted) = (place.crew(), self.is_wanted(place));
        let produced = self.stream.segment.worker_place(place).produced.load(Ordering::Relaxed);
        let worker = &mut self.workers[place.index()];
        let setup_failure = worker.setup_failure.take();
        if let Life::Retiring { again: true, .. } = worker.life {
            worker.life = Life::Due(Instant::now());
            return;
        }
        worker.failed_starts += u32::from(worker.constructing_since().is_some());
        worker.useless_lives = if produced == worker.produced_before { worker.useless_lives + 1 } else { 0 };
        if wanted && self.crews[crew].duty == Duty::Comes {
            worker.life = Life::Off;
            return self.newcomer_died(setup_failure, death);
        }
        let reason = setup_failure.map_or_else(|| death.to_string(), SetupFailure::into_text);
        if !wanted {
            worker.life = Life::Off;
            return self.drain(crew, &reason);
        }
        if worker.can_start() {
            count(&self.stream.counters.worker_restarts);
            worker.life = worker.due();
            return;
        }
        worker.life = Life::GivenUp;
        tracing::error!(plugin = self.plan.name(worker.role(place)), worker = place.worker(), %reason, "a worker is given up");
        let lost = |place: Place| self.workers[place.index()].life == Life::GivenUp;
        if self.places(crew).take(self.crews[crew].wanted).all(lost) {
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
