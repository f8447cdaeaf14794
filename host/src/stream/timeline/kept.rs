//! The memory of a timeline, which is bounded.

use std::collections::VecDeque;
use std::thread::{self, ThreadId};

use cobuf_plugin_api::PluginKind;

use super::record::Record;
use crate::limits::MAX_TRACED_THREADS;

/// What a timeline has kept so far.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) batches: VecDeque<Record>,
    pub(super) left_out: u64,
    pub(super) waits: VecDeque<Wait>,
    pub(super) events: VecDeque<Event>,
    /// The consumers' threads in the order in which they came.
    pub(super) threads: Vec<Consumer>,
}

/// A thread that takes batches.
#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) id: ThreadId,
    /// Empty if it has none.
    pub(super) name: String,
    /// The slot that it took last.
    pub(super) slot: Option<usize>,
}

/// A consumer's wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wait {
    pub(super) thread: usize,
    pub(super) from: u64,
    pub(super) to: u64,
    /// Whether it ended without a batch.
    pub(super) goes_on: bool,
}

/// Something that happened at one moment.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) at: u64,
    pub(super) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    /// A worker died. With the message that it held, and since when, if it held one.
    WorkerDied {
        worker: u32,
        edition: u32,
        death: String,
        held: Option<(u64, u64)>,
    },
    CommanderDied {
        death: String,
    },
    ForkServerDied,
    /// A plugin was swapped; this is the first message of the new one.
    Swapped {
        kind: PluginKind,
        plugin: String,
        first: u64,
    },
    /// The application made a checkpoint.
    Checkpoint,
}

impl Kept {
    /// The number of this thread among the consumers. Those that come after the last one that is
    /// told apart share a number.
    pub(super) fn thread(&mut self) -> usize {
        let this = thread::current();
        let known = self.threads.iter().position(|consumer| consumer.id == this.id());
        known.unwrap_or_else(|| {
            let number = self.threads.len();
            if number < MAX_TRACED_THREADS {
                let name = this.name().unwrap_or_default().to_owned();
                self.threads.push(Consumer { id: this.id(), name, slot: None });
            }
            number
        })
    }
}

/// Adds an item; whether the oldest one went for it.
pub(super) fn push<T>(items: &mut VecDeque<T>, item: T, most: usize) -> bool {
    let full = items.len() >= most && items.pop_front().is_some();
    items.push_back(item);
    full
}
