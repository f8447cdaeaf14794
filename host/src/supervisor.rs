//! The supervisor: a thread of the application that reads what the run's processes say, and mends what died.
//!
//! A worker's death is handled in this order, which is what makes it safe: the fork server reaps it; only then is
//! its slot taken back; everyone is woken; only then is it started again, so that a slot held by "worker k" never belongs
//! to two processes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use cobuf_plugin_api::{PluginKind, Report};

use crate::error::StreamError;
use crate::limits::{MAX_ATTEMPTS, MAX_FAILED_STARTS, OUTCOME_CAPACITY, RESTART_BACKOFF};
use crate::process::channel::{EventReceiver, Received};
use crate::process::launch::ForkServer;
use crate::process::protocol::{Event, Exit, Request, Role, SetupFailure};
use crate::segment::table::{Outcome, Reclaimed};
use crate::stream::Stream;

/// The plugins' names, for logs and errors.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    pub(crate) commander: String,
    pub(crate) producer: String,
}

impl Names {
    pub(crate) fn of(&self, kind: PluginKind) -> &str {
        match kind {
            PluginKind::Commander => &self.commander,
            PluginKind::Producer => &self.producer,
        }
    }
}

pub(crate) struct Supervisor {
    pub(crate) stream: Arc<Stream>,
    pub(crate) server: Arc<ForkServer>,
    pub(crate) events: EventReceiver,
    pub(crate) names: Names,
    pub(crate) workers: Vec<WorkerState>,
    /// What happened before the thread started.
    pub(crate) early: Vec<Event>,
}

/// What is known of one worker.
#[derive(Debug, Default, Clone)]
pub(crate) struct WorkerState {
    incarnation: u32,
    /// Whether its plugin is constructed in this incarnation.
    ready: bool,
    /// How often in a row it died before its plugin was constructed.
    failed_starts: u32,
    /// When it is to be started again.
    restart_at: Option<Instant>,
    given_up: bool,
    /// Why its plugin could not be set up, as its process said before it ended.
    setup_failure: Option<String>,
}

impl WorkerState {
    /// A worker that the start has seen ready.
    pub(crate) fn ready() -> Self {
        Self { ready: true, ..Self::default() }
    }
}

impl Supervisor {
    /// Starts the thread; it ends with the fork server.
    pub(crate) fn spawn(mut self) -> std::io::Result<JoinHandle<()>> {
        thread::Builder::new().name("cobuf-supervise".to_owned()).spawn(move || self.run())
    }

    fn run(&mut self) {
        for event in std::mem::take(&mut self.early) {
            self.take(event);
        }
        loop {
            let next_restart = self.workers.iter().filter_map(|worker| worker.restart_at).min();
            match self.events.receive(self.server.alive(), next_restart) {
                Ok(Received::Event(event)) => self.take(event),
                Ok(Received::TimedOut) => self.restart_due(),
                Ok(Received::Closed) => break,
                Err(error) => {
                    tracing::error!(%error, "cannot read what the run's processes say");
                    break;
                }
            }
        }
        if !self.stream.table().stop_requested() {
            self.stream.fail_now(StreamError::ForkServerDied);
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Log { role, level, target, message } => {
                forward_log(&self.names, role, level, &target, &message);
            }
            Event::Exited { role: Role::Worker { worker, .. }, how } => self.bury_worker(worker, how),
            Event::Exited { role: Role::Commander, how } => self.bury_commander(how),
            Event::CommanderFailed(report) => self.end_with(|commanded, plugin| StreamError::Commander {
                plugin,
                commanded,
                source: report,
            }),
            Event::SetupFailed { role: Role::Worker { worker, .. }, failure } => {
                self.workers[worker as usize].setup_failure = Some(explain(failure));
            }
            Event::Started { role: Role::Worker { worker, .. }, pid: Err(reason) } => {
                self.workers[worker as usize].setup_failure = Some(reason);
                self.plan_restart(worker, Exit::Code(0));
            }
            Event::Ready { role: Role::Worker { worker, .. } } => self.workers[worker as usize].ready = true,
            other => tracing::debug!(?other, "event"),
        }
    }

    fn bury_worker(&mut self, worker: u32, how: Exit) {
        if self.stream.table().stop_requested() {
            return;
        }
        tracing::warn!(plugin = %self.names.producer, worker, %how, "a worker died");
        self.reclaim(worker, how);
        self.stream.table().wake_everyone();
        self.plan_restart(worker, how);
    }

    /// Takes back the slot that the dead worker held.
    fn reclaim(&self, worker: u32, how: Exit) {
        let table = self.stream.table();
        match table.reclaim_worker(worker, MAX_ATTEMPTS) {
            None => {}
            Some(Reclaimed::Requeued { sequence, attempts }) => {
                self.stream.counters.retries.fetch_add(1, Ordering::Relaxed);
                tracing::info!(sequence, attempts, "the dead worker's message is queued again");
            }
            Some(Reclaimed::GivenUp { mut claim, sequence, attempts }) => {
                tracing::error!(sequence, attempts, "a message is given up");
                let report = Report::from_crash(format!(
                    "the worker died at each of {attempts} attempts, the last time by {how}"
                ));
                let bytes = report.encode(OUTCOME_CAPACITY);
                self.stream.segment.outcome_mut(&mut claim)[..bytes.len()].copy_from_slice(&bytes);
                let outcome = Outcome { failed: true, bytes: bytes.len(), rows: None, nanos: 0, worker };
                table.commit(claim, outcome);
            }
        }
    }

    /// A worker that died of a message is started again at once; one that died before it could take any, later each
    /// time, and at last no more.
    fn plan_restart(&mut self, worker: u32, how: Exit) {
        let state = &mut self.workers[worker as usize];
        let setup_failure = state.setup_failure.take();
        let useless = !std::mem::take(&mut state.ready);
        state.failed_starts = if useless { state.failed_starts + 1 } else { 0 };
        if state.failed_starts < MAX_FAILED_STARTS {
            let pause = if useless { RESTART_BACKOFF * (1 << state.failed_starts) } else { Duration::ZERO };
            state.restart_at = Some(Instant::now() + pause);
            self.restart_due();
            return;
        }
        state.given_up = true;
        let reason = setup_failure.unwrap_or_else(|| how.to_string());
        tracing::error!(plugin = %self.names.producer, worker, %reason, "a worker is given up");
        if self.workers.iter().all(|worker| worker.given_up) {
            self.stream.fail_now(StreamError::WorkersLost { reason });
        }
    }

    fn restart_due(&mut self) {
        let now = Instant::now();
        for (worker, state) in (0..).zip(&mut self.workers) {
            if state.restart_at.is_some_and(|at| at <= now) {
                state.restart_at = None;
                state.incarnation += 1;
                self.stream.counters.worker_restarts.fetch_add(1, Ordering::Relaxed);
                let role = Role::Worker { worker, incarnation: state.incarnation };
                // Where the fork server is gone, the next receive says so.
                let _ = self.server.request(&Request::Start(role));
            }
        }
    }

    fn bury_commander(&mut self, how: Exit) {
        let table = self.stream.table();
        if table.stop_requested() || table.end().is_some() {
            return;
        }
        table.reclaim_commander();
        self.end_with(|commanded, plugin| StreamError::CommanderDied { plugin, commanded, how });
        table.wake_everyone();
    }

    fn end_with(&self, error: impl FnOnce(u64, String) -> StreamError) {
        let commanded = self.stream.table().commanded();
        self.stream.fail_after_commanded(error(commanded, self.names.commander.clone()));
    }
}

/// Why a plugin could not be set up, as one text.
pub(crate) fn explain(failure: SetupFailure) -> String {
    match failure {
        SetupFailure::Load(reason) | SetupFailure::Init(reason) => reason,
        SetupFailure::Plugin(report) => report.to_string(),
    }
}

/// Gives a plugin's log record to the application's subscriber, with the plugin and the worker that it came from.
pub(crate) fn forward_log(names: &Names, role: Role, level: u8, origin: &str, message: &str) {
    let plugin = names.of(role.kind());
    // The macros need their level at compile time.
    macro_rules! forward {
        ($level:ident) => {
            match role {
                Role::Worker { worker, .. } => {
                    tracing::$level!(target: "cobuf::plugin", plugin, worker, origin, "{message}");
                }
                _ => tracing::$level!(target: "cobuf::plugin", plugin, origin, "{message}"),
            }
        };
    }
    match level {
        1 => forward!(error),
        2 => forward!(warn),
        3 => forward!(info),
        4 => forward!(debug),
        _ => forward!(trace),
    }
}
