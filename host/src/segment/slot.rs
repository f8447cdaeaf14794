//! One slot without its payload: its word and a few numbers.
//!
//! The holder of the claim on the slot writes the numbers; the word publishes them.

use super::place::Place;
use super::sync::{AtomicU32, AtomicU64, Ordering};
use super::word::{Owner, SlotState, SlotWord, Snapshot};

/// One slot's word and numbers. On a cache line of its own.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct SlotHeader {
    pub(super) word: SlotWord,
    /// The message's number plus one; 0 in a free slot.
    pub(super) sequence: AtomicU64,
    /// When the slot entered its state, by `clock`. For reports and deadlines only.
    pub(super) since_nanos: AtomicU64,
    pub(super) message_bytes: AtomicU32,
    pub(super) outcome_bytes: AtomicU32,
    /// 0: the slot has a batch; 1: it has a failure report instead.
    pub(super) failed: AtomicU32,
    pub(super) worker: AtomicU32,
    pub(super) edition: AtomicU32,
    /// The batch's rows; `u64::MAX` if there are as many as in the schema.
    pub(super) rows: AtomicU64,
    pub(super) produce_nanos: AtomicU64,
}

impl SlotHeader {
    /// The number of the message in the slot. It is 0 if a plugin wrote over it: the slot is still
    /// held.
    pub(super) fn message_number(&self) -> u64 {
        self.sequence.load(Ordering::Relaxed).saturating_sub(1)
    }
}

/// The report of a worker, or of the supervisor in its place, about a finished message.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Whether the outcome's bytes are a failure report, and not metadata.
    pub(crate) failed: bool,
    /// How many bytes of metadata or report the slot has.
    pub(crate) bytes: usize,
    /// The rows of the batch, if they are fewer than the schema's.
    pub(crate) rows: Option<usize>,
    /// How long the producer took.
    pub(crate) nanos: u64,
    /// The worker that produced it.
    pub(crate) worker: u32,
    /// The edition of the producer's code: 0 for the first, one more with each swap.
    pub(crate) edition: u32,
}

/// A slot at the moment of a look. It may have changed since.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SlotLook {
    pub(crate) state: SlotState,
    pub(crate) owner: Owner,
    pub(crate) attempts: u32,
    /// The message's number, if the slot has one.
    pub(crate) sequence: Option<u64>,
    /// When the slot entered its state. If a worker is filling it, when its message was queued.
    pub(crate) since_nanos: u64,
}

impl SlotLook {
    /// The place of the worker that fills the slot.
    pub(crate) fn worker(&self) -> Option<Place> {
        match (self.state, self.owner) {
            (SlotState::Writing, Owner::Worker(place)) => Some(place),
            _ => None,
        }
    }
}

/// A message in a slot at the moment of a look. Another one may be there already.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written {
    pub(super) slot: usize,
    pub(super) snapshot: Snapshot,
    pub(super) sequence: u64,
    pub(super) bytes: usize,
}

#[cfg(all(test, cobuf_loom))]
impl SlotHeader {
    pub(crate) fn new() -> Self {
        Self {
            word: SlotWord::new(),
            sequence: AtomicU64::new(0),
            since_nanos: AtomicU64::new(0),
            message_bytes: AtomicU32::new(0),
            outcome_bytes: AtomicU32::new(0),
            failed: AtomicU32::new(0),
            worker: AtomicU32::new(0),
            edition: AtomicU32::new(0),
            rows: AtomicU64::new(0),
            produce_nanos: AtomicU64::new(0),
        }
    }
}

/// The offsets of numbers in a slot's header, for tests that write over them.
#[cfg(all(test, not(cobuf_loom)))]
impl SlotHeader {
    pub(crate) const SEQUENCE: usize = std::mem::offset_of!(Self, sequence);
    pub(crate) const MESSAGE_BYTES: usize = std::mem::offset_of!(Self, message_bytes);
    pub(crate) const OUTCOME_BYTES: usize = std::mem::offset_of!(Self, outcome_bytes);
    pub(crate) const WORKER: usize = std::mem::offset_of!(Self, worker);
    pub(crate) const ROWS: usize = std::mem::offset_of!(Self, rows);
}
