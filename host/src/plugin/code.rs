//! Code that a plugin runs and that is not in its file.

use std::path::PathBuf;

/// Code that a plugin runs and that is not in its file, such as a script; see
/// [`Plugin::with_code`](crate::Plugin::with_code).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Code {
    /// An encoded dictionary.
    pub(super) bytes: Vec<u8>,
    /// The plugin's name, instead of the one in its manifest.
    pub(super) name: Option<String>,
    /// The files that it was read from.
    pub(super) sources: Vec<PathBuf>,
    /// The command of the fork server in whose processes it works; if it is empty, in those of any.
    pub(crate) server: Vec<String>,
    /// The JSON Schema of its configuration, instead of the plugin's own.
    pub(crate) config_schema: Option<String>,
}

impl Code {
    /// The code, encoded.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The files that it was read from, which are not read again.
    pub fn sources(&self) -> &[PathBuf] {
        &self.sources
    }
}
