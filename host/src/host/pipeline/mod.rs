//! Pipeline files: which plugins, how configured, in what kind of run (TOML).
//!
//! ```toml
//! [commander]
//! plugin = "../plugins/index-commander"   # a .so file, a package's folder, a name, a Python object
//! config = { length = 1797, epochs = 1 }
//!
//! [producer]
//! plugin = "../plugins/digits-producer"
//!
//! [run]                                   # everything here is optional
//! workers = "auto"
//! ordered = false
//! ```
//!
//! Paths are relative to the file. An unknown key is an error that names it.
//!
//! `entries` has configurations and their changes by `--set`, `values` what is more than one TOML type.

mod entries;
mod error;
#[cfg(all(test, not(cobuf_loom)))]
mod tests;
mod values;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cobuf_plugin_api::{Dictionary, PluginKind, ReportKind};
use serde::Deserialize;

use self::entries::configuration;
pub use self::entries::{config_from_toml, set_entry};
pub use self::error::PipelineError;
#[cfg(feature = "metrics")]
use self::values::MetricsText;
use self::values::{NumberOfWorkers, RankText, StartMethodName};
use super::builder::HostBuilder;
use crate::cancel::Cancel;
use crate::files;
#[cfg(feature = "sandbox")]
use crate::jail::Sandbox;
#[cfg(feature = "metrics")]
use crate::metrics::MetricsTarget;
use crate::plugin::{Plugin, PluginError};
use crate::process::launch::StartMethod;
use crate::protocol::setup::{ProcessSetup, WorkerLimits};
use crate::record::policy::{OnCommanderFailure, OnFailure};
use crate::record::portion::Remainder;
use crate::record::rank::Rank;

/// A pipeline file (TOML), as `cobuf run` takes it.
///
/// The host guide's page `pipeline_files` lists every key with its default. Settings of the
/// [`builder`](Self::builder) replace those of the file.
///
/// ```no_run
/// use cobuf_host::Pipeline;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let host = Pipeline::read("examples/digits.toml")?.builder()?.workers(2).start()?;
/// for batch in host.batches() {
///     println!("batch {}", batch?.sequence());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    commander: PluginTable,
    producer: PluginTable,
    #[serde(default)]
    run: RunTable,
    #[serde(default)]
    python: PythonTable,
    #[cfg(feature = "sandbox")]
    sandbox: Option<Sandbox>,
    /// The file's folder, to which its paths are relative and in which plugins work.
    #[serde(skip)]
    folder: PathBuf,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct PluginTable {
    /// A .so file, a package's folder, a name on COBUF_PLUGIN_PATH, or a Python object.
    plugin: PathBuf,
    #[serde(default, deserialize_with = "configuration")]
    config: Dictionary,
    /// The plugin as a file, once it is built.
    #[serde(skip)]
    built: Option<Plugin>,
}

/// For plugins that are Python objects.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct PythonTable {
    interpreter: Option<PathBuf>,
    preload: Option<Vec<String>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RunTable {
    batches: Option<u64>,
    replay_ready: Option<usize>,
    workers: Option<NumberOfWorkers>,
    slots: Option<usize>,
    seed: Option<u64>,
    /// Pipeline files of before called it `deterministic`.
    #[serde(alias = "deterministic")]
    ordered: Option<bool>,
    rank: Option<RankText>,
    remainder: Option<Remainder>,
    message_capacity: Option<usize>,
    metadata_capacity: Option<usize>,
    start_method: Option<StartMethodName>,
    start_timeout_seconds: Option<f64>,
    stop_grace_seconds: Option<f64>,
    nice: Option<i32>,
    max_attempts: Option<u32>,
    message_timeout_seconds: Option<f64>,
    commander_timeout_seconds: Option<f64>,
    memory_limit_bytes: Option<u64>,
    cpu_limit_seconds: Option<u64>,
    open_files_limit: Option<u64>,
    #[cfg(feature = "metrics")]
    metrics: Option<MetricsText>,
    pin_workers: Option<bool>,
    #[serde(default)]
    on_failure: BTreeMap<ReportKind, OnFailure>,
    #[serde(default)]
    on_commander_failure: BTreeMap<ReportKind, OnCommanderFailure>,
    #[serde(default)]
    env: BTreeMap<String, String>,
}

impl Pipeline {
    /// Reads a pipeline file. A named pipe is read to its end, and so is a pipe without a name,
    /// such as a shell's `<(…)`: then paths in it are relative to the working directory.
    ///
    /// # Errors
    /// [`PipelineError::Read`] and [`PipelineError::Content`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self, PipelineError> {
        let path = path.as_ref();
        let failed = |source| PipelineError::Read { path: path.to_owned(), source };
        let text = files::read(path).map_err(failed)?;
        let text = String::from_utf8(text).map_err(|_| failed(not_utf8()))?;
        let mut pipeline: Self = toml::from_str(&text)
            .map_err(|source| PipelineError::Content { path: path.to_owned(), source })?;
        pipeline.folder = match path.canonicalize() {
            Ok(path) => path.parent().map(Path::to_owned).unwrap_or_default(),
            // It was read, so it is there: a pipe without a name.
            Err(_) => std::env::current_dir().map_err(failed)?,
        };
        // A name without a folder is looked for on the PATH.
        let interpreter = pipeline.python.interpreter.as_mut();
        if let Some(path) = interpreter.filter(|path| path.components().count() > 1) {
            *path = pipeline.folder.join(&path);
        }
        Ok(pipeline)
    }

    /// Changes an entry of a plugin's configuration: `producer.KEY=VALUE` or `commander.KEY=VALUE`.
    /// The key may lead into tables (`augment.shift`). The value is TOML, or text if it is not.
    ///
    /// # Errors
    /// [`PipelineError::Setting`].
    ///
    /// ```no_run
    /// # fn main() -> Result<(), cobuf_host::PipelineError> {
    /// let mut pipeline = cobuf_host::Pipeline::read("examples/digits.toml")?;
    /// pipeline.set("producer.batch_size=64")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn set(&mut self, setting: &str) -> Result<(), PipelineError> {
        let (config, rest) = match setting.split_once('.') {
            Some(("producer", rest)) => (&mut self.producer.config, rest),
            Some(("commander", rest)) => (&mut self.commander.config, rest),
            _ => {
                return Err(PipelineError::Setting {
                    setting: setting.to_owned(),
                    reason: "must begin with \"producer.\" or \"commander.\"",
                });
            }
        };
        set_entry(config, rest)
    }

    /// The number of messages after which the file ends the stream, if it does.
    pub fn batches(&self) -> Option<u64> {
        self.run.batches
    }

    /// The number of batches that are delivered again and again, if the file says so.
    pub fn replay_ready(&self) -> Option<usize> {
        self.run.replay_ready
    }

    /// A plugin as the file names it, or as a file if it is [`built`](Self::built).
    pub fn plugin(&self, kind: PluginKind) -> Plugin {
        let PluginTable { plugin, built, .. } = self.table(kind);
        built
            .clone()
            .unwrap_or_else(|| self.prepared(Plugin::relative_to(&self.folder, plugin).of_kind(kind)))
    }

    /// The same plugin, with the file's interpreter, modules to preload and environment variables if it
    /// is a Python object.
    pub fn prepared(&self, plugin: Plugin) -> Plugin {
        let Plugin::Python(python) = plugin else { return plugin };
        let mut python = python.env(&self.run.env);
        if let Some(interpreter) = &self.python.interpreter {
            python = python.interpreter(interpreter);
        }
        if let Some(modules) = &self.python.preload {
            python = python.preload(modules);
        }
        Plugin::Python(python)
    }

    /// Takes this interpreter for Python plugins, instead of the file's.
    pub fn set_interpreter(&mut self, path: impl Into<PathBuf>) {
        self.python.interpreter = Some(path.into());
    }

    /// A plugin's configuration.
    pub fn config(&self, kind: PluginKind) -> &Dictionary {
        &self.table(kind).config
    }

    /// The folder of the file, in which its plugins work.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The sandbox, if the file has one, with paths from the folder of the file.
    #[cfg(feature = "sandbox")]
    pub fn sandbox(&self) -> Option<Sandbox> {
        let mut sandbox = self.sandbox.clone()?;
        let paths = sandbox.read.iter_mut().chain(&mut sandbox.write);
        paths.for_each(|path| *path = self.folder.join(&path));
        Some(sandbox)
    }

    /// The run's seed, if the file gives one.
    pub fn seed(&self) -> Option<u64> {
        self.run.seed
    }

    /// The rank, if the file gives one.
    pub fn rank(&self) -> Option<Rank> {
        self.run.rank.map(|RankText(rank)| rank)
    }

    /// The most bytes of an encoded message, if the file says so.
    pub fn message_capacity(&self) -> Option<usize> {
        self.run.message_capacity
    }

    /// The most bytes of a batch's encoded metadata, if the file says so.
    pub fn metadata_capacity(&self) -> Option<usize> {
        self.run.metadata_capacity
    }

    /// The same pipeline with its plugins as files: a package is built, a name is looked up, the code of
    /// a Python object is read. For several runs, so that only the first one builds.
    ///
    /// # Errors
    /// [`PipelineError::Plugin`].
    pub fn built(self) -> Result<Self, PipelineError> {
        self.with_built(Plugin::built)
    }

    /// As [`built`](Self::built), but the builds end once they are cancelled.
    ///
    /// # Errors
    /// [`PipelineError::Plugin`], with [`PluginError::Cancelled`] if they were.
    pub fn built_unless(self, cancel: &Cancel) -> Result<Self, PipelineError> {
        self.with_built(|plugin| plugin.built_unless(cancel))
    }

    fn with_built(
        mut self,
        build: impl Fn(&Plugin) -> Result<Plugin, PluginError>,
    ) -> Result<Self, PipelineError> {
        for kind in [PluginKind::Commander, PluginKind::Producer] {
            let built = Some(build(&self.plugin(kind))?);
            match kind {
                PluginKind::Commander => self.commander.built = built,
                PluginKind::Producer => self.producer.built = built,
            }
        }
        Ok(self)
    }

    /// A host for the pipeline. What the file does not say keeps the builder's default; what is set
    /// on the builder afterwards replaces what the file says.
    ///
    /// # Errors
    /// [`PipelineError::Seconds`].
    pub fn builder(&self) -> Result<HostBuilder, PipelineError> {
        let run = &self.run;
        let setup = ProcessSetup {
            env: run.env.clone(),
            working_directory: Some(self.folder.clone()),
            nice: run.nice,
            ..ProcessSetup::default()
        };
        let limits = WorkerLimits {
            memory_bytes: run.memory_limit_bytes,
            cpu_seconds: run.cpu_limit_seconds,
            open_files: run.open_files_limit,
        };
        let mut builder = HostBuilder::new()
            .commander(self.plugin(PluginKind::Commander))
            .commander_config(&self.commander.config)
            .producer(self.plugin(PluginKind::Producer))
            .producer_config(&self.producer.config)
            .process_setup(setup)
            .worker_limits(limits);
        macro_rules! keep {
            ($($field:ident => $method:ident),*) => {
                $( if let Some(value) = run.$field { builder = builder.$method(value); } )*
            };
        }
        keep!(
            batches => limit, replay_ready => replay_ready, slots => slots, seed => seed, ordered => ordered,
            message_capacity => message_capacity, metadata_capacity => metadata_capacity,
            max_attempts => max_attempts, pin_workers => pin_workers, remainder => remainder
        );
        macro_rules! keep_seconds {
            ($($field:ident => $method:ident),*) => {
                $( if let Some(value) = run.$field {
                    builder = builder.$method(seconds(stringify!($field), value)?);
                } )*
            };
        }
        keep_seconds!(
            message_timeout_seconds => message_timeout, commander_timeout_seconds => commander_timeout,
            start_timeout_seconds => start_timeout, stop_grace_seconds => stop_grace
        );
        if let Some(RankText(rank)) = run.rank {
            builder = builder.rank(rank);
        }
        #[cfg(feature = "metrics")]
        if let Some(MetricsText(target)) = run.metrics.clone() {
            builder = builder.metrics(match target {
                MetricsTarget::File(path) => MetricsTarget::File(self.folder.join(path)),
                address => address,
            });
        }
        #[cfg(feature = "sandbox")]
        if let Some(sandbox) = self.sandbox() {
            builder = builder.sandbox(sandbox);
        }
        if let Some(NumberOfWorkers(workers)) = run.workers {
            builder = builder.workers(workers);
        }
        for (&kind, &choice) in &run.on_failure {
            builder = builder.on_failure(kind, choice);
        }
        for (&kind, &choice) in &run.on_commander_failure {
            builder = builder.on_commander_failure(kind, choice);
        }
        if let Some(name) = run.start_method {
            builder = builder.start_method(match name {
                StartMethodName::ForkServer => StartMethod::ForkServer,
                StartMethodName::Fork => StartMethod::Fork,
            });
        }
        Ok(builder)
    }

    fn table(&self, kind: PluginKind) -> &PluginTable {
        match kind {
            PluginKind::Commander => &self.commander,
            PluginKind::Producer => &self.producer,
        }
    }
}

fn seconds(key: &'static str, value: f64) -> Result<Duration, PipelineError> {
    Duration::try_from_secs_f64(value).map_err(|_| PipelineError::Seconds { key, value })
}

fn not_utf8() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, "it is not UTF-8, which TOML must be")
}
