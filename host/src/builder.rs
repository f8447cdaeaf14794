//! What a host is to be: plugins, configurations, numbers. Everything is checked by [`HostBuilder::start`].

use std::path::{Path, PathBuf};
use std::time::Duration;

use cobuf_plugin_api::codec::{self, CodecError};
use cobuf_plugin_api::{Dictionary, PluginKind};
use serde::Serialize;

use crate::error::StartError;
use crate::host::Host;
use crate::limits;
use crate::plugin::{Plugin, PluginFile};
use crate::process::launch::StartMethod;
use crate::process::protocol::{PluginPlan, WorkerInit};
use crate::startup;

/// Sets up a [`Host`].
#[derive(Debug)]
#[must_use = "nothing runs before `start`"]
pub struct HostBuilder {
    commander: PluginChoice,
    producer: PluginChoice,
    workers: Option<usize>,
    slots: Option<usize>,
    pub(crate) message_capacity: usize,
    pub(crate) deterministic: bool,
    pub(crate) seed: u64,
    pub(crate) limit: Option<u64>,
    pub(crate) start_method: StartMethod,
    pub(crate) fork_server: Option<PathBuf>,
    pub(crate) worker_init: WorkerInit,
    pub(crate) start_timeout: Duration,
    pub(crate) stop_grace: Duration,
}

#[derive(Debug)]
struct PluginChoice {
    plugin: Option<Plugin>,
    config: Result<Vec<u8>, CodecError>,
}

impl PluginChoice {
    fn none() -> Self {
        Self { plugin: None, config: encode(&Dictionary::new()) }
    }
}

fn encode(config: &impl Serialize) -> Result<Vec<u8>, CodecError> {
    codec::encode("the configuration", config)
}

/// The numbers of a run, checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Numbers {
    pub(crate) workers: usize,
    pub(crate) slots: usize,
    pub(crate) message_capacity: usize,
}

/// A plugin of a run, checked.
#[derive(Debug)]
pub(crate) struct ChosenPlugin {
    pub(crate) file: PluginFile,
    pub(crate) config: Vec<u8>,
}

impl ChosenPlugin {
    /// Puts the private copy into the run's folder.
    pub(crate) fn plan(self, run_folder: &Path) -> Result<PluginPlan, StartError> {
        let library = self.file.copy_into(run_folder);
        let library = library
            .map_err(|source| StartError::Io { what: "copy a plugin into the run's folder", source })?;
        let PluginFile { path: origin, manifest, .. } = self.file;
        Ok(PluginPlan { name: manifest.name, origin, library, config: self.config })
    }
}

impl HostBuilder {
    pub(crate) fn new() -> Self {
        Self {
            commander: PluginChoice::none(),
            producer: PluginChoice::none(),
            workers: None,
            slots: None,
            message_capacity: limits::DEFAULT_MESSAGE_CAPACITY,
            deterministic: true,
            seed: limits::DEFAULT_SEED,
            limit: None,
            start_method: StartMethod::default(),
            fork_server: None,
            worker_init: WorkerInit::default(),
            start_timeout: limits::DEFAULT_START_TIMEOUT,
            stop_grace: limits::DEFAULT_STOP_GRACE,
        }
    }

    /// The commander plugin. Required.
    pub fn commander(mut self, plugin: Plugin) -> Self {
        self.commander.plugin = Some(plugin);
        self
    }

    /// The commander's configuration: a `serde` struct or map, or a [`Dictionary`]. Empty by default.
    pub fn commander_config(mut self, config: impl Serialize) -> Self {
        self.commander.config = encode(&config);
        self
    }

    /// The producer plugin. Required.
    pub fn producer(mut self, plugin: Plugin) -> Self {
        self.producer.plugin = Some(plugin);
        self
    }

    /// The producer's configuration: a `serde` struct or map, or a [`Dictionary`]. Empty by default.
    pub fn producer_config(mut self, config: impl Serialize) -> Self {
        self.producer.config = encode(&config);
        self
    }

    /// The number of worker processes, 1 to [`limits::MAX_WORKERS`]. By default one for each CPU that this process may use.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// The number of slots, 1 to [`limits::MAX_SLOTS`]: how many batches can be queued, produced, ready or held at a time.
    /// By default [`limits::DEFAULT_SLOTS_PER_WORKER`] for each worker.
    pub fn slots(mut self, slots: usize) -> Self {
        self.slots = Some(slots);
        self
    }

    /// Whether batches come in the order of their messages (the default), or as they are ready.
    pub fn deterministic(mut self, deterministic: bool) -> Self {
        self.deterministic = deterministic;
        self
    }

    /// The run's seed, from which commander and producers draw all randomness. By default [`limits::DEFAULT_SEED`].
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Ends the stream after so many messages, where the commander does not end it before. By default it goes on.
    pub fn limit(mut self, messages: u64) -> Self {
        self.limit = Some(messages);
        self
    }

    /// The most bytes that an encoded message may have. By default [`limits::DEFAULT_MESSAGE_CAPACITY`].
    pub fn message_capacity(mut self, bytes: usize) -> Self {
        self.message_capacity = bytes;
        self
    }

    /// How workers come to be. By default [`StartMethod::ForkServer`].
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.start_method = method;
        self
    }

    /// The executable of the fork server: the `cobuf` command, or any that calls [`init`](crate::init) first. By default
    /// this application where it did so, or a `cobuf` beside it or on the `PATH`.
    pub fn fork_server(mut self, executable: impl Into<PathBuf>) -> Self {
        self.fork_server = Some(executable.into());
        self
    }

    /// What plugin processes do before they open their plugin. By default nothing.
    pub fn worker_init(mut self, init: WorkerInit) -> Self {
        self.worker_init = init;
        self
    }

    /// How long plugins may take to be opened and constructed. By default [`limits::DEFAULT_START_TIMEOUT`].
    pub fn start_timeout(mut self, timeout: Duration) -> Self {
        self.start_timeout = timeout;
        self
    }

    /// How long plugins may take to finish once the host stops; what is left then is killed. By default
    /// [`limits::DEFAULT_STOP_GRACE`].
    pub fn stop_grace(mut self, grace: Duration) -> Self {
        self.stop_grace = grace;
        self
    }

    /// Checks everything, builds plugins that are packages, starts all processes and waits until every plugin is constructed.
    ///
    /// # Errors
    /// [`StartError`]; nothing of the run is left then.
    pub fn start(self) -> Result<Host, StartError> {
        startup::start(self)
    }

    pub(crate) fn numbers(&self) -> Result<Numbers, StartError> {
        let workers = self.workers.unwrap_or_else(available_cpus);
        let workers = in_range("the number of workers", workers, 1, limits::MAX_WORKERS)?;
        let slots = self.slots.unwrap_or(workers * limits::DEFAULT_SLOTS_PER_WORKER);
        Ok(Numbers {
            workers,
            slots: in_range("the number of slots", slots, 1, limits::MAX_SLOTS)?,
            message_capacity: in_range(
                "the message capacity in bytes",
                self.message_capacity,
                limits::MIN_MESSAGE_CAPACITY,
                limits::MAX_MESSAGE_CAPACITY,
            )?,
        })
    }

    /// The plugin of this kind, built and checked.
    pub(crate) fn choose(&mut self, kind: PluginKind) -> Result<ChosenPlugin, StartError> {
        let choice = match kind {
            PluginKind::Commander => &mut self.commander,
            PluginKind::Producer => &mut self.producer,
        };
        let choice = std::mem::replace(choice, PluginChoice::none());
        let plugin = choice.plugin.ok_or(StartError::NoPlugin { kind })?;
        let config = choice.config.map_err(|source| StartError::Config { kind, source })?;
        Ok(ChosenPlugin { file: plugin.resolve(Some(kind))?, config })
    }
}

/// The CPUs that this process may use.
fn available_cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(limits::MAX_WORKERS)
}

fn in_range(what: &'static str, value: usize, least: usize, most: usize) -> Result<usize, StartError> {
    if (least..=most).contains(&value) {
        Ok(value)
    } else {
        Err(StartError::OutOfRange { what, value, least, most })
    }
}
