//! The figures of a run so far, and of the part of it that says something about its pace.
//!
//! ```text
//!   start ── ready ──── first ───────────────────────── end ──► stop
//!            processes  a batch, after a wait ◄─ pace ─► the stream's
//! ```

use std::sync::atomic::AtomicU32;

use super::delivery::Stream;
use super::figures::{Figures, Scene};
use crate::segment::clock;
use crate::segment::sync::Ordering;

impl Stream {
    /// The figures of the run so far.
    pub(crate) fn figures(&self) -> Figures {
        let workers = |number: &AtomicU32| number.load(Ordering::Relaxed) as usize;
        let figures = Figures::read(
            &self.segment,
            Scene {
                elapsed: self.started.elapsed(),
                workers: workers(&self.settled.workers),
                most_workers: workers(&self.settled.most_workers),
                cpus: self.cpus,
                ordered: self.ordered,
                application_commands: self.is_submitted(),
            },
        );
        Figures { replays: self.replays(), ..figures }
    }

    /// All processes are ready, and nothing was delivered.
    pub(crate) fn mark_ready(&self) {
        self.counters().ready_nanos.store(clock::now_nanos(), Ordering::Relaxed);
        self.marks.ready.get_or_init(|| self.figures());
    }

    /// The stream has ended, or is about to be stopped. Only the first mark counts.
    pub(crate) fn mark_end(&self) {
        self.marks.end.get_or_init(|| self.figures());
    }

    /// If a wait has ended, and the first batch was delivered.
    pub(super) fn mark_first(&self) {
        if self.replay.is_none()
            && self.marks.first.get().is_none()
            && self.counters().delivered.load(Ordering::Relaxed) > 0
        {
            self.marks.first.get_or_init(|| self.figures());
        }
    }

    /// The figures of the part of the run that says something about its pace: without its start, and up
    /// to its end. A run with fewer than two batches has no other part.
    pub(crate) fn pace(&self, now: &Figures) -> Figures {
        let end = self.marks.end.get().unwrap_or(now);
        let first = self.marks.first.get().map(|first| end.since(first)).filter(|pace| pace.delivered > 0);
        first.unwrap_or_else(|| match self.marks.ready.get() {
            Some(ready) => end.since(ready),
            None => end.clone(),
        })
    }
}
