//! The figures of an interval of a run, from which [`verdict`](super::verdict) follows.

use std::sync::OnceLock;
use std::time::Duration;

use serde::Serialize;

use crate::limits::MAX_WORKERS;
use crate::procfs;
use crate::segment::clock;
use crate::segment::memory::Segment;
use crate::segment::place::{CREWS, Place};
use crate::segment::sync::{AtomicU64, Ordering};
use crate::segment::worker_place::WorkerPlace;

/// The time for a message outside of the producer, at most. Workers count only the time inside.
const OVERHEAD: Duration = Duration::from_micros(5);
/// A mean time is judged if it is one of so many messages.
const MESSAGES_FOR_MEAN: u64 = 3;
/// Producers that want a CPU for this share of their time do not wait for much else.
const ON_CPU: f64 = 0.5;

/// The figures of an interval, or of a run up to a moment: plain numbers, from wherever they are read.
///
/// ```
/// use std::time::Duration;
/// use cobuf_host::{Figures, LimitedBy};
///
/// let mut figures = Figures::default();
/// figures.elapsed = Duration::from_secs(10);
/// figures.consumer_wait = Duration::from_secs(9);
/// figures.workers = 1;
/// figures.by_worker.push(Default::default());
/// figures.by_worker[0].busy = Duration::from_secs(10);
/// figures.by_worker[0].produced = 100;
/// figures.commander_wait = Duration::from_secs(10);
/// assert_eq!(figures.verdict().limited_by, LimitedBy::Producers);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Figures {
    /// The length of the interval.
    pub elapsed: Duration,
    /// The batches that were delivered.
    pub delivered: u64,
    /// The time in which at least one thread of the application waited for a batch: waits of several
    /// threads at the same time count once.
    pub consumer_wait: Duration,
    /// The time that the commander waited for a free slot, and the time since it gave its last message. If
    /// the application is the commander, summed over its threads.
    pub commander_wait: Duration,
    /// The number of workers that the host keeps alive.
    pub workers: usize,
    /// The workers that there were, by their numbers.
    pub by_worker: Vec<WorkerFigures>,
    /// The workers that were started again.
    pub worker_restarts: u64,
    /// The times that the commander was started again.
    pub commander_restarts: u64,
    /// The processes that were killed because they missed a deadline.
    pub timeouts: u64,
    /// The slots at the end of the interval.
    pub slots: Occupancy,
    /// The bytes of a full batch; 0 if batches may have any length.
    pub batch_bytes: u64,
    /// The number of CPUs that the run may use.
    pub cpus: usize,
    /// Whether batches are delivered in order.
    pub ordered: bool,
    /// Whether the application is the commander.
    pub application_commands: bool,
    /// Whether kept batches are delivered again and again, see
    /// [`replay_ready`](crate::HostBuilder::replay_ready).
    pub replays: bool,
}

/// The figures of one worker, over all of its restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct WorkerFigures {
    /// The messages that it has finished.
    pub produced: u64,
    /// The time in the producer, for a message that is not finished, too.
    pub busy: Duration,
    /// The time that it waited for messages, also in a wait that goes on.
    pub wait: Duration,
    /// The time that was lost by its deaths: each from the beginning of the message that it had, to the
    /// moment when it was ready again.
    pub lost: Duration,
    /// The time that its process was on a CPU, as the kernel counts it; zero if that is not known.
    pub running: Duration,
    /// The time that its process could have run, and waited for a CPU.
    pub queued: Duration,
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

/// The figures at moments between which a verdict on the whole run is made. The time before the first
/// batch, and that after the last, say nothing about its pace.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// All processes are ready.
    pub(super) ready: OnceLock<Figures>,
    /// The first batch was delivered after a wait. Never in a run whose application did not wait.
    pub(super) first: OnceLock<Figures>,
    /// The stream has ended.
    pub(super) end: OnceLock<Figures>,
}

impl Figures {
    /// The figures of the time between the two moments. Counters that are less than before, such as
    /// those of a segment that was written over, count as unchanged.
    ///
    /// ```
    /// # fn report(host: &cobuf_host::Host) {
    /// let before = host.statistics();
    /// std::thread::sleep(std::time::Duration::from_secs(1));
    /// println!("{}", host.statistics().since(&before).verdict());
    /// # }
    /// ```
    pub fn since(&self, earlier: &Self) -> Self {
        let none = WorkerFigures::default();
        let before = earlier.by_worker.iter().chain(std::iter::repeat(&none));
        Self {
            elapsed: self.elapsed.saturating_sub(earlier.elapsed),
            delivered: self.delivered.saturating_sub(earlier.delivered),
            consumer_wait: self.consumer_wait.saturating_sub(earlier.consumer_wait),
            commander_wait: self.commander_wait.saturating_sub(earlier.commander_wait),
            by_worker: self.by_worker.iter().zip(before).map(|(now, before)| now.since(before)).collect(),
            worker_restarts: self.worker_restarts.saturating_sub(earlier.worker_restarts),
            commander_restarts: self.commander_restarts.saturating_sub(earlier.commander_restarts),
            timeouts: self.timeouts.saturating_sub(earlier.timeouts),
            ..self.clone()
        }
    }

    /// Whether producers mostly want a CPU, and wait for little else; `None` if that is not known.
    pub(super) fn wants_cpu(&self) -> Option<bool> {
        let [busy, running] = [self.sum(|worker| worker.busy), self.sum(|worker| worker.running)];
        (running > 0.0).then(|| running + self.sum(|worker| worker.queued) >= ON_CPU * busy)
    }

    pub(super) fn produced(&self) -> u64 {
        self.by_worker.iter().map(|worker| worker.produced).fold(0, u64::saturating_add)
    }

    /// The sum over all workers, in seconds.
    pub(super) fn sum(&self, of: impl Fn(&WorkerFigures) -> Duration) -> f64 {
        self.by_worker.iter().map(|worker| seconds(of(worker))).sum()
    }
}

impl WorkerFigures {
    fn since(&self, earlier: &Self) -> Self {
        // Those of a new process begin at zero.
        let rest = |now: Duration, before: Duration| now.checked_sub(before).unwrap_or(now);
        Self {
            produced: self.produced.saturating_sub(earlier.produced),
            busy: self.busy.saturating_sub(earlier.busy),
            wait: self.wait.saturating_sub(earlier.wait),
            lost: self.lost.saturating_sub(earlier.lost),
            running: rest(self.running, earlier.running),
            queued: rest(self.queued, earlier.queued),
        }
    }

    /// The mean time of a message in seconds, without the time in which the worker waited for a CPU.
    pub(super) fn mean_itself(&self) -> f64 {
        let itself = self.busy.saturating_sub(self.queued).max(self.running.min(self.busy));
        seconds(itself) / self.produced.max(1) as f64
    }

    /// The mean time of a message in seconds, if there were enough.
    pub(super) fn mean(&self) -> Option<f64> {
        (self.produced >= MESSAGES_FOR_MEAN).then(|| seconds(self.busy) / self.produced as f64)
    }
}

/// The shares of the time in which the parts did not wait, 0 to 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shares {
    pub(super) consumer: f64,
    pub(super) commander: f64,
    pub(super) producers: f64,
    /// The share of the workers' time that deaths took; a part of that of the producers.
    pub(super) lost: f64,
}

impl Shares {
    pub(super) fn of(figures: &Figures) -> Self {
        let elapsed = seconds(figures.elapsed);
        if elapsed == 0.0 {
            return Self { consumer: 1.0, commander: 0.0, producers: 0.0, lost: 0.0 };
        }
        let workers = elapsed * figures.workers.max(1) as f64;
        let (wait, busy) = (figures.sum(|worker| worker.wait), figures.sum(|worker| worker.busy));
        let lost = figures.sum(|worker| worker.lost);
        // A wait that goes on may be longer than it looks, and the time of a tiny message is mostly
        // outside of the producer: so both are looked at.
        let outside = figures.produced() as f64 * seconds(OVERHEAD);
        let producers = (1.0 - wait / workers).min((busy + lost + outside) / workers);
        let share = |share: f64| share.clamp(0.0, 1.0);
        Self {
            consumer: share(1.0 - seconds(figures.consumer_wait) / elapsed),
            commander: share(1.0 - seconds(figures.commander_wait) / elapsed),
            producers: share(producers),
            lost: share(lost / workers),
        }
    }
}

pub(super) fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

/// Facts about a run that its segment does not have.
pub(crate) struct Scene {
    pub(crate) elapsed: Duration,
    pub(crate) workers: usize,
    /// The greatest number of workers so far.
    pub(crate) most_workers: usize,
    pub(crate) cpus: usize,
    pub(crate) ordered: bool,
    pub(crate) application_commands: bool,
}

impl Figures {
    /// The figures of a run so far, from its segment.
    pub(crate) fn read(segment: &Segment, scene: Scene) -> Self {
        let (counters, table) = (segment.counters(), segment.table());
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let schema = &segment.layout().sizes.schema;
        let is_fixed = schema.most_lengths().next().is_none();
        let [free, writing, ready, reading] = table.occupancy();
        Self {
            elapsed: scene.elapsed,
            delivered: load(&counters.delivered),
            consumer_wait: counters.exposure.total(),
            commander_wait: table.commander_idle(),
            workers: scene.workers,
            by_worker: by_worker(segment, scene.most_workers),
            worker_restarts: load(&counters.worker_restarts),
            commander_restarts: load(&counters.commander_restarts),
            timeouts: load(&counters.timeouts),
            slots: Occupancy { free, writing, ready, reading },
            batch_bytes: if is_fixed { schema.bytes() as u64 } else { 0 },
            cpus: scene.cpus,
            ordered: scene.ordered,
            application_commands: scene.application_commands,
            replays: false,
        }
    }
}

/// The figures of the first workers, of both crews together.
fn by_worker(segment: &Segment, workers: usize) -> Vec<WorkerFigures> {
    let places = &segment.worker_places()[..workers.min(MAX_WORKERS) * CREWS];
    let holders: Vec<Place> = segment.table().look().filter_map(|slot| slot.worker()).collect();
    let mut all = vec![WorkerFigures::default(); places.len() / CREWS];
    for (place, shared) in (0..).map(Place::at).zip(places) {
        let worker = &mut all[place.worker() as usize];
        *worker = worker.plus(&WorkerFigures::of(shared, holders.contains(&place)));
    }
    all
}

/// How long a worker has produced and waited, which holds a slot or holds none. Its counters are changed
/// at the end of its work and of its wait, so those that go on are added.
pub(crate) fn busy_and_wait(place: &WorkerPlace, holds: bool) -> [Duration; 2] {
    let nanos = |counter: &AtomicU64| Duration::from_nanos(counter.load(Ordering::Relaxed));
    let now = place.since().map_or(Duration::ZERO, clock::since);
    let [busy_now, wait_now] = if holds { [now, Duration::ZERO] } else { [Duration::ZERO, now] };
    [nanos(&place.busy_nanos).saturating_add(busy_now), nanos(&place.wait_nanos).saturating_add(wait_now)]
}

impl WorkerFigures {
    /// The figures of a worker that holds a slot, or holds none.
    fn of(place: &WorkerPlace, holds: bool) -> Self {
        let [busy, wait] = busy_and_wait(place, holds);
        let pid = place.pid.load(Ordering::Relaxed);
        let [running, queued] = procfs::schedule(pid).unwrap_or_default();
        Self {
            produced: place.produced.load(Ordering::Relaxed),
            busy,
            wait,
            lost: place.lost(),
            running,
            queued,
        }
    }

    /// A plugin may have written over the counters.
    fn plus(&self, other: &Self) -> Self {
        Self {
            produced: self.produced.saturating_add(other.produced),
            busy: self.busy.saturating_add(other.busy),
            wait: self.wait.saturating_add(other.wait),
            lost: self.lost.saturating_add(other.lost),
            running: self.running.saturating_add(other.running),
            queued: self.queued.saturating_add(other.queued),
        }
    }
}
