//! A dict of settings as a host builder. The names are the parameters of `cobuf.Loader`, whose
//! documentation says what they mean.

use std::collections::BTreeMap;
use std::time::Duration;

use cobuf_host::{
    Commander, Dictionary, Host, HostBuilder, MetricsTarget, MetricsTargetError, OnCommanderFailure,
    OnFailure, Plugin, ProcessSetup, Rank, RankError, Remainder, RemainderError, ReportKind, Sandbox, Source,
    StartMethod, WorkerLimits,
};
use cobuf_python_values as values;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::fork_server::HOOKS;
use crate::state;

/// Reads the settings. A value of `None` is one that is not given.
pub(crate) fn builder(settings: &Bound<'_, PyDict>) -> PyResult<HostBuilder> {
    let mut builder = Host::builder();
    let (mut setup, mut limits) = (ProcessSetup::default(), WorkerLimits::default());
    for (key, value) in settings {
        if value.is_none() {
            continue;
        }
        let name: String = key.extract()?;
        let wrong = |error: PyErr| {
            let kind = value.get_type().name().map(|kind| kind.to_string()).unwrap_or_default();
            PyTypeError::new_err(format!("{name} is {value:?} of type {kind}: {error}"))
        };
        macro_rules! given {
            () => {
                value.extract().map_err(wrong)?
            };
            ($type:ty) => {
                value.extract::<$type>().map_err(wrong)?
            };
        }
        let config =
            || values::dictionary(&name, value.cast::<PyDict>().map_err(|error| wrong(error.into()))?);
        let seconds = || duration(&name, value.extract().map_err(wrong)?);
        builder = match &*name {
            "commander" => builder.commander(plugin(&name, &value)?),
            "application" if given!(bool) => builder.commander(Commander::Application),
            "application" => builder,
            "producer" => builder.producer(plugin(&name, &value)?),
            "commander_config" => builder.commander_config(config()?),
            "producer_config" => builder.producer_config(config()?),
            "workers" => builder.workers(given!(usize)),
            "slots" => builder.slots(given!()),
            "ordered" => builder.ordered(given!()),
            "seed" => builder.seed(given!()),
            "limit" => builder.limit(given!()),
            "replay_ready" => builder.replay_ready(given!()),
            "rank" => builder.rank(rank(given!())?),
            "remainder" => builder.remainder(remainder(given!())?),
            "message_capacity" => builder.message_capacity(given!()),
            "metadata_capacity" => builder.metadata_capacity(given!()),
            "max_attempts" => builder.max_attempts(given!()),
            "message_timeout" => builder.message_timeout(seconds()?),
            "commander_timeout" => builder.commander_timeout(seconds()?),
            "start_timeout" => builder.start_timeout(seconds()?),
            "stop_grace" => builder.stop_grace(seconds()?),
            "pin_workers" => builder.pin_workers(given!()),
            "sandbox" => builder.sandbox(sandbox(&config()?)?),
            "metrics" => builder.metrics(metrics(given!())?),
            "dead_letters" => builder.dead_letters(given!(String)),
            "trace" => builder.trace(given!(String)),
            "trace_batches" => builder.trace_batches(given!()),
            "replay" => builder.source(Source::Replay(given!())),
            "checkpoint" => builder.source(Source::Resume(state::checkpoint(given!())?)),
            "on_failure" => {
                let choices: BTreeMap<String, String> = given!();
                choices.iter().try_fold(builder, |builder, (kind, choice)| {
                    PyResult::Ok(builder.on_failure(self::kind(kind)?, on_failure(choice)?))
                })?
            }
            "on_commander_failure" => {
                let choices: BTreeMap<String, String> = given!();
                choices.iter().try_fold(builder, |builder, (kind, choice)| {
                    PyResult::Ok(
                        builder.on_commander_failure(self::kind(kind)?, on_commander_failure(choice)?),
                    )
                })?
            }
            "start_method" => start_method(builder, given!())?,
            "fork_server" => {
                let mut command: Vec<String> = given!();
                let executable = if command.is_empty() { String::new() } else { command.remove(0) };
                builder.fork_server_command(executable, command)
            }
            other => {
                match other {
                    "env" => setup.env = given!(),
                    "working_directory" => setup.working_directory = Some(given!()),
                    "nice" => setup.nice = Some(given!()),
                    "keep_descriptors" => setup.keep_descriptors = given!(),
                    "memory_limit" => limits.memory_bytes = Some(given!()),
                    "cpu_limit" => limits.cpu_seconds = Some(given!()),
                    "open_files_limit" => limits.open_files = Some(given!()),
                    _ => return Err(PyTypeError::new_err(format!("there is no setting {name:?}"))),
                }
                builder
            }
        };
    }
    Ok(builder.process_setup(setup).worker_limits(limits))
}

/// A sandbox, as a pipeline file has it.
fn sandbox(given: &Dictionary) -> PyResult<Sandbox> {
    let wrong = |error: serde_json::Error| PyValueError::new_err(format!("the sandbox is wrong: {error}"));
    serde_json::from_value(serde_json::to_value(given).map_err(wrong)?).map_err(wrong)
}

/// A plugin: a path or name, or a pair of a file and the code for it.
pub(crate) fn plugin(what: &str, given: &Bound<'_, PyAny>) -> PyResult<Plugin> {
    let Ok((file, code)) = given.extract::<(String, Bound<'_, PyDict>)>() else {
        return Ok(Plugin::at(given.extract::<String>()?));
    };
    let code = values::dictionary(what, &code)?;
    Plugin::with_code(file, &code).map_err(|error| PyValueError::new_err(error.to_string()))
}

/// How the processes start. Both are of `cobuf.concurrentbuffer`, as is `keep_descriptors`.
fn start_method(builder: HostBuilder, name: &str) -> PyResult<HostBuilder> {
    match name {
        "fork_server" => Ok(builder),
        "fork" => Ok(builder.start_method(StartMethod::Fork).fork_hooks(HOOKS)),
        _ => Err(PyValueError::new_err(format!("start_method is {name:?}, expected fork_server or fork"))),
    }
}

/// A number of seconds.
pub(crate) fn duration(name: &str, seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds).map_err(|_| {
        PyValueError::new_err(format!("{name} is {seconds}, expected a number of seconds from 0"))
    })
}

fn rank(text: &str) -> PyResult<Rank> {
    text.parse().map_err(|error: RankError| PyValueError::new_err(error.to_string()))
}

fn metrics(target: &str) -> PyResult<MetricsTarget> {
    target.parse().map_err(|error: MetricsTargetError| PyValueError::new_err(error.to_string()))
}

fn remainder(choice: &str) -> PyResult<Remainder> {
    let wrong = |error| PyValueError::new_err(format!("remainder is {choice:?}, {error}"));
    choice.parse().map_err(|error: RemainderError| wrong(error))
}

fn kind(name: &str) -> PyResult<ReportKind> {
    let known = ReportKind::ALL.into_iter().find(|kind| kind.to_string() == name);
    known.ok_or_else(|| {
        PyValueError::new_err(format!(
            "there is no failure {name:?}, expected error, panic, crash or timeout"
        ))
    })
}

fn on_failure(choice: &str) -> PyResult<OnFailure> {
    Ok(match choice {
        "raise" => OnFailure::Raise,
        "skip" => OnFailure::Skip,
        "stop" => OnFailure::Stop,
        _ => {
            return Err(PyValueError::new_err(format!(
                "on_failure is {choice:?}, expected raise, skip or stop"
            )));
        }
    })
}

fn on_commander_failure(choice: &str) -> PyResult<OnCommanderFailure> {
    Ok(match choice {
        "restart" => OnCommanderFailure::Restart,
        "end" => OnCommanderFailure::End,
        _ => {
            return Err(PyValueError::new_err(format!(
                "on_commander_failure is {choice:?}, expected restart or end"
            )));
        }
    })
}
