//! What a run did so far, and what held it up.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::delivery::Stream;
use crate::limits::MAX_WORKERS;
use crate::segment::place::CREWS;
use crate::segment::sync::{AtomicU64, Ordering};
use crate::segment::worker_place::WorkerPlace;

/// The share of the time that consumers must have waited, for the run to be limited by something else than them.
const WAITING_SHARE: f64 = 0.1;
/// The share of the time that workers must have waited, for the run to be limited by the commander.
const IDLE_SHARE: f64 = 0.5;

/// What a run did so far.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Statistics {
    /// Batches handed to the application, without errors.
    pub delivered: u64,
    /// Batches in whose place an error was handed over.
    pub errors: u64,
    /// Messages that were given up and left out, as the policy says.
    pub skipped: u64,
    /// Messages that were queued again because their worker died.
    pub retries: u64,
    /// Workers and commanders that were killed because they did not come back in time.
    pub timeouts: u64,
    /// Workers that were started again.
    pub worker_restarts: u64,
    /// How often the commander was started again.
    pub commander_restarts: u64,
    /// How often the fork server was replaced.
    pub fork_server_restarts: u64,
    /// How often a plugin was swapped.
    pub swaps: u64,
    /// The number of workers that there shall be.
    pub workers: usize,
    /// The slots now, by state.
    pub slots: Occupancy,
    /// Time since the start.
    pub elapsed: Duration,
    /// How long consumers waited for batches, all threads together.
    pub consumer_wait: Duration,
    /// How long workers waited for messages, all together.
    pub worker_wait: Duration,
    /// How long workers produced, all together.
    pub worker_busy: Duration,
    /// How long the commander waited for a free slot.
    pub commander_wait: Duration,
}

/// The number of slots in each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Occupancy {
    /// Holding nothing.
    pub free: usize,
    /// Holding a message that is being written, queued or produced.
    pub writing: usize,
    /// Holding a batch that nobody has taken.
    pub ready: usize,
    /// Held by the application.
    pub reading: usize,
}

impl Occupancy {
    /// The number of all slots.
    pub fn total(&self) -> usize {
        self.free + self.writing + self.ready + self.reading
    }
}

/// What held a run up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LimitedBy {
    /// The application: batches waited for it.
    Consumer,
    /// The commander: workers waited for messages.
    Commander,
    /// The producers: workers were busy while the application waited.
    Producers,
}

impl fmt::Display for LimitedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Consumer => "consumer",
            Self::Commander => "commander",
            Self::Producers => "producers",
        })
    }
}

impl Statistics {
    pub(crate) fn of(stream: &Stream) -> Self {
        let counters = &stream.counters;
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let most_workers = load(&counters.most_workers) as usize;
        let places = &stream.segment.worker_places()[..most_workers.min(MAX_WORKERS) * CREWS];
        let total = |nanos: fn(&WorkerPlace) -> &AtomicU64| {
            Duration::from_nanos(places.iter().map(|worker| load(nanos(worker))).fold(0, u64::wrapping_add))
        };
        let [free, writing, ready, reading] = stream.table().occupancy();
        let commander_wait = load(&stream.table().control.commander_wait_nanos);
        Self {
            delivered: load(&counters.delivered),
            errors: load(&counters.errors),
            skipped: load(&counters.skipped),
            retries: load(&counters.retries),
            timeouts: load(&counters.timeouts),
            worker_restarts: load(&counters.worker_restarts),
            commander_restarts: load(&counters.commander_restarts),
            fork_server_restarts: load(&counters.fork_server_restarts),
            swaps: load(&counters.swaps),
            workers: load(&counters.workers) as usize,
            slots: Occupancy { free, writing, ready, reading },
            elapsed: stream.started.elapsed(),
            consumer_wait: Duration::from_nanos(load(&counters.consumer_wait_nanos)),
            worker_wait: total(|worker| &worker.wait_nanos),
            worker_busy: total(|worker| &worker.busy_nanos),
            commander_wait: Duration::from_nanos(commander_wait),
        }
    }

    /// What held the run up, by the waiting times.
    pub fn limited_by(&self) -> LimitedBy {
        let elapsed = self.elapsed.as_secs_f64();
        if self.consumer_wait.as_secs_f64() < WAITING_SHARE * elapsed {
            LimitedBy::Consumer
        } else if self.worker_wait.as_secs_f64() > IDLE_SHARE * elapsed * self.workers as f64 {
            LimitedBy::Commander
        } else {
            LimitedBy::Producers
        }
    }
}
