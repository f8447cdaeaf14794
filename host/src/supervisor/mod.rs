//! The supervisor: a thread of the application that reads what the run's processes say, and mends what died or hangs.
//!
//! ```text
//!   mod        the loop: one event, wish or deadline after the other
//!   mailbox    wishes from other threads of the application
//!   workers    a worker's life: started, ready, retired, dead, started again
//!   crews      the workers of one edition of the producer, and of the next
//!   burials    what becomes of a dead worker's message
//!   commander  the commander's
//!   servers    a fork server that died is replaced
//!   swap       a plugin takes another's place, at an exact message
//!   rehearsals what is seen of it before
//!   watchdog   deadlines: who does not come back is killed
//!   tuner      finds the number of workers beyond which throughput does not rise
//! ```
//!
//! A death is handled in this order, which is what makes it safe: the fork server reaps; only then is the slot taken back;
//! everyone is woken; only then is the next incarnation started, so that a slot held by "worker k" never belongs to two
//! processes.

mod burials;
mod commander;
mod crews;
pub(crate) mod mailbox;
pub(crate) mod plugin_logs;
mod rehearsals;
mod servers;
mod swap;
pub(crate) mod swap_error;
pub(crate) mod tuner;
mod watchdog;
mod workers;

use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use self::commander::Commander;
use self::crews::{Crew, Duty};
use self::mailbox::{Mailbox, Wish};
use self::plugin_logs::forward_log;
use self::swap::Swapping;
use self::tuner::Tuner;
use self::watchdog::Watchdog;
use self::workers::Worker;
use crate::limits::SERVER_MARGIN;
use crate::process::launch::{ForkServer, StartMethod};
use crate::process::stack::names;
use crate::protocol::channel::{EventReceiver, Received, Watched};
use crate::protocol::message::{Event, Request, SetupFailure};
use crate::protocol::plan::Plan;
use crate::protocol::role::Role;
use crate::record::death::Death;
use crate::record::death::Exit;
use crate::record::policy::{OnCommanderFailure, PerKind};
use crate::record::raw_stack::RawStack;
use crate::segment::place::{CREWS, Place};
use crate::segment::sync::Ordering;
use crate::stream::delivery::Stream;
use crate::stream::error::StreamError;

/// What the user wants to become of failures.
#[derive(Debug, Clone)]
pub(crate) struct Care {
    /// How often a message is tried, and a commander at one message.
    pub(crate) max_attempts: u32,
    pub(crate) message_timeout: Option<Duration>,
    pub(crate) commander_timeout: Option<Duration>,
    pub(crate) start_timeout: Duration,
    pub(crate) on_commander_failure: PerKind<OnCommanderFailure>,
    pub(crate) start_method: StartMethod,
    pub(crate) fork_server: Option<PathBuf>,
}

/// What the supervisor begins with: a run whose plugins are constructed.
pub(crate) struct Started {
    pub(crate) stream: Arc<Stream>,
    pub(crate) server: ForkServer,
    pub(crate) events: EventReceiver,
    pub(crate) plan: Plan,
    pub(crate) care: Care,
    /// The workers that there are, and the most that a tuner may try.
    pub(crate) workers: usize,
    pub(crate) tune_up_to: Option<usize>,
    /// What happened before the thread started.
    pub(crate) early: Vec<Event>,
    /// What workers have logged by then; it was forwarded.
    pub(crate) early_logs: Vec<(Place, String)>,
}

pub(crate) struct Supervisor {
    stream: Arc<Stream>,
    server: ForkServer,
    events: EventReceiver,
    mailbox: Arc<Mailbox>,
    plan: Plan,
    care: Care,
    /// All that there ever were, by place.
    workers: Vec<Worker>,
    crews: [Crew; CREWS],
    /// The crew that takes the newest messages.
    current: usize,
    /// The swap that is going on.
    swapping: Option<Swapping>,
    /// The run's copy of the commander before, for who would roll back.
    commander_relic: Option<PathBuf>,
    /// How many rehearsals there were.
    rehearsals: u32,
    commander: Commander,
    watchdog: Watchdog,
    tuner: Option<Tuner>,
    /// Fork servers that died in a row, and how many batches had been taken then.
    server_deaths: (u32, u64),
    /// When what is left is killed, once everything is to end.
    stop_by: Option<Instant>,
}

impl Supervisor {
    /// Starts the thread; it ends after a stop, or when nothing can be mended any more.
    pub(crate) fn spawn(started: Started) -> std::io::Result<(JoinHandle<()>, Arc<Mailbox>)> {
        let Started { stream, server, events, plan, care, workers, tune_up_to, early, early_logs } = started;
        let mailbox = Arc::new(Mailbox::new()?);
        let mut supervisor = Self {
            watchdog: Watchdog::new(&care),
            tuner: tune_up_to.map(|most| Tuner::new(workers, most)),
            stream,
            server,
            events,
            mailbox: mailbox.clone(),
            plan,
            care,
            workers: Vec::new(),
            crews: [workers, 0].map(|wanted| Crew { wanted, duty: Duty::Current }),
            current: 0,
            swapping: None,
            commander_relic: None,
            rehearsals: 0,
            commander: Commander::ready(),
            server_deaths: (0, 0),
            stop_by: None,
        };
        supervisor.workers.resize_with(workers * CREWS, Worker::default);
        for place in supervisor.places(0) {
            supervisor.workers[place.index()] = Worker::ready();
        }
        supervisor.count_workers();
        for (place, line) in early_logs {
            supervisor.workers[place.index()].keep_log(&line);
        }
        let stream = supervisor.stream.clone();
        let body = move || {
            let work = AssertUnwindSafe(move || {
                early.into_iter().for_each(|event| supervisor.take(event));
                supervisor.run();
            });
            // Such as by the application's own subscriber of logs. The processes are gone with the supervisor.
            if panic::catch_unwind(work).is_err() {
                let reason = "the thread that looks after the processes panicked".to_owned();
                stream.fail_now(StreamError::ForkServerDied { reason });
            }
        };
        Ok((thread::Builder::new().name("cobuf-supervise".to_owned()).spawn(body)?, mailbox))
    }

    fn run(&mut self) {
        loop {
            let watched = Watched { server: Some(self.server.alive()), mail: Some(self.mailbox.flag()) };
            match self.events.receive(watched, self.next_deadline()) {
                Ok(Received::Event(event)) => self.take(event),
                Ok(Received::Mail) => self.mailbox.take().into_iter().for_each(|wish| self.grant(wish)),
                Ok(Received::TimedOut) => {}
                Ok(Received::Closed) if self.stop_by.is_some() => break,
                Ok(Received::Closed) => {
                    if let Err(reason) = self.replace_server() {
                        return self.stream.fail_now(StreamError::ForkServerDied { reason });
                    }
                }
                Err(error) => {
                    let reason = format!("what the run's processes say cannot be read: {error}");
                    return self.stream.fail_now(StreamError::ForkServerDied { reason });
                }
            }
            if self.stop_by.is_some_and(|stop_by| stop_by <= Instant::now()) {
                break;
            }
            self.look_around();
        }
        self.server.kill();
        // They die at once; what a plugin has started in a group of its own may live on, and is not waited for.
        self.wait_for_orphans(SERVER_MARGIN);
    }

    /// Does what is due.
    fn look_around(&mut self) {
        if self.stream.table().stop_requested() {
            return;
        }
        self.go_on_swapping();
        self.start_workers_due();
        self.start_commander_due();
        self.watch();
        self.tune();
    }

    fn next_deadline(&self) -> Option<Instant> {
        // Where the fork server has enough to do, its answers say when there is time for more.
        let busy = self.watchdog.server_is_busy();
        let workers = self.workers.iter().filter(|_| !busy).filter_map(Worker::start_at);
        let others = [
            self.commander.start_at(),
            self.next_late_start(),
            self.watchdog.next_look(),
            self.tuner.as_ref().and_then(Tuner::next_look),
            self.swapping.as_ref().and_then(Swapping::deadline),
            self.stop_by,
        ];
        workers.chain(others.into_iter().flatten()).min()
    }

    fn grant(&mut self, wish: Wish) {
        match wish {
            Wish::Workers(number) => self.set_workers(number),
            Wish::Swap(swap) => self.swap(*swap),
            Wish::Stop(grace) => {
                self.swapping = None;
                // Where the fork server is dead already, there is nobody to stop.
                let _ = self.server.request(&Request::Stop { grace });
                self.stop_by = Some(Instant::now() + grace + SERVER_MARGIN);
            }
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Log { role, level, target, message } => {
                if let Role::Worker { place, .. } = role {
                    self.workers[place.index()].keep_log(&message);
                }
                forward_log(self.plan.name(role), role, level, &target, &message);
            }
            Event::Hello { version } if version != env!("CARGO_PKG_VERSION") => {
                self.give_up(format!("its executable is now of cobuf-host {version}"));
            }
            Event::Attached(Err(reason)) => self.give_up(reason),
            Event::Saved(state) => self.note_state(state),
            Event::CommanderFailed(report) => self.commander_failed(report),
            Event::Crashed { role, signal } => self.look_at_crash(role, signal),
            Event::Stack { role, stack } => {
                self.watchdog.note_answer();
                self.note_stack(role, stack);
            }
            Event::Started { role, pid } => {
                self.watchdog.note_answer();
                self.note_start(role, pid);
            }
            Event::Ready { role } => self.note_ready(role),
            Event::Rehearsed { role } => self.rehearsal_passed(role),
            Event::Renewing { role } => self.note_renewal(role),
            Event::SetupFailed { role, failure } => self.note_setup_failure(role, failure),
            Event::Exited { role, how } => {
                self.stream.roster.remove(role);
                if !self.stream.table().stop_requested() {
                    match role {
                        Role::Worker { place, .. } => self.bury_worker(place, how),
                        Role::Commander => self.bury_commander(how),
                        Role::Rehearsal { .. } => self.rehearsal_ended(role, how),
                        Role::Probe { .. } | Role::Examiner { .. } => {}
                    }
                }
            }
            Event::Hello { .. } | Event::Attached(Ok(())) | Event::Probed { .. } | Event::Examined { .. } => {
            }
        }
    }

    /// No fork server can go on with this run.
    fn give_up(&mut self, reason: String) {
        self.stream.fail_now(StreamError::ForkServerDied { reason });
        self.stop_by = Some(Instant::now());
    }

    fn note_start(&mut self, role: Role, pid: Result<u32, String>) {
        match (role, pid) {
            (role, Ok(pid)) => self.stream.roster.insert(role, pid),
            (Role::Worker { place, .. }, Err(reason)) => self.worker_not_forked(place, reason),
            (Role::Commander, Err(reason)) => self.commander_not_forked(reason),
            (Role::Rehearsal { .. }, Err(reason)) => {
                self.rehearsal_failed(role, SetupFailure::Init(reason));
                self.rehearsal_ended(role, Death::Exit(Exit::Code(0)));
            }
            (Role::Probe { .. } | Role::Examiner { .. }, Err(_)) => {}
        }
    }

    fn note_ready(&mut self, role: Role) {
        match role {
            Role::Worker { place, .. } => self.worker_ready(place),
            Role::Commander => self.commander.note_ready(),
            Role::Rehearsal { .. } => self.rehearsal_goes_on(role),
            Role::Probe { .. } | Role::Examiner { .. } => {}
        }
    }

    fn note_renewal(&mut self, role: Role) {
        if let Role::Worker { place, .. } = role {
            self.worker_renews(place);
        }
    }

    fn note_setup_failure(&mut self, role: Role, failure: SetupFailure) {
        match role {
            Role::Worker { place, .. } => self.workers[place.index()].note_setup_failure(failure),
            Role::Commander => self.commander.note_setup_failure(failure),
            Role::Rehearsal { .. } => self.rehearsal_failed(role, failure),
            Role::Probe { .. } | Role::Examiner { .. } => {}
        }
    }

    fn note_stack(&mut self, role: Role, stack: Result<RawStack, String>) {
        let plugin = self.plan.name(role);
        match (role, stack) {
            (Role::Worker { place, .. }, Ok(stack)) => self.workers[place.index()].note_stack(stack),
            (_, Ok(stack)) => tracing::warn!(plugin, "the {role} is at\n{}", names::resolve(&stack)),
            (_, Err(reason)) => tracing::debug!(plugin, %reason, "the stack of the {role} is not known"),
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        // Whoever waits for an answer shall know that there will be none.
        self.mailbox.close();
    }
}

/// Counts one more.
fn count(counter: &crate::segment::sync::AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
