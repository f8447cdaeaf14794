//! Counts and times of a run, in the segment so that another process can read them.
//!
//! The host writes them, and reports them; it never acts on a number that it finds here, because a
//! plugin may have written over it.

use super::exposure::Exposure;
use super::sync::{AtomicU32, AtomicU64};

/// There is one in the segment, on cache lines of its own. It begins as zeroes.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Counters {
    /// Batches that were delivered.
    pub(crate) delivered: AtomicU64,
    /// Errors that were delivered in the place of batches.
    pub(crate) errors: AtomicU64,
    /// Messages that were given up and left out.
    pub(crate) skipped: AtomicU64,
    /// The rows by which delivered batches were shorter than the schema says.
    pub(crate) missing_rows: AtomicU64,
    /// How long consumers waited for batches in the sum of all threads, without the waits that go on.
    pub(crate) consumer_wait_nanos: AtomicU64,
    /// How long at least one of them waited.
    pub(crate) exposure: Exposure,
    /// When a checkpoint was last taken, by `clock`; 0 if none was.
    pub(crate) checkpoint_nanos: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) timeouts: AtomicU64,
    pub(crate) worker_restarts: AtomicU64,
    pub(crate) commander_restarts: AtomicU64,
    pub(crate) fork_server_restarts: AtomicU64,
    pub(crate) swaps: AtomicU64,
    /// The number of workers that are kept alive, and the greatest number so far.
    pub(crate) workers: AtomicU32,
    pub(crate) most_workers: AtomicU32,
    /// Process numbers; 0 if there is no such process. Those of workers are in their places.
    pub(crate) fork_server: AtomicU32,
    pub(crate) commander: AtomicU32,
}
