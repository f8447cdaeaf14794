//! Pipeline files: which plugins, how configured, in what kind of run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use cobuf_host::{Dictionary, Host, HostBuilder, Plugin, StartMethod, Value, WorkerInit};
use serde::Deserialize;

use crate::args::RunArgs;

/// A pipeline file.
#[derive(Debug, Deserialize)]
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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PluginTable {
    /// A .so file, or a package's folder.
    plugin: PathBuf,
    #[serde(default)]
    config: Dictionary,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RunTable {
    batches: Option<u64>,
    workers: Option<usize>,
    slots: Option<usize>,
    seed: Option<u64>,
    deterministic: Option<bool>,
    message_capacity: Option<usize>,
    start_method: Option<StartMethodName>,
    start_timeout_seconds: Option<f64>,
    stop_grace_seconds: Option<f64>,
    nice: Option<i32>,
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
        let path = &args.pipeline;
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the pipeline file {}", path.display()))?;
        let mut pipeline: Self = toml::from_str(&text)
            .with_context(|| format!("the pipeline file {} is wrong", path.display()))?;
        let path = path.canonicalize().with_context(|| format!("cannot find {}", path.display()))?;
        pipeline.folder = path.parent().map(Path::to_owned).unwrap_or_default();
        pipeline.change(args)?;
        Ok(pipeline)
    }

    fn change(&mut self, args: &RunArgs) -> Result<()> {
        let run = &mut self.run;
        run.batches = args.batches.or(run.batches);
        run.workers = args.workers.or(run.workers);
        run.slots = args.slots.or(run.slots);
        run.seed = args.seed.or(run.seed);
        if args.deterministic || args.any_order {
            run.deterministic = Some(args.deterministic);
        }
        for setting in &args.set {
            let (config, rest) = match setting.split_once('.') {
                Some(("producer", rest)) => (&mut self.producer.config, rest),
                Some(("commander", rest)) => (&mut self.commander.config, rest),
                _ => bail!("--set {setting:?} must begin with \"producer.\" or \"commander.\""),
            };
            set(config, rest)?;
        }
        Ok(())
    }

    /// A host for the pipeline, with its plugins built.
    pub(crate) fn into_builder(self) -> Result<HostBuilder> {
        let at = |plugin: &Path| -> Result<Plugin> { Ok(Plugin::at(self.folder.join(plugin)).built()?) };
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
            batches => limit, workers => workers, slots => slots, seed => seed, deterministic => deterministic,
            message_capacity => message_capacity
        );
        if let Some(name) = run.start_method {
            builder = builder.start_method(match name {
                StartMethodName::ForkServer => StartMethod::ForkServer,
                StartMethodName::Fork => StartMethod::Fork,
            });
        }
        if let Some(seconds) = run.start_timeout_seconds {
            builder = builder.start_timeout(duration("start_timeout_seconds", seconds)?);
        }
        if let Some(seconds) = run.stop_grace_seconds {
            builder = builder.stop_grace(duration("stop_grace_seconds", seconds)?);
        }
        Ok(builder)
    }
}

fn duration(what: &str, seconds: f64) -> Result<Duration> {
    Duration::try_from_secs_f64(seconds)
        .with_context(|| format!("{what} is {seconds}, expected a number of seconds"))
}

/// Applies `KEY=VALUE` to a configuration. The key may lead into tables, the value is TOML, or text where it is not.
pub(crate) fn set(config: &mut Dictionary, setting: &str) -> Result<()> {
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
        settings.iter().for_each(|setting| set(&mut config, setting).unwrap());
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
        let error = set(&mut config, "size").unwrap_err();
        assert_eq!(error.to_string(), "the setting \"size\" has no \"=\", expected KEY=VALUE");
        assert!(set(&mut config, "a..b=1").is_err());
    }
}
