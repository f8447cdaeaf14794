//! What a host is to be: plugins, configurations, numbers. Everything is checked by [`HostBuilder::start`].

use std::path::PathBuf;
use std::time::Duration;

use cobuf_plugin_api::codec::{self, CodecError};
use cobuf_plugin_api::{Dictionary, ReportKind};
use serde::Serialize;

use crate::limits;
use crate::plugin::Plugin;
use crate::process::launch::StartMethod;
use crate::protocol::setup::{WorkerInit, WorkerLimits};
use crate::record::checkpoint::Checkpoint;
use crate::record::policy::{OnCommanderFailure, OnFailure, PerKind};

/// Sets up a [`Host`].
#[derive(Debug)]
#[must_use = "nothing runs before `start`"]
pub struct HostBuilder {
    pub(super) commander: PluginChoice,
    pub(super) producer: PluginChoice,
    pub(super) workers: Option<usize>,
    pub(super) slots: Option<usize>,
    pub(super) message_capacity: usize,
    pub(super) deterministic: bool,
    pub(super) seed: u64,
    pub(super) limit: Option<u64>,
    pub(super) start_method: StartMethod,
    pub(super) fork_server: Option<PathBuf>,
    pub(super) worker_init: WorkerInit,
    pub(super) worker_limits: WorkerLimits,
    pub(super) pin_workers: bool,
    pub(super) on_failure: PerKind<OnFailure>,
    pub(super) on_commander_failure: PerKind<OnCommanderFailure>,
    pub(super) max_attempts: u32,
    pub(super) message_timeout: Option<Duration>,
    pub(super) commander_timeout: Option<Duration>,
    pub(super) tune_workers_up_to: Option<usize>,
    pub(super) dead_letters: Option<PathBuf>,
    pub(super) replay: Option<PathBuf>,
    pub(super) resume: Option<Checkpoint>,
    pub(super) start_timeout: Duration,
    pub(super) stop_grace: Duration,
}

/// A plugin as it was given.
#[derive(Debug)]
pub(super) struct PluginChoice {
    pub(super) plugin: Option<Plugin>,
    pub(super) config: Result<Vec<u8>, CodecError>,
}

impl PluginChoice {
    pub(super) fn none() -> Self {
        Self { plugin: None, config: encode(&Dictionary::new()) }
    }
}

fn encode(config: &impl Serialize) -> Result<Vec<u8>, CodecError> {
    codec::encode("the configuration", config)
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
            worker_limits: WorkerLimits::default(),
            pin_workers: false,
            on_failure: PerKind::default(),
            // An error is said of the message, and would come again; a crash may have been an accident.
            on_commander_failure: PerKind::new(
                OnCommanderFailure::End,
                OnCommanderFailure::End,
                OnCommanderFailure::Restart,
                OnCommanderFailure::Restart,
            ),
            max_attempts: limits::DEFAULT_MAX_ATTEMPTS,
            message_timeout: None,
            commander_timeout: None,
            tune_workers_up_to: None,
            dead_letters: None,
            replay: None,
            resume: None,
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

    /// Has the number of workers found while running: from [`workers`](Self::workers) on, or from 1 where that was not said, up to
    /// `most`, beyond which throughput does not rise.
    pub fn tune_workers(mut self, most: usize) -> Self {
        self.tune_workers_up_to = Some(most);
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

    /// What one worker may use. By default there is no limit.
    pub fn worker_limits(mut self, limits: WorkerLimits) -> Self {
        self.worker_limits = limits;
        self
    }

    /// Whether each worker stays on one CPU: worker 0 on the first that this process may use, and so on, counted round. By default not.
    pub fn pin_workers(mut self, pin: bool) -> Self {
        self.pin_workers = pin;
        self
    }

    /// What becomes of a batch that fails in this way. By default [`OnFailure::Raise`].
    pub fn on_failure(mut self, kind: ReportKind, choice: OnFailure) -> Self {
        self.on_failure.set(kind, choice);
        self
    }

    /// What becomes of the stream when the commander fails in this way. By default an error or panic ends the stream, after a crash or
    /// timeout it is started again.
    pub fn on_commander_failure(mut self, kind: ReportKind, choice: OnCommanderFailure) -> Self {
        self.on_commander_failure.set(kind, choice);
        self
    }

    /// How often a message is tried whose worker dies, 1 to [`limits::MAX_ATTEMPTS`], and how often a commander is started that fails at
    /// one message. By default [`limits::DEFAULT_MAX_ATTEMPTS`].
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// How long a worker may take for a message, at least [`limits::MIN_TIMEOUT`]. One that takes longer is killed, after its stack was
    /// looked at, and the message counts an attempt. By default there is no deadline.
    pub fn message_timeout(mut self, timeout: Duration) -> Self {
        self.message_timeout = Some(timeout.min(limits::LONGEST_WAIT));
        self
    }

    /// How long the commander may take for a message while there is a free slot, at least [`limits::MIN_TIMEOUT`]. One that takes longer
    /// is killed. By default there is no deadline.
    pub fn commander_timeout(mut self, timeout: Duration) -> Self {
        self.commander_timeout = Some(timeout.min(limits::LONGEST_WAIT));
        self
    }

    /// A file (JSON, a line each) to which messages are added that could not be produced, whatever becomes of them in the stream.
    pub fn dead_letters(mut self, path: impl Into<PathBuf>) -> Self {
        self.dead_letters = Some(path.into());
        self
    }

    /// Produces just the messages in such a file again, under their numbers and with their seeds. The commander is not asked.
    pub fn replay(mut self, dead_letters: impl Into<PathBuf>) -> Self {
        self.replay = Some(dead_letters.into());
        self
    }

    /// Goes on where an earlier run was when the checkpoint was made: delivers exactly what is missing. Plugins' names, configurations
    /// and the seed must be that run's; workers, slots and the order need not.
    pub fn resume(mut self, checkpoint: Checkpoint) -> Self {
        self.resume = Some(checkpoint);
        self
    }

    /// How long plugins may take to be opened and constructed. By default [`limits::DEFAULT_START_TIMEOUT`].
    pub fn start_timeout(mut self, timeout: Duration) -> Self {
        self.start_timeout = timeout.min(limits::LONGEST_WAIT);
        self
    }

    /// How long plugins may take to finish once the host stops; what is left then is killed. By default
    /// [`limits::DEFAULT_STOP_GRACE`].
    pub fn stop_grace(mut self, grace: Duration) -> Self {
        self.stop_grace = grace.min(limits::LONGEST_WAIT);
        self
    }
}
