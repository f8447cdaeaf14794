//! Crews: the workers of one edition of the producer's code. There are two while it is swapped.
//!
//! One comes, its workers constructed and waiting for the cut; or one goes, its workers retiring once nothing is left that they may take.
//! What a worker of a crew that goes leaves behind is done by its crew again.

use std::time::Instant;

use super::workers::{Life, Worker};
use super::{Supervisor, count};
use crate::segment::place::{CREWS, Place};
use crate::segment::sync::Ordering;
use crate::segment::worker_place::Retire;
use crate::stream::error::StreamError;

/// What a crew is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Duty {
    /// It takes all messages from its cut on; or there is nobody in it.
    Current,
    /// It waits for its cut.
    Comes,
    /// It does what was before the cut, and ends.
    Goes,
}

/// One crew of workers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Crew {
    /// How many there shall be: those with the lowest numbers.
    pub(super) wanted: usize,
    pub(super) duty: Duty,
}

impl Supervisor {
    /// Wants so many workers from now on.
    pub(super) fn set_workers(&mut self, number: usize) {
        if self.stream.table().stop_requested() {
            return;
        }
        tracing::info!(from = self.target(), to = number, "the number of workers changes");
        for crew in 0..CREWS {
            // A crew that comes shall be as large as the one that it relieves.
            if crew == self.current || self.crews[crew].duty == Duty::Comes {
                self.want(crew, number);
            }
        }
        self.count_workers();
    }

    /// The number of workers that there shall be.
    pub(super) fn target(&self) -> usize {
        self.crews[self.current].wanted
    }

    /// The places of a crew's workers, all that there ever were.
    pub(super) fn places(&self, crew: usize) -> impl Iterator<Item = Place> + use<> {
        (0..self.workers.len() / CREWS).map(move |worker| Place::new(crew, worker))
    }

    /// Whether there shall be a worker in this place.
    pub(super) fn is_wanted(&self, place: Place) -> bool {
        (place.worker() as usize) < self.crews[place.crew()].wanted
    }

    /// Wants so many workers in a crew; those that are too many retire.
    pub(super) fn want(&mut self, crew: usize, number: usize) {
        self.crews[crew].wanted = number;
        if self.workers.len() < number * CREWS {
            self.workers.resize_with(number * CREWS, Worker::default);
        }
        let goes = self.crews[crew].duty == Duty::Goes;
        let retire = if goes { Retire::Drained } else { Retire::Next };
        for place in self.places(crew) {
            let wanted = self.is_wanted(place);
            let worker = &mut self.workers[place.index()];
            worker.life = match (worker.life, wanted) {
                (Life::Off | Life::GivenUp, true) => {
                    worker.forgive();
                    Life::Due(Instant::now())
                }
                (Life::Retiring { since, .. }, again) => Life::Retiring { again, since },
                (Life::Starting(_) | Life::Ready, false) => {
                    self.stream.segment.worker_place(place).set_retire(retire);
                    Life::Retiring { again: false, since: worker.constructing_since() }
                }
                (Life::Due(_), false) => Life::Off,
                (life, _) => life,
            };
        }
        // Those that retire may be asleep.
        self.stream.table().wake_everyone();
    }

    /// Whether nobody of a crew is there or to come.
    pub(super) fn is_gone(&self, crew: usize) -> bool {
        self.places(crew).all(|place| {
            let worker = &self.workers[place.index()];
            !worker.is_process() && worker.start_at().is_none()
        })
    }

    /// Where somebody of a crew that goes has died with a message, and nobody is left to do it, one is started again.
    pub(super) fn drain(&mut self, crew: usize, reason: &str) {
        if self.crews[crew].duty != Duty::Goes || !self.is_gone(crew) || !self.stream.table().has_work(crew) {
            return;
        }
        let able = |place: &Place| self.workers[place.index()].can_start();
        let Some(place) = self.places(crew).find(able) else {
            return self.stream.fail_now(StreamError::WorkersLost { reason: reason.to_owned() });
        };
        count(&self.stream.counters.worker_restarts);
        let worker = &mut self.workers[place.index()];
        worker.life = worker.due();
    }

    pub(super) fn count_workers(&self) {
        let counters = &self.stream.counters;
        counters.workers.store(self.target() as u64, Ordering::Relaxed);
        counters.most_workers.fetch_max((self.workers.len() / CREWS) as u64, Ordering::Relaxed);
    }
}
