//! A host's settings. [`HostBuilder::start`](crate::HostBuilder::start) checks them.
//!
//! Each setting only stores its value, so settings may be given in any order and a later value
//! replaces an earlier one.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cobuf_plugin_api::codec::{self, CodecError};
use cobuf_plugin_api::{Dictionary, ReportKind};
use serde::Serialize;

use super::cpus;
use crate::cancel::Cancel;
#[cfg(feature = "sandbox")]
use crate::jail::{Sandbox, SandboxMode};
use crate::limits;
#[cfg(feature = "metrics")]
use crate::metrics::MetricsTarget;
use crate::plugin::Plugin;
use crate::process::launch::{ServerStart, StartMethod};
use crate::process::system::ForkHooks;
use crate::protocol::setup::{ProcessSetup, WorkerLimits};
use crate::record::checkpoint::Checkpoint;
use crate::record::policy::{OnCommanderFailure, OnFailure, PerKind};
use crate::record::portion::Remainder;
use crate::record::rank::Rank;

/// How many worker processes a host has.
///
/// A number is a [`Fixed`](Self::Fixed) one, so `.workers(4)` is enough.
///
/// ```
/// # use cobuf_host::Workers;
/// assert_eq!(Workers::from(4), Workers::Fixed(4));
/// assert!(matches!(Workers::auto(), Workers::Auto { from: 1, .. }));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workers {
    /// This many, 1 to [`limits::MAX_WORKERS`], until
    /// [`Host::set_workers`](crate::Host::set_workers) changes it.
    Fixed(usize),
    /// The host starts with `from` workers and adds more, up to `up_to`, for as long as throughput
    /// rises. Both are 1 to [`limits::MAX_WORKERS`].
    Auto {
        /// The number of workers at the start.
        from: usize,
        /// The most workers that the host tries; if it is below `from`, it counts as `from`.
        up_to: usize,
    },
}

impl Workers {
    /// From 1 worker up to [`limits::TUNED_WORKERS_PER_CPU`] for each CPU that this process may
    /// use.
    pub fn auto() -> Self {
        let most = cpus::available() * limits::TUNED_WORKERS_PER_CPU;
        Self::Auto { from: 1, up_to: most.min(limits::MAX_WORKERS) }
    }
}

impl From<usize> for Workers {
    fn from(number: usize) -> Self {
        Self::Fixed(number)
    }
}

/// Which part of a run says what to produce.
///
/// A plugin is a [`Plugin`](Self::Plugin) commander, so `.commander(Plugin::named("…"))` is enough.
#[derive(Debug, Clone)]
pub enum Commander {
    /// A plugin, in a process of its own: a function of its configuration, the run's seed and the
    /// message's number.
    Plugin(Plugin),
    /// The application: its threads submit the messages, see [`Submitter`](crate::Submitter). There is
    /// no commander's process then. The batches so far can decide the next message, for rollouts, hard
    /// examples, or requests that wait for their batch.
    Application,
}

impl From<Plugin> for Commander {
    fn from(plugin: Plugin) -> Self {
        Self::Plugin(plugin)
    }
}

/// Where a run's messages come from. A run has exactly one source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
#[expect(clippy::large_enum_variant, reason = "there is one for each host")]
pub enum Source {
    /// The commander, from its first message on.
    #[default]
    Commander,
    /// The commander, for the messages that an earlier run had not delivered when the checkpoint
    /// was made. The plugins' names, their configurations and the seed must be that run's; the
    /// number of workers and slots and the order of delivery may differ. If the application is the
    /// commander, the messages that it had submitted come first, and it goes on with the next
    /// number.
    Resume(Checkpoint),
    /// A file of dead letters: exactly its messages are produced again, under their numbers and
    /// with their seeds. The commander process runs but its plugin is not asked for messages, or the
    /// application can submit none; and [`limit`](HostBuilder::limit) has no effect.
    Replay(PathBuf),
}

/// The settings of a [`Host`](crate::Host), made by [`Host::builder`](crate::Host::builder).
///
/// Only commander and producer are required. The settings are grouped below: plugins, size, order and
/// content, source, ranks, failures, deadlines, observation, processes.
///
/// ```no_run
/// use std::time::Duration;
/// use cobuf_host::{Dictionary, Host, OnFailure, Plugin, ReportKind};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let host = Host::builder()
///     .commander(Plugin::named("index-commander"))
///     .commander_config(Dictionary::new().with("length", 1797).with("epochs", 1))
///     .producer(Plugin::named("digits-producer"))
///     .workers(4)
///     .message_timeout(Duration::from_secs(30))
///     .on_failure(ReportKind::Crash, OnFailure::Skip)
///     .start()?;
/// # drop(host);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing runs before `start`"]
pub struct HostBuilder {
    pub(super) commander: PluginChoice,
    /// Whether the application is the commander.
    pub(super) application: bool,
    pub(super) producer: PluginChoice,
    pub(super) workers: Option<Workers>,
    pub(super) slots: Option<usize>,
    pub(super) message_capacity: usize,
    pub(super) metadata_capacity: usize,
    pub(super) ordered: bool,
    pub(super) seed: u64,
    pub(super) limit: Option<u64>,
    pub(super) replay_ready: Option<usize>,
    pub(super) source: Source,
    pub(super) rank: Option<Rank>,
    pub(super) remainder: Remainder,
    pub(super) server: ServerStart,
    pub(super) process_setup: ProcessSetup,
    #[cfg(feature = "sandbox")]
    pub(super) sandbox: Option<Sandbox>,
    pub(super) worker_limits: WorkerLimits,
    pub(super) pin_workers: bool,
    pub(super) on_failure: PerKind<OnFailure>,
    pub(super) on_commander_failure: PerKind<OnCommanderFailure>,
    pub(super) max_attempts: u32,
    pub(super) message_timeout: Option<Duration>,
    pub(super) commander_timeout: Option<Duration>,
    pub(super) dead_letters: Option<PathBuf>,
    pub(super) trace: Option<PathBuf>,
    pub(super) trace_batches: usize,
    pub(super) start_timeout: Duration,
    pub(super) stop_grace: Duration,
    pub(super) cancel: Option<Cancel>,
    #[cfg(feature = "metrics")]
    pub(super) metrics: Option<MetricsTarget>,
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
            application: false,
            producer: PluginChoice::none(),
            workers: None,
            slots: None,
            message_capacity: limits::DEFAULT_MESSAGE_CAPACITY,
            metadata_capacity: limits::DEFAULT_METADATA_CAPACITY,
            ordered: true,
            seed: limits::DEFAULT_SEED,
            limit: None,
            replay_ready: None,
            source: Source::Commander,
            rank: None,
            remainder: Remainder::default(),
            server: ServerStart::default(),
            process_setup: ProcessSetup::default(),
            #[cfg(feature = "sandbox")]
            sandbox: None,
            worker_limits: WorkerLimits::default(),
            pin_workers: false,
            on_failure: PerKind::default(),
            // The commander would repeat an error or panic at the same message. A crash or a missed
            // deadline may have been an accident.
            on_commander_failure: PerKind::new(
                OnCommanderFailure::End,
                OnCommanderFailure::End,
                OnCommanderFailure::Restart,
                OnCommanderFailure::Restart,
            ),
            max_attempts: limits::DEFAULT_MAX_ATTEMPTS,
            message_timeout: None,
            commander_timeout: None,
            dead_letters: None,
            trace: None,
            trace_batches: limits::DEFAULT_TRACE_BATCHES,
            start_timeout: limits::DEFAULT_START_TIMEOUT,
            stop_grace: limits::DEFAULT_STOP_GRACE,
            cancel: None,
            #[cfg(feature = "metrics")]
            metrics: None,
        }
    }
}

/// # Plugins
impl HostBuilder {
    /// The commander, which says what to produce: one message for each batch. A plugin, or the
    /// application itself.
    ///
    /// Required: [`start`](Self::start) fails with
    /// [`StartError::NoPlugin`](crate::StartError::NoPlugin) without it. A package is built by
    /// `start`. If it is the application, the settings for a commander's plugin have no effect: its
    /// configuration, its deadline and what happens if it fails.
    ///
    /// ```
    /// # use cobuf_host::{Commander, Host, Plugin};
    /// let plugin = Host::builder().commander(Plugin::package("plugins/index-commander"));
    /// let application = Host::builder().commander(Commander::Application);
    /// ```
    pub fn commander(mut self, commander: impl Into<Commander>) -> Self {
        (self.commander.plugin, self.application) = match commander.into() {
            Commander::Plugin(plugin) => (Some(plugin), false),
            Commander::Application => (None, true),
        };
        self
    }

    /// The commander's configuration: a `serde` struct or map, or a [`Dictionary`].
    ///
    /// Default: an empty dictionary. `start` fails with
    /// [`StartError::Config`](crate::StartError::Config) if the value is not a dictionary, and with
    /// [`StartError::Plugin`](crate::StartError::Plugin) if the plugin refuses it.
    ///
    /// ```
    /// # use cobuf_host::{Dictionary, Host};
    /// let builder = Host::builder().commander_config(Dictionary::new().with("length", 1797));
    /// ```
    pub fn commander_config(mut self, config: impl Serialize) -> Self {
        self.commander.config = encode(&config);
        self
    }

    /// The producer plugin, which fills the arrays of each batch in the worker processes.
    ///
    /// Required, as [`commander`](Self::commander).
    ///
    /// ```
    /// # use cobuf_host::{Host, Plugin};
    /// let builder = Host::builder().producer(Plugin::file("target/release/libmy_decoder.so"));
    /// ```
    pub fn producer(mut self, plugin: Plugin) -> Self {
        self.producer.plugin = Some(plugin);
        self
    }

    /// The producer's configuration. Default and errors as for
    /// [`commander_config`](Self::commander_config).
    ///
    /// ```
    /// # use cobuf_host::Host;
    /// #[derive(serde::Serialize)]
    /// struct Config {
    ///     batch_size: usize,
    /// }
    /// let builder = Host::builder().producer_config(Config { batch_size: 32 });
    /// ```
    pub fn producer_config(mut self, config: impl Serialize) -> Self {
        self.producer.config = encode(&config);
        self
    }
}

/// # Size
impl HostBuilder {
    /// The number of worker processes: a number, or [`Workers::auto`] to have the host find it.
    ///
    /// Default: one for each CPU that this process may use, divided among the ranks on the
    /// machine if a launcher says how many there are. Range: 1 to [`limits::MAX_WORKERS`],
    /// otherwise `start` fails with [`StartError::OutOfRange`](crate::StartError::OutOfRange).
    ///
    /// ```
    /// # use cobuf_host::{Host, Workers};
    /// let four = Host::builder().workers(4);
    /// let found = Host::builder().workers(Workers::auto());
    /// ```
    pub fn workers(mut self, workers: impl Into<Workers>) -> Self {
        self.workers = Some(workers.into());
        self
    }

    /// The number of slots: how many batches can be queued, in production, ready or held by the
    /// application at a time. Memory for all of them is reserved at the start.
    ///
    /// Default: 4 for each worker. Range: 1 to [`limits::MAX_SLOTS`], otherwise
    /// [`StartError::OutOfRange`](crate::StartError::OutOfRange). For batches that take
    /// microseconds use at least 32, to keep context switches rare.
    ///
    /// ```
    /// # use cobuf_host::Host;
    /// let builder = Host::builder().slots(32);
    /// ```
    pub fn slots(mut self, slots: usize) -> Self {
        self.slots = Some(slots);
        self
    }

    /// The most bytes that an encoded message may have.
    ///
    /// Default: [`limits::DEFAULT_MESSAGE_CAPACITY`], 64 KiB. Range:
    /// [`limits::MIN_MESSAGE_CAPACITY`] to [`limits::MAX_MESSAGE_CAPACITY`], otherwise
    /// [`StartError::OutOfRange`](crate::StartError::OutOfRange). A larger message is the
    /// commander's error, or [`SubmitError::TooLarge`](crate::SubmitError::TooLarge).
    ///
    /// ```
    /// # use cobuf_host::Host;
    /// let builder = Host::builder().message_capacity(1024 * 1024);
    /// ```
    pub fn message_capacity(mut self, bytes: usize) -> Self {
        self.message_capacity = bytes;
        self
    }

    /// The most bytes that the encoded metadata of a batch may have.
    ///
    /// Default: [`limits::DEFAULT_METADATA_CAPACITY`], 64 KiB. Range:
    /// [`limits::MIN_METADATA_CAPACITY`] to [`limits::MAX_METADATA_CAPACITY`], otherwise
    /// [`StartError::OutOfRange`](crate::StartError::OutOfRange). Larger metadata are the batch's
    /// error. An error's report has the same room, and is cut if it is longer.
    ///
    /// ```
    /// # use cobuf_host::Host;
    /// let builder = Host::builder().metadata_capacity(1024 * 1024);
    /// ```
    pub fn metadata_capacity(mut self, bytes: usize) -> Self {
        self.metadata_capacity = bytes;
        self
    }
}

/// # Order and content
impl HostBuilder {
    /// Whether batches are delivered in the order of their messages, or as they become ready.
    ///
    /// Default: `true`. The content of each batch is the same either way.
    ///
    /// ```
    /// # use cobuf_host::Host;
    /// let as_they_come = Host::builder().ordered(false);
    /// ```
    pub fn ordered(mut self, ordered: bool) -> Self {
        self.ordered = ordered;
        self
    }

    /// The run's seed, from which commander and producer draw all randomness.
    ///
    /// Default: [`limits::DEFAULT_SEED`], 0. Any value is valid.
    ///
    /// ```
    /// # use cobuf_host::Host;
    /// let builder = Host::builder().seed(42);
    /// ```
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Ends the stream after this many messages, if the commander does not end it earlier.
    ///
    /// Default: the commander alone ends it. At least 1, otherwise
    /// [`StartError::OutOfRange`](crate::StartError::OutOfRange). A resumed run counts the messages
    /// of the earlier run.
    ///
    /// ```
    /// # use cobuf_host::Host;
    /// let builder = Host::builder().limit(1000);
    /// ```
    pub fn limit(mut self, messages: u64) -> Self {
        self.limit = Some(messages);
        self
    }

    /// Delivers the first `batches` batches again and again, without producing more: to find out how
    /// fast the application is if batches are always ready. Its [`verdict`](crate::Statistics::verdict) is
    /// then "your application takes at most X batches/s, whatever the loader does".
    ///
    /// Each of these batches stays in its slot, and a dropped one is delivered again after those that were
    /// dropped before it. It keeps its number, its message and its bytes, so numbers repeat. An error is
    /// delivered once. The stream goes on until the host is stopped, or until it has had
    /// [`limit`](Self::limit) items. Nothing counts as delivered in a [checkpoint](crate::Host::checkpoint).
    ///
    /// Default: every batch is delivered once. At least 1 and less than the number of slots, otherwise
    /// `start` fails with [`StartError::ReplayReady`](crate::StartError::ReplayReady); also with another
    /// source than [`Source::Commander`].
    ///
    /// ```
    /// # use cobuf_host::Host;
    /// let builder = Host::builder().slots(16).replay_ready(8);
    /// ```
    pub fn replay_ready(mut self, batches: usize) -> Self {
        self.replay_ready = Some(batches);
        self
    }

    /// Where the messages come from: the commander, a checkpoint to resume, or dead letters to
    /// replay.
    ///
    /// Default: [`Source::Commander`]. `start` fails with
    /// [`StartError::Checkpoint`](crate::StartError::Checkpoint) or
    /// [`StartError::DeadLetters`](crate::StartError::DeadLetters) if the checkpoint or the file
    /// belongs to a different run.
    ///
    /// ```no_run
    /// # use cobuf_host::{Checkpoint, Host, Source};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let builder = Host::builder().source(Source::Resume(Checkpoint::read("run.json")?));
    /// # Ok(())
    /// # }
    /// ```
    pub fn source(mut self, source: Source) -> Self {
        self.source = source;
        self
    }
}

/// # Ranks
impl HostBuilder {
    /// The rank of this process in a job of several, each of which runs a host with the same plugins,
    /// configurations and seed: it delivers the messages of its rank only.
    ///
    /// Default: [`Rank::none`], all messages. But if a launcher has started this process as one of
    /// several, `start` fails with [`StartError::Rank`](crate::StartError::Rank), so that no message
    /// is delivered by each of them unnoticed: give [`Rank::from_env`] or [`Rank::none`]. If the
    /// application is the commander it has no rank, otherwise
    /// [`StartError::RankOfApplication`](crate::StartError::RankOfApplication).
    ///
    /// A checkpoint of the run is then the part of its rank, see
    /// [`Checkpoint::merge`](crate::Checkpoint::merge).
    ///
    /// ```
    /// # use cobuf_host::{Host, Rank, RankError};
    /// let found = Host::builder().rank(Rank::from_env()?);
    /// let third = Host::builder().rank(Rank::new(2, 8)?);
    /// # Ok::<(), RankError>(())
    /// ```
    pub fn rank(mut self, rank: Rank) -> Self {
        self.rank = Some(rank);
        self
    }

    /// What the ranks do with the last messages of the stream, if their number is not a multiple of
    /// the number of ranks. The same for each rank; without ranks it has no effect.
    ///
    /// Default: [`Remainder::Short`].
    ///
    /// ```
    /// # use cobuf_host::{Host, Remainder};
    /// let builder = Host::builder().remainder(Remainder::Drop);
    /// ```
    pub fn remainder(mut self, remainder: Remainder) -> Self {
        self.remainder = remainder;
        self
    }
}

/// # Failures
impl HostBuilder {
    /// The policy for a batch that fails in this way, after its last attempt.
    ///
    /// Default for each kind: [`OnFailure::Raise`].
    ///
    /// ```
    /// # use cobuf_host::{Host, OnFailure, ReportKind};
    /// let builder = Host::builder().on_failure(ReportKind::Crash, OnFailure::Skip);
    /// ```
    pub fn on_failure(mut self, kind: ReportKind, choice: OnFailure) -> Self {
        self.on_failure.set(kind, choice);
        self
    }

    /// The policy for the stream if the commander fails in this way.
    ///
    /// Default: an error or panic ends the stream; after a crash or a missed deadline the commander
    /// is restarted.
    ///
    /// ```
    /// # use cobuf_host::{Host, OnCommanderFailure, ReportKind};
    /// let builder = Host::builder()
    ///     .on_commander_failure(ReportKind::Panic, OnCommanderFailure::Restart);
    /// ```
    pub fn on_commander_failure(mut self, kind: ReportKind, choice: OnCommanderFailure) -> Self {
        self.on_commander_failure.set(kind, choice);
        self
    }

    /// How many times a message is tried if its worker dies, and how many times in a row the
    /// commander is started at one message.
    ///
    /// Default: [`limits::DEFAULT_MAX_ATTEMPTS`], 3. Range: 1 to [`limits::MAX_ATTEMPTS`],
    /// otherwise [`StartError::OutOfRange`](crate::StartError::OutOfRange). A producer's error or
    /// panic is not retried.
    ///
    /// ```
    /// # use cobuf_host::Host;
    /// let builder = Host::builder().max_attempts(1);
    /// ```
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// A file to which the supervisor adds each message that could not be produced: JSON, a line
    /// each. [`Source::Replay`] produces them again.
    ///
    /// Default: none. `start` fails with
    /// [`StartError::DeadLetters`](crate::StartError::DeadLetters) if the file cannot be written or
    /// belongs to a different run. Each rank of a job needs a file of its own.
    ///
    /// ```
    /// # use cobuf_host::Host;
    /// let builder = Host::builder().dead_letters("bad.jsonl");
    /// ```
    pub fn dead_letters(mut self, path: impl Into<PathBuf>) -> Self {
        self.dead_letters = Some(path.into());
        self
    }
}

/// # Deadlines
///
/// All are durations from 0 on; a longer one than 100 years counts as 100 years.
impl HostBuilder {
    /// How long a worker may take for one message. A worker that misses the deadline is killed
    /// after its stack is captured, and the message counts one attempt.
    ///
    /// Default: no deadline. At least [`limits::MIN_TIMEOUT`], 20 ms, otherwise
    /// [`StartError::OutOfRange`](crate::StartError::OutOfRange).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use cobuf_host::Host;
    /// let builder = Host::builder().message_timeout(Duration::from_secs(30));
    /// ```
    pub fn message_timeout(mut self, timeout: Duration) -> Self {
        self.message_timeout = Some(timeout.min(limits::LONGEST_WAIT));
        self
    }

    /// How long the commander may take for a message while a slot is free. A commander that misses
    /// the deadline is killed.
    ///
    /// Default: no deadline. Range as for [`message_timeout`](Self::message_timeout).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use cobuf_host::Host;
    /// let builder = Host::builder().commander_timeout(Duration::from_secs(5));
    /// ```
    pub fn commander_timeout(mut self, timeout: Duration) -> Self {
        self.commander_timeout = Some(timeout.min(limits::LONGEST_WAIT));
        self
    }

    /// How long plugins may take to be opened and constructed: all of them together at the start,
    /// each of them after a restart or at a swap.
    ///
    /// Default: 120 s. `start` fails with [`StartError::Timeout`](crate::StartError::Timeout) if it
    /// passes.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use cobuf_host::Host;
    /// let builder = Host::builder().start_timeout(Duration::from_secs(600));
    /// ```
    pub fn start_timeout(mut self, timeout: Duration) -> Self {
        self.start_timeout = timeout.min(limits::LONGEST_WAIT);
        self
    }

    /// Gives [`start`](Self::start) up once this is cancelled, within a second:
    /// [`StartError::Cancelled`](crate::StartError::Cancelled). Nothing of the run is left then.
    ///
    /// Default: a start goes on until it succeeds or fails. A running host is ended by
    /// [`stop`](crate::Host::stop).
    ///
    /// ```
    /// # use cobuf_host::{Cancel, Host};
    /// # fn main() -> std::io::Result<()> {
    /// let cancel = Cancel::new()?;
    /// let builder = Host::builder().cancelled_by(&cancel);
    /// # Ok(())
    /// # }
    /// ```
    pub fn cancelled_by(mut self, cancel: &Cancel) -> Self {
        self.cancel = Some(cancel.clone());
        self
    }

    /// How long plugins may take to finish after [`Host::stop`](crate::Host::stop) or the drop of
    /// the host. Processes that are left are then killed.
    ///
    /// Default: 2 s. Zero kills at once.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use cobuf_host::Host;
    /// let builder = Host::builder().stop_grace(Duration::ZERO);
    /// ```
    pub fn stop_grace(mut self, grace: Duration) -> Self {
        self.stop_grace = grace.min(limits::LONGEST_WAIT);
        self
    }
}

/// # Observation
impl HostBuilder {
    /// A file to which the run's trace is written when the run is stopped: Chrome's trace events
    /// (JSON), which Perfetto (<https://ui.perfetto.dev>), speedscope and chrome://tracing open. It
    /// shows what the commander, each worker and each thread that takes batches did when, and the way
    /// of each batch. See [`guide::traces`](crate::guide::traces).
    ///
    /// Default: none. An existing file is replaced, in one step. `start` fails with
    /// [`StartError::Trace`](crate::StartError::Trace) if the file could not be written at that time;
    /// if it cannot be at the end, this is logged, and
    /// [`written_trace`](crate::Host::written_trace) says so. Each rank of a job needs a file of its
    /// own.
    ///
    /// ```
    /// # use cobuf_host::Host;
    /// let builder = Host::builder().trace("run.json");
    /// ```
    pub fn trace(mut self, path: impl Into<PathBuf>) -> Self {
        self.trace = Some(path.into());
        self
    }

    /// The most batches that the [`trace`](Self::trace) shows: the last ones, so that a long run needs
    /// bounded memory and makes a bounded file, about 200 bytes of memory and 700 bytes of file for
    /// each.
    ///
    /// Default: [`limits::DEFAULT_TRACE_BATCHES`]. Range: 1 to [`limits::MAX_TRACE_BATCHES`],
    /// otherwise [`StartError::OutOfRange`](crate::StartError::OutOfRange).
    ///
    /// ```
    /// # use cobuf_host::Host;
    /// let builder = Host::builder().trace("run.json").trace_batches(1000);
    /// ```
    pub fn trace_batches(mut self, batches: usize) -> Self {
        self.trace_batches = batches;
        self
    }
}

/// # Processes
impl HostBuilder {
    /// How the fork server is started. Default: [`StartMethod::ForkServer`].
    ///
    /// ```
    /// # use cobuf_host::{Host, StartMethod};
    /// let builder = Host::builder().start_method(StartMethod::Fork);
    /// ```
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.server.method = method;
        self
    }

    /// The calls that an interpreter in this process needs around a fork of it, with
    /// [`StartMethod::Fork`]. The first hooks that a process is given are those of all its hosts.
    /// Default: nothing.
    ///
    /// ```
    /// # use cobuf_host::{ForkHooks, Host, StartMethod};
    /// # fn of(hooks: ForkHooks) {
    /// let builder = Host::builder().start_method(StartMethod::Fork).fork_hooks(hooks);
    /// # }
    /// ```
    pub fn fork_hooks(mut self, hooks: ForkHooks) -> Self {
        self.server.hooks = Some(hooks);
        self
    }

    /// The fork server's executable: the `cobuf` command, or any executable that this library is
    /// linked into.
    ///
    /// Default: this application. If this library is in a shared library that the application has
    /// loaded, such as an extension of Python: a `cobuf` beside the application or on the `PATH`.
    /// `start` fails with [`StartError::Launch`](crate::StartError::Launch) if there is
    /// none, or it is of another version.
    ///
    /// ```
    /// # use cobuf_host::Host;
    /// let builder = Host::builder().fork_server("/usr/local/bin/cobuf");
    /// ```
    pub fn fork_server(mut self, executable: impl Into<PathBuf>) -> Self {
        self.server.executable = Some(executable.into());
        self
    }

    /// The fork server's executable with arguments: a program that calls
    /// [`serve_fork_server`](crate::serve_fork_server), such as an interpreter in which plugins run.
    /// Two arguments of the host's follow, of which the last one is its process number.
    ///
    /// ```
    /// # use cobuf_host::Host;
    /// let builder = Host::builder().fork_server_command("python3", ["-m", "cobuf._forkserver"]);
    /// ```
    pub fn fork_server_command<A: Into<OsString>>(
        mut self,
        executable: impl Into<PathBuf>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        self.server.executable = Some(executable.into());
        self.server.arguments = arguments.into_iter().map(Into::into).collect();
        self
    }

    /// Where the run's processes write what plugins print, on either of their two streams: a pipe,
    /// a file.
    ///
    /// Default: the standard error of this process. Logs of plugins are no part of it. The host
    /// keeps the descriptor until it is dropped, so that the reader of a pipe sees its end then. A
    /// pipe that nobody reads blocks the plugins that print.
    ///
    /// In a run with a sandbox, workers print to pipes of their own, and a thread of the host copies that to here
    /// with control characters written out, until a stop.
    ///
    /// ```
    /// # use cobuf_host::Host;
    /// # fn main() -> std::io::Result<()> {
    /// let builder = Host::builder().plugin_output(std::fs::File::create("/dev/null")?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn plugin_output(mut self, output: impl Into<OwnedFd>) -> Self {
        self.server.output = Some(Arc::new(output.into()));
        self
    }

    /// The preparation of commander and workers before they open their plugin: environment
    /// variables, working directory, descriptors, niceness (-20 to 19, otherwise
    /// [`StartError::OutOfRange`](crate::StartError::OutOfRange)). Default: nothing.
    ///
    /// ```
    /// # use cobuf_host::{Host, ProcessSetup};
    /// let mut setup = ProcessSetup::default();
    /// setup.env.insert("OMP_NUM_THREADS".to_owned(), "1".to_owned());
    /// let builder = Host::builder().process_setup(setup);
    /// ```
    pub fn process_setup(mut self, setup: ProcessSetup) -> Self {
        self.server.keep_descriptors = setup.keep_descriptors;
        self.process_setup = setup;
        self
    }

    /// The jail of workers, and of all other processes that open the producer. Default: none.
    ///
    /// # Errors
    /// [`StartError::Sandbox`](crate::StartError::Sandbox), if a path is not there, a system call has no
    /// number, or the kernel cannot enforce a strict one.
    ///
    /// ```
    /// # use cobuf_host::{Host, Sandbox};
    /// let read = vec!["/data/slides".into()];
    /// let builder = Host::builder().sandbox(Sandbox { read, ..Sandbox::default() });
    /// ```
    #[cfg(feature = "sandbox")]
    pub fn sandbox(mut self, sandbox: Sandbox) -> Self {
        self.sandbox = Some(sandbox);
        self
    }

    /// The mode of the sandbox: that of [`sandbox`](Self::sandbox) or of a pipeline file if there is one,
    /// otherwise one with defaults.
    ///
    /// ```
    /// # use cobuf_host::{Host, SandboxMode};
    /// let builder = Host::builder().sandbox_mode(SandboxMode::BestEffort);
    /// ```
    #[cfg(feature = "sandbox")]
    pub fn sandbox_mode(mut self, mode: SandboxMode) -> Self {
        self.sandbox.get_or_insert_default().mode = mode;
        self
    }

    /// The limits of one worker on memory, processor time and files. Default: no limit.
    ///
    /// ```
    /// # use cobuf_host::{Host, WorkerLimits};
    /// let limits = WorkerLimits { memory_bytes: Some(2_000_000_000), ..WorkerLimits::default() };
    /// let builder = Host::builder().worker_limits(limits);
    /// ```
    pub fn worker_limits(mut self, limits: WorkerLimits) -> Self {
        self.worker_limits = limits;
        self
    }

    /// Whether each worker stays on one CPU: worker 0 on the first that this process may use,
    /// worker 1 on the next, and from the last on to the first again. Default: `false`.
    ///
    /// ```
    /// # use cobuf_host::Host;
    /// let builder = Host::builder().pin_workers(true);
    /// ```
    pub fn pin_workers(mut self, pin: bool) -> Self {
        self.pin_workers = pin;
        self
    }
}

/// # Metrics
#[cfg(feature = "metrics")]
impl HostBuilder {
    /// Reports the run's counters for Prometheus, in a file or at an address, see
    /// [`guide::metrics`](crate::guide::metrics). Needs the feature `metrics`.
    ///
    /// Default: nowhere. `start` fails with [`StartError::Metrics`](crate::StartError::Metrics) if the
    /// address is taken or the file cannot be written. Later failures are a warning, and the run goes
    /// on. In a job of several ranks a file's name needs `{rank}`, which stands for the rank's number.
    ///
    /// ```
    /// # use cobuf_host::{Host, MetricsTarget};
    /// let file = Host::builder().metrics(MetricsTarget::File("/var/lib/node_exporter/digits.prom".into()));
    /// let address = Host::builder().metrics("127.0.0.1:9400".parse()?);
    /// # Ok::<(), cobuf_host::MetricsTargetError>(())
    /// ```
    pub fn metrics(mut self, target: MetricsTarget) -> Self {
        self.metrics = Some(target);
        self
    }
}
