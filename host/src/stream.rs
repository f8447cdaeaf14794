//! The consumers' side of a run: which batch is next, whether the stream is over, and why.
//!
//! Shared by the host, its supervisor, every [`Batches`](crate::Batches) and every [`Batch`]; the mapping
//! lives as long as the last of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cobuf_plugin_api::Report;
use cobuf_plugin_api::codec;
use parking_lot::Mutex;

use crate::batch::Batch;
use crate::error::{BatchError, StreamError};
use crate::segment::memory::Segment;
use crate::segment::table::{Claim, Reading, Table, Wanted};

/// What there was for a consumer.
#[derive(Debug)]
pub enum Next {
    /// The next batch, or the error in its place.
    Item(Result<Batch, StreamError>),
    /// Nothing yet.
    Pending(WaitingFor),
    /// The stream is over, or the host was stopped.
    Ended,
}

/// What a consumer that has nothing yet is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitingFor {
    /// Every slot is held by batches of the application: nothing comes until one is dropped.
    HeldBatches {
        /// How many there are.
        held: usize,
    },
    /// Workers are producing, or about to.
    Producers,
    /// No message is there to be produced.
    Commander,
}

/// The consumers' common state.
pub(crate) struct Stream {
    pub(crate) segment: Segment,
    pub(crate) deterministic: bool,
    pub(crate) started: Instant,
    position: Mutex<Position>,
    pub(crate) counters: Counters,
}

/// What consumers and supervisor count.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) delivered: AtomicU64,
    pub(crate) errors: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) worker_restarts: AtomicU64,
    pub(crate) consumer_wait_nanos: AtomicU64,
}

/// Where the consumers are. The lock is held for a look at the slots, never while waiting.
#[derive(Debug, Default)]
struct Position {
    /// The number of slots taken so far; in deterministic mode the next sequence number.
    taken: u64,
    /// Why the stream ends early.
    failure: Option<Failure>,
    /// Whether the end was already reported.
    ended: bool,
}

#[derive(Debug)]
struct Failure {
    error: StreamError,
    /// Whether the messages that were commanded can still be produced.
    after_commanded: bool,
}

impl Stream {
    pub(crate) fn new(segment: Segment, deterministic: bool) -> Self {
        let (position, counters) = (Mutex::default(), Counters::default());
        Self { segment, deterministic, started: Instant::now(), position, counters }
    }

    pub(crate) fn table(&self) -> Table<'_> {
        self.segment.table()
    }

    /// Waits for the next item until the deadline.
    pub(crate) fn next(self: &Arc<Self>, deadline: Option<Instant>) -> Next {
        let ready = &self.table().control.ready;
        let (found, asleep) = ready.wait_for(deadline, || match self.poll() {
            Next::Pending(_) => None,
            other => Some(other),
        });
        if asleep > Duration::ZERO {
            self.counters.consumer_wait_nanos.fetch_add(asleep.as_nanos() as u64, Ordering::Relaxed);
        }
        found.unwrap_or_else(|| Next::Pending(self.waiting_for()))
    }

    /// The next item, if it is there.
    pub(crate) fn poll(self: &Arc<Self>) -> Next {
        let table = self.table();
        let mut position = self.position.lock();
        if table.stop_requested() || position.ended {
            return Next::Ended;
        }
        // Read before the look at the slots: what was ready when the stream failed is then seen.
        let lost = position.failure.as_ref().is_some_and(|failure| !failure.after_commanded);
        let wanted = if self.deterministic { Wanted::Sequence(position.taken) } else { Wanted::Any };
        if let Some(claim) = table.take_ready(wanted) {
            position.taken += 1;
            drop(position);
            return Next::Item(self.open(claim));
        }
        if lost || table.end() == Some(position.taken) {
            position.ended = true;
            return match position.failure.take() {
                Some(failure) => Next::Item(Err(failure.error)),
                None => Next::Ended,
            };
        }
        drop(position);
        Next::Pending(self.waiting_for())
    }

    /// Ends the stream after what was commanded before, with an error.
    pub(crate) fn fail_after_commanded(&self, error: StreamError) {
        self.fail(Failure { error, after_commanded: true });
        self.table().end_stream();
    }

    /// Ends the stream after what is ready now, with an error.
    pub(crate) fn fail_now(&self, error: StreamError) {
        self.fail(Failure { error, after_commanded: false });
        self.table().wake_everyone();
    }

    /// Gives a batch's slot back.
    pub(crate) fn release(&self, claim: Claim<Reading>) {
        self.table().release(claim);
    }

    pub(crate) fn waiting_for(&self) -> WaitingFor {
        let [free, writing, ready, held] = self.table().occupancy();
        if free + writing + ready == 0 {
            WaitingFor::HeldBatches { held }
        } else if self.table().commanded() > self.position.lock().taken {
            WaitingFor::Producers
        } else {
            WaitingFor::Commander
        }
    }

    /// The first failure stays: later ones follow from it.
    fn fail(&self, failure: Failure) {
        self.position.lock().failure.get_or_insert(failure);
    }

    /// What is in a taken slot: a batch, or the report of a failure, whose slot is given back at once.
    fn open(self: &Arc<Self>, claim: Claim<Reading>) -> Result<Batch, StreamError> {
        let outcome = self.table().outcome(&claim);
        if !outcome.failed {
            self.counters.delivered.fetch_add(1, Ordering::Relaxed);
            return Ok(Batch::new(self.clone(), claim, outcome));
        }
        self.counters.errors.fetch_add(1, Ordering::Relaxed);
        let error = BatchError {
            sequence: self.table().sequence(&claim),
            worker: outcome.worker,
            // The commander's message was checked to be a dictionary when it was written.
            message: codec::decode("the message", self.segment.message(&claim)).unwrap_or_default(),
            report: Report::decode(self.segment.outcome(&claim)),
        };
        self.release(claim);
        Err(StreamError::Batch(Box::new(error)))
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("segment", &self.segment).finish_non_exhaustive()
    }
}
