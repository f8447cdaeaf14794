//! Why a host cannot be started.

use std::time::Duration;

use cobuf_plugin_api::PluginKind;
use cobuf_plugin_api::codec::CodecError;

use crate::plugin::PluginError;
use crate::process::launch::LaunchError;
use crate::record::checkpoint::CheckpointError;
use crate::stream::dead_letters::DeadLettersError;

/// Why a host could not be started. Nothing of it is left then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A plugin was not named.
    #[error("no {kind} was given; name its .so file or its package's folder")]
    NoPlugin {
        /// The plugin that is missing.
        kind: PluginKind,
    },
    /// A number is out of its range.
    #[error(transparent)]
    OutOfRange(#[from] OutOfRange),
    /// A configuration cannot be written as a dictionary.
    #[error("the configuration of the {kind} cannot be sent")]
    Config {
        /// Whose configuration.
        kind: PluginKind,
        /// What is wrong with it.
        source: CodecError,
    },
    /// A plugin is refused, or its own code failed.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// The checkpoint to go on from cannot be used.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The dead letters cannot be written, or read to be replayed.
    #[error(transparent)]
    DeadLetters(#[from] DeadLettersError),
    /// The fork server does not start.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// There is not enough shared memory.
    #[error(
        "the slots need {needed} bytes of shared memory, {available} bytes are free in /dev/shm; \
         use fewer slots ({slots} now, {slot_bytes} bytes each) or smaller batches, or enlarge /dev/shm"
    )]
    SharedMemory {
        /// The bytes that the whole segment needs.
        needed: usize,
        /// The bytes that are free.
        available: u64,
        /// The number of slots asked for.
        slots: usize,
        /// The bytes of one slot's arrays.
        slot_bytes: usize,
    },
    /// The segment cannot be made or mapped.
    #[error("{what}: {reason}")]
    Segment {
        /// What was tried.
        what: &'static str,
        /// What went wrong.
        reason: String,
    },
    /// A process could not be prepared or started.
    #[error("the {role} cannot be started: {reason}")]
    Process {
        /// What the process is for.
        role: String,
        /// What went wrong.
        reason: String,
    },
    /// Files or sockets of the run failed.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A plugin did not come up in time.
    #[error("{waiting_for} was not ready after {} s; give the host a longer start timeout where that is expected", limit.as_secs_f64())]
    Timeout {
        /// What was waited for.
        waiting_for: String,
        /// The limit.
        limit: Duration,
    },
    /// The fork server died in the middle.
    #[error("the fork server died while the host was starting; was it killed, or out of memory?")]
    ForkServerDied,
}

/// A number that is out of its range. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} is {value}, expected {least} to {most}")]
#[non_exhaustive]
pub struct OutOfRange {
    /// Which number: `the number of workers`.
    pub what: &'static str,
    /// The number that was given.
    pub value: usize,
    /// The least that it may be.
    pub least: usize,
    /// The most that it may be.
    pub most: usize,
}
