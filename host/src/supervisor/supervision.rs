//! The parts of the supervisor and their interplay: which part gets an event, and which part acts
//! on the result.
//!
//! ```text
//!   Event, Wish, time ──► workforce ── Incident ──┐
//!                         commander ── Loss ──────┴──► swapping ── Action ──► workforce, commander
//!                         watchdog ─── Found ──► kill
//!                         tuner ────── a number ──► workforce
//!                               └────► link ── Order ──► the supervisor's thread
//! ```
//!
//! Nothing here waits, reads a clock or touches a process: the time is a parameter, and work for
//! the fork server is an order.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::commander::Commander;
use super::link::{Link, Order, ServerDeaths};
use super::mailbox::Wish;
use super::outside::Outside;
use super::plugin_logs::forward_log;
use super::run::{Care, Moment, Run, count};
use super::swap;
use super::swapping::Swapping;
use super::tuner::{Tuner, produced};
use super::watchdog::{self, Found, Watchdog};
use super::workforce::{Incident, Workforce};
use crate::limits::SERVER_MARGIN;
use crate::process::launch::StartMethod;
use crate::process::stack::names;
use crate::protocol::message::{Event, Request, SetupFailure};
use crate::protocol::plan::Plan;
use crate::protocol::role::Role;
use crate::record::death::{Death, Exit};
use crate::record::raw_stack::RawStack;
use crate::stream::delivery::Stream;
use crate::stream::error::StreamError;
use crate::stream::timeline::What;

/// A run that is to be supervised.
pub(crate) struct Supervised {
    pub(crate) stream: Arc<Stream>,
    pub(crate) plan: Plan,
    pub(crate) care: Care,
    pub(crate) workers: usize,
    /// The most workers that are tried, if their number is to be found.
    pub(crate) tune_up_to: Option<usize>,
}

/// All parts.
pub(super) struct Supervision {
    pub(super) run: Run,
    workforce: Workforce,
    commander: Commander,
    swapping: Swapping,
    watchdog: Watchdog,
    tuner: Option<Tuner>,
    server_deaths: ServerDeaths,
    /// During a stop: when the processes that are left are killed.
    stop_by: Option<Instant>,
}

impl Supervision {
    /// A commander, if there is a plugin for it, and workers that are due.
    pub(super) fn new(supervised: Supervised, now: Instant) -> Self {
        let Supervised { stream, plan, care, workers, tune_up_to } = supervised;
        let watchdog = Watchdog::new(&care, now);
        let (link, outside) = (Link::default(), Outside::default());
        let run = Run { stream, plan, care, link, outside };
        let mut workforce = Workforce::new();
        workforce.want(&run, workforce.current, workers, now);
        workforce.count(&run);
        let is_plugin = run.plan.plugins.commander.is_some();
        Self {
            run,
            workforce,
            commander: if is_plugin { Commander::due(now) } else { Commander::of_application(now) },
            swapping: Swapping::default(),
            watchdog,
            tuner: tune_up_to.map(|most| Tuner::new(workers, most, now)),
            server_deaths: ServerDeaths::default(),
            stop_by: None,
        }
    }

    /// The processes that a run begins with.
    pub(super) fn first_roles(&self) -> Vec<Role> {
        let places = self.workforce.places(self.workforce.current).take(self.workforce.target());
        let workers = places.map(|place| Role::Worker { place, incarnation: 0 });
        let commander = self.commander.start_at().map(|_| Role::Commander);
        commander.into_iter().chain(workers).collect()
    }

    /// Whether everything is to end.
    pub(super) fn is_stopping(&self) -> bool {
        self.stop_by.is_some()
    }

    /// Whether the processes that are left are to be killed now.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.stop_by.is_some_and(|stop_by| stop_by <= now)
    }

    /// Takes the orders to the fork server.
    pub(super) fn take_orders(&mut self) -> Vec<Order> {
        self.run.link.take_orders()
    }

    // Deadlines and starts.

    /// The time of the next work, if no event comes before.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        if self.is_stopping() {
            return self.stop_by;
        }
        // If the fork server has enough to do, its answers say when there is time for more.
        let start = self.workforce.next_start().filter(|_| !self.run.link.is_busy());
        let others = [
            start,
            self.commander.start_at(),
            watchdog::next_late_start(&self.run, &self.workforce, &self.commander),
            self.run.link.late_at(),
            self.watchdog.next_look(),
            self.tuner.as_ref().and_then(Tuner::next_look),
            self.swapping.deadline(),
            self.stop_by,
        ];
        others.into_iter().flatten().min()
    }

    /// Starts, kills and swaps as is due.
    pub(super) fn look_around(&mut self, now: Moment) {
        if self.run.stream.table().stop_requested() {
            return;
        }
        let incident = self.swapping.look(&mut self.run, &mut self.workforce, &mut self.commander, now.at);
        self.act_on(incident, now.at);
        self.commander.start_due(&mut self.run, now.at);
        self.workforce.start_due(&mut self.run, now.at);
        self.watch(now);
        self.tune(now.at);
    }

    fn watch(&mut self, now: Moment) {
        if self.run.link.late_at().is_some_and(|at| at <= now.at) {
            tracing::error!("the fork server does not answer and is killed");
            self.run.link.kill_server();
        }
        let mut found = watchdog::late_starts(&self.run, &self.workforce, &self.commander, now.at);
        found.extend(self.watchdog.look(&self.run, &self.workforce, &self.commander, now));
        for found in found {
            match found {
                Found::Worker { place, limit, about } => {
                    self.workforce.kill_late(&mut self.run, place, limit, about, now.at);
                }
                Found::Commander { limit } => self.commander.kill_late(&mut self.run, limit, now.at),
                Found::Silence { waited } => self.run.stream.fail_now(StreamError::Silence { waited }),
                Found::Stalled => self.run.stream.table().restore(),
            }
        }
    }

    fn tune(&mut self, now: Instant) {
        let Some(tuner) = self.tuner.as_mut().filter(|tuner| tuner.is_due(now)) else { return };
        let (workforce, segment) = (&mut self.workforce, &self.run.stream.segment);
        let all_ready = workforce.is_ready(workforce.current);
        let finished = produced(segment, workforce.workers.len());
        if let Some(number) = tuner.measure(workforce.target(), all_ready, finished, now) {
            workforce.set_number(&self.run, number, now);
        }
    }

    // Wishes of the application.

    pub(super) fn grant(&mut self, wish: Wish, now: Instant) {
        match wish {
            Wish::Stop(grace) => self.stop(grace, now),
            // Dropped without an answer: the run ends.
            _ if self.run.stream.table().stop_requested() => {}
            Wish::Workers(number) => self.workforce.set_number(&self.run, number, now),
            Wish::Swap(wish) => self.swapping.begin(*wish, &self.run, now),
        }
    }

    /// Of several stops, whose wishes may come in any order, the one that ends first counts.
    fn stop(&mut self, grace: Duration, now: Instant) {
        let by = now + grace + SERVER_MARGIN;
        if self.stop_by.is_some_and(|earlier| earlier <= by) {
            return;
        }
        self.swapping.forget();
        self.run.link.tell(Request::Stop { grace });
        self.stop_by = Some(by);
    }

    // Events of the processes.

    pub(super) fn take(&mut self, event: Event, now: Moment) {
        let Moment { at, nanos, .. } = now;
        match event {
            Event::Hello { version } if version != env!("CARGO_PKG_VERSION") => {
                self.give_up(format!("its executable is now of cobuf-host {version}"), at);
            }
            Event::Attached(Err(reason)) => self.give_up(reason, at),
            // Its end, which follows, is dealt with as any other.
            Event::ServerFailed { reason } => tracing::error!(%reason, "the fork server failed"),
            Event::Log { role, level, target, message } => self.log(role, level, &target, &message),
            Event::Saved(state) => self.swapping.note_state(&self.run, state),
            Event::CommanderFailed(report) => self.commander.failed(&self.run, report),
            Event::Crashed { role, signal } => self.crashed(role, signal, at),
            Event::Stack { role, stack } => {
                self.run.link.answered(at);
                self.note_stack(role, stack);
            }
            Event::Started { role, pid } => {
                self.run.link.answered(at);
                self.started(role, pid, at);
            }
            Event::Ready { role } => match role {
                Role::Worker { place, .. } => self.workforce.ready(&self.run, place, nanos),
                Role::Commander => self.commander.ready(),
                role => self.tell_swap(swap::Event::RehearsalGoesOn(role), at),
            },
            Event::Rehearsed { role } => self.tell_swap(swap::Event::RehearsalPassed(role), at),
            Event::Renewing { role } => {
                if let Role::Worker { place, .. } = role {
                    self.workforce.worker_mut(place).renewing(at);
                    self.run.stream.segment.worker_place(place).note_death(false);
                }
            }
            Event::SetupFailed { role, failure } => self.setup_failed(role, failure, at),
            Event::Exited { role, how } => self.exited(role, how, at),
            Event::Hello { .. } | Event::Attached(Ok(())) | Event::Probed { .. } | Event::Examined { .. } => {
            }
        }
    }

    /// No fork server can go on with this run.
    fn give_up(&mut self, reason: String, now: Instant) {
        self.run.stream.fail_now(StreamError::ForkServerDied { reason });
        self.stop_by = Some(now);
    }

    fn log(&mut self, role: Role, level: u8, target: &str, message: &str) {
        if let Role::Worker { place, .. } = role {
            self.workforce.worker_mut(place).keep_log(message);
        }
        forward_log(self.run.name(role), role, level, target, message);
    }

    fn started(&mut self, role: Role, pid: Result<u32, String>, now: Instant) {
        match pid {
            Ok(pid) => self.run.stream.begin_process(role, pid),
            Err(reason) => self.not_forked(role, reason, now),
        }
    }

    fn not_forked(&mut self, role: Role, reason: String, now: Instant) {
        match role {
            Role::Worker { place, .. } => {
                let incident = self.workforce.not_forked(&self.run, place, reason, now);
                self.act_on(incident, now);
            }
            role => {
                self.setup_failed(role, SetupFailure::Init(reason), now);
                self.bury(role, Death::Exit(Exit::Code(0)), now);
            }
        }
    }

    fn setup_failed(&mut self, role: Role, failure: SetupFailure, now: Instant) {
        match role {
            Role::Worker { place, .. } => self.workforce.worker_mut(place).note_setup_failure(failure),
            Role::Commander => self.commander.note_setup_failure(failure),
            role => self.tell_swap(swap::Event::RehearsalFailed(role, failure), now),
        }
    }

    /// A process that crashed waits to be looked at, and killed.
    fn crashed(&mut self, role: Role, signal: i32, now: Instant) {
        match role {
            Role::Worker { place, .. } => self.workforce.crashed(&mut self.run, role, place, signal, now),
            Role::Commander => self.commander.crashed(&mut self.run, signal, now),
            role => {
                let death = Death::Exit(Exit::Signal(signal));
                self.tell_swap(swap::Event::RehearsalCrashed(role, death), now);
            }
        }
    }

    fn note_stack(&mut self, role: Role, stack: Result<RawStack, String>) {
        let plugin = self.run.name(role);
        match (role, stack) {
            (Role::Worker { place, .. }, Ok(stack)) => self.workforce.worker_mut(place).note_stack(stack),
            (role, Ok(stack)) => {
                tracing::warn!(plugin, "the {role} is at\n{}", names::resolve(&stack));
                if role == Role::Commander {
                    self.commander.note_stack(stack);
                }
            }
            (_, Err(reason)) => tracing::debug!(plugin, %reason, "the stack of the {role} is not known"),
        }
    }

    fn exited(&mut self, role: Role, how: Death, now: Instant) {
        self.run.stream.end_process(role);
        if !self.run.stream.table().stop_requested() {
            self.bury(role, how, now);
        }
    }

    /// Buries a process that was reaped.
    fn bury(&mut self, role: Role, how: Death, now: Instant) {
        match role {
            Role::Worker { place, .. } => {
                let incident = self.workforce.bury(&mut self.run, place, how, now);
                self.act_on(incident, now);
            }
            Role::Commander => self.bury_commander(how, now),
            role => self.tell_swap(swap::Event::RehearsalEnded(role, how), now),
        }
    }

    fn bury_commander(&mut self, how: Death, now: Instant) {
        let Some(loss) = self.commander.bury(&self.run, how) else { return };
        if self.swapping.takes_commander() {
            let commanded = self.run.stream.table().commanded();
            self.tell_swap(swap::Event::CommanderLeft { loss, commanded }, now);
        } else {
            self.commander.lost(&mut self.run, loss, now);
        }
    }

    /// The fork server died, and all processes with it, so no process writes to the segment any
    /// more. An error says why there is to be no other.
    pub(super) fn server_died(&mut self, now: Instant) -> Result<(), String> {
        self.run.stream.note(|| What::ForkServerDied);
        self.tell_swap(swap::Event::ServerDied, now);
        let incident = self.workforce.bury_all(&self.run, now);
        self.act_on(incident, now);
        self.commander.bury_with_server(&self.run, now);
        self.run.stream.table().restore();
        self.run.link.renew();
        if self.run.care.server.method == StartMethod::Fork {
            return Err("with StartMethod::Fork only the start of a host may fork the application; use \
                        StartMethod::ForkServer"
                .to_owned());
        }
        self.server_deaths.count(self.run.stream.taken())?;
        count(&self.run.stream.counters().fork_server_restarts);
        Ok(())
    }

    // From one part to another.

    fn tell_swap(&mut self, event: swap::Event, now: Instant) {
        let Self { run, workforce, commander, swapping, .. } = self;
        let incident = swapping.step(event, run, workforce, commander, now);
        self.act_on(incident, now);
    }

    fn act_on(&mut self, incident: Option<Incident>, now: Instant) {
        match incident {
            None => {}
            Some(Incident::NewcomerDied(failure)) => {
                self.tell_swap(swap::Event::NewcomerDied(failure), now);
            }
            Some(Incident::WorkersLost { reason }) => {
                self.run.stream.fail_now(StreamError::WorkersLost { reason });
            }
        }
    }
}
