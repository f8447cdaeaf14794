//! The role of a forked process.

use std::fmt;

use cobuf_plugin_api::PluginKind;
use serde::{Deserialize, Serialize};

use crate::segment::place::Place;

/// The role of a forked process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Role {
    /// Opens a plugin, sends its declarations, and ends.
    Probe { kind: PluginKind, configured: bool },
    /// Opens a plugin that may replace another one, has it do one message into memory of its own,
    /// and ends.
    Rehearsal { kind: PluginKind, number: u32 },
    /// Puts a plugin through the plan's task. The number tells several examiners apart.
    Examiner { kind: PluginKind, number: u32 },
    /// Writes messages.
    Commander,
    /// Fills slots: a worker, with its place.
    Worker { place: Place, incarnation: u32 },
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

    /// Whether its process is jailed in a run with a sandbox.
    pub(crate) fn is_jailed(self) -> bool {
        self.kind() == PluginKind::Producer
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Probe { kind, .. } => write!(f, "probe of the {kind}"),
            Self::Rehearsal { kind, .. } => write!(f, "rehearsal of the {kind}"),
            Self::Examiner { kind, .. } => write!(f, "examiner of the {kind}"),
            Self::Commander => f.write_str("commander"),
            Self::Worker { place, .. } => write!(f, "worker {}", place.worker()),
        }
    }
}
