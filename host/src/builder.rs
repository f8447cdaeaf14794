//! What a host is to be: plugins, configurations, numbers. Everything is checked by [`HostBuilder::start`].

use std::path::{Path, PathBuf};
use std::time::Duration;

use cobuf_plugin_api::codec::{self, CodecError};
use cobuf_plugin_api::{Dictionary, PluginKind, ReportKind};
use serde::Serialize;

use crate::checkpoint::Checkpoint;
use crate::dead_letters::{self, DeadLetters, Letter};
use crate::error::StartError;
use crate::failure::{OnCommanderFailure, OnFailure, PerKind};
use crate::history::History;
use crate::host::Host;
use crate::identity::Identity;
use crate::ledger::Ledger;
use crate::limits;
use crate::plugin::{Plugin, PluginFile};
use crate::process::launch::StartMethod;
use crate::process::protocol::{PluginPlan, WorkerInit, WorkerLimits};
use crate::startup;
use crate::supervisor::Care;

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
    pub(crate) worker_limits: WorkerLimits,
    pub(crate) pin_workers: bool,
    pub(crate) on_failure: PerKind<OnFailure>,
    pub(crate) on_commander_failure: PerKind<OnCommanderFailure>,
    max_attempts: u32,
    message_timeout: Option<Duration>,
    commander_timeout: Option<Duration>,
    tune_workers_up_to: Option<usize>,
    dead_letters: Option<PathBuf>,
    replay: Option<PathBuf>,
    resume: Option<Checkpoint>,
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
    /// The most workers that are tried, where their number is to be found.
    pub(crate) tune_up_to: Option<usize>,
    pub(crate) slots: usize,
    pub(crate) message_capacity: usize,
}

/// What a run has from earlier ones.
#[derive(Debug)]
pub(crate) struct Inheritance {
    pub(crate) history: History,
    pub(crate) letters: Option<Vec<Letter>>,
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
            worker_limits: WorkerLimits::default(),
            pin_workers: false,
            on_failure: PerKind::new(OnFailure::Raise, OnFailure::Raise, OnFailure::Raise, OnFailure::Raise),
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

    /// Checks everything, builds plugins that are packages, starts all processes and waits until every plugin is constructed.
    ///
    /// # Errors
    /// [`StartError`]; nothing of the run is left then.
    pub fn start(self) -> Result<Host, StartError> {
        startup::start(self)
    }

    pub(crate) fn numbers(&self) -> Result<Numbers, StartError> {
        let most_workers = self.tune_workers_up_to.unwrap_or(1);
        let most_workers = in_range("the most workers to try", most_workers, 1, limits::MAX_WORKERS)?;
        let tuned = self.tune_workers_up_to.map(|_| most_workers);
        let workers = self.workers.unwrap_or_else(|| if tuned.is_some() { 1 } else { available_cpus() });
        let workers = in_range("the number of workers", workers, 1, limits::MAX_WORKERS)?;
        let slots = self.slots.unwrap_or(workers.max(most_workers) * limits::DEFAULT_SLOTS_PER_WORKER);
        Ok(Numbers {
            workers,
            tune_up_to: tuned.map(|most| most.max(workers)),
            slots: in_range("the number of slots", slots, 1, limits::MAX_SLOTS)?,
            message_capacity: in_range(
                "the message capacity in bytes",
                self.message_capacity,
                limits::MIN_MESSAGE_CAPACITY,
                limits::MAX_MESSAGE_CAPACITY,
            )?,
        })
    }

    /// How failures are met, checked.
    pub(crate) fn care(&self) -> Result<Care, StartError> {
        let most = limits::MAX_ATTEMPTS as usize;
        in_range("the number of attempts", self.max_attempts as usize, 1, most)?;
        for timeout in [self.message_timeout, self.commander_timeout].into_iter().flatten() {
            let least = limits::MIN_TIMEOUT.as_millis() as usize;
            let milliseconds = usize::try_from(timeout.as_millis()).unwrap_or(usize::MAX);
            in_range("a deadline in milliseconds", milliseconds, least, usize::MAX)?;
        }
        Ok(Care {
            max_attempts: self.max_attempts,
            message_timeout: self.message_timeout,
            commander_timeout: self.commander_timeout,
            start_timeout: self.start_timeout,
            on_commander_failure: self.on_commander_failure,
            start_method: self.start_method,
            fork_server: self.fork_server.clone(),
        })
    }

    /// What earlier runs have left to this one.
    pub(crate) fn inheritance(&self, identity: Identity) -> Result<Inheritance, StartError> {
        let letters = self.replay.as_deref().map(|path| dead_letters::read(path, &identity)).transpose()?;
        let (done, state) = match (&letters, &self.resume) {
            (Some(_), Some(_)) => {
                return Err(StartError::Contradiction(
                    "a run either replays dead letters or resumes a checkpoint; give one of the two",
                ));
            }
            (Some(letters), None) => {
                let end = letters.last().map_or(0, |last| last.sequence.saturating_add(1));
                (Ledger::all_but(letters.iter().map(|letter| letter.sequence), end), None)
            }
            (None, Some(checkpoint)) => {
                checkpoint.check(&identity)?;
                (checkpoint.done.clone(), checkpoint.commander.clone())
            }
            (None, None) => (Ledger::default(), None),
        };
        let file = self.dead_letters.as_deref();
        let file = file.map(|path| DeadLetters::open(path, &identity)).transpose()?;
        Ok(Inheritance { history: History::new(identity, done, state, file), letters })
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

pub(crate) fn in_range(
    what: &'static str,
    value: usize,
    least: usize,
    most: usize,
) -> Result<usize, StartError> {
    if (least..=most).contains(&value) {
        Ok(value)
    } else {
        Err(StartError::OutOfRange { what, value, least, most })
    }
}
