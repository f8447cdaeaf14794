//! The messages between host, fork server and plugin processes.

use std::time::Duration;

use cobuf_plugin_api::{PluginKind, Report, ReportKind, Schema};
use serde::{Deserialize, Serialize};

use super::examination::Note;
use super::plan::{Plan, Plugins};
use super::role::Role;
use crate::plugin::PluginError;
use crate::plugin::copy::PluginPlan;
use crate::record::death::Death;
use crate::record::raw_stack::RawStack;
use crate::record::state::{Beginning, StateAt};
use crate::segment::layout::Sizes;

/// From the host to the fork server.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// The first request. It may be larger than the sockets' buffers, so no event may be on its way
    /// meanwhile.
    Configure(Box<Plan>),
    /// The plugins of the processes that are started from now on.
    Exchange(Box<Plugins>),
    /// Map the segment. Its descriptor follows.
    Attach { sizes: Sizes },
    /// Fork a process. Only a commander or its rehearsal has a beginning.
    Start(Role, Option<Beginning>),
    /// Capture the stack of the process, report it, and kill the process. Does nothing if it has
    /// ended.
    Kill(Role),
    /// The host has told all processes to stop: wait for them, kill those that are left after the
    /// grace, and end.
    Stop { grace: Duration },
}

/// From the fork server and the processes that it forked to the host.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Event {
    /// The fork server is running.
    Hello { version: String },
    /// The fork server cannot go on; it ends all processes, and itself.
    ServerFailed { reason: String },
    /// The fork server has mapped the segment, or the reason why it could not.
    Attached(Result<(), String>),
    /// A process was forked, or the reason why it could not be.
    Started { role: Role, pid: Result<u32, String> },
    /// A probe's answer: the configuration's JSON Schema, and the slots' schema if it is a
    /// configured producer.
    Probed { kind: PluginKind, config_schema: String, schema: Option<Schema> },
    /// One result of an examiner.
    Examined { role: Role, note: Box<Note> },
    /// The plugin is constructed. From a rehearsal: it begins a message.
    Ready { role: Role },
    /// A rehearsal has succeeded.
    Rehearsed { role: Role },
    /// A worker makes a new producer in place of one that panicked; `Ready` follows.
    Renewing { role: Role },
    /// The plugin could not be set up; the process ends.
    SetupFailed { role: Role, failure: SetupFailure },
    /// The commander's error; its process ends.
    CommanderFailed(Report),
    /// A commander saved its state.
    Saved(StateAt),
    /// A process received a signal by which code crashes, and waits for its stack to be captured.
    Crashed { role: Role, signal: i32 },
    /// The stack of a process that is about to be killed, or the reason why it is not known.
    Stack { role: Role, stack: Result<RawStack, String> },
    /// A process was reaped.
    Exited { role: Role, how: Death },
    /// A plugin's log record; `level` is from 1 (error) to 5 (trace).
    Log { role: Role, level: u8, target: String, message: String },
}

/// Why a plugin could not be set up: the failure that its process reported, or its death.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum SetupFailure {
    /// The dynamic loader refused it.
    Load(String),
    /// The plugin's own error or panic.
    Plugin(Report),
    /// The producer declares other arrays than those that the slots were laid out for.
    Schema(Schema),
    /// The plugin's own error or panic at a message of its rehearsal.
    Message { sequence: u64, report: Report },
    /// The process could not be forked, or not prepared as the user asked.
    Init(String),
    /// The process ended. Only the host says this.
    Died(Death),
}

impl SetupFailure {
    /// As the error of the plugin that the process opened, for start, swap and rehearsal alike; the
    /// failure itself if the plugin is not to blame, or the caller has a better error for it.
    pub(crate) fn into_plugin_error(
        self,
        kind: PluginKind,
        plugin: &PluginPlan,
    ) -> Result<PluginError, Self> {
        let (name, path) = (plugin.name.clone(), plugin.origin.clone());
        match self {
            Self::Load(reason) => Ok(PluginError::Load { path, reason }),
            Self::Plugin(source) => Ok(PluginError::Setup { kind, plugin: name, source }),
            Self::Died(death) => Ok(PluginError::Died { kind, plugin: name, how: death.to_string() }),
            other => Err(other),
        }
    }

    /// As one text.
    pub(crate) fn into_text(self) -> String {
        match self {
            Self::Load(reason) | Self::Init(reason) => reason,
            Self::Plugin(report) | Self::Message { report, .. } => report.to_string(),
            Self::Schema(declared) => format!(
                "the producer declares {declared}, and declared other arrays when the host started; \
                 a schema must follow from the configuration alone"
            ),
            Self::Died(death) => death.to_string(),
        }
    }

    /// As a finding of `cobuf check`, which says before which plugin it is about.
    pub(crate) fn into_finding(self) -> String {
        match self {
            Self::Load(reason) => format!("it cannot be loaded: {reason}"),
            Self::Plugin(report) | Self::Message { report, .. } => format!("{}: {report}", report.kind),
            Self::Schema(declared) => format!("it declares {declared} by now"),
            Self::Init(reason) => reason,
            Self::Died(death) => format!("its process was ended by {death}"),
        }
    }

    /// As the report of a failure of the plugin.
    pub(crate) fn into_report(self) -> Report {
        match self {
            Self::Plugin(report) => report,
            other => Report::from_host(ReportKind::Error, other.into_text()),
        }
    }
}
