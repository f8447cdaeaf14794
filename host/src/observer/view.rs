//! A run at one moment, as plain values.

use std::time::Duration;

use serde::Serialize;

use crate::limits::MAX_WORKERS;
use crate::procfs;
use crate::segment::about::About;
use crate::segment::clock;
use crate::segment::memory::Segment;
use crate::segment::notices::NoticeKind;
use crate::segment::place::{CREWS, Place};
use crate::segment::slot::SlotLook;
use crate::segment::sync::{AtomicU32, Ordering};
use crate::stream::figures::{Figures, Scene, busy_and_wait};
use crate::stream::stall::SlotReport;
use crate::stream::statistics::Statistics;
use crate::stream::volume::{Volume, produce_times};

/// A run at one moment.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct View {
    /// The host's process.
    pub pid: u32,
    /// The run's name, unique on the machine.
    pub run: String,
    /// The name of the host's program.
    pub program: String,
    /// The producer's name.
    pub producer: String,
    /// The commander's name; `None` if the application is the commander.
    pub commander: Option<String>,
    /// Whether batches are delivered in the order of their messages.
    pub ordered: bool,
    /// This rank and the number of ranks, if the run is one of several.
    pub rank: Option<(u32, u32)>,
    /// Whether it goes on.
    pub state: RunState,
    /// Counts and times since the start.
    pub statistics: Statistics,
    /// The messages that the commander has given, of all ranks and earlier runs.
    pub commanded: u64,
    /// The messages of the whole stream, if the commander knows them.
    pub total: Option<u64>,
    /// The rows of all delivered batches, if batches have rows.
    pub rows: Option<u64>,
    /// The bytes of the arrays of all delivered batches. Axes that are at most n count as n.
    pub bytes: u64,
    /// How long a consumer has been waiting for a batch, if one is.
    pub consumer_waits: Option<Duration>,
    /// The time since the last checkpoint, if there was one.
    pub checkpoint_age: Option<Duration>,
    /// All slots.
    pub slots: Vec<SlotReport>,
    /// The workers, by number. In a swap of the producer, those of both editions.
    pub workers: Vec<WorkerView>,
    /// How many messages took so long, all workers together: at index 0 those below 1 ns, at index k
    /// those from 2^(k-1) ns to below 2^k ns, at the last index all longer ones.
    pub produce_times: Vec<u64>,
    /// The last failures, deaths and swaps, oldest first.
    pub notices: Vec<Notice>,
}

/// Whether a run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// It goes on.
    Running,
    /// It was stopped.
    Stopped,
    /// The host's process has ended.
    Ended,
}

/// A worker at one moment.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct WorkerView {
    /// Its number.
    pub worker: u32,
    /// Its process; `None` between a death and the next start.
    pub pid: Option<u32>,
    /// The number of the message that it produces now.
    pub message: Option<u64>,
    /// Since when it produces this message, or waits for one.
    pub since: Option<Duration>,
    /// The messages that it has finished.
    pub produced: u64,
    /// The time that it produced, the present message's included.
    pub busy: Duration,
    /// The time that it waited for messages, a wait that goes on included.
    pub waited: Duration,
    /// How often it was started again.
    pub restarts: u32,
    /// The memory that it shares with no other process, in bytes.
    pub private_bytes: Option<u64>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Notice {
    /// Its kind.
    pub kind: NoticeKind,
    /// One line, perhaps cut.
    pub text: String,
    /// How long ago it was.
    pub ago: Duration,
}

impl View {
    /// The run of a segment, whose host is this process and lives or does not.
    pub(crate) fn of(segment: &Segment, about: &About, (pid, program): (u32, &str), lives: bool) -> Self {
        let (table, counters) = (segment.table(), segment.counters());
        let number = |number: &AtomicU32| (number.load(Ordering::Relaxed) as usize).min(MAX_WORKERS);
        let most_workers = number(&counters.most_workers);
        let figures = Figures::read(
            segment,
            Scene {
                elapsed: clock::since(about.begun_nanos),
                workers: number(&counters.workers),
                most_workers,
                cpus: about.cpus,
                ordered: about.ordered,
                application_commands: about.commander.is_none(),
            },
        );
        // The start says nothing about the pace, and nothing is delivered before its end.
        let pace = match counters.ready_nanos.load(Ordering::Relaxed) {
            0 => figures.clone(),
            ready => Figures { elapsed: clock::since(ready).min(figures.elapsed), ..figures.clone() },
        };
        let statistics = Statistics::read(segment, figures, pace);
        let Volume { rows, bytes } = Volume::of(segment, &about.sizes.schema, statistics.delivered);
        let slots: Vec<SlotLook> = table.look().collect();
        let checkpoint = counters.checkpoint_nanos.load(Ordering::Relaxed);
        let workers = workers_of(segment, &slots, most_workers);
        Self {
            pid,
            run: about.run.clone(),
            program: program.to_owned(),
            producer: about.producer.clone(),
            commander: about.commander.clone(),
            ordered: about.ordered,
            rank: about.rank,
            state: match (lives, table.stop_requested()) {
                (false, _) => RunState::Ended,
                (true, true) => RunState::Stopped,
                (true, false) => RunState::Running,
            },
            commanded: table.commanded(),
            total: table.total(),
            rows,
            bytes,
            consumer_waits: counters.exposure.now(),
            checkpoint_age: (checkpoint > 0).then(|| clock::since(checkpoint)),
            slots: slots.into_iter().map(|slot| SlotReport::of(segment, slot)).collect(),
            workers,
            produce_times: produce_times(segment, most_workers).to_vec(),
            notices: notices(segment),
            statistics,
        }
    }
}

/// Workers that have or had a process.
fn workers_of(segment: &Segment, slots: &[SlotLook], most: usize) -> Vec<WorkerView> {
    (0..most * CREWS).map(Place::at).filter_map(|place| worker(segment, slots, place)).collect()
}

fn worker(segment: &Segment, slots: &[SlotLook], place: Place) -> Option<WorkerView> {
    let shared = segment.worker_place(place);
    let produced = shared.produced.load(Ordering::Relaxed);
    let pid = Some(shared.pid.load(Ordering::Relaxed)).filter(|&pid| pid != 0);
    // Places of a crew that has gone, or has not come, are not shown.
    (pid.is_some() || (place.crew() == 0 && produced > 0)).then_some(())?;
    let held = slots.iter().find(|slot| slot.worker() == Some(place));
    let [busy, waited] = busy_and_wait(shared, held.is_some());
    Some(WorkerView {
        worker: place.worker(),
        pid,
        message: held.and_then(|slot| slot.sequence),
        since: shared.since().map(clock::since),
        produced,
        busy,
        waited,
        restarts: shared.restarts.load(Ordering::Relaxed),
        private_bytes: pid.and_then(procfs::private_bytes),
    })
}

fn notices(segment: &Segment) -> Vec<Notice> {
    let seen = segment.notices().read().into_iter();
    seen.map(|seen| Notice { kind: seen.kind, text: seen.text, ago: clock::since(seen.at_nanos) }).collect()
}
