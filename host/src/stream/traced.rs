//! The notes of a traced run beside its deliveries. A run that is not traced has no timeline, and these
//! functions do nothing in it.

use std::io::{self, Write};

use super::delivery::Stream;
use super::timeline::{self, Timeline, TraceSummary, What};
use crate::record::death::Death;
use crate::segment::claim::{Claim, Reading};
use crate::segment::place::Place;
use crate::segment::stamps::Stamps;
use crate::segment::sync::Ordering;

impl Stream {
    /// The same stream, traced: so many batches are kept. Its segment has stamps. Before anything
    /// runs.
    pub(crate) fn traced(mut self, batches: usize) -> Self {
        let seat = self.history.portion().seat();
        let title = match seat.of {
            1 => "cobuf".to_owned(),
            of => format!("cobuf, rank {} of {of}", seat.rank),
        };
        let slots = self.segment.layout().sizes.slots;
        self.timeline = Some(Timeline::new(title, slots, batches));
        self.looks_alone = 0;
        self.releases_alone.store(0, Ordering::Relaxed);
        self
    }

    /// Notes what has happened now, if the run is traced. The text is made only then.
    pub(crate) fn note(&self, what: impl FnOnce() -> What) {
        if let Some(timeline) = &self.timeline {
            timeline.note(what());
        }
    }

    /// Notes a worker's death, before its slot is taken back, if the run is traced.
    pub(crate) fn note_death(&self, place: Place, edition: u32, death: Death) {
        let (worker, segment) = (place.worker(), &self.segment);
        self.note(|| What::WorkerDied {
            worker,
            edition,
            death: death.to_string(),
            held: timeline::held_by(segment, place),
        });
    }

    /// Writes the timeline up to now; nothing, if the run is not traced.
    pub(crate) fn write_timeline(&self, out: &mut dyn Write) -> io::Result<TraceSummary> {
        let edition = self.settled.edition.load(Ordering::Relaxed);
        let timeline = self.timeline.as_ref();
        timeline.map_or(Ok(TraceSummary::default()), |timeline| timeline.write(&self.segment, edition, out))
    }

    #[cold]
    pub(super) fn note_release(&self, claim: &Claim<Reading>) {
        if let Some(timeline) = &self.timeline {
            let (table, slot) = (self.table(), claim.index());
            let message = (table.sequence(claim), claim.attempts());
            let stamped = self.segment.stamps(slot).map(Stamps::read).unwrap_or_default();
            timeline.note_released(slot, message, table.outcome(claim), stamped);
        }
    }
}
