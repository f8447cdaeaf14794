//! The run's own copy of a plugin's file, which the run's processes load.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::interface::Interface;

/// One plugin of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PluginPlan {
    pub(crate) name: String,
    pub(crate) version: String,
    /// The interface that the plugin is called through.
    pub(crate) interface: Interface,
    /// The file that the user named.
    #[serde(with = "crate::path_bytes")]
    pub(crate) origin: PathBuf,
    /// The run's own copy of the plugin's file.
    #[serde(with = "crate::path_bytes")]
    pub(crate) library: PathBuf,
}
