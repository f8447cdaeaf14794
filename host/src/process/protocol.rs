//! What host, fork server and plugin processes say to each other.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use cobuf_plugin_api::{PluginKind, Report, SavedState, Schema};
use serde::{Deserialize, Serialize};

use super::stack::RawStack;
use crate::conformance::task::{Note, Task};
use crate::dead_letters::Letter;
use crate::failure::Death;
use crate::ledger::Ledger;
use crate::plugin::Interface;
use crate::segment::layout::Sizes;
use crate::segment::shares::{CREWS, crew_of, worker_of};

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

/// What one worker may use. By default there is no limit beyond the system's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerLimits {
    /// The most memory of its own, in bytes: what it has allocated and touched, the slots not counted. It is looked at again and
    /// again; what has more is killed, and its message counts an attempt.
    pub memory_bytes: Option<u64>,
    /// The most processor time for one message, in whole seconds, all threads together. What takes more is killed (SIGXCPU), and
    /// its message counts an attempt.
    pub cpu_seconds: Option<u64>,
    /// The most files that may be open at a time. Opening more fails in the plugin (EMFILE).
    pub open_files: Option<u64>,
}

/// One plugin of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PluginPlan {
    pub(crate) name: String,
    pub(crate) version: String,
    /// How to talk to it.
    pub(crate) interface: Interface,
    /// The file that the user named.
    pub(crate) origin: PathBuf,
    /// The run's own copy of the plugin's file.
    pub(crate) library: PathBuf,
}

/// A crew's producer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ProducerPlan {
    pub(crate) plugin: PluginPlan,
    /// 0 for the code that the host was started with, one more with each swap.
    pub(crate) edition: u32,
}

/// The plugins of a run. They change where one is swapped.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Plugins {
    pub(crate) commander: Option<PluginPlan>,
    /// By crew.
    pub(crate) producers: [Option<ProducerPlan>; CREWS],
    /// A plugin that is to take the place of another one, while it is rehearsed.
    pub(crate) candidate: Option<PluginPlan>,
}

/// What processes are started for. All but the plugins stays the same over a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) plugins: Plugins,
    /// The encoded configurations, whichever plugins run.
    pub(crate) commander_config: Vec<u8>,
    pub(crate) producer_config: Vec<u8>,
    pub(crate) workers: u32,
    pub(crate) seed: u64,
    /// The number of messages after which the stream ends, if the commander does not end it before.
    pub(crate) limit: Option<u64>,
    pub(crate) init: WorkerInit,
    pub(crate) limits: WorkerLimits,
    /// Whether each worker stays on one CPU.
    pub(crate) pin_workers: bool,
    /// The messages that are not wanted: an earlier run has delivered them.
    pub(crate) done: Ledger,
    /// The messages to give instead of the commander's, where a run is replayed.
    pub(crate) letters: Option<Vec<Letter>>,
    /// What an examiner does.
    pub(crate) examination: Option<Task>,
    /// The most verbose log level that the host wants: 0 off … 5 trace.
    pub(crate) max_log_level: u8,
    /// The run's folder, which the fork server removes when the host is gone.
    pub(crate) run_folder: PathBuf,
}

impl Plan {
    /// The plugin that a process opens.
    pub(crate) fn plugin(&self, role: Role) -> Option<&PluginPlan> {
        let commander = self.plugins.commander.as_ref();
        match role {
            Role::Commander => commander,
            Role::Probe { kind, .. } | Role::Examiner { kind, .. } => match kind {
                PluginKind::Commander => commander,
                PluginKind::Producer => self.producer(0),
            },
            Role::Rehearsal { .. } => self.plugins.candidate.as_ref(),
            Role::Worker { place, .. } => self.producer(crew_of(place)),
        }
    }

    /// The name of the plugin that a process opens, for logs and errors.
    pub(crate) fn name(&self, role: Role) -> &str {
        self.plugin(role).map_or("", |plugin| &plugin.name)
    }

    /// The encoded configuration of the plugins of a kind.
    pub(crate) fn config(&self, kind: PluginKind) -> &[u8] {
        match kind {
            PluginKind::Commander => &self.commander_config,
            PluginKind::Producer => &self.producer_config,
        }
    }

    /// The producer of a crew.
    pub(crate) fn producer(&self, crew: usize) -> Option<&PluginPlan> {
        self.plugins.producers[crew].as_ref().map(|producer| &producer.plugin)
    }

    /// The edition of a crew's producer.
    pub(crate) fn edition(&self, crew: usize) -> u32 {
        self.plugins.producers[crew].as_ref().map_or(0, |producer| producer.edition)
    }
}

/// Where a commander begins: at the start of a run, or where another one ended.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Beginning {
    /// The first message that it is to give.
    pub(crate) sequence: u64,
    /// What it saved at that message or before.
    pub(crate) state: Option<StateAt>,
}

/// What a commander has saved, and the message before which it did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StateAt {
    pub(crate) sequence: u64,
    pub(crate) state: SavedState,
}

/// What a forked process is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Role {
    /// Opens a plugin, says what it declares, and ends.
    Probe { kind: PluginKind, configured: bool },
    /// Opens the plugin that is to take another's place, has it do one message into memory of its own, and ends.
    Rehearsal { kind: PluginKind, number: u32 },
    /// Puts a plugin through what the plan says; of several at once, the one with this number.
    Examiner { kind: PluginKind, number: u32 },
    /// Writes messages.
    Commander,
    /// Fills slots: a worker, by its place.
    Worker { place: u32, incarnation: u32 },
}

impl Role {
    /// The kind of plugin that it opens.
    pub(crate) fn kind(self) -> PluginKind {
        match self {
            Self::Probe { kind, .. } | Self::Rehearsal { kind, .. } | Self::Examiner { kind, .. } => kind,
            Self::Commander => PluginKind::Commander,
            Self::Worker { .. } => PluginKind::Producer,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Probe { kind, .. } => write!(f, "probe of the {kind}"),
            Self::Rehearsal { kind, .. } => write!(f, "rehearsal of the {kind}"),
            Self::Examiner { kind, .. } => write!(f, "examiner of the {kind}"),
            Self::Commander => f.write_str("commander"),
            Self::Worker { place, .. } => write!(f, "worker {}", worker_of(*place)),
        }
    }
}

/// From the host to the fork server.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// The first request. It may be larger than the sockets have room for: nobody else may be talking meanwhile.
    Configure(Box<Plan>),
    /// The plugins of what is started from now on.
    Exchange(Box<Plugins>),
    /// Map the segment, whose descriptor follows.
    Attach { sizes: Sizes },
    /// Fork a process. Only a commander, and its rehearsal, has a beginning.
    Start(Role, Option<Beginning>),
    /// Say where the process is, and kill it; nothing, where it has ended.
    Kill(Role),
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
    /// What an examiner has seen.
    Examined { role: Role, note: Box<Note> },
    /// The plugin is constructed; of a rehearsal: it goes on to a message.
    Ready { role: Role },
    /// A rehearsal has come to its end, and went well.
    Rehearsed { role: Role },
    /// A worker makes a new producer in the place of one that panicked; `Ready` follows.
    Renewing { role: Role },
    /// The plugin could not be set up; the process ends.
    SetupFailed { role: Role, failure: SetupFailure },
    /// The commander's error; its process ends.
    CommanderFailed(Report),
    /// A commander saved its state.
    Saved(StateAt),
    /// A process has got a signal by which code crashes, and waits to be looked at.
    Crashed { role: Role, signal: i32 },
    /// Where a process is that is about to be killed, or why that is not known.
    Stack { role: Role, stack: Result<RawStack, String> },
    /// A process was reaped.
    Exited { role: Role, how: Death },
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
    /// The producer declares other arrays than those that the slots were laid out for.
    Schema(Schema),
    /// The plugin's own error or panic at the message of its rehearsal.
    Message { sequence: u64, report: Report },
    /// The process could not be prepared as the user asked.
    Init(String),
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
