//! The task that the host gives to an examiner, and the notes that the examiner sends back. They
//! connect `conformance/room` with `process/examiner`.
//!
//! ```text
//!   host ── Task, in the plan ──► examiner, a forked process with the plugin ──► host
//!                                                          Note, one event each
//! ```
//!
//! One note follows each step of a task, so the number of notes tells at which step a process died.

use cobuf_plugin_api::{Dictionary, Report, SavedState, Schema};
use serde::{Deserialize, Serialize};

/// The task of an examiner.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Assignment {
    pub(crate) task: Task,
    /// The room of a batch's metadata, in bytes.
    pub(crate) metadata_capacity: usize,
    /// Whether the host is shown the system calls, see [`Note::Watched`].
    pub(crate) watched: bool,
}

/// The work of an examiner, after which it ends.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Task {
    /// Asks twice for the JSON Schema of the configuration and, if there is a configuration, twice
    /// for the schema.
    Declare { configured: bool },
    /// Sets the plugin up with each of these encoded configurations.
    Configure { configs: Vec<Vec<u8>> },
    /// Produces, with a producer.
    Produce(Script),
    /// Commands, with a commander.
    Command(Vec<Step>),
    /// Asks a commander for at most `most` messages, for at most `millis`, and counts them.
    Walk { most: u64, millis: u64 },
    /// Repeats one action, and measures what the process holds.
    Soak(Soak),
    /// Produces the messages in turn for `millis`, with nothing in between.
    Loop { messages: Vec<Vec<u8>>, run_seed: u64, millis: u64 },
}

/// The runs that a producer is put through.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Script {
    pub(crate) worker: u32,
    pub(crate) incarnation: u32,
    pub(crate) attempt: u32,
    /// Whether the plugin is asked to stop from the beginning.
    pub(crate) stopping: bool,
    /// The encoded messages; runs refer to them by index.
    pub(crate) messages: Vec<Vec<u8>>,
    pub(crate) runs: Vec<Run>,
    /// Whether to drop the producer at the end; otherwise its process just ends.
    pub(crate) close: bool,
}

/// One message, produced once.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Run {
    /// The index in the script's messages, which is also its sequence number.
    pub(crate) message: usize,
    pub(crate) run_seed: u64,
    /// The value of each byte of the arrays before the run.
    pub(crate) garbage: u8,
    pub(crate) guard: Guard,
    /// Whether another producer is made for this run.
    pub(crate) fresh: bool,
}

/// The array that lies directly beside a page that cannot be accessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Guard {
    /// None: each array has room on both sides.
    Nowhere,
    /// The array with this index: the page is directly before it.
    Before(usize),
    /// The array with this index: the page is behind it, as near as the array's alignment permits.
    Behind(usize),
}

/// One step of a commander's script.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Step {
    /// Makes a commander in place of the previous one.
    Open { stopping: bool },
    /// Asks for a message.
    Next(u64),
    /// Skips from one message to another.
    Skip(u64, u64),
    /// Asks for the state before a message.
    Save(u64),
    /// Restores a state that was saved before a message.
    Restore(u64, SavedState),
    /// Drops the commander.
    Close,
}

/// The action that is repeated.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Soak {
    /// A producer's encoded messages, taken in turn.
    pub(crate) messages: Vec<Vec<u8>>,
    pub(crate) run_seed: u64,
    /// Whether the action is to make and drop the plugin's object; otherwise it is one message.
    pub(crate) opening: bool,
    /// How long the first window takes. The others have as many repetitions as the first.
    pub(crate) window_millis: u64,
    /// How long the first window may take to reach enough repetitions.
    pub(crate) patience_millis: u64,
}

/// One result of an examiner.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Note {
    /// The process waits with each system call that needs a sandbox's setting until the host, which takes
    /// this descriptor from it, has seen it.
    Watched { process: i32, listener: i32 },
    /// The JSON Schema of the configuration.
    ConfigSchema(Result<String, Report>),
    /// The plugin was asked to accept a configuration. A producer that accepts it returns its
    /// schema.
    Configured(Result<Option<Schema>, Report>),
    /// A producer or a commander was made.
    Constructed(Result<(), Report>),
    /// A run of a script.
    Ran(Result<Filled, Report>),
    /// A message was asked for.
    Commanded(Result<Option<Given>, Report>),
    /// A commander's state was asked for.
    Saved(Result<Option<SavedState>, Report>),
    /// A commander was asked to skip, or to restore a state.
    Moved(Result<(), Report>),
    /// The plugin's object was dropped.
    Closed(Result<(), Report>),
    /// How many messages a commander gave, whether its stream ended, and the total that it
    /// announces.
    Walked { count: u64, ended: bool, total: Option<u64> },
    /// The result of a soak.
    Soaked(Soaked),
    /// How many messages were produced in a loop, and how long that took.
    Looped { messages: u64, nanos: u64 },
}

/// The result of producing a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Filled {
    /// The number of rows, if the schema has rows.
    pub(crate) rows: Option<usize>,
    /// The lengths along the axes that are at most n, of all arrays.
    pub(crate) lengths: Vec<usize>,
    /// A digest of the metadata.
    pub(crate) metadata: u64,
    /// For each array, a digest of each of its blocks; see [`fingerprint`](super::fingerprint).
    pub(crate) blocks: Vec<Vec<u64>>,
    /// The array and the element that are the first to differ from the same message's first run in
    /// this process.
    pub(crate) first_difference: Option<(usize, usize)>,
    /// The bytes that were written beside the arrays.
    pub(crate) overruns: Vec<Overrun>,
}

/// Bytes that were written beside an array.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Overrun {
    pub(crate) array: usize,
    /// Whether the bytes are before the array; otherwise they are behind it.
    pub(crate) before: bool,
    /// The distance of the nearest of them from the array, in bytes: 1 is directly beside it.
    pub(crate) distance: usize,
}

/// A message of a commander.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Given {
    /// The message, unless it is too large for an event.
    pub(crate) message: Option<Dictionary>,
    /// Why the message is not a dictionary.
    pub(crate) wrong: Option<String>,
    pub(crate) bytes: usize,
    pub(crate) digest: u64,
}

/// The resources of a process at the end of a window: memory in bytes, number of descriptors and
/// threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    pub(crate) memory: u64,
    pub(crate) descriptors: u64,
    pub(crate) threads: u64,
}

/// The result of repeating one action.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Soaked {
    /// How often the action was repeated in each window.
    pub(crate) repetitions: u64,
    /// The process's resources after each window; the first window is the warm-up.
    pub(crate) marks: Vec<Mark>,
    /// The median time of one repetition in the warm-up.
    pub(crate) median_nanos: u64,
}
