//! From a builder to a running host, one checked step after the other.
//!
//! ```text
//!   numbers ─► fork server ─► plugins' files ─► run folder, private copies       the two at the same time
//!     ─► probes: configurations accepted? which arrays? ─► segment, as large as the schema wants
//!     ─► commander and workers constructed ─► supervisor
//! ```
//!
//! Until the last step the starting thread reads the events itself, see [`session`]. An error at any step drops a [`Session`], which
//! stops what runs and removes what was made.

use std::path::{Path, PathBuf};

use cobuf_plugin_api::{PluginKind, Schema};
use tracing::level_filters::LevelFilter;

use super::builder::HostBuilder;
use super::checks::{ChosenPlugin, Inheritance, Numbers};
use super::error::StartError;
use super::handle::Host;
use super::launch::Launch;
use super::run_folder::RunFolder;
use super::session::Session;
use crate::plugin::Plugin;
use crate::protocol::plan::{Plan, Plugins, ProducerPlan};
use crate::protocol::setup::ProcessSetup;
use crate::record::identity::Identity;
use crate::segment::layout::Sizes;
use crate::stream::delivery::Stream;

impl HostBuilder {
    /// Checks everything, builds plugins that are packages, starts all processes and waits until every plugin is constructed.
    ///
    /// # Errors
    /// [`StartError`]; nothing of the run is left then.
    pub fn start(self) -> Result<Host, StartError> {
        start(self)
    }
}

fn start(mut builder: HostBuilder) -> Result<Host, StartError> {
    let numbers = builder.numbers()?;
    // It gets ready while the plugins' files are read and copied.
    let launch = builder.launch();
    let launched = launch.start()?;
    let commander = builder.choose(PluginKind::Commander)?;
    let producer = builder.choose(PluginKind::Producer)?;
    let care = builder.care()?;
    let identity = Identity::new(builder.seed, commander.named(), producer.named());
    let Inheritance { history, letters } = builder.inheritance(identity)?;
    let folder = create_run_folder()?;
    let (commander_config, producer_config) = (commander.config.clone(), producer.config.clone());
    let producer = ProducerPlan { plugin: producer.plan(folder.path())?, edition: 0 };
    let commander = Some(commander.plan(folder.path())?);
    let plan = Plan {
        plugins: Plugins { commander, producers: [Some(producer), None], candidate: None },
        commander_config,
        producer_config,
        workers: numbers.workers as u32,
        seed: builder.seed,
        // A replay ends with its last letter.
        limit: builder.limit.filter(|_| letters.is_none()),
        init: builder.process_setup.clone(),
        limits: builder.worker_limits,
        pin_workers: builder.pin_workers,
        done: history.earlier().clone(),
        letters,
        examination: None,
        max_log_level: max_log_level(),
        run_folder: folder.path().to_owned(),
    };
    let mut session = Session::open(launched, plan, folder, &launch)?;
    session.probe(PluginKind::Commander, true)?;
    let (_, schema) = session.probe(PluginKind::Producer, true)?;
    // A configured producer always declares one.
    let schema = schema.ok_or(StartError::ForkServerDied)?;
    let segment = session.attach(sizes(numbers, schema))?;
    let stream = Stream::new(segment, builder.ordered, builder.on_failure, history);
    session.start_plugins(&stream, numbers.workers)?;
    session.into_host(stream, numbers, care, builder.stop_grace)
}

/// What a plugin declares: its configuration's JSON Schema and, for a configured producer, the slots' arrays.
pub(crate) fn declarations(
    plugin: &Plugin,
    config: Option<Vec<u8>>,
    fork_server: Option<&Path>,
    working_directory: Option<PathBuf>,
) -> Result<(String, Option<Schema>), StartError> {
    let file = plugin.resolve(None)?;
    let kind = file.manifest.kind;
    let configured = config.is_some();
    let folder = create_run_folder()?;
    let chosen = ChosenPlugin { file, config: config.unwrap_or_default() };
    let plan = plan_of_one(chosen, &folder, working_directory)?;
    let launch = Launch::by(fork_server);
    Session::open(launch.start()?, plan, folder, &launch)?.probe(kind, configured)
}

/// The plan of processes that open one plugin, without a run.
pub(crate) fn plan_of_one(
    chosen: ChosenPlugin,
    folder: &RunFolder,
    working_directory: Option<PathBuf>,
) -> Result<Plan, StartError> {
    let kind = chosen.file.manifest.kind;
    // There is no other.
    let (commander_config, producer_config) = (chosen.config.clone(), chosen.config.clone());
    let chosen = chosen.plan(folder.path())?;
    let (commander, producer) = match kind {
        PluginKind::Commander => (Some(chosen), None),
        PluginKind::Producer => (None, Some(ProducerPlan { plugin: chosen, edition: 0 })),
    };
    Ok(Plan {
        plugins: Plugins { commander, producers: [producer, None], candidate: None },
        commander_config,
        producer_config,
        workers: 1,
        init: ProcessSetup { working_directory, ..ProcessSetup::default() },
        max_log_level: max_log_level(),
        run_folder: folder.path().to_owned(),
        ..Plan::default()
    })
}

pub(crate) fn create_run_folder() -> Result<RunFolder, StartError> {
    RunFolder::create().map_err(|source| StartError::Io { what: "make a folder for the run", source })
}

fn sizes(numbers: Numbers, schema: Schema) -> Sizes {
    let Numbers { slots, message_capacity, .. } = numbers;
    Sizes { slots, message_capacity, schema }
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
