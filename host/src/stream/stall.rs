//! Which process holds each slot, and since when: to find out why no batch comes.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::delivery::{Stream, WaitingFor};
use super::verdict::Verdict;
use crate::segment::clock;
use crate::segment::memory::Segment;
use crate::segment::place::Place;
use crate::segment::slot::SlotLook;
use crate::segment::sync::Ordering;
use crate::segment::word::{Owner, SlotState};

/// The holder of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Holder {
    /// No process: the slot is empty.
    Free,
    /// The commander, which makes a message; or a thread of the application that submits one.
    Commander,
    /// No process: the message waits for a worker.
    Queued,
    /// The worker of this place, which produces the batch. In a swap of the producer an old and a new
    /// worker may have the same place.
    Worker(u32),
    /// No process: the batch waits for the application.
    Ready,
    /// The application, which has taken the batch and not yet dropped it.
    Application,
}

/// One slot at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SlotReport {
    /// The holder of the slot.
    pub holder: Holder,
    /// The number of the slot's message, if there is one.
    pub sequence: Option<u64>,
    /// The number of attempts at the message that ended with a worker's death.
    pub attempts: u32,
    /// How long the holder has had the slot, accurate to a few milliseconds.
    pub lasts: Duration,
}

/// Why no batch comes, at one moment. Its text is a few lines for people.
///
/// Made by [`Host::stall_report`](crate::Host::stall_report) and
/// [`Batches::stall_report`](crate::Batches::stall_report).
///
/// ```
/// # fn explain(host: &cobuf_host::Host) {
/// let report = host.stall_report();
/// if let Some(slot) = report.oldest() {
///     println!("{slot}"); // batch 17, with worker 1 for 3.2 s
/// }
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct StallReport {
    /// The cause of a consumer's wait.
    pub waiting_for: WaitingFor,
    /// In an ordered run, the number of the next batch.
    pub wanted: Option<u64>,
    /// All slots.
    pub slots: Vec<SlotReport>,
    /// Whether the application is the commander.
    pub application_commands: bool,
    /// The part that limits the run so far.
    pub verdict: Verdict,
}

impl StallReport {
    pub(crate) fn of(stream: &Stream) -> Self {
        let slots = stream.table().look().map(|slot| SlotReport::of(&stream.segment, slot)).collect();
        Self {
            waiting_for: stream.waiting_for(),
            wanted: stream.wanted(),
            slots,
            application_commands: stream.is_submitted(),
            verdict: stream.pace(&stream.figures()).verdict(),
        }
    }

    /// The slot with the oldest message that the application has not taken: an ordered stream waits
    /// for it.
    pub fn oldest(&self) -> Option<&SlotReport> {
        let waiting = self.slots.iter().filter(|slot| slot.holder != Holder::Application);
        waiting.filter(|slot| slot.sequence.is_some()).min_by_key(|slot| slot.sequence)
    }
}

impl SlotReport {
    pub(crate) fn of(segment: &Segment, slot: SlotLook) -> Self {
        let holder = match (slot.state, slot.owner) {
            (SlotState::Free, _) => Holder::Free,
            (SlotState::Writing, Owner::Commander) => Holder::Commander,
            (SlotState::Writing, Owner::Nobody) => Holder::Queued,
            (SlotState::Writing, Owner::Worker(place)) => Holder::Worker(place.worker()),
            (SlotState::Ready, _) => Holder::Ready,
            (SlotState::Reading, _) => Holder::Application,
        };
        let since = match slot.owner {
            Owner::Worker(place) if slot.state == SlotState::Writing => {
                holding_since(segment, place).unwrap_or(slot.since_nanos)
            }
            _ => slot.since_nanos,
        };
        // The number that stays in a free slot, or in one that the commander writes, is an old one.
        let sequence = slot.sequence.filter(|_| !matches!(holder, Holder::Free | Holder::Commander));
        Self { holder, sequence, attempts: slot.attempts, lasts: clock::since(since) }
    }
}

/// The earliest time at which the worker may have taken its slot; `None` if unknown.
fn holding_since(segment: &Segment, place: Place) -> Option<u64> {
    let place = segment.worker_places().get(place.index())?;
    Some(place.looked_nanos.load(Ordering::Relaxed)).filter(|&nanos| nanos != u64::MAX)
}

/// A few lines for people.
impl fmt::Display for StallReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |wanted: fn(Holder) -> bool| self.slots.iter().filter(|slot| wanted(slot.holder)).count();
        match self.wanted {
            Some(sequence) => write!(f, "waiting for batch {sequence}: ")?,
            None => f.write_str("waiting for any batch: ")?,
        }
        match self.waiting_for {
            WaitingFor::HeldBatches { held } => {
                write!(f, "all {held} slots are held by batches of the application; drop one")?;
            }
            WaitingFor::Producers => f.write_str("workers are producing, or about to")?,
            WaitingFor::Commander => f.write_str("the commander has given no message")?,
            WaitingFor::Submissions => f.write_str("the application submits no message")?,
        }
        if let Some(oldest) = self.oldest() {
            write!(f, "\n  oldest  {oldest}")?;
        }
        let commanding = if self.application_commands { "being submitted" } else { "with the commander" };
        write!(
            f,
            "\n  slots   {} free, {} {commanding}, {} queued, {} with workers, {} ready, {} with the application",
            count(|holder| holder == Holder::Free),
            count(|holder| holder == Holder::Commander),
            count(|holder| holder == Holder::Queued),
            count(|holder| matches!(holder, Holder::Worker(_))),
            count(|holder| holder == Holder::Ready),
            count(|holder| holder == Holder::Application)
        )?;
        write!(f, "\n  so far  {}", self.verdict)
    }
}

/// `batch 17, with worker 1 for 3.2 s, after 1 failed attempt`
impl fmt::Display for SlotReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.sequence {
            Some(sequence) => write!(f, "batch {sequence}, ")?,
            None => f.write_str("no batch, ")?,
        }
        match self.holder {
            Holder::Free => f.write_str("free")?,
            Holder::Commander => f.write_str("with the commander")?,
            Holder::Queued => f.write_str("queued")?,
            Holder::Worker(worker) => write!(f, "with worker {worker}")?,
            Holder::Ready => f.write_str("ready")?,
            Holder::Application => f.write_str("with the application")?,
        }
        write!(f, " for {:.1} s", self.lasts.as_secs_f64())?;
        match self.attempts {
            0 => Ok(()),
            1 => f.write_str(", after 1 failed attempt"),
            attempts => write!(f, ", after {attempts} failed attempts"),
        }
    }
}
