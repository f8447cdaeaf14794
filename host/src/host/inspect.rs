//! What a plugin is and declares, without a run.

use std::path::{Path, PathBuf};

use cobuf_plugin_api::Schema;
use cobuf_plugin_api::codec;
use serde::Serialize;

use super::error::StartError;
use super::startup;
use crate::plugin::Plugin;

/// What a plugin declares.
#[derive(Debug, Clone)]
pub struct Declarations {
    /// The JSON Schema of its configuration.
    pub config_schema: String,
    /// The arrays of its slots: of a producer with a configuration.
    pub schema: Option<Schema>,
}

/// Asks a plugin what it declares, in a process of its own; checks the configuration, where there is one.
///
/// The plugin's manifest can be had without running its code: [`Plugin::manifest`].
///
/// # Errors
/// [`StartError`], as for a host.
pub fn inspect(
    plugin: &Plugin,
    config: Option<&impl Serialize>,
    fork_server: Option<&Path>,
    working_directory: Option<PathBuf>,
) -> Result<Declarations, StartError> {
    let encoded = config.map(|config| codec::encode("the configuration", config)).transpose();
    let kind = plugin.manifest()?.kind;
    let encoded = encoded.map_err(|source| StartError::Config { kind, source })?;
    let (config_schema, schema) = startup::declarations(plugin, encoded, fork_server, working_directory)?;
    Ok(Declarations { config_schema, schema })
}
