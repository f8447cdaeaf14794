//! The errors of starting a host, and of its stream.

use std::time::Duration;

use cobuf_plugin_api::codec::CodecError;
use cobuf_plugin_api::{Dictionary, PluginKind, Report, ReportKind};

use crate::checkpoint::CheckpointError;
use crate::dead_letters::DeadLettersError;
use crate::failure::{Attempt, Death};
use crate::plugin::PluginError;
use crate::process::launch::LaunchError;

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
    /// Two wishes exclude each other.
    #[error("{0}")]
    Contradiction(&'static str),
    /// A number is out of its range.
    #[error("{what} is {value}, expected {least} to {most}")]
    OutOfRange {
        /// Which number.
        what: &'static str,
        /// The number that was given.
        value: usize,
        /// The least that it may be.
        least: usize,
        /// The most that it may be.
        most: usize,
    },
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

/// Why the stream has no batch where one was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// One batch could not be produced. The stream goes on after it.
    #[error(transparent)]
    Batch(Box<BatchError>),
    /// The commander failed. All batches that it had commanded were delivered before; this is the last item.
    #[error("the commander {plugin} failed after {commanded} messages")]
    Commander {
        /// The commander's name.
        plugin: String,
        /// The number of messages before.
        commanded: u64,
        /// Its error or panic.
        source: Report,
    },
    /// The commander's process died, as often as it may at one message. All batches that it had commanded were delivered before;
    /// this is the last item.
    #[error("the commander {plugin} was ended after {commanded} messages by {death}{}", attempts_at(*attempts))]
    CommanderDied {
        /// The commander's name.
        plugin: String,
        /// The number of messages before.
        commanded: u64,
        /// What ended it, the last time.
        death: Death,
        /// How often it was tried at that message.
        attempts: u32,
    },
    /// No worker can be kept alive. This is the last item.
    #[error("all workers are lost; the last one: {reason}")]
    WorkersLost {
        /// What ended the last one.
        reason: String,
    },
    /// The fork server died, all processes with it, and no other can go on. This is the last item.
    #[error("the fork server died, and the workers with it, and cannot be replaced: {reason}")]
    ForkServerDied {
        /// Why there is no other.
        reason: String,
    },
}

fn attempts_at(attempts: u32) -> String {
    if attempts > 1 { format!(", at each of {attempts} attempts") } else { String::new() }
}

/// One batch that could not be produced.
#[derive(Debug)]
pub struct BatchError {
    pub(crate) sequence: u64,
    pub(crate) worker: u32,
    pub(crate) edition: u32,
    pub(crate) message: Dictionary,
    pub(crate) report: Report,
    pub(crate) attempts: Vec<Attempt>,
}

impl BatchError {
    /// The batch's number in the stream.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The worker that failed, at the last attempt.
    pub fn worker(&self) -> u32 {
        self.worker
    }

    /// The edition of the producer's code, as [`Batch::edition`](crate::Batch::edition).
    pub fn edition(&self) -> u32 {
        self.edition
    }

    /// The message that could not be produced.
    pub fn message(&self) -> &Dictionary {
        &self.message
    }

    /// Whether the producer returned an error, panicked, crashed or did not come back in time; of several attempts, the last.
    pub fn kind(&self) -> ReportKind {
        self.report.kind
    }

    /// The attempts that ended their worker, in their order: of more than [`KEPT_ATTEMPTS`](crate::limits::KEPT_ATTEMPTS), the first and
    /// the last ones. None where the producer returned an error or panicked at once.
    pub fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    /// The producer's error and its causes, outermost first; one text for the other kinds.
    pub fn chain(&self) -> &[String] {
        &self.report.chain
    }
}

/// The most of a message that an error shows, in bytes.
const SHOWN_MESSAGE_BYTES: usize = 300;

impl std::fmt::Display for BatchError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let message = self.message.to_string();
        let shown = &message[..message.floor_char_boundary(SHOWN_MESSAGE_BYTES)];
        let cut = if shown.len() < message.len() { "…" } else { "" };
        write!(f, "batch {} failed in worker {} on the message {shown}{cut}", self.sequence, self.worker)
    }
}

impl std::error::Error for BatchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.report)
    }
}
