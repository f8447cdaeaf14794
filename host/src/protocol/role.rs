//! What a forked process is for.

use std::fmt;

use cobuf_plugin_api::PluginKind;
use serde::{Deserialize, Serialize};

use crate::segment::place::Place;

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
