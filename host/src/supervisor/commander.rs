//! The commander's life: started, ready, dead, started again, as the user's policy has it.
//!
//! ```text
//!   Due ── start_due ──► Starting ── ready ──► Ready ── it has given its last message ──► Done
//!    ▲                      │                    │
//!    └──── lost: by policy, later each time ◄────┴─── bury: reaped, its slot taken back
//! ```

use std::time::{Duration, Instant};

use cobuf_plugin_api::{PluginKind, Report};

use super::run::{Run, count};
use super::worker::backoff;
use crate::process::stack::interpreter;
use crate::protocol::message::{Request, SetupFailure};
use crate::protocol::role::Role;
use crate::record::death::{Death, Exit};
use crate::record::policy::OnCommanderFailure;
use crate::record::raw_stack::RawStack;
use crate::segment::notices::NoticeKind;
use crate::stream::error::StreamError;
use crate::stream::timeline::What;

/// Where the commander is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CommanderLife {
    /// It is to be started at this time.
    Due(Instant),
    /// Its process was started then, and its plugin is being brought to its message.
    Starting(Instant),
    /// It gives messages.
    Ready,
    /// The stream is over for it.
    Done,
    /// There is no process of a commander: the application submits the messages.
    Application,
}

/// The loss of a commander: the failure that it reported, if any, and the end of its process.
#[derive(Debug)]
pub(super) struct CommanderLoss {
    pub(super) failure: Option<SetupFailure>,
    pub(super) death: Death,
    stack: Option<RawStack>,
}

/// The commander, in all of its incarnations.
#[derive(Debug)]
pub(super) struct Commander {
    life: CommanderLife,
    /// The error or panic that ends the process that runs, as it said.
    failure: Option<SetupFailure>,
    /// Why it was killed, or crashed.
    verdict: Option<Death>,
    /// Its stack when it was killed, or had crashed.
    stack: Option<RawStack>,
    /// How often it was started.
    starts: u32,
    /// How often it failed in a row, and at which message.
    failures: (u32, u64),
}

impl Commander {
    /// A commander that is to be started now.
    pub(super) fn due(now: Instant) -> Self {
        let life = CommanderLife::Due(now);
        Self { life, failure: None, verdict: None, stack: None, starts: 0, failures: (0, 0) }
    }

    /// The application in its place.
    pub(super) fn of_application(now: Instant) -> Self {
        Self { life: CommanderLife::Application, ..Self::due(now) }
    }

    pub(super) fn life(&self) -> CommanderLife {
        self.life
    }

    /// Another number for each of its processes.
    pub(super) fn incarnation(&self) -> u32 {
        self.starts
    }

    /// When it is to be started.
    pub(super) fn start_at(&self) -> Option<Instant> {
        if let CommanderLife::Due(at) = self.life { Some(at) } else { None }
    }

    /// Since when its plugin is being brought to its message.
    pub(super) fn starting_since(&self) -> Option<Instant> {
        if let CommanderLife::Starting(since) = self.life { Some(since) } else { None }
    }

    /// Whether it was killed, or has crashed, and was not reaped yet.
    pub(super) fn is_condemned(&self) -> bool {
        self.verdict.is_some()
    }

    /// Starts it, if it is due; whether it did.
    pub(super) fn start_due(&mut self, run: &mut Run, now: Instant) -> bool {
        let due = self.start_at().is_some_and(|at| at <= now);
        if due {
            self.life = CommanderLife::Starting(now);
            self.stack = None;
            self.starts += 1;
            let beginning = run.stream.history.beginning_at(run.stream.table().commanded());
            run.link.ask(Request::Start(Role::Commander, Some(beginning)), now);
        }
        due
    }

    // Reports of its process.

    pub(super) fn ready(&mut self) {
        if self.starting_since().is_some() {
            self.life = CommanderLife::Ready;
        }
    }

    /// The plugin could not be set up; its process ends by itself.
    pub(super) fn note_setup_failure(&mut self, failure: SetupFailure) {
        self.failure.get_or_insert(failure);
    }

    /// The plugin's error or panic; its process ends by itself.
    pub(super) fn failed(&mut self, run: &Run, report: Report) {
        if run.care.on_commander_failure.of(report.kind) == OnCommanderFailure::End {
            self.end_with(run, Some(report), Death::Exit(Exit::Code(0)), None, 1);
        } else {
            self.failure = Some(SetupFailure::Plugin(report));
        }
    }

    /// The process has got a signal by which code crashes, and waits to be killed.
    pub(super) fn crashed(&mut self, run: &mut Run, signal: i32, now: Instant) {
        self.verdict.get_or_insert(Death::Exit(Exit::Signal(signal)));
        run.link.ask(Request::Kill(Role::Commander), now);
    }

    /// Kills it, if it was not killed yet: it is late with its message, or with its construction.
    pub(super) fn kill_late(&mut self, run: &mut Run, limit: Duration, now: Instant) {
        if self.is_condemned() {
            return;
        }
        self.verdict = Some(Death::Timeout { limit });
        let sequence = run.stream.table().commanded();
        let plugin = run.name(Role::Commander);
        tracing::warn!(plugin, sequence, ?limit, "the commander does not come back and is killed");
        count(&run.stream.counters().timeouts);
        run.link.ask(Request::Kill(Role::Commander), now);
    }

    /// Its process was looked at before it was killed.
    pub(super) fn note_stack(&mut self, stack: RawStack) {
        self.stack = Some(stack);
    }

    // Deaths.

    /// Takes back its slot, once it was reaped. Gives the loss, unless its work is done.
    pub(super) fn bury(&mut self, run: &Run, how: Death) -> Option<CommanderLoss> {
        let table = run.stream.table();
        table.reclaim_commander();
        table.restore();
        let (failure, verdict) = (self.failure.take(), self.verdict.take());
        if table.end().is_some() {
            self.life = CommanderLife::Done;
            return None;
        }
        Some(CommanderLoss { failure, death: verdict.unwrap_or(how), stack: self.stack.take() })
    }

    /// It was lost in the middle of its work: another one is started, or the stream ends, as the
    /// policy has it.
    pub(super) fn lost(&mut self, run: &mut Run, loss: CommanderLoss, now: Instant) {
        let CommanderLoss { failure, death, stack } = loss;
        run.stream.note(|| What::CommanderDied { death: death.to_string() });
        let failure = failure.map(SetupFailure::into_report);
        let kind = failure.as_ref().map_or(death.kind(), |report| report.kind);
        let sequence = run.stream.table().commanded();
        let excused = failure.is_none() && run.outside.excuses(PluginKind::Commander, sequence, death);
        let (failures, at) = self.failures;
        let before = if at == sequence { failures } else { 0 };
        let failures = before + u32::from(!excused);
        self.failures = (failures, sequence);
        let restart = excused || run.care.on_commander_failure.of(kind) == OnCommanderFailure::Restart;
        if !restart || failures >= run.care.max_attempts {
            return self.end_with(run, failure, death, stack, failures);
        }
        let plugin = run.name(Role::Commander);
        let text = match &failure {
            Some(error) => {
                tracing::warn!(plugin, sequence, %error, "the commander failed");
                error.to_string()
            }
            None => {
                tracing::warn!(plugin, sequence, how = %death, "the commander died");
                death.to_string()
            }
        };
        run.stream.notice(NoticeKind::Death, &format!("the commander: {text}"));
        count(&run.stream.counters().commander_restarts);
        self.life = CommanderLife::Due(now + backoff(failures));
    }

    /// Has a commander started at once, in the place of one that has ended.
    pub(super) fn start_anew(&mut self, now: Instant) {
        *self = Self { starts: self.starts, ..Self::due(now) };
    }

    /// The fork server died, and the commander with it. An application lives on: its threads may
    /// hold a slot at this moment.
    pub(super) fn bury_with_server(&mut self, run: &Run, now: Instant) {
        if self.life == CommanderLife::Application {
            return;
        }
        let table = run.stream.table();
        table.reclaim_commander();
        (self.verdict, self.failure) = (None, None);
        let wanted = self.life != CommanderLife::Done && table.end().is_none();
        self.life = if wanted { CommanderLife::Due(now) } else { CommanderLife::Done };
    }

    /// Ends the stream after the messages that were commanded before.
    fn end_with(
        &mut self,
        run: &Run,
        failure: Option<Report>,
        death: Death,
        stack: Option<RawStack>,
        attempts: u32,
    ) {
        self.life = CommanderLife::Done;
        let (plugin, commanded) = (run.name(Role::Commander).to_owned(), run.stream.table().commanded());
        run.stream.fail_after_commanded(match failure {
            Some(source) => StreamError::Commander { plugin, commanded, source },
            None => {
                let place = interpreter::place_in(stack.as_ref());
                StreamError::CommanderDied { plugin, commanded, death, attempts, place }
            }
        });
    }
}
