//! Why a pipeline file cannot be used.

use std::path::PathBuf;

use crate::plugin::PluginError;

/// Why a pipeline file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// The file cannot be read.
    #[error("cannot read the pipeline file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file is not a pipeline: no TOML, an unknown key, or a wrong value.
    #[error("the pipeline file {} is wrong", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The place in the file and what is wrong there.
        source: toml::de::Error,
    },
    /// A time is not one.
    #[error("{key} is {value}, expected a number of seconds that is not negative")]
    Seconds {
        /// The key in the table `run`.
        key: &'static str,
        /// Its value.
        value: f64,
    },
    /// A setting of the form `producer.KEY=VALUE` cannot be applied.
    #[error("the setting {setting:?} {reason}")]
    Setting {
        /// The setting.
        setting: String,
        /// The fault, and what was expected.
        reason: &'static str,
    },
    /// A plugin cannot be built or found.
    #[error(transparent)]
    Plugin(#[from] PluginError),
}
