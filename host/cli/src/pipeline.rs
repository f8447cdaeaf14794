//! The changes that the command line makes to a pipeline.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use cobuf_host::{HostBuilder, OnFailure, Pipeline, Plugin, Rank, ReportKind};

use crate::args::{BenchArgs, PreviewArgs, RunArgs};

/// Reads a pipeline file and applies `--set` and `--python`.
pub(crate) fn read(path: &Path, settings: &[String], python: Option<&Path>) -> Result<Pipeline> {
    let mut pipeline = Pipeline::read(path)?;
    if let Some(interpreter) = python {
        pipeline.set_interpreter(interpreter);
    }
    for setting in settings {
        pipeline.set(setting).context("--set cannot be applied")?;
    }
    Ok(pipeline)
}

/// The plugin at a path, with the options of `inspect` and `check`.
pub(crate) fn plugin(path: &Path, python: Option<&Path>) -> Plugin {
    match (Plugin::at(path), python) {
        (Plugin::Python(object), Some(interpreter)) => Plugin::Python(object.interpreter(interpreter)),
        (plugin, _) => plugin,
    }
}

/// A host for the pipeline, with the options of `run`.
pub(crate) fn builder_to_run(pipeline: &Pipeline, args: &RunArgs) -> Result<HostBuilder> {
    let mut builder = pipeline.builder()?;
    macro_rules! replace {
        ($($option:expr => $method:ident),*) => {
            $( if let Some(value) = $option { builder = builder.$method(value); } )*
        };
    }
    replace!(
        args.batches => limit, args.replay_ready => replay_ready, args.workers => workers, args.slots => slots, args.seed => seed,
        args.max_attempts => max_attempts, args.rank => rank, args.remainder => remainder,
        args.message_timeout => message_timeout, args.commander_timeout => commander_timeout,
        args.dead_letters.as_ref() => dead_letters, args.trace.as_ref() => trace,
        args.metrics.clone() => metrics, args.sandbox => sandbox_mode
    );
    builder = builder.trace_batches(args.trace_batches);
    for setting in &args.on_failure {
        for (kind, choice) in on_failure(setting)? {
            builder = builder.on_failure(kind, choice);
        }
    }
    if args.ordered || args.any_order {
        builder = builder.ordered(args.ordered);
    }
    Ok(builder)
}

/// A host for the pipeline, with the options of `bench`.
pub(crate) fn builder_to_measure(pipeline: &Pipeline, args: &BenchArgs) -> Result<HostBuilder> {
    let mut builder = pipeline.builder()?;
    if let Some(batches) = args.batches {
        builder = builder.limit(batches);
    }
    if let Some(workers) = args.workers {
        builder = builder.workers(workers);
    }
    if let Some(slots) = args.slots {
        builder = builder.slots(slots);
    }
    if let Some(seed) = args.seed {
        builder = builder.seed(seed);
    }
    // It measures the whole pipeline on this machine, in whichever launcher.
    builder = builder.rank(Rank::none());
    Ok(if args.any_order { builder.ordered(false) } else { builder })
}

/// A host for the pipeline, with the options of `preview`.
pub(crate) fn builder_to_preview(pipeline: &Pipeline, args: &PreviewArgs) -> Result<HostBuilder> {
    // It holds one batch at a time, and shows the whole pipeline's, in whichever launcher.
    let builder = pipeline.builder()?.limit(args.batches).workers(1).slots(1).rank(Rank::none());
    Ok(match args.seed {
        Some(seed) => builder.seed(seed),
        None => builder,
    })
}

/// Reads `KIND=CHOICE`, for one kind or for `all`.
fn on_failure(setting: &str) -> Result<Vec<(ReportKind, OnFailure)>> {
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
        ReportKind::ALL.into_iter().filter(|known| kind == "all" || kind == known.to_string()).collect();
    ensure!(!kinds.is_empty(), wrong());
    Ok(kinds.into_iter().map(|kind| (kind, choice)).collect())
}
