//! Counts and times of a run so far, and what limits it.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::delivery::Stream;
use crate::limits::MAX_WORKERS;
use crate::segment::clock;
use crate::segment::memory::Segment;
use crate::segment::place::{CREWS, Place};
use crate::segment::slot::SlotLook;
use crate::segment::sync::{AtomicU64, Ordering};
use crate::segment::word::{Owner, SlotState};
use crate::segment::worker_place::WorkerPlace;

/// The consumers limit a run if they waited for less than this share of the time.
const WAITING_SHARE: f64 = 0.1;
/// Otherwise the commander limits a run if the workers waited for more than this share of the time.
const IDLE_SHARE: f64 = 0.5;

/// Counts and times of a run so far.
///
/// ```
/// # fn report(host: &cobuf_host::Host) {
/// let statistics = host.statistics();
/// println!("{} batches, limited by {}", statistics.delivered, statistics.limited_by());
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Statistics {
    /// Batches that were delivered, errors not counted.
    pub delivered: u64,
    /// Errors that were delivered in the place of batches.
    pub errors: u64,
    /// Messages that were given up and left out by [`OnFailure::Skip`](crate::OnFailure::Skip).
    pub skipped: u64,
    /// Messages that were queued again because their worker died.
    pub retries: u64,
    /// Workers and commanders that were killed because they missed a deadline.
    pub timeouts: u64,
    /// Workers that were started again.
    pub worker_restarts: u64,
    /// Times that the commander was started again.
    pub commander_restarts: u64,
    /// Times that the fork server was replaced.
    pub fork_server_restarts: u64,
    /// Swaps of a plugin.
    pub swaps: u64,
    /// The number of workers that the host keeps alive.
    pub workers: usize,
    /// The slots now, by state.
    pub slots: Occupancy,
    /// The time since the start.
    pub elapsed: Duration,
    /// The time that consumers waited for batches, summed over all threads.
    pub consumer_wait: Duration,
    /// The time that workers waited for messages, summed over all workers.
    pub worker_wait: Duration,
    /// The time that workers produced, summed over all workers.
    pub worker_busy: Duration,
    /// The time that the commander waited for a free slot. If the application is the commander,
    /// summed over its threads.
    pub commander_wait: Duration,
    /// Whether the application is the commander.
    pub application_commands: bool,
}

/// The number of slots in each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Occupancy {
    /// Empty slots.
    pub free: usize,
    /// Slots with a message that is written, queued or in production.
    pub writing: usize,
    /// Slots with a batch that the application has not taken.
    pub ready: usize,
    /// Slots that the application holds.
    pub reading: usize,
}

impl Occupancy {
    /// The number of slots in all states together.
    pub fn total(&self) -> usize {
        self.free + self.writing + self.ready + self.reading
    }
}

/// The part that limits a run's throughput.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LimitedBy {
    /// The application: batches waited for it.
    Consumer,
    /// The commander: workers waited for messages.
    Commander,
    /// The application, which is the commander: workers waited for messages that it submits.
    Submissions,
    /// The producers: workers were busy while the application waited.
    Producers,
}

impl fmt::Display for LimitedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Consumer => "consumer",
            Self::Commander => "commander",
            Self::Submissions => "submissions",
            Self::Producers => "producers",
        })
    }
}

impl Statistics {
    pub(crate) fn of(stream: &Stream) -> Self {
        let settled = &stream.settled;
        let workers = [&settled.workers, &settled.most_workers].map(|count| count.load(Ordering::Relaxed));
        Self::read(&stream.segment, workers, stream.started.elapsed(), stream.is_submitted())
    }

    /// Reads them from a segment, for a run with so many workers, now and at most.
    pub(crate) fn read(
        segment: &Segment,
        [workers, most_workers]: [u32; 2],
        elapsed: Duration,
        application_commands: bool,
    ) -> Self {
        let counters = segment.counters();
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let most_workers = most_workers as usize;
        let places = &segment.worker_places()[..most_workers.min(MAX_WORKERS) * CREWS];
        let [busy_now, wait_now] = now(segment, places);
        let total = |nanos: fn(&WorkerPlace) -> &AtomicU64, now| {
            Duration::from_nanos(places.iter().map(|worker| load(nanos(worker))).fold(now, u64::wrapping_add))
        };
        let consumer_now = counters.consumer_waits_since().map_or(Duration::ZERO, clock::since);
        let [free, writing, ready, reading] = segment.table().occupancy();
        let commander_wait = load(&segment.table().control.commander_wait_nanos);
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
            workers: workers as usize,
            slots: Occupancy { free, writing, ready, reading },
            elapsed,
            consumer_wait: Duration::from_nanos(load(&counters.consumer_wait_nanos))
                .saturating_add(consumer_now),
            worker_wait: total(|worker| &worker.wait_nanos, wait_now),
            worker_busy: total(|worker| &worker.busy_nanos, busy_now),
            commander_wait: Duration::from_nanos(commander_wait),
            application_commands,
        }
    }

    /// The part that limits the run, judged by the waiting times.
    pub fn limited_by(&self) -> LimitedBy {
        let elapsed = self.elapsed.as_secs_f64();
        if self.consumer_wait.as_secs_f64() < WAITING_SHARE * elapsed {
            LimitedBy::Consumer
        } else if self.worker_wait.as_secs_f64() > IDLE_SHARE * elapsed * self.workers as f64 {
            if self.application_commands { LimitedBy::Submissions } else { LimitedBy::Commander }
        } else {
            LimitedBy::Producers
        }
    }
}

/// How long workers have produced and waited that are not at the end of it, in nanoseconds: their
/// counters are changed at the end only.
fn now(segment: &Segment, places: &[WorkerPlace]) -> [u64; 2] {
    let slots = segment.table().look();
    let holds = |slot: SlotLook| match (slot.state, slot.owner) {
        (SlotState::Writing, Owner::Worker(place)) => Some(place),
        _ => None,
    };
    let holders: Vec<Place> = slots.filter_map(holds).collect();
    let mut nanos = [0_u64; 2];
    for (index, place) in places.iter().enumerate() {
        let since = place.looked_nanos.load(Ordering::Relaxed);
        if place.pid.load(Ordering::Relaxed) != 0 && since != u64::MAX {
            let waits = usize::from(!holders.contains(&Place::at(index)));
            nanos[waits] = nanos[waits].wrapping_add(clock::since(since).as_nanos() as u64);
        }
    }
    nanos
}
