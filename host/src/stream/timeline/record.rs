//! One batch of the timeline.

use crate::limits::MAX_WORKERS;
use crate::segment::stamps::Stamped;

/// How far a batch has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its message is queued.
    Queued,
    /// A worker produces it.
    Producing,
    /// It waits for the application.
    Ready,
    /// The application has it.
    Held,
    /// Its slot is free again.
    Released,
}

/// One batch, or the error in its place, as it was when its slot became free, or at the end of the
/// run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record {
    pub(super) sequence: u64,
    pub(super) worker: u32,
    pub(super) edition: u32,
    /// The attempts that ended with a worker's death.
    pub(super) attempts: u32,
    pub(super) failed: bool,
    pub(super) stage: Stage,
    /// The consumer's thread that took it.
    pub(super) thread: usize,
    /// From the segment: any numbers.
    pub(super) stamped: Stamped,
    pub(super) taken: u64,
    /// When its slot became free; or the end of the run.
    pub(super) released: u64,
}

/// A time from one moment to another one that is not earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: u64,
    pub(super) to: u64,
}

/// The stations of a batch, as far as it has come. Each begins no earlier than the one before it
/// ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stations {
    pub(super) commanded: Span,
    /// `None` also if no worker finished the batch: it was given up.
    pub(super) produced: Option<Span>,
    pub(super) held: Option<Span>,
}

impl Record {
    /// Its stations in a run that began at this moment. A stamp that is out of order, because a
    /// plugin wrote over it, counts as the nearest possible moment.
    pub(super) fn stations(&self, begin: u64) -> Stations {
        let Stamped { begun, queued, claimed, ready } = self.stamped;
        // The host's own stamps are true; so they limit the others, from the last to the first.
        let released = self.released.max(begin);
        let is_held = matches!(self.stage, Stage::Held | Stage::Released);
        let taken = if is_held { self.taken.clamp(begin, released) } else { released };
        let ready = match self.stage {
            Stage::Queued => 0,
            Stage::Producing => released,
            _ => ready,
        };
        let produced = (claimed != 0 && ready != 0).then(|| {
            let to = ready.clamp(begin, taken);
            Span { from: claimed.clamp(begin, to), to }
        });
        let queued = queued.clamp(begin, produced.map_or(taken, |span| span.from));
        let commanded = Span { from: begun.clamp(begin, queued), to: queued };
        let held = is_held.then_some(Span { from: taken, to: released });
        Stations { commanded, produced, held }
    }

    /// The worker's number; `None` if a plugin wrote over it.
    pub(super) fn worker(&self) -> Option<u32> {
        Some(self.worker).filter(|&worker| (worker as usize) < MAX_WORKERS)
    }
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(stamped: Stamped, taken: u64, released: u64) -> Record {
        Record {
            sequence: 0,
            worker: 0,
            edition: 0,
            attempts: 0,
            failed: false,
            stage: Stage::Released,
            thread: 0,
            stamped,
            taken,
            released,
        }
    }

    #[test]
    fn stamps_in_order_are_kept() {
        let stamped = Stamped { begun: 11, queued: 12, claimed: 13, ready: 14 };
        let stations = record(stamped, 15, 16).stations(10);
        assert_eq!(stations.commanded, Span { from: 11, to: 12 });
        assert_eq!(stations.produced, Some(Span { from: 13, to: 14 }));
        assert_eq!(stations.held, Some(Span { from: 15, to: 16 }));
    }

    #[test]
    fn batch_that_no_worker_finished_has_no_span_of_one() {
        let stamped = Stamped { begun: 11, queued: 12, claimed: 13, ready: 0 };
        assert_eq!(record(stamped, 15, 16).stations(10).produced, None);
    }

    #[test]
    fn batch_that_is_under_way_has_the_stations_that_it_has_reached() {
        let stamped = Stamped { begun: 11, queued: 12, claimed: 13, ready: 14 };
        let stations = |stage| Record { stage, ..record(stamped, 15, 20) }.stations(10);
        let of = |stage| (stations(stage).produced, stations(stage).held);
        assert_eq!(of(Stage::Queued), (None, None));
        assert_eq!(of(Stage::Producing), (Some(Span { from: 13, to: 20 }), None));
        assert_eq!(of(Stage::Ready), (Some(Span { from: 13, to: 14 }), None));
        assert_eq!(of(Stage::Held), (Some(Span { from: 13, to: 14 }), Some(Span { from: 15, to: 20 })));
    }

    proptest! {
        /// A plugin may write any numbers.
        #[test]
        fn stations_are_in_order_whatever_the_segment_says(
            stamps in prop::array::uniform4(prop_oneof![Just(0), Just(u64::MAX), 0_u64..100, any::<u64>()]),
            stage in prop::sample::select(vec![
                Stage::Queued, Stage::Producing, Stage::Ready, Stage::Held, Stage::Released,
            ]),
            begin in 1_u64..50, taken in 0_u64..50, released in 0_u64..50,
        ) {
            let [begun, queued, claimed, ready] = stamps;
            let (taken, released) = (begin + taken, begin + taken + released);
            let stamped = Stamped { begun, queued, claimed, ready };
            let Stations { commanded, produced, held } =
                Record { stage, ..record(stamped, taken, released) }.stations(begin);
            let spans = [Some(commanded), produced, held];
            let moments: Vec<u64> = spans.into_iter().flatten().flat_map(|span| [span.from, span.to]).collect();
            prop_assert!(moments.is_sorted());
            prop_assert!(moments[0] >= begin);
            prop_assert!(moments.last() <= Some(&released));
        }
    }
}
