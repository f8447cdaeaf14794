//! Why a plugin was not swapped.

use std::time::Duration;

use cobuf_plugin_api::{ArraySpec, PluginKind, Report, Schema};

use crate::plugin::PluginError;

/// Why a plugin was not swapped. The old one goes on as if nothing had been asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SwapError {
    /// The new plugin is refused, or its own code failed while it was set up.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// The new plugin is Python code, and the run's processes are not those of its interpreter.
    #[error(
        "the {kind} {plugin} is Python code, which the processes of this run cannot execute; \
         start a new run with it"
    )]
    ForkServer {
        /// The plugin's kind.
        kind: PluginKind,
        /// The new plugin's name.
        plugin: String,
    },
    /// The new producer declares other arrays than the slots were laid out for.
    #[error(
        "the producer {plugin} declares other arrays than the one that runs: {}; \
         start a new run with it", differences.join("; ")
    )]
    Schema {
        /// The new plugin's name.
        plugin: String,
        /// Each array that differs: `the array "image" is u8 (3, 4), expected u8 (3, 5)`.
        differences: Vec<String>,
    },
    /// The new plugin failed at the message of its rehearsal.
    #[error("the {kind} {plugin} failed at message {sequence} in its rehearsal")]
    Rehearsal {
        /// The plugin's kind.
        kind: PluginKind,
        /// The new plugin's name.
        plugin: String,
        /// The message.
        sequence: u64,
        /// Its error or panic.
        source: Report,
    },
    /// The new plugin did not come up in time, or was late with the message of its rehearsal.
    #[error(
        "{waiting_for} was not ready after {} s; give the host a longer start timeout, or messages a longer deadline, where that is \
         expected",
        limit.as_secs_f64()
    )]
    Timeout {
        /// What was waited for.
        waiting_for: String,
        /// The limit.
        limit: Duration,
    },
    /// Workers of an earlier producer, which an earlier swap has relieved, do not come to an end.
    #[error(
        "workers of the producer before are still at {} after {} s; give messages a deadline, or try again later",
        sequence.map_or("their messages".to_owned(), |sequence| format!("message {sequence}")), limit.as_secs_f64()
    )]
    Draining {
        /// The oldest message that they hold.
        sequence: Option<u64>,
        /// How long they were waited for.
        limit: Duration,
    },
    /// A process could not be prepared or started.
    #[error("the {role} cannot be started: {reason}")]
    Process {
        /// What the process is for.
        role: String,
        /// What went wrong.
        reason: String,
    },
    /// The private copy of the plugin cannot be written.
    #[error("cannot copy the plugin into the run's folder {}", folder.display())]
    Copy {
        /// The run's folder.
        folder: std::path::PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The plugin is a package that was not built. A build takes as long as it takes, and is no
    /// part of a swap.
    #[error("the plugin {} is a package; call `plugin.built()?` first, and swap in what that gives", folder.display())]
    NotBuilt {
        /// The package's folder.
        folder: std::path::PathBuf,
    },
    /// There is no commander left whose place could be taken.
    #[error(
        "the commander has given all of its {commanded} messages; there is none left for another one to give"
    )]
    NothingLeft {
        /// How many there are.
        commanded: u64,
    },
    /// There was no swap yet.
    #[error("the {kind} was not swapped yet, so that there is none to roll back to")]
    NothingBefore {
        /// Which kind of plugin.
        kind: PluginKind,
    },
    /// The messages of a replay come from its dead letters.
    #[error("a replay has no commander: its messages come from the dead letters")]
    Replay,
    /// The application is the commander.
    #[error(
        "the application is the commander of this run, so there is no commander's plugin to swap; \
         submit other messages instead"
    )]
    Application,
    /// The fork server died in the middle.
    #[error("the fork server died while the plugin was being swapped; try again where the run goes on")]
    ForkServerDied,
    /// The host was stopped, or the run failed.
    #[error("the run ended before the plugin was swapped")]
    Ended,
}

/// A plugin that was not ready in time.
pub(super) fn late(waiting_for: &str, limit: Duration) -> SwapError {
    SwapError::Timeout { waiting_for: waiting_for.to_owned(), limit }
}

/// Each array that differs: `the array "image" is u8 (3, 4), expected u8 (3, 5)`.
pub(crate) fn differences(declared: &Schema, expected: &Schema) -> Vec<String> {
    let find =
        |schema: &Schema, name: &str| schema.index_of(name).map(|index| schema.arrays()[index].clone());
    let mut found = Vec::new();
    for array in expected.arrays() {
        match find(declared, array.name()) {
            None => found.push(format!("the array {:?} is missing, expected {}", array.name(), form(array))),
            Some(other) if other != *array => {
                found.push(format!(
                    "the array {:?} is {}, expected {}",
                    array.name(),
                    form(&other),
                    form(array)
                ));
            }
            Some(_) => {}
        }
    }
    let unknown = declared.arrays().iter().filter(|array| find(expected, array.name()).is_none());
    found.extend(unknown.map(|array| format!("the array {:?}, {}, is new", array.name(), form(array))));
    if found.is_empty() && declared != expected {
        found.push(format!("the arrays come as {}, expected {}", declared.names(), expected.names()));
    }
    found
}

fn form(array: &ArraySpec) -> String {
    format!("{} {}", array.dtype(), array.shape_text())
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;
    use cobuf_plugin_api::DType;

    #[test]
    fn each_array_that_differs_is_named() {
        let schema = |arrays: &[(&str, DType, &[usize])]| {
            let spec = |&(name, dtype, shape): &(&str, DType, &[usize])| ArraySpec::new(name, dtype, shape);
            Schema::new(arrays.iter().map(spec).collect::<Vec<_>>()).unwrap()
        };
        let running = schema(&[("a", DType::U8, &[2, 3]), ("b", DType::F32, &[2]), ("c", DType::U8, &[2])]);
        assert!(differences(&running, &running).is_empty());
        let other = schema(&[("a", DType::U8, &[2, 4]), ("b", DType::F64, &[2]), ("d", DType::I8, &[2])]);
        assert_eq!(
            differences(&other, &running),
            [
                "the array \"a\" is u8 (2, 4), expected u8 (2, 3)",
                "the array \"b\" is f64 (2,), expected f32 (2,)",
                "the array \"c\" is missing, expected u8 (2,)",
                "the array \"d\", i8 (2,), is new",
            ]
        );
        let turned = schema(&[("b", DType::F32, &[2]), ("a", DType::U8, &[2, 3]), ("c", DType::U8, &[2])]);
        assert_eq!(differences(&turned, &running).len(), 1);
    }

    #[test]
    fn an_axis_of_any_length_in_one_of_them_is_a_difference() {
        let spec = || ArraySpec::new("boxes", DType::F32, [200, 4]);
        let schema = |array: ArraySpec| Schema::new([array]).unwrap();
        assert_eq!(
            differences(&schema(spec().at_most([0])), &schema(spec())),
            ["the array \"boxes\" is f32 (≤200, 4), expected f32 (200, 4)"]
        );
    }
}
