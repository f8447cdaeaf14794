//! Notes what happens in a run, from all of its threads, and writes it in the end.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::Serialize;

use super::chrome::{self, Head};
use super::kept::{Event, Kept, Wait, What, push};
use super::picture;
use super::record::{Record, Stage};
use crate::limits::MAX_TRACED_EVENTS;
use crate::segment::clock;
use crate::segment::memory::Segment;
use crate::segment::place::{CREWS, Place};
use crate::segment::slot::{Outcome, SlotLook};
use crate::segment::stamps::Stamped;
use crate::segment::word::{Owner, SlotState};

/// A consumer that looks again within this time after a wait without a result goes on waiting.
const PAUSE_IN_A_WAIT: Duration = Duration::from_millis(1);
/// How many of the last waits are looked at for one that goes on.
const WAITS_THAT_GO_ON: usize = 16;

/// The timeline of a run.
#[derive(Debug)]
pub(crate) struct Timeline {
    /// The run's beginning.
    begin: u64,
    /// The run's name in the picture.
    title: String,
    /// The most batches that are kept.
    most: usize,
    /// By slot: when the application took the batch in it, or 0; and which of its threads did.
    taken: Box<[(AtomicU64, AtomicU64)]>,
    kept: Mutex<Kept>,
}

/// The number of batches in a written trace.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TraceSummary {
    /// The batches that the trace shows: the last ones.
    pub batches: u64,
    /// The batches before them, which it leaves out.
    pub left_out: u64,
}

impl Timeline {
    /// For a run of this name with so many slots; it keeps so many batches.
    pub(crate) fn new(title: String, slots: usize, most: usize) -> Self {
        let taken = (0..slots).map(|_| (AtomicU64::new(0), AtomicU64::new(0))).collect();
        Self { begin: clock::precise_nanos(), title, most, taken, kept: Mutex::default() }
    }

    /// This thread has taken the batch in the slot.
    pub(crate) fn note_taken(&self, slot: usize) {
        let mut kept = self.kept.lock();
        let thread = kept.thread();
        kept.threads.get_mut(thread).into_iter().for_each(|consumer| consumer.slot = Some(slot));
        let (at, by) = &self.taken[slot];
        by.store(thread as u64, Ordering::Relaxed);
        at.store(clock::precise_nanos(), Ordering::Relaxed);
    }

    /// The slot is about to be free. If nothing was taken from it, an error was, at this moment.
    pub(crate) fn note_released(
        &self,
        slot: usize,
        (sequence, attempts): (u64, u32),
        outcome: Outcome,
        stamped: Stamped,
    ) {
        let now = clock::precise_nanos();
        let (at, by) = &self.taken[slot];
        let taken = at.swap(0, Ordering::Relaxed);
        let mut kept = self.kept.lock();
        let (taken, thread) =
            if taken == 0 { (now, kept.thread()) } else { (taken, by.load(Ordering::Relaxed) as usize) };
        let Outcome { failed, worker, edition, .. } = outcome;
        let stage = Stage::Released;
        let batch = Record {
            sequence,
            worker,
            edition,
            attempts,
            failed,
            stage,
            thread,
            stamped,
            taken,
            released: now,
        };
        let gone = push(&mut kept.batches, batch, self.most);
        kept.left_out += u64::from(gone);
    }

    /// This thread has waited for so long since then, and got nothing if the wait `goes_on`.
    pub(crate) fn note_wait(&self, since: Instant, lasted: Duration, goes_on: bool) {
        let now = clock::precise_nanos();
        let since = now.saturating_sub(since.elapsed().as_nanos() as u64);
        let mut kept = self.kept.lock();
        let thread = kept.thread();
        let to = if goes_on { now } else { self.end_of_wait(&kept, thread, since).unwrap_or(now) };
        let from = to.saturating_sub(lasted.as_nanos() as u64);
        let own = kept.waits.iter_mut().rev().take(WAITS_THAT_GO_ON).find(|wait| wait.thread == thread);
        match own {
            Some(wait)
                if wait.goes_on && from.saturating_sub(wait.to) < PAUSE_IN_A_WAIT.as_nanos() as u64 =>
            {
                (wait.to, wait.goes_on) = (to, goes_on);
            }
            _ => drop(push(&mut kept.waits, Wait { thread, from, to, goes_on }, self.most)),
        }
    }

    /// When a thread took what it has waited for since then: a batch, or an error. The thread may have
    /// stood still after that.
    fn end_of_wait(&self, kept: &Kept, thread: usize, since: u64) -> Option<u64> {
        let slot = kept.threads.get(thread).and_then(|consumer| consumer.slot);
        let batch = slot.map(|slot| self.taken[slot].0.load(Ordering::Relaxed));
        let error = kept.batches.back().filter(|last| last.thread == thread && last.taken == last.released);
        batch.filter(|&taken| taken >= since).or_else(|| Some(error?.taken).filter(|&taken| taken >= since))
    }

    /// Something has happened now.
    pub(crate) fn note(&self, what: What) {
        let at = clock::precise_nanos();
        push(&mut self.kept.lock().events, Event { at, what }, MAX_TRACED_EVENTS);
    }

    /// The batches in the slots at this moment. `edition` is that of the newest producer.
    fn under_way(&self, segment: &Segment, edition: u32) -> Vec<Record> {
        let (table, now) = (segment.table(), clock::precise_nanos());
        let record = |(slot, look): (usize, SlotLook)| {
            let outcome = table.outcome_at(slot);
            let (at, by) = &self.taken[slot];
            let (stage, worker, edition) = match (look.state, look.owner) {
                (SlotState::Writing, Owner::Nobody) => (Stage::Queued, 0, 0),
                // Editions take turns with the crews.
                (SlotState::Writing, Owner::Worker(place)) if edition as usize % CREWS == place.crew() => {
                    (Stage::Producing, place.worker(), edition)
                }
                (SlotState::Writing, Owner::Worker(place)) => {
                    (Stage::Producing, place.worker(), edition.saturating_sub(1))
                }
                (SlotState::Ready, _) => (Stage::Ready, outcome.worker, outcome.edition),
                (SlotState::Reading, _) => (Stage::Held, outcome.worker, outcome.edition),
                (SlotState::Writing, Owner::Commander) | (SlotState::Free, _) => return None,
            };
            Some(Record {
                sequence: look.sequence?,
                worker,
                edition,
                attempts: look.attempts,
                failed: outcome.failed && matches!(stage, Stage::Ready | Stage::Held),
                stage,
                thread: by.load(Ordering::Relaxed) as usize,
                stamped: segment.stamps(slot)?.read(),
                taken: at.load(Ordering::Relaxed),
                released: now,
            })
        };
        table.look().enumerate().filter_map(record).collect()
    }

    /// Writes everything as Chrome's trace events, with the batches that are in the slots. It is kept
    /// no longer afterwards.
    pub(crate) fn write(
        &self,
        segment: &Segment,
        edition: u32,
        out: &mut dyn Write,
    ) -> io::Result<TraceSummary> {
        let under_way = self.under_way(segment, edition);
        // No thread that drops a batch waits for the file.
        let kept = std::mem::take(&mut *self.kept.lock());
        let (batches, left_out) = (kept.batches.len() as u64, kept.left_out);
        let head = Head { cobuf: env!("CARGO_PKG_VERSION"), batches, left_out, begin_nanos: self.begin };
        chrome::write(&head, &self.title, &picture::tracks(&kept, &under_way, self.begin), out)?;
        Ok(TraceSummary { batches, left_out })
    }
}

/// The message that the worker in a place holds, and since when.
pub(crate) fn held_by(segment: &Segment, place: Place) -> Option<(u64, u64)> {
    let (slot, look) = segment.table().look().enumerate().find(|(_, look)| look.worker() == Some(place))?;
    let since = segment.stamps(slot)?.read().claimed;
    look.sequence.filter(|_| since != 0).map(|sequence| (sequence, since))
}
