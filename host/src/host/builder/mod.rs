//! A host's settings. [`HostBuilder::start`](crate::HostBuilder::start) checks them.
//!
//! ```text
//!   plugins     commander and producer
//!   stream      size, order and content, source, ranks
//!   failures    policies and deadlines
//!   processes   observation, processes, metrics
//! ```
//!
//! Each setting only stores its value, so settings may be given in any order and a later value
//! replaces an earlier one.

// In the order in which the documentation shows their settings.
mod plugins;

mod stream;

mod failures;

mod processes;

use std::path::PathBuf;
use std::time::Duration;

use cobuf_plugin_api::Dictionary;
use cobuf_plugin_api::codec::{self, CodecError};
use serde::Serialize;

use super::cpus;
use crate::cancel::Cancel;
#[cfg(feature = "sandbox")]
use crate::jail::Sandbox;
use crate::limits;
#[cfg(feature = "metrics")]
use crate::metrics::MetricsTarget;
use crate::plugin::Plugin;
use crate::process::launch::ServerStart;
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
