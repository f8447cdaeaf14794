//! What host, fork server and plugin processes say to each other.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use cobuf_plugin_api::{PluginKind, Report, Schema};
use serde::{Deserialize, Serialize};

use crate::segment::layout::Sizes;

/// What a plugin's process does before it opens the plugin. Applies to commander and workers alike.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerInit {
    /// Environment variables to set, such as `OMP_NUM_THREADS`.
    pub env: BTreeMap<String, String>,
    /// The working directory; the host's where there is none.
    pub working_directory: Option<PathBuf>,
    /// What is added to the process's niceness: positive gives way to others.
    pub nice: Option<i32>,
}

/// One plugin of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PluginPlan {
    pub(crate) name: String,
    /// The file that the user named.
    pub(crate) origin: PathBuf,
    /// The run's own copy of the plugin's file.
    pub(crate) library: PathBuf,
    /// The encoded configuration.
    pub(crate) config: Vec<u8>,
}

/// What stays the same over a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) commander: Option<PluginPlan>,
    pub(crate) producer: Option<PluginPlan>,
    pub(crate) workers: u32,
    pub(crate) seed: u64,
    /// The number of messages after which the stream ends, if the commander does not end it before.
    pub(crate) limit: Option<u64>,
    pub(crate) init: WorkerInit,
    /// The most verbose log level that the host wants: 0 off … 5 trace.
    pub(crate) max_log_level: u8,
    /// The run's folder, which the fork server removes when the host is gone.
    pub(crate) run_folder: PathBuf,
}

impl Plan {
    pub(crate) fn plugin(&self, kind: PluginKind) -> Option<&PluginPlan> {
        match kind {
            PluginKind::Commander => self.commander.as_ref(),
            PluginKind::Producer => self.producer.as_ref(),
        }
    }
}

/// What a forked process is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Role {
    /// Opens a plugin, says what it declares, and ends.
    Probe { kind: PluginKind, configured: bool },
    /// Writes messages.
    Commander,
    /// Fills slots.
    Worker { worker: u32, incarnation: u32 },
}

impl Role {
    /// The kind of plugin that it opens.
    pub(crate) fn kind(self) -> PluginKind {
        match self {
            Self::Probe { kind, .. } => kind,
            Self::Commander => PluginKind::Commander,
            Self::Worker { .. } => PluginKind::Producer,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Probe { kind, .. } => write!(f, "probe of the {kind}"),
            Self::Commander => f.write_str("commander"),
            Self::Worker { worker, .. } => write!(f, "worker {worker}"),
        }
    }
}

/// From the host to the fork server.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// The first request.
    Configure(Box<Plan>),
    /// Map the segment of this name and remove the name.
    Attach { segment: String, sizes: Sizes },
    /// Fork a process.
    Start(Role),
    /// The host has told all processes to stop: wait for them, kill what is left, and end.
    Stop { grace: Duration },
}

/// From the fork server and the processes that it forked to the host.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Event {
    /// The fork server runs.
    Hello { version: String },
    /// The fork server has mapped the segment, or why not.
    Attached(Result<(), String>),
    /// A process was forked, or why not.
    Started { role: Role, pid: Result<u32, String> },
    /// A probe's answer: the configuration's JSON Schema, and the slots' schema of a configured producer.
    Probed { kind: PluginKind, config_schema: String, schema: Option<Schema> },
    /// The plugin is constructed.
    Ready { role: Role },
    /// The plugin could not be set up; the process ends.
    SetupFailed { role: Role, failure: SetupFailure },
    /// The commander's error; its process ends.
    CommanderFailed(Report),
    /// A process was reaped.
    Exited { role: Role, how: Exit },
    /// A plugin's log record: level 1 error … 5 trace.
    Log { role: Role, level: u8, target: String, message: String },
}

/// Why a plugin could not be set up.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum SetupFailure {
    /// The loader refused it.
    Load(String),
    /// The plugin's own error or panic.
    Plugin(Report),
    /// The process could not be prepared as the user asked.
    Init(String),
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// It was killed by this signal.
    Signal(i32),
}

/// `exit code 3`, `signal 9 (SIGKILL)`
impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => match signal_hook::low_level::signal_name(*signal) {
                Some(name) => write!(f, "signal {signal} ({name})"),
                // signal-hook names the signals that can be caught.
                None if *signal == libc::SIGKILL => write!(f, "signal 9 (SIGKILL)"),
                None => write!(f, "signal {signal}"),
            },
        }
    }
}
