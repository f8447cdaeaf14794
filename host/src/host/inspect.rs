//! A plugin's declarations, without a run.

use std::path::PathBuf;

use cobuf_plugin_api::Schema;
use cobuf_plugin_api::codec::{self, CodecError};
use serde::Serialize;

use super::error::StartError;
use super::startup;
use crate::plugin::Plugin;

/// The declarations of a plugin.
#[derive(Debug, Clone)]
pub struct Declarations {
    /// The JSON Schema of its configuration.
    pub config_schema: String,
    /// The arrays of its slots, if the plugin is a producer and a configuration was given.
    pub schema: Option<Schema>,
}

/// Asks a plugin for its declarations, in a process of its own, and checks a configuration.
///
/// The plugin's manifest can be read without running its code: [`Plugin::manifest`].
///
/// ```no_run
/// use cobuf_host::{Dictionary, Inspection, Plugin};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let declared = Inspection::of(Plugin::package("plugins/digits-producer"))
///     .config(Dictionary::new().with("batch_size", 32))
///     .run()?;
/// println!("{}", declared.config_schema);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing is asked before `run`"]
pub struct Inspection {
    plugin: Plugin,
    config: Option<Result<Vec<u8>, CodecError>>,
    fork_server: Option<PathBuf>,
    working_directory: Option<PathBuf>,
}

impl Inspection {
    /// The inspection of a plugin, without a configuration.
    pub fn of(plugin: Plugin) -> Self {
        Self { plugin, config: None, fork_server: None, working_directory: None }
    }

    /// The configuration for which a producer declares its arrays: a `serde` struct or map, or a
    /// [`Dictionary`](crate::Dictionary). Default: none, and no arrays are declared.
    pub fn config(mut self, config: impl Serialize) -> Self {
        self.config = Some(codec::encode("the configuration", &config));
        self
    }

    /// The fork server's executable, as
    /// [`HostBuilder::fork_server`](crate::HostBuilder::fork_server).
    pub fn fork_server(mut self, executable: impl Into<PathBuf>) -> Self {
        self.fork_server = Some(executable.into());
        self
    }

    /// The folder that the plugin works in. Default: this process's.
    pub fn working_directory(mut self, folder: impl Into<PathBuf>) -> Self {
        self.working_directory = Some(folder.into());
        self
    }

    /// Builds the plugin if it is a package, and asks it.
    ///
    /// # Errors
    /// [`StartError`], as for a host: the plugin is refused, or refuses the configuration.
    pub fn run(self) -> Result<Declarations, StartError> {
        let kind = self.plugin.manifest()?.kind;
        let config = self.config.transpose().map_err(|source| StartError::Config { kind, source })?;
        let (config_schema, schema) =
            startup::declarations(&self.plugin, config, self.fork_server.as_deref(), self.working_directory)?;
        Ok(Declarations { config_schema, schema })
    }
}
