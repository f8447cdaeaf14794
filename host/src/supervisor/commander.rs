//! The commander's life: it is started again at the message at which it died or failed, or the stream ends there.

use std::time::Instant;

use cobuf_plugin_api::{Report, ReportKind};

use super::workers::backoff;
use super::{Supervisor, count};
use crate::protocol::message::{Request, SetupFailure};
use crate::protocol::role::Role;
use crate::record::death::Death;
use crate::record::death::Exit;
use crate::record::policy::OnCommanderFailure;
use crate::stream::error::StreamError;

/// Where the commander is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// It is to be started at this time.
    Due(Instant),
    /// Its process was started then, and its plugin is being brought to its message.
    Starting(Instant),
    /// It gives messages.
    Ready,
    /// The stream is over for it.
    Done,
}

/// What is known of the commander.
#[derive(Debug)]
pub(super) struct Commander {
    pub(super) life: Life,
    /// The error or panic that ends the process that runs, as it said.
    failure: Option<Report>,
    pub(super) verdict: Option<Death>,
    /// How often it failed in a row, and at which message.
    failures: (u32, u64),
}

impl Commander {
    /// A commander that the start has seen ready.
    pub(super) fn ready() -> Self {
        Self { life: Life::Ready, failure: None, verdict: None, failures: (0, 0) }
    }

    /// When it is to be started.
    pub(super) fn start_at(&self) -> Option<Instant> {
        if let Life::Due(at) = self.life { Some(at) } else { None }
    }

    pub(super) fn note_ready(&mut self) {
        if matches!(self.life, Life::Starting(_)) {
            self.life = Life::Ready;
        }
    }

    pub(super) fn note_setup_failure(&mut self, failure: SetupFailure) {
        self.failure.get_or_insert(match failure {
            SetupFailure::Plugin(report) => report,
            other => Report::from_host(ReportKind::Error, other.into_text()),
        });
    }
}

impl Supervisor {
    /// The plugin's error or panic; its process ends by itself.
    pub(super) fn commander_failed(&mut self, report: Report) {
        if self.care.on_commander_failure.of(report.kind) == OnCommanderFailure::End {
            self.end_with(Some(report), Death::Exit(Exit::Code(0)), 1);
        } else {
            self.commander.failure = Some(report);
        }
    }

    pub(super) fn commander_not_forked(&mut self, reason: String) {
        self.commander.note_setup_failure(SetupFailure::Init(reason));
        self.bury_commander(Death::Exit(Exit::Code(0)));
    }

    /// What follows on the commander's death, once it was reaped.
    pub(super) fn bury_commander(&mut self, how: Death) {
        let table = self.stream.table();
        table.reclaim_commander();
        table.restore();
        let (failure, verdict) = (self.commander.failure.take(), self.commander.verdict.take());
        let death = verdict.unwrap_or(how);
        if table.end().is_some() {
            self.commander.life = Life::Done;
            return;
        }
        if self.swaps_commander() {
            return self.commander_left(failure, death);
        }
        let kind = failure.as_ref().map_or(death.kind(), |report| report.kind);
        let sequence = self.stream.table().commanded();
        let (failures, at) = self.commander.failures;
        let failures = if at == sequence { failures + 1 } else { 1 };
        self.commander.failures = (failures, sequence);
        let restart = self.care.on_commander_failure.of(kind) == OnCommanderFailure::Restart;
        if !restart || failures >= self.care.max_attempts {
            return self.end_with(failure, death, failures);
        }
        match &failure {
            Some(error) => {
                tracing::warn!(plugin = self.plan.name(Role::Commander), sequence, %error, "the commander failed");
            }
            None => {
                tracing::warn!(plugin = self.plan.name(Role::Commander), sequence, how = %death, "the commander died");
            }
        }
        count(&self.stream.counters.commander_restarts);
        self.commander.life = Life::Due(Instant::now() + backoff(failures));
    }

    /// Has a commander started at once, in the place of one that has ended.
    pub(super) fn start_commander_anew(&mut self) {
        self.commander = Commander { life: Life::Due(Instant::now()), ..Commander::ready() };
    }

    pub(super) fn start_commander_due(&mut self) {
        if self.commander.start_at().is_none_or(|at| at > Instant::now()) {
            return;
        }
        self.commander.life = Life::Starting(Instant::now());
        let beginning = self.stream.history.beginning_at(self.stream.table().commanded());
        self.watchdog.forget_commander();
        self.ask(&Request::Start(Role::Commander, Some(beginning)));
    }

    /// The fork server died, and the commander with it.
    pub(super) fn bury_commander_with_server(&mut self) {
        self.stream.table().reclaim_commander();
        (self.commander.verdict, self.commander.failure) = (None, None);
        let wanted = self.commander.life != Life::Done && self.stream.table().end().is_none();
        self.commander.life = if wanted { Life::Due(Instant::now()) } else { Life::Done };
    }

    /// Ends the stream after what was commanded before.
    fn end_with(&mut self, failure: Option<Report>, death: Death, attempts: u32) {
        self.commander.life = Life::Done;
        let (plugin, commanded) =
            (self.plan.name(Role::Commander).to_owned(), self.stream.table().commanded());
        self.stream.fail_after_commanded(match failure {
            Some(source) => StreamError::Commander { plugin, commanded, source },
            None => StreamError::CommanderDied { plugin, commanded, death, attempts },
        });
    }
}
