//! The options of the verbs on plugins: new, list, inspect, check.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as Group, ValueEnum};
use cobuf_host::{PluginKind, limits};

use crate::numbers;

pub(super) const CHECK_EXAMPLES: &str = "\
Examples:
  cobuf check plugins/digits-producer --pipeline examples/digits.toml
  cobuf check libmine.so --config '{\"batch_size\": 4}' --message '{\"items\": [1, 2]}' --json
  cobuf check slides.py:Slides --pipeline slides.toml --python .venv/bin/python
  cobuf check libmine.so --pipeline mine.toml --sandbox
  cobuf check libmine.so --config config.toml --set batch_size=8 --time-limit 5

Exit codes:
  0  no test failed; with --sandbox: the producer works in the sandbox
  1  a test failed, or the file is no plugin for this machine; the report could not be written
  2  nothing could be tested: the command line, a missing file, a build that fails";

#[derive(Debug, Group)]
pub(crate) struct InspectArgs {
    /// The plugin: a .so file, a package's folder, which is built first, a name that is found in the
    /// folders of COBUF_PLUGIN_PATH, or a Python object: slides.py:Slides or package.module:Name.
    pub(crate) plugin: PathBuf,
    /// A configuration of the plugin, for which the arrays are shown: JSON, or a file with TOML or
    /// JSON. A file may have @ before its name.
    #[arg(long, value_name = "JSON|FILE")]
    pub(crate) config: Option<OsString>,
    /// Set an entry of the configuration: KEY=VALUE, the value as in TOML. Can be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// The Python interpreter for plugins that are Python code, instead of that of
    /// the active environment.
    #[arg(long, value_name = "FILE")]
    pub(crate) python: Option<PathBuf>,
    /// Print one JSON object on standard output.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Group)]
pub(crate) struct NewArgs {
    /// The kind to make: one plugin with a small one of the other kind, or both plugins of a pipeline.
    #[arg(value_enum)]
    pub(crate) kind: NewKind,
    /// The name of the package or the pipeline.
    pub(crate) name: String,
    /// Its folder, which must not exist. The default is the name, in the current folder.
    pub(crate) folder: Option<PathBuf>,
    /// Make it in Python: a module for each plugin, tests, and a pipeline.
    #[arg(long, conflicts_with = "plugin_api")]
    pub(crate) python: bool,
    /// Depend on the cobuf-plugin-api in this folder. The default is the checkout that this command
    /// was built from, if it is still there, and otherwise crates.io.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) plugin_api: Option<PathBuf>,
}

/// What `cobuf new` makes.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum NewKind {
    /// Both plugins in one workspace, and a pipeline of the two.
    Pipeline,
    /// A plugin that fills arrays, in worker processes.
    Producer,
    /// A plugin that says what to produce, with one message for each batch.
    Commander,
}

impl NewKind {
    /// The plugin that was asked for, if it was one.
    pub(crate) fn plugin(self) -> Option<PluginKind> {
        match self {
            Self::Pipeline => None,
            Self::Producer => Some(PluginKind::Producer),
            Self::Commander => Some(PluginKind::Commander),
        }
    }
}

#[derive(Debug, Group)]
pub(crate) struct ListArgs {
    /// The folders to look in. The default is those of COBUF_PLUGIN_PATH.
    pub(crate) folders: Vec<PathBuf>,
    /// Print one JSON list on standard output.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Group)]
pub(crate) struct CheckArgs {
    /// The plugin: a .so file, a package's folder, which is built first, a name that is found in the
    /// folders of COBUF_PLUGIN_PATH, or a Python object: slides.py:Slides or package.module:Name.
    pub(crate) plugin: PathBuf,
    /// The plugin's configuration: JSON, or a file with TOML or JSON. A file may have @ before its
    /// name.
    #[arg(long, value_name = "JSON|FILE")]
    pub(crate) config: Option<OsString>,
    /// Set an entry of the configuration, also of the pipeline's: KEY=VALUE, the value as in TOML.
    /// Can be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// A message that the producer can produce: as --config. Can be repeated.
    #[arg(long, value_name = "JSON|FILE")]
    pub(crate) message: Vec<OsString>,
    /// A pipeline file with the plugin's configuration. A producer gets the first messages of the
    /// pipeline's commander.
    #[arg(long, value_name = "FILE")]
    pub(crate) pipeline: Option<PathBuf>,
    /// The Python interpreter for plugins that are Python code, instead of the pipeline's and that
    /// of the active environment.
    #[arg(long, value_name = "FILE")]
    pub(crate) python: Option<PathBuf>,
    /// The run's seed that the plugin gets.
    #[arg(long, value_name = "N", value_parser = numbers::whole(0..=u64::MAX), allow_negative_numbers = true)]
    pub(crate) seed: Option<u64>,
    /// The time that each process of a test may take. A process that takes longer is killed, and
    /// its stack is shown.
    #[arg(long, value_name = "SECONDS", default_value = in_seconds(limits::DEFAULT_EXAMINATION_LIMIT), value_parser = numbers::seconds(Duration::from_millis(1)), allow_negative_numbers = true)]
    pub(crate) time_limit: Duration,
    /// The length of the first of five windows in which leaks are looked for. The others have as
    /// many messages.
    #[arg(long, value_name = "SECONDS", default_value = in_seconds(limits::DEFAULT_SOAK), value_parser = numbers::seconds(Duration::ZERO), allow_negative_numbers = true)]
    pub(crate) soak: Duration,
    /// Make no tests, but find the tightest sandbox in which the producer does the messages, and print its
    /// table for a pipeline file. A sandbox of the pipeline is tried, too.
    #[arg(long, conflicts_with = "soak")]
    pub(crate) sandbox: bool,
    /// Print one JSON object on standard output.
    #[arg(long)]
    pub(crate) json: bool,
}

/// A default as it would be typed.
fn in_seconds(time: Duration) -> String {
    time.as_secs_f64().to_string()
}
