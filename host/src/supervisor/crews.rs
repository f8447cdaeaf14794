//! Two crews side by side: the workers of one edition of the producer's code, and of the next.
//!
//! ```text
//!   bring_in   the new crew is constructed, and waits for its cut
//!   send_away  … or it is not taken: the old one goes on
//!   cut        messages from one number on are the new crew's; the old one does those before
//! ```
//!
//! If a worker of a crew that goes dies with a message, its own crew does the message again.

use std::time::Instant;

use super::run::Run;
use super::worker::Duty;
use super::workforce::{Incident, Workforce};
use crate::protocol::message::Request;
use crate::segment::place::{CREWS, Place};
use crate::segment::sync::Ordering;

impl Workforce {
    /// Wants so many workers from now on.
    pub(super) fn set_number(&mut self, run: &Run, number: usize, now: Instant) {
        tracing::info!(from = self.target(), to = number, "the number of workers changes");
        for crew in 0..CREWS {
            // A crew that comes is to be as large as the one that it relieves.
            if crew == self.current || self.crews[crew].duty == Duty::Comes {
                self.want(run, crew, number, now);
            }
        }
        self.count(run);
    }

    /// The crew that is not the current one: it comes, it goes, or it is gone.
    pub(super) fn other(&self) -> usize {
        CREWS - 1 - self.current
    }

    /// Whether the other crew has ended, with all of its messages done.
    pub(super) fn other_is_gone(&self, run: &Run) -> bool {
        let other = self.other();
        let left = self.crews[other].duty == Duty::Goes && run.stream.table().has_work(other);
        self.is_gone(other) && !left
    }

    /// The oldest message that the other crew holds.
    pub(super) fn oldest_of_other(&self, run: &Run) -> Option<u64> {
        self.places(self.other()).filter_map(|place| run.stream.table().held_by(place)).min()
    }

    /// Wants the workers of a new crew beside those of the old.
    pub(super) fn bring_in(&mut self, run: &Run, now: Instant) {
        let crew = self.other();
        self.crews[crew].duty = Duty::Comes;
        self.places(crew).for_each(|place| self.worker_mut(place).renew());
        self.want(run, crew, self.target(), now);
        self.count(run);
    }

    /// The crew that comes is not taken. Its workers that are still being constructed are killed,
    /// as this may take for ever; the start timeout would do so later.
    pub(super) fn send_away(&mut self, run: &mut Run, now: Instant) {
        let crew = self.other();
        self.crews[crew].duty = Duty::Current;
        self.want(run, crew, 0, now);
        for place in self.places(crew) {
            let worker = self.worker(place);
            if worker.constructing_since().is_some() && !run.link.is_busy() {
                run.link.ask(Request::Kill(worker.role(place)), now);
            }
        }
    }

    /// Makes the crew that comes the current one; gives its first message.
    pub(super) fn cut(&mut self, run: &Run, now: Instant) -> (u64, Option<Incident>) {
        let (old, new) = (self.current, self.other());
        let (segment, places) = (&run.stream.segment, self.places(old));
        let noted = |place: Place| segment.worker_place(place).noted.load(Ordering::SeqCst);
        let first = segment.table().cut(old, || places.map(noted).max().unwrap_or_default());
        self.current = new;
        self.crews[new].duty = Duty::Current;
        self.crews[old].duty = Duty::Goes;
        self.want(run, old, 0, now);
        (first, self.drain(run, old, "it had died before the cut", now))
    }
}
