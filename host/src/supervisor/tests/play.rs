//! A run without a process.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::time::Duration;

use cobuf_plugin_api::{PluginKind, ReportKind, SavedState};

use crate::limits::MIN_MESSAGE_CAPACITY;
use crate::plugin::copy::PluginPlan;
use crate::plugin::interface::Interface;
use crate::process::launch::ServerStart;
use crate::process::run_clock::RunClock;
use crate::protocol::message::{Event, Request, SetupFailure};
use crate::protocol::plan::{Plan, Plugins, ProducerPlan};
use crate::protocol::role::Role;
use crate::record::death::{Death, Exit};
use crate::record::identity::Identity;
use crate::record::ledger::Ledger;
use crate::record::policy::{OnCommanderFailure, PerKind};
use crate::record::portion::Portion;
use crate::record::state::{Beginning, StateAt};
use crate::segment::claim::{Claim, Commanding, Producing};
use crate::segment::fixture;
use crate::segment::place::Place;
use crate::segment::slot::Outcome;
use crate::segment::sync::Ordering;
use crate::segment::table::Supply;
use crate::segment::worker_place::{Retire, WorkerPlace};
use crate::stream::delivery::{Item, Stream};
use crate::stream::error::StreamError;
use crate::stream::history::History;
use crate::stream::submission::Submission;
use crate::supervisor::link::Order;
use crate::supervisor::mailbox::{SwapWish, Swapped, Wish};
use crate::supervisor::run::{Care, Moment};
use crate::supervisor::supervision::{Supervised, Supervision};
use crate::supervisor::swap_error::SwapError;

pub(super) const KILLED: Death = Death::Exit(Exit::Signal(9));
pub(super) const ENDED: Death = Death::Exit(Exit::Code(0));
/// How long a start may take.
pub(super) const START: Duration = Duration::from_secs(60);
/// Longer than any pause before a restart.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// The first crew's worker with this number, in this incarnation.
pub(super) fn worker(number: usize, incarnation: u32) -> Role {
    Role::Worker { place: Place::new(0, number), incarnation }
}

/// The second crew's worker with this number, in this incarnation.
pub(super) fn newcomer(number: usize, incarnation: u32) -> Role {
    Role::Worker { place: Place::new(1, number), incarnation }
}

/// The first rehearsal.
pub(super) fn rehearsal(kind: PluginKind) -> Role {
    Role::Rehearsal { kind, number: 1 }
}

pub(super) fn place_of(role: Role) -> Place {
    let Role::Worker { place, .. } = role else { panic!("{role} has no place") };
    place
}

/// How failures are met, unless a test says otherwise.
pub(super) fn care() -> Care {
    let (end, restart) = (OnCommanderFailure::End, OnCommanderFailure::Restart);
    Care {
        max_attempts: 3,
        message_timeout: None,
        commander_timeout: None,
        start_timeout: START,
        jailed: false,
        on_commander_failure: PerKind::new(end, end, restart, restart),
        server: ServerStart::default(),
    }
}

fn plugin(name: &str) -> PluginPlan {
    let (name, version) = (name.to_owned(), "1".to_owned());
    let path = PathBuf::from(format!("/nowhere/lib{name}.so"));
    PluginPlan {
        name,
        version,
        interface: Interface::Rust,
        origin: path.clone(),
        library: path,
        code: Vec::new(),
        kept: None,
    }
}

/// A stream in order, with eight slots.
fn stream() -> Stream {
    let history = History::new(Identity::default(), Portion::default(), None, None, None);
    Stream::new(fixture::segment(8), true, PerKind::default(), history)
}

/// A run whose processes the test plays.
pub(super) struct Play {
    pub(super) parts: Supervision,
    pub(super) now: Moment,
    /// The processes that were started and not reaped, with what a commander begins at.
    pub(super) alive: Vec<(Role, Option<Beginning>)>,
    /// The processes that were to be killed.
    pub(super) killed: Vec<Role>,
    pub(super) server_killed: bool,
    /// The grace of the stop that the fork server was told of.
    pub(super) stopped: Option<Duration>,
    /// The plugins of the processes that are started from now on.
    pub(super) plugins: Plugins,
    /// Whether the fork server does not answer.
    pub(super) silent: bool,
    claims: BTreeMap<Place, Claim<Producing>>,
    supply: Supply,
    next_message: u64,
}

impl Play {
    /// A run whose processes are all ready.
    pub(super) fn of(workers: usize) -> Self {
        Self::with(workers, care())
    }

    pub(super) fn with(workers: usize, care: Care) -> Self {
        let mut play = Self::starting(workers, care);
        play.all_ready();
        play
    }

    /// A run whose processes are forked, and whose plugins are being constructed.
    pub(super) fn starting(workers: usize, care: Care) -> Self {
        Self::of_stream(stream(), Some(plugin("old")), workers, care)
    }

    /// A run whose processes are all ready, and whose messages the application submits.
    pub(super) fn submitted(workers: usize) -> Self {
        let submission = Submission::new(Vec::new(), &Ledger::default(), None, None);
        let mut play = Self::of_stream(stream().submitted(submission), None, workers, care());
        play.all_ready();
        play
    }

    fn of_stream(stream: Stream, commander: Option<PluginPlan>, workers: usize, care: Care) -> Self {
        let producer = ProducerPlan { plugin: plugin("old"), edition: 0 };
        let plugins = Plugins { commander, producers: [Some(producer), None], candidate: None };
        let plan = Plan { plugins: plugins.clone(), ..Plan::default() };
        let now = Moment::now(&RunClock::new());
        let supervised = Supervised { stream: Arc::new(stream), plan, care, workers, tune_up_to: None };
        let mut play = Self {
            parts: Supervision::new(supervised, now.at),
            now,
            alive: Vec::new(),
            killed: Vec::new(),
            server_killed: false,
            stopped: None,
            plugins,
            silent: false,
            claims: BTreeMap::new(),
            supply: Supply::default(),
            next_message: 0,
        };
        play.look();
        play
    }

    pub(super) fn stream(&self) -> &Stream {
        &self.parts.run.stream
    }

    fn shared(&self, role: Role) -> &WorkerPlace {
        self.stream().segment.worker_place(place_of(role))
    }

    pub(super) fn retire_of(&self, role: Role) -> Retire {
        self.shared(role).retire()
    }

    // The fork server.

    /// The parts look around, and the fork server does what it is asked for.
    pub(super) fn look(&mut self) {
        loop {
            self.parts.look_around(self.now);
            let orders = self.parts.take_orders();
            if orders.is_empty() {
                return;
            }
            orders.into_iter().for_each(|order| self.carry_out(order));
        }
    }

    fn carry_out(&mut self, order: Order) {
        match order {
            Order::KillServer => self.server_killed = true,
            Order::Send(Request::Stop { grace }) => self.stopped = Some(grace),
            Order::Send(Request::Exchange(plugins)) => self.plugins = *plugins,
            Order::Send(_) if self.silent => {}
            Order::Send(Request::Start(role, beginning)) => {
                self.alive.push((role, beginning));
                self.parts.take(Event::Started { role, pid: Ok(1) }, self.now);
            }
            Order::Send(Request::Kill(role)) => {
                self.killed.push(role);
                let stack = Err("it is played".to_owned());
                self.parts.take(Event::Stack { role, stack }, self.now);
            }
            Order::Send(other) => panic!("nobody asks for {other:?}"),
        }
    }

    pub(super) fn is_alive(&self, role: Role) -> bool {
        self.alive.iter().any(|&(other, _)| other == role)
    }

    /// The workers that are alive.
    pub(super) fn workers(&self) -> Vec<Role> {
        let roles = self.alive.iter().map(|&(role, _)| role);
        roles.filter(|role| matches!(role, Role::Worker { .. })).collect()
    }

    /// Where the commander that is alive began.
    pub(super) fn beginning(&self) -> Beginning {
        let commander = self.alive.iter().find(|(role, _)| *role == Role::Commander);
        commander.expect("a commander").1.clone().expect("its beginning")
    }

    /// The fork server dies, with all processes. Whether there may be another.
    pub(super) fn server_dies(&mut self) -> Result<(), String> {
        self.alive.clear();
        self.killed.clear();
        self.claims.clear();
        self.server_killed = false;
        let replaced = self.parts.server_died(self.now.at);
        if replaced.is_ok() {
            self.plugins = self.parts.run.plan.plugins.clone();
            self.look();
        }
        replaced
    }

    // The processes.

    pub(super) fn says(&mut self, event: Event) {
        self.parts.take(event, self.now);
        self.look();
    }

    pub(super) fn ready(&mut self, role: Role) {
        assert!(self.is_alive(role), "{role:?} is not alive");
        self.says(Event::Ready { role });
    }

    pub(super) fn all_ready(&mut self) {
        let roles: Vec<Role> = self.alive.iter().map(|&(role, _)| role).collect();
        roles.into_iter().for_each(|role| self.says(Event::Ready { role }));
    }

    pub(super) fn fails(&mut self, role: Role, failure: SetupFailure) {
        self.says(Event::SetupFailed { role, failure });
        self.dies(role, Death::Exit(Exit::Code(3)));
    }

    /// It is reaped.
    pub(super) fn dies(&mut self, role: Role, how: Death) {
        assert!(self.is_alive(role), "{role:?} is not alive");
        self.alive.retain(|&(other, _)| other != role);
        if let Role::Worker { place, .. } = role {
            self.claims.remove(&place);
        }
        self.says(Event::Exited { role, how });
    }

    /// The commander claims a slot for its next message.
    pub(super) fn claims_slot(&mut self) -> Claim<Commanding> {
        self.parts.run.stream.table().claim_free(&mut self.supply).expect("a free slot")
    }

    /// The commander gives so many messages.
    pub(super) fn commands(&mut self, messages: u64) {
        for _ in 0..messages {
            let claim = self.claims_slot();
            self.stream().table().publish(claim, self.next_message, MIN_MESSAGE_CAPACITY);
            self.next_message += 1;
        }
    }

    /// The commander saves its state before its next message.
    pub(super) fn saves(&mut self, byte: u8) {
        let state = SavedState::from_bytes(1, vec![byte]);
        self.says(Event::Saved(StateAt { sequence: self.next_message, state }));
    }

    /// A worker takes the oldest message that it may have.
    pub(super) fn takes(&mut self, role: Role) -> Option<u64> {
        assert!(self.is_alive(role), "{role:?} is not alive");
        let (shared, table) = (self.shared(role), self.stream().table());
        shared.looked_nanos.store(self.now.nanos, Ordering::Relaxed);
        let claim = table.claim_queued(place_of(role), &shared.noted, 1)?;
        let sequence = table.sequence(&claim);
        self.claims.insert(place_of(role), claim);
        Some(sequence)
    }

    /// A worker has done the message that it holds.
    pub(super) fn does(&mut self, role: Role) {
        let claim = self.claims.remove(&place_of(role)).expect("a message");
        self.shared(role).produced.fetch_add(1, Ordering::Relaxed);
        self.stream().table().commit(claim, Outcome::default());
    }

    // The application, and the clock.

    pub(super) fn wants_workers(&mut self, number: usize) {
        self.parts.grant(Wish::Workers(number), self.now.at);
        self.look();
    }

    /// Asks for a swap.
    pub(super) fn swaps(&mut self, kind: PluginKind) -> Answer {
        let (answer, answered) = mpsc::channel();
        let plugin = plugin("new");
        self.parts.grant(Wish::Swap(Box::new(SwapWish { kind, plugin, answer })), self.now.at);
        self.look();
        Answer(answered)
    }

    /// Rehearses the plugin that is to be swapped in, and it does well.
    pub(super) fn rehearses(&mut self, role: Role) {
        self.ready(role);
        self.says(Event::Rehearsed { role });
        self.dies(role, ENDED);
    }

    pub(super) fn stops(&mut self, grace: Duration) {
        self.stream().table().request_stop();
        self.parts.grant(Wish::Stop(grace), self.now.at);
        self.look();
    }

    /// The whole run is paused for so long, the supervisor included.
    pub(super) fn stands_still(&mut self, time: Duration) {
        self.now.nanos += time.as_nanos() as u64;
        self.now.standstills.add(self.now.nanos, time);
        self.look();
    }

    pub(super) fn passes(&mut self, time: Duration) {
        self.now.at += time;
        self.now.nanos += time.as_nanos() as u64;
        self.look();
    }

    /// Takes all ready batches; gives their numbers.
    pub(super) fn delivered(&self) -> Vec<u64> {
        let stream = self.stream();
        let batches = std::iter::from_fn(|| match stream.poll() {
            Ok(Item::Batch(claim, _)) => {
                let sequence = stream.table().sequence(&claim);
                stream.release(claim);
                Some(sequence)
            }
            Ok(other) => panic!("{other:?} instead of a batch"),
            Err(_) => None,
        });
        batches.collect()
    }

    /// The error that is next in the stream.
    pub(super) fn error(&self) -> StreamError {
        match self.stream().poll() {
            Ok(Item::Error(error)) => error,
            other => panic!("{other:?} instead of an error"),
        }
    }

    /// How many workers and commanders were started again.
    pub(super) fn restarts(&self) -> (u64, u64) {
        let counters = self.stream().counters();
        let load = |counter: &crate::segment::sync::AtomicU64| counter.load(Ordering::Relaxed);
        (load(&counters.worker_restarts), load(&counters.commander_restarts))
    }
}

/// What a swap's caller waits for.
pub(super) struct Answer(Receiver<Result<Swapped, SwapError>>);

impl Answer {
    pub(super) fn is_open(&self) -> bool {
        matches!(self.0.try_recv(), Err(TryRecvError::Empty))
    }

    /// Whether the wish was dropped without an answer.
    pub(super) fn is_dropped(&self) -> bool {
        matches!(self.0.try_recv(), Err(TryRecvError::Disconnected))
    }

    /// The first message of the new plugin.
    pub(super) fn first(&self) -> u64 {
        self.0.try_recv().expect("an answer").expect("a swap that was made").first
    }

    pub(super) fn refused(&self) -> SwapError {
        self.0.try_recv().expect("an answer").expect_err("a swap that is refused")
    }
}

/// A plugin's own error or panic.
pub(super) fn report(kind: ReportKind) -> cobuf_plugin_api::Report {
    cobuf_plugin_api::Report::from_host(kind, "not today".to_owned())
}
