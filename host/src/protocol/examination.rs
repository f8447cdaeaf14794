//! What the host has an examiner do, and what that notes: the words between [`room`](crate::conformance::room) and
//! [`examiner`](crate::process::examiner).
//!
//! ```text
//!   host ── Task, in the plan ──► examiner, a forked process with the plugin ── Note, one event each ──► host
//! ```
//!
//! One note follows each step of a task. So the number of notes says at which step a process died.

use cobuf_plugin_api::{Dictionary, Report, SavedState, Schema};
use serde::{Deserialize, Serialize};

/// What an examiner does before it ends.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Task {
    /// Asks for the JSON Schema of the configuration, twice, and where there is a configuration, for the schema, twice.
    Declare { configured: bool },
    /// Sets the plugin up with each of these encoded configurations.
    Configure { configs: Vec<Vec<u8>> },
    /// Produces, with a producer.
    Produce(Script),
    /// Commands, with a commander.
    Command(Vec<Step>),
    /// Asks a commander for messages, at most so many and for so long, and says how many came.
    Walk { most: u64, millis: u64 },
    /// Does the same thing again and again, and looks at what the process has.
    Soak(Soak),
    /// Produces for so long, with nothing in between.
    Loop { messages: Vec<Vec<u8>>, run_seed: u64, millis: u64 },
}

/// What a producer is put through.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Script {
    pub(crate) worker: u32,
    pub(crate) incarnation: u32,
    pub(crate) attempt: u32,
    /// Whether the host wants to stop, from the beginning.
    pub(crate) stopping: bool,
    /// The encoded messages that the runs name.
    pub(crate) messages: Vec<Vec<u8>>,
    pub(crate) runs: Vec<Run>,
    /// Whether to drop the producer at the end; otherwise its process just ends.
    pub(crate) close: bool,
}

/// One message, produced once.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Run {
    /// Its place in the script's messages, and its sequence number.
    pub(crate) message: usize,
    pub(crate) run_seed: u64,
    /// What each byte of the arrays is before.
    pub(crate) garbage: u8,
    pub(crate) guard: Guard,
    /// Whether another producer is made for it.
    pub(crate) fresh: bool,
}

/// Which array lies against a page that nobody may touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Guard {
    /// None: there is room on both sides of each.
    Nowhere,
    /// The array with this number, which the page precedes.
    Before(usize),
    /// The array with this number, which the page follows, as near as its alignment permits.
    Behind(usize),
}

/// One step of a commander's script.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Step {
    /// Makes a commander, in the place of the one before.
    Open { stopping: bool },
    /// Asks for a message.
    Next(u64),
    /// Goes from one message on to another.
    Skip(u64, u64),
    /// Asks for the state before a message.
    Save(u64),
    /// Gives it a state that was saved before a message.
    Restore(u64, SavedState),
    /// Drops the commander.
    Close,
}

/// What is done again and again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Soak {
    /// A producer's encoded messages, taken in turn.
    pub(crate) messages: Vec<Vec<u8>>,
    pub(crate) run_seed: u64,
    /// Whether to make and drop the plugin's object again and again; otherwise messages.
    pub(crate) opening: bool,
    /// How long the first window takes; the others have as many repetitions.
    pub(crate) window_millis: u64,
    /// How long it may take where there are too few repetitions.
    pub(crate) patience_millis: u64,
}

/// What an examiner has seen.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Note {
    /// The JSON Schema of the configuration.
    ConfigSchema(Result<String, Report>),
    /// The plugin was asked to take a configuration; a producer's schema where it does.
    Configured(Result<Option<Schema>, Report>),
    /// A producer or a commander was made.
    Constructed(Result<(), Report>),
    /// A run of a script.
    Ran(Result<Filled, Report>),
    /// A message was asked for.
    Commanded(Result<Option<Given>, Report>),
    /// A commander's state was asked for.
    Saved(Result<Option<SavedState>, Report>),
    /// A commander was asked to skip or to take over a state.
    Moved(Result<(), Report>),
    /// The plugin's object was dropped.
    Closed(Result<(), Report>),
    /// How far a commander went, and how many messages it says that there are.
    Walked { count: u64, ended: bool, total: Option<u64> },
    /// What was seen while something was done again and again.
    Soaked(Soaked),
    /// How many messages were produced in a loop, and how long that took.
    Looped { messages: u64, nanos: u64 },
}

/// What a producer made of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Filled {
    /// The rows, where the schema has any.
    pub(crate) rows: Option<usize>,
    /// A digest of the metadata.
    pub(crate) metadata: u64,
    /// For each array, a digest of each of its blocks; see [`fingerprint`](super::fingerprint).
    pub(crate) blocks: Vec<Vec<u64>>,
    /// The array and the element that are the first to differ from the same message's first run in this process.
    pub(crate) first_difference: Option<(usize, usize)>,
    /// What was written beside the arrays.
    pub(crate) overruns: Vec<Overrun>,
}

/// Bytes that were written beside an array.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Overrun {
    pub(crate) array: usize,
    /// Whether they are before it; otherwise they are behind.
    pub(crate) before: bool,
    /// How far the nearest of them is from the array, in bytes: 1 is its neighbour.
    pub(crate) distance: usize,
}

/// A message of a commander.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Given {
    /// The message, unless it is too large for an event.
    pub(crate) message: Option<Dictionary>,
    /// Why it is not a dictionary.
    pub(crate) wrong: Option<String>,
    pub(crate) bytes: usize,
    pub(crate) digest: u64,
}

/// What a process has, between two windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    pub(crate) memory: u64,
    pub(crate) descriptors: u64,
    pub(crate) threads: u64,
}

/// What was seen while something was done again and again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Soaked {
    /// How often it was done in each window.
    pub(crate) repetitions: u64,
    /// What the process had after each window, the first of which is the warm-up.
    pub(crate) marks: Vec<Mark>,
    /// The time that one of them took in the warm-up: the median.
    pub(crate) median_nanos: u64,
}
