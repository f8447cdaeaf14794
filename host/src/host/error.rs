//! Why a host cannot be started.

use std::path::PathBuf;
use std::time::Duration;

use cobuf_plugin_api::PluginKind;
use cobuf_plugin_api::codec::CodecError;

use super::trace::TraceError;
#[cfg(feature = "sandbox")]
use crate::jail::SandboxError;
#[cfg(feature = "metrics")]
use crate::metrics::MetricsError;
use crate::plugin::PluginError;
use crate::plugin::copy::PluginPlan;
use crate::process::launch::LaunchError;
use crate::protocol::message::SetupFailure;
use crate::protocol::role::Role;
use crate::record::checkpoint::CheckpointError;
use crate::record::rank_error::RankError;
use crate::stream::dead_letters::DeadLettersError;
use crate::ulimit;

/// The error of a host that could not be started. Nothing of the run is left.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A plugin is missing: the builder was given none of this kind.
    #[error("no {kind} was given; name its .so file or its package's folder{}", or_the_application(*kind))]
    NoPlugin {
        /// The kind of the missing plugin.
        kind: PluginKind,
    },
    /// A number is out of its range.
    #[error(transparent)]
    OutOfRange(#[from] OutOfRange),
    /// There is no such rank; or a launcher has started several processes, and it was not said
    /// whether they share the messages.
    #[error(transparent)]
    Rank(#[from] RankError),
    /// The application is the commander, and has a rank.
    #[error(
        "this is rank {rank} of {of}, and the application is the commander: it submits the messages of its own process, \
         so there are none to share out; start it without a rank"
    )]
    RankOfApplication {
        /// The rank.
        rank: u32,
        /// The number of ranks.
        of: u32,
    },
    /// Batches cannot be delivered again and again in this run.
    #[error("the first {batches} batches cannot be delivered again and again (replay_ready): {reason}")]
    ReplayReady {
        /// The number of batches to keep.
        batches: usize,
        /// The reason, and the advice.
        reason: String,
    },
    /// A configuration cannot be written as a dictionary.
    #[error("the configuration of the {kind} cannot be sent")]
    Config {
        /// The kind of the plugin that was to get it.
        kind: PluginKind,
        /// Why it cannot be encoded.
        source: CodecError,
    },
    /// A plugin is refused, or its own code failed.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// The sandbox cannot be made.
    #[cfg(feature = "sandbox")]
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// A sandbox was looked for in which the producer does its messages; it does none without one.
    #[cfg(feature = "sandbox")]
    #[error("the producer does not do its messages even without a sandbox: {reason}")]
    NotProduced {
        /// The failure.
        reason: String,
    },
    /// The checkpoint to resume cannot be used.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A message of an earlier run, in the checkpoint or the dead letters, does not fit a slot. The
    /// application is the commander.
    #[error(
        "message {sequence} of the earlier run has {bytes} bytes, a slot has room for {capacity}; \
         give the host a message capacity of {bytes} or more"
    )]
    MessageTooLarge {
        /// The message's number.
        sequence: u64,
        /// Its bytes.
        bytes: usize,
        /// The bytes that a slot has for one.
        capacity: usize,
    },
    /// The file of dead letters cannot be written, or cannot be read for a replay.
    #[error(transparent)]
    DeadLetters(#[from] DeadLettersError),
    /// The trace could not be written to its file.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The run's metrics cannot be reported where it was asked for.
    #[cfg(feature = "metrics")]
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// The fork server cannot be started.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// A plugin needs a fork server that this run does not have.
    #[error("the {kind} is Python code, {reason}")]
    ForkServer {
        /// The plugin's kind.
        kind: PluginKind,
        /// Why, and what to do.
        reason: &'static str,
    },
    /// The run's folder cannot be made.
    #[error("cannot make the run's folder in {} (TMPDIR){}", parent.display(), folder_advice(source))]
    RunFolder {
        /// The folder in which it was to be made: that of TMPDIR, or /tmp.
        parent: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Plugins cannot be loaded from the folder for temporary files.
    #[error(
        "plugins cannot be loaded from {} (TMPDIR), because it is mounted noexec; \
         set TMPDIR to a folder of another mount", parent.display()
    )]
    NoExec {
        /// The folder for temporary files: that of TMPDIR, or /tmp.
        parent: PathBuf,
    },
    /// A plugin cannot be copied into the run's folder.
    #[error("cannot copy the plugin {} into {}{}", plugin.display(), folder.display(), copy_advice(source))]
    Copy {
        /// The plugin's file.
        plugin: PathBuf,
        /// The run's folder, in that of TMPDIR.
        folder: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// There is not enough shared memory.
    #[error(
        "the slots need {needed} bytes of shared memory, {available} bytes are free in {place}; \
         use fewer slots ({slots} now, {slot_bytes} bytes each) or smaller batches, or enlarge {place}"
    )]
    SharedMemory {
        /// The bytes that the whole segment needs.
        needed: usize,
        /// The bytes that are free.
        available: u64,
        /// The place that is too small: `/dev/shm`, or a memory cgroup.
        place: String,
        /// The number of slots asked for.
        slots: usize,
        /// The bytes of one slot's arrays.
        slot_bytes: usize,
    },
    /// The segment cannot be made or mapped.
    #[error("{what}: {reason}")]
    Segment {
        /// The step that failed.
        what: &'static str,
        /// The cause.
        reason: String,
    },
    /// A process could not be prepared or started.
    #[error("the {role} cannot be started: {reason}")]
    Process {
        /// The process's part in the run.
        role: String,
        /// The cause.
        reason: String,
    },
    /// Files or sockets of the run failed.
    #[error("cannot {what}{}", ulimit::behind(source))]
    Io {
        /// The operation that failed.
        what: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The fork server or a plugin was not ready within the start timeout.
    #[error("{waiting_for} was not ready after {} s; give the host a longer start timeout if that is expected", limit.as_secs_f64())]
    Timeout {
        /// The process, or processes, that were not ready.
        waiting_for: String,
        /// The limit.
        limit: Duration,
    },
    /// It was given up, by a [`Cancel`](crate::Cancel).
    #[error("the start was cancelled")]
    Cancelled,
    /// The fork server could not go on during the start.
    #[error("the fork server failed: {reason}")]
    ForkServerFailed {
        /// Its reason.
        reason: String,
    },
    /// The fork server died during the start.
    #[error("the fork server died while the host was starting; was it killed, or out of memory?")]
    ForkServerDied,
}

impl StartError {
    /// The error of a start at which a process could not set up its plugin.
    pub(crate) fn of_process(role: Role, plugin: Option<&PluginPlan>, failure: SetupFailure) -> Self {
        let blamed = match plugin {
            Some(plugin) => failure.into_plugin_error(role.kind(), plugin),
            None => Err(failure),
        };
        blamed.map_or_else(
            |other| Self::Process { role: role.to_string(), reason: other.into_text() },
            Self::Plugin,
        )
    }

    /// The error of a start at which the processes' events cannot be read.
    pub(crate) fn unreadable(source: std::io::Error) -> Self {
        Self::Io { what: "read what the run's processes say", source }
    }
}

/// The advice on a missing commander beside that; a part of an error's text.
fn or_the_application(kind: PluginKind) -> &'static str {
    match kind {
        PluginKind::Commander => ", or let the application submit messages (Commander::Application)",
        PluginKind::Producer => "",
    }
}

/// The advice on a run's folder that cannot be made; a part of an error's text.
fn folder_advice(reason: &std::io::Error) -> String {
    let limit = ulimit::behind(reason);
    if limit.is_empty() {
        return "; set TMPDIR to a folder that exists and that this user may write to".to_owned();
    }
    limit
}

/// The advice on a copy that cannot be made; a part of an error's text.
fn copy_advice(reason: &std::io::Error) -> String {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    let limit = ulimit::behind(reason);
    match reason.kind() {
        _ if !limit.is_empty() => limit,
        StorageFull | QuotaExceeded => "; free some space there, or set TMPDIR to another folder".to_owned(),
        _ if reason.raw_os_error().is_some() => "; set TMPDIR to a folder that can be written to".to_owned(),
        // It says itself what to do.
        _ => String::new(),
    }
}

/// A number that is out of its range. The setting stays as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} is {value}{unit}, expected {least} to {most}{unit}")]
#[non_exhaustive]
pub struct OutOfRange {
    /// The name of the number, such as `the setting workers`.
    pub what: &'static str,
    /// The number that was given.
    pub value: i128,
    /// The least valid number.
    pub least: i128,
    /// The greatest valid number.
    pub most: i128,
    /// The unit of all three with a space before it, such as ` ms`; empty for a plain number.
    pub unit: &'static str,
}
