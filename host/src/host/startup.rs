//! From a builder to a running host, one checked step after the other.
//!
//! ```text
//!   checks      numbers ─► fork server, and at the same time plugins' files ─► run folder, copies
//!   session     probes: configurations accepted? which arrays? ─► segment, as large as they want
//!   supervisor  commander and workers constructed, on this thread ─► the same loop on its own
//! ```
//!
//! Each event has one reader: the session, which asks a question at a time, until the first process
//! of the run is started; the supervisor from then on. An error at any step drops session or
//! supervisor and folder, which ends all processes and removes the folder.

#[cfg(feature = "sandbox")]
use std::io;
#[cfg(feature = "sandbox")]
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cobuf_plugin_api::{PluginKind, Schema};
use tracing::level_filters::LevelFilter;

use super::builder::{HostBuilder, Source};
use super::checks::{ChosenPlugin, Inheritance, Numbers};
use super::cpus;
use super::error::StartError;
use super::handle::Host;
use super::launch::Launch;
use super::run_folder::{self, RunFolder};
use super::session::{Parts, Session};
use super::swap::Swaps;
use super::trace::{self, TraceFile};
#[cfg(feature = "metrics")]
use crate::metrics::RunLabels;
use crate::plugin::{Plugin, PluginError};
#[cfg(feature = "sandbox")]
use crate::process::launch::ServerStart;
#[cfg(feature = "sandbox")]
use crate::process::relay::Relay;
use crate::protocol::plan::{Plan, Plugins, ProducerPlan};
use crate::protocol::setup::ProcessSetup;
use crate::record::identity::Identity;
use crate::record::letter::Letter;
use crate::segment::about::About;
use crate::segment::clock;
use crate::segment::layout::Sizes;
use crate::stream::delivery::Stream;
use crate::stream::history::History;
use crate::stream::replay::Replay;
use crate::stream::silence::Silence;
use crate::stream::submission::{Over, Submission};
use crate::supervisor::Supervisor;
use crate::supervisor::starting::StartFailure;
use crate::supervisor::supervision::Supervised;

impl HostBuilder {
    /// Checks the numbers among the settings, the rank, and whether a checkpoint is whole or the part of
    /// this rank, as [`start`](Self::start) does at first: for an application that builds plugins
    /// before it starts the host, which may take minutes.
    ///
    /// # Errors
    /// [`StartError::OutOfRange`], [`StartError::Rank`], [`StartError::RankOfApplication`],
    /// [`StartError::Checkpoint`] for the part of another rank, [`StartError::Trace`].
    ///
    /// ```
    /// # use cobuf_host::{Host, StartError};
    /// let checked = Host::builder().slots(0).check();
    /// assert!(matches!(checked, Err(StartError::OutOfRange(_))));
    /// ```
    pub fn check(&self) -> Result<(), StartError> {
        let seat = self.seat()?;
        if let Source::Resume(checkpoint) = &self.source {
            checkpoint.seated(seat)?;
        }
        let numbers = self.numbers()?;
        self.check_replay(numbers.slots)?;
        if let Some(path) = &self.trace {
            trace::check(path)?;
        }
        #[cfg(feature = "sandbox")]
        self.jail()?;
        self.care().map(drop)
    }

    /// Checks everything, builds plugins that are packages, starts all processes and waits until
    /// every plugin is constructed.
    ///
    /// # Errors
    /// [`StartError`]; nothing of the run is left then.
    pub fn start(self) -> Result<Host, StartError> {
        start(self).map_err(|error| match error {
            StartError::Plugin(PluginError::Cancelled) => StartError::Cancelled,
            other => other,
        })
    }
}

fn start(mut builder: HostBuilder) -> Result<Host, StartError> {
    builder.check()?;
    let trace = builder.trace.as_deref().map(TraceFile::new).transpose()?;
    run_folder::parent()?;
    #[cfg(feature = "metrics")]
    let outlet = builder.outlet()?;
    #[cfg(feature = "sandbox")]
    let jail = builder.jail()?;
    #[cfg(feature = "sandbox")]
    let jailed = jail.as_ref().map(|jail| Ok::<_, StartError>((jail.enforced, relay(&mut builder.server)?)));
    #[cfg(feature = "sandbox")]
    let jailed = jailed.transpose()?;
    let launch = builder.launch()?;
    let (numbers, care) = (builder.numbers()?, builder.care()?);
    // It gets ready while the plugins' files are read and copied.
    let connection = launch.start()?;
    let commander = builder.choose_commander()?;
    let producer = builder.choose(PluginKind::Producer)?;
    let named = commander.as_ref().map(ChosenPlugin::named);
    let commander_name = named.map(|(manifest, _)| manifest.name.clone());
    let producer_name = producer.named().0.name.clone();
    let identity = Identity::new(builder.seed, named, producer.named());
    let Inheritance { history, letters, submitted } = builder.inheritance(identity)?;
    // A replay ends with its last letter.
    let limit = builder.limit.filter(|_| letters.is_none());
    let replay = builder.replay_ready.map(|_| Replay::new(limit));
    let limit = builder.made(limit, history.portion().seat().of);
    let (letters, submission) = match commander {
        Some(_) => (letters, None),
        None => (None, Some(submission(letters, submitted, &history, limit, numbers)?)),
    };
    let folder = RunFolder::create()?;
    let run = folder.name().trim_start_matches('/').to_owned();
    let plan = Plan {
        workers: numbers.workers as u32,
        seed: builder.seed,
        limit,
        init: builder.process_setup.clone(),
        limits: builder.worker_limits,
        pin_workers: builder.pin_workers,
        #[cfg(feature = "sandbox")]
        jail,
        portion: history.portion().clone(),
        letters,
        ..plan_of(commander, Some(producer), &folder)?
    };
    let mut session = Session::open(connection, plan, folder, &launch)?;
    if submission.is_none() {
        session.probe(PluginKind::Commander, true)?;
    }
    let (_, schema) = session.probe(PluginKind::Producer, true)?;
    // A configured producer always declares one.
    let schema = schema.ok_or(StartError::ForkServerDied)?;
    let seat = history.portion().seat();
    #[cfg(feature = "metrics")]
    let labels = RunLabels {
        run: run.clone(),
        producer: producer_name.clone(),
        commander: commander_name.clone(),
        rank: (seat.of > 1).then_some(seat.rank),
    };
    let segment = session.attach(&About {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        sizes: sizes(numbers, schema, trace.is_some()),
        run,
        producer: producer_name,
        commander: commander_name,
        ordered: builder.ordered,
        cpus: cpus::available(),
        rank: (seat.of > 1).then_some((seat.rank, seat.of)),
        begun_nanos: clock::now_nanos(),
    })?;
    let mut stream = Stream::new(segment, builder.ordered, builder.on_failure, history);
    if let Some(submission) = submission {
        stream = stream.submitted(submission);
    }
    // Kept batches need no worker.
    let silence = care.longest_silence().filter(|_| replay.is_none());
    if let Some(replay) = replay {
        stream = stream.replayed(replay);
    }
    if let Some(limit) = silence {
        stream = stream.guarded(Silence::new(limit));
    }
    if trace.is_some() {
        stream = stream.traced(numbers.trace_batches);
    }
    let stream = Arc::new(stream);
    let Parts { folder, connection, plan, deadline } = session.into_parts();
    let supervised = Supervised {
        stream: stream.clone(),
        plan,
        care,
        workers: numbers.workers,
        tune_up_to: numbers.tune_up_to,
    };
    let supervisor = Supervisor::new(supervised, connection);
    let mut supervisor = supervisor.map_err(|source| StartError::Io { what: "make a mailbox", source })?;
    supervisor
        .start(deadline, launch.cancel.as_ref())
        .map_err(|failure| not_started(failure, launch.start_timeout))?;
    stream.mark_ready();
    let running = supervisor.spawn().map_err(|source| StartError::Io { what: "start a thread", source })?;
    let swaps = Swaps::new(launch.server.executable);
    let host = Host::new(stream, running, folder, builder.stop_grace, swaps, trace);
    #[cfg(feature = "sandbox")]
    let host = host.jailed(jailed);
    #[cfg(feature = "metrics")]
    let host = match outlet {
        Some(outlet) => host.reporting(outlet, &labels)?,
        None => host,
    };
    Ok(host)
}

/// Starts what hands on what jailed processes print.
#[cfg(feature = "sandbox")]
pub(crate) fn relay(server: &mut ServerStart) -> Result<Arc<Relay>, StartError> {
    let destination = match server.output.as_deref() {
        Some(output) => output.try_clone().map(Some),
        None => match io::stderr().as_fd().try_clone_to_owned() {
            // The application has closed its standard error.
            Err(error) if error.raw_os_error() == Some(libc::EBADF) => Ok(None),
            copy => copy.map(Some),
        },
    };
    let relay = destination.and_then(Relay::start).map(Arc::new);
    let what = "hand on what jailed processes print";
    let relay = relay.map_err(|source| StartError::Io { what, source })?;
    server.relay = Some(relay.clone());
    Ok(relay)
}

/// The messages of an application that is the commander: it begins with those of an earlier run.
fn submission(
    letters: Option<Vec<Letter>>,
    submitted: Vec<Letter>,
    history: &History,
    limit: Option<u64>,
    Numbers { message_capacity: capacity, .. }: Numbers,
) -> Result<Submission, StartError> {
    let over = letters.is_some().then_some(Over::Closed);
    let backlog = letters.unwrap_or(submitted);
    let too_large = backlog.iter().find(|letter| letter.encoded.len() > capacity);
    if let Some(Letter { sequence, encoded }) = too_large {
        return Err(StartError::MessageTooLarge { sequence: *sequence, bytes: encoded.len(), capacity });
    }
    Ok(Submission::new(backlog, history.portion().earlier(), limit, over))
}

fn not_started(failure: StartFailure, limit: Duration) -> StartError {
    match failure {
        StartFailure::Process { role, plugin, failure } => {
            StartError::of_process(role, plugin.as_deref(), failure)
        }
        StartFailure::Late { waiting_for } => StartError::Timeout { waiting_for, limit },
        StartFailure::Cancelled => StartError::Cancelled,
        StartFailure::ServerFailed { reason } => StartError::ForkServerFailed { reason },
        StartFailure::ServerDied => StartError::ForkServerDied,
        StartFailure::Unreadable(source) => StartError::unreadable(source),
    }
}

/// The declarations of a plugin: its configuration's JSON Schema and, for a configured producer,
/// the slots' arrays.
pub(crate) fn declarations(
    plugin: &Plugin,
    config: Option<Vec<u8>>,
    fork_server: Option<&Path>,
    working_directory: Option<PathBuf>,
) -> Result<(String, Option<Schema>), StartError> {
    let file = plugin.resolve(None, None)?;
    let kind = file.manifest.kind;
    let configured = config.is_some();
    let launch = Launch::by(fork_server, &file);
    let config_schema = file.code.config_schema.clone();
    let folder = RunFolder::create()?;
    let chosen = ChosenPlugin { file, config: config.unwrap_or_default() };
    let plan = plan_of_one(chosen, &folder, working_directory)?;
    let (own_schema, arrays) =
        Session::open(launch.start()?, plan, folder, &launch)?.probe(kind, configured)?;
    Ok((config_schema.unwrap_or(own_schema), arrays))
}

/// The plan of processes that open one plugin, without a run.
pub(crate) fn plan_of_one(
    chosen: ChosenPlugin,
    folder: &RunFolder,
    working_directory: Option<PathBuf>,
) -> Result<Plan, StartError> {
    let (commander, producer) = match chosen.file.manifest.kind {
        PluginKind::Commander => (Some(chosen), None),
        PluginKind::Producer => (None, Some(chosen)),
    };
    let init = ProcessSetup { working_directory, ..ProcessSetup::default() };
    Ok(Plan { init, ..plan_of(commander, producer, folder)? })
}

/// The plan of processes that open these plugins, of which the run's folder gets copies.
fn plan_of(
    commander: Option<ChosenPlugin>,
    producer: Option<ChosenPlugin>,
    folder: &RunFolder,
) -> Result<Plan, StartError> {
    let config = |chosen: &Option<ChosenPlugin>| {
        chosen.as_ref().map(|chosen| chosen.config.clone()).unwrap_or_default()
    };
    let (commander_config, producer_config) = (config(&commander), config(&producer));
    let producer = producer.map(|chosen| chosen.plan(folder.path())).transpose()?;
    let producer = producer.map(|plugin| ProducerPlan { plugin, edition: 0 });
    let commander = commander.map(|chosen| chosen.plan(folder.path())).transpose()?;
    Ok(Plan {
        plugins: Plugins { commander, producers: [producer, None], candidate: None },
        commander_config,
        producer_config,
        workers: 1,
        max_log_level: max_log_level(),
        run_folder: folder.path().to_owned(),
        ..Plan::default()
    })
}

fn sizes(numbers: Numbers, schema: Schema, is_traced: bool) -> Sizes {
    let Numbers { slots, message_capacity, metadata_capacity, .. } = numbers;
    Sizes { slots, message_capacity, metadata_capacity, schema, is_traced }
}

/// 0 off … 5 trace, as plugins are told.
fn max_log_level() -> u8 {
    match LevelFilter::current().into_level() {
        None => 0,
        Some(tracing::Level::ERROR) => 1,
        Some(tracing::Level::WARN) => 2,
        Some(tracing::Level::INFO) => 3,
        Some(tracing::Level::DEBUG) => 4,
        Some(tracing::Level::TRACE) => 5,
    }
}
