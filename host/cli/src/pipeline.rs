//! Pipeline files: which plugins, how configured, in what kind of run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use cobuf::measure::cores;
use cobuf_host::conformance::Examination;
use cobuf_host::{
    Dictionary, Host, HostBuilder, OnCommanderFailure, OnFailure, Plugin, PluginKind, ReportKind,
    StartMethod, Value, WorkerInit, WorkerLimits, limits,
};
use serde::Deserialize;

use crate::args::{BenchArgs, RunArgs, Workers};

/// A pipeline file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pipeline {
    commander: PluginTable,
    producer: PluginTable,
    #[serde(default)]
    run: RunTable,
    /// The file's folder, which its paths are relative to and plugins work in.
    #[serde(skip)]
    folder: PathBuf,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct PluginTable {
    /// A .so file, a package's folder, or a name on COBUF_PLUGIN_PATH.
    plugin: PathBuf,
    #[serde(default)]
    config: Dictionary,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RunTable {
    batches: Option<u64>,
    workers: Option<Workers>,
    slots: Option<usize>,
    seed: Option<u64>,
    deterministic: Option<bool>,
    message_capacity: Option<usize>,
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
    pin_workers: Option<bool>,
    #[serde(default)]
    on_failure: BTreeMap<ReportKind, OnFailure>,
    #[serde(default)]
    on_commander_failure: BTreeMap<ReportKind, OnCommanderFailure>,
    #[serde(default)]
    env: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum StartMethodName {
    ForkServer,
    Fork,
}

impl Pipeline {
    /// Reads a pipeline file, and changes in it what the command line says.
    pub(crate) fn read(args: &RunArgs) -> Result<Self> {
        let mut pipeline = Self::read_file(&args.pipeline)?;
        pipeline.change(args)?;
        Ok(pipeline)
    }

    /// Reads a pipeline file, and changes in it what the command line of `bench` says.
    pub(crate) fn read_to_measure(path: &Path, args: &BenchArgs) -> Result<Self> {
        let mut pipeline = Self::read_file(path)?;
        let run = &mut pipeline.run;
        run.batches = args.batches.or(run.batches);
        run.workers = args.workers.map(Workers::Number).or(run.workers);
        run.slots = args.slots.or(run.slots);
        if args.any_order {
            run.deterministic = Some(false);
        }
        pipeline.set(&args.set)?;
        Ok(pipeline)
    }

    /// Reads a pipeline file.
    pub(crate) fn read_file(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the pipeline file {}", path.display()))?;
        let mut pipeline: Self = toml::from_str(&text)
            .with_context(|| format!("the pipeline file {} is wrong", path.display()))?;
        let path = path.canonicalize().with_context(|| format!("cannot find {}", path.display()))?;
        pipeline.folder = path.parent().map(Path::to_owned).unwrap_or_default();
        Ok(pipeline)
    }

    /// The number of batches after which to end, where the file or somebody said so.
    pub(crate) fn batches_mut(&mut self) -> &mut Option<u64> {
        &mut self.run.batches
    }

    fn change(&mut self, args: &RunArgs) -> Result<()> {
        let run = &mut self.run;
        run.batches = args.batches.or(run.batches);
        run.workers = args.workers.or(run.workers);
        run.slots = args.slots.or(run.slots);
        run.seed = args.seed.or(run.seed);
        run.max_attempts = args.max_attempts.or(run.max_attempts);
        run.message_timeout_seconds = args.message_timeout.or(run.message_timeout_seconds);
        run.commander_timeout_seconds = args.commander_timeout.or(run.commander_timeout_seconds);
        for setting in &args.on_failure {
            run.on_failure.extend(on_failure(setting)?);
        }
        if args.deterministic || args.any_order {
            run.deterministic = Some(args.deterministic);
        }
        self.set(&args.set)
    }

    /// Changes configurations: `producer.KEY=VALUE`, `commander.KEY=VALUE`.
    pub(crate) fn set(&mut self, settings: &[String]) -> Result<()> {
        for setting in settings {
            let (config, rest) = match setting.split_once('.') {
                Some(("producer", rest)) => (&mut self.producer.config, rest),
                Some(("commander", rest)) => (&mut self.commander.config, rest),
                _ => bail!("--set {setting:?} must begin with \"producer.\" or \"commander.\""),
            };
            set_entry(config, rest)?;
        }
        Ok(())
    }

    /// The same pipeline with its plugins built, as files.
    pub(crate) fn built(mut self) -> Result<Self> {
        for table in [&mut self.commander, &mut self.producer] {
            table.plugin = Plugin::relative_to(&self.folder, &table.plugin).built()?.path().to_owned();
        }
        Ok(self)
    }

    /// The plugins as the file names them.
    pub(crate) fn plugins(&self) -> Vec<(PluginKind, Plugin)> {
        let at = |table: &PluginTable| Plugin::relative_to(&self.folder, &table.plugin);
        vec![(PluginKind::Commander, at(&self.commander)), (PluginKind::Producer, at(&self.producer))]
    }

    /// The examination of one of the pipeline's plugins, with what the pipeline says of it.
    pub(crate) fn into_examination(self, plugin: &Plugin, examination: Examination) -> Result<Examination> {
        let examination = examination.seed(self.run.seed.unwrap_or(limits::DEFAULT_SEED));
        let capacity = self.run.message_capacity.unwrap_or(limits::DEFAULT_MESSAGE_CAPACITY);
        let examination = examination.working_directory(&self.folder).message_capacity(capacity);
        Ok(match plugin.manifest().map(|manifest| manifest.kind) {
            Ok(PluginKind::Commander) => examination.config(self.commander.config),
            Ok(PluginKind::Producer) => {
                let commander = Plugin::relative_to(&self.folder, &self.commander.plugin).built()?;
                examination.config(self.producer.config).messages_of(commander, self.commander.config)
            }
            // What is wrong with the file is the examination's first finding.
            Err(_) => examination,
        })
    }

    /// A host for the pipeline, with its plugins built.
    pub(crate) fn into_builder(self) -> Result<HostBuilder> {
        let at = |plugin: &Path| -> Result<Plugin> { Ok(Plugin::relative_to(&self.folder, plugin).built()?) };
        let run = self.run;
        let working_directory = Some(self.folder.clone());
        let mut builder = Host::builder()
            .commander(at(&self.commander.plugin)?)
            .commander_config(self.commander.config)
            .producer(at(&self.producer.plugin)?)
            .producer_config(self.producer.config)
            .worker_init(WorkerInit { env: run.env, working_directory, nice: run.nice });
        // What is not said keeps the library's default.
        macro_rules! keep {
            ($($field:ident => $method:ident),*) => {
                $( if let Some(value) = run.$field { builder = builder.$method(value); } )*
            };
        }
        keep!(
            batches => limit, slots => slots, seed => seed, deterministic => deterministic,
            message_capacity => message_capacity, max_attempts => max_attempts, pin_workers => pin_workers
        );
        macro_rules! keep_seconds {
            ($($field:ident => $method:ident),*) => {
                $( if let Some(seconds) = run.$field {
                    builder = builder.$method(duration(stringify!($field), seconds)?);
                } )*
            };
        }
        keep_seconds!(
            message_timeout_seconds => message_timeout, commander_timeout_seconds => commander_timeout,
            start_timeout_seconds => start_timeout, stop_grace_seconds => stop_grace
        );
        builder = match run.workers {
            Some(Workers::Number(workers)) => builder.workers(workers),
            Some(Workers::Auto) => builder.tune_workers(most_workers()),
            None => builder,
        };
        builder = builder.worker_limits(WorkerLimits {
            memory_bytes: run.memory_limit_bytes,
            cpu_seconds: run.cpu_limit_seconds,
            open_files: run.open_files_limit,
        });
        for (kind, choice) in run.on_failure {
            builder = builder.on_failure(kind, choice);
        }
        for (kind, choice) in run.on_commander_failure {
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
}

/// How many workers are tried at most with `workers = "auto"`.
fn most_workers() -> usize {
    (cores() * limits::TUNED_WORKERS_PER_CPU).min(limits::MAX_WORKERS)
}

/// `KIND=CHOICE`, of one kind or of `all`.
fn on_failure(setting: &str) -> Result<Vec<(ReportKind, OnFailure)>> {
    const KINDS: [ReportKind; 4] =
        [ReportKind::Error, ReportKind::Panic, ReportKind::Crash, ReportKind::Timeout];
    let wrong = || {
        format!(
            "--on-failure {setting:?} is wrong, expected KIND=CHOICE with a kind of error, panic, crash, timeout or all, \
             and a choice of raise, skip or stop"
        )
    };
    let (kind, choice) = setting.split_once('=').with_context(wrong)?;
    let choice = match choice {
        "raise" => OnFailure::Raise,
        "skip" => OnFailure::Skip,
        "stop" => OnFailure::Stop,
        _ => bail!(wrong()),
    };
    let kinds: Vec<ReportKind> =
        KINDS.into_iter().filter(|known| kind == "all" || kind == known.to_string()).collect();
    ensure!(!kinds.is_empty(), wrong());
    Ok(kinds.into_iter().map(|kind| (kind, choice)).collect())
}

fn duration(what: &str, seconds: f64) -> Result<Duration> {
    Duration::try_from_secs_f64(seconds)
        .with_context(|| format!("{what} is {seconds}, expected a number of seconds"))
}

/// Applies `KEY=VALUE` to a configuration. The key may lead into tables, the value is TOML, or text where it is not.
pub(crate) fn set_entry(config: &mut Dictionary, setting: &str) -> Result<()> {
    let (key, value) = setting
        .split_once('=')
        .with_context(|| format!("the setting {setting:?} has no \"=\", expected KEY=VALUE"))?;
    let mut parts = key.trim().split('.').peekable();
    let mut table = config;
    while let Some(part) = parts.next() {
        if part.is_empty() {
            bail!("the setting {setting:?} has an empty key, expected KEY=VALUE");
        }
        let place = table.entry(part);
        if parts.peek().is_none() {
            *place = parse(value.trim());
            return Ok(());
        }
        if !matches!(place, Value::Dictionary(_)) {
            *place = Value::Dictionary(Dictionary::new());
        }
        let Value::Dictionary(inner) = place else { unreachable!("it was just made one") };
        table = inner;
    }
    Ok(())
}

/// The value as TOML, or as plain text: `--set producer.crop=random` needs no quotes.
fn parse(value: &str) -> Value {
    let parsed = toml::from_str::<Dictionary>(&format!("value = {value}")).ok();
    parsed.and_then(|table| table.get("value").cloned()).unwrap_or_else(|| Value::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(settings: &[&str]) -> String {
        let mut config = Dictionary::new().with("size", 1);
        settings.iter().for_each(|setting| set_entry(&mut config, setting).unwrap());
        config.to_string()
    }

    #[test]
    fn what_does_a_setting_change() {
        assert_eq!(after(&["size=2"]), r#"{"size":2}"#);
        assert_eq!(after(&["crop=random"]), r#"{"size":1,"crop":"random"}"#);
        assert_eq!(
            after(&["augment.noise = 0.5", "augment.shift=1"]),
            r#"{"size":1,"augment":{"noise":0.5,"shift":1}}"#
        );
        assert_eq!(after(&["size=[1, 2]", "path=a=b"]), r#"{"size":[1,2],"path":"a=b"}"#);
    }

    #[test]
    fn is_a_setting_that_is_none_refused() {
        let mut config = Dictionary::new();
        let error = set_entry(&mut config, "size").unwrap_err();
        assert_eq!(error.to_string(), "the setting \"size\" has no \"=\", expected KEY=VALUE");
        assert!(set_entry(&mut config, "a..b=1").is_err());
    }
}
