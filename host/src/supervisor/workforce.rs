//! The workers of a run: started, ready, retired, killed, buried, started again.
//!
//! ```text
//!   want ──► due ── start_due ──► starting ── ready ──► ready
//!    ▲                               │                   │
//!    └───────────── bury ◄───────────┴───────────────────┘   ──► Incident, for others to act on
//! ```
//!
//! A death is handled in this order: the fork server reaps the process; then its slot is taken
//! back; then all processes are woken; then the next incarnation is started. So a slot held by
//! "worker k" never belongs to two processes.

use std::time::{Duration, Instant};

use super::reclaim;
use super::run::{Run, count};
use super::worker::{Crew, Duty, Life, Verdict, Worker};
use crate::protocol::message::{Request, SetupFailure};
use crate::protocol::role::Role;
use crate::record::death::{Death, Exit};
use crate::segment::notices::NoticeKind;
use crate::segment::place::{CREWS, Place};
use crate::segment::sync::Ordering;
use crate::segment::worker_place::Retire;

/// A consequence of a death beyond the workforce.
#[derive(Debug)]
#[must_use]
pub(super) enum Incident {
    /// A worker of the crew that comes has ended before its cut.
    NewcomerDied(SetupFailure),
    /// No worker of a crew that has work can be kept alive.
    WorkersLost { reason: String },
}

/// All workers that there ever were, in their crews.
#[derive(Debug)]
pub(super) struct Workforce {
    /// By place.
    pub(super) workers: Vec<Worker>,
    pub(super) crews: [Crew; CREWS],
    /// The crew that takes the newest messages.
    pub(super) current: usize,
}

impl Workforce {
    /// Nobody yet.
    pub(super) fn new() -> Self {
        let crews = [Crew { wanted: 0, duty: Duty::Current }; CREWS];
        Self { workers: Vec::new(), crews, current: 0 }
    }

    // The crews.

    /// The number of workers that is wanted.
    pub(super) fn target(&self) -> usize {
        self.crews[self.current].wanted
    }

    /// The places of a crew's workers, all that there ever were.
    pub(super) fn places(&self, crew: usize) -> impl Iterator<Item = Place> + use<> {
        (0..self.workers.len() / CREWS).map(move |worker| Place::new(crew, worker))
    }

    pub(super) fn worker(&self, place: Place) -> &Worker {
        &self.workers[place.index()]
    }

    pub(super) fn worker_mut(&mut self, place: Place) -> &mut Worker {
        &mut self.workers[place.index()]
    }

    fn is_wanted(&self, place: Place) -> bool {
        (place.worker() as usize) < self.crews[place.crew()].wanted
    }

    /// Whether all workers of a crew that are wanted are ready.
    pub(super) fn is_ready(&self, crew: usize) -> bool {
        self.places(crew).take(self.crews[crew].wanted).all(|place| self.worker(place).life == Life::Ready)
    }

    /// Whether a crew has no process, and none is to be started.
    pub(super) fn is_gone(&self, crew: usize) -> bool {
        self.places(crew)
            .map(|place| self.worker(place))
            .all(|worker| !worker.is_process() && worker.start_at().is_none())
    }

    /// When the next worker is to be started.
    pub(super) fn next_start(&self) -> Option<Instant> {
        self.workers.iter().filter_map(Worker::start_at).min()
    }

    // Starts and ends that are wanted.

    /// Wants so many workers in a crew; those that are too many retire.
    pub(super) fn want(&mut self, run: &Run, crew: usize, number: usize, now: Instant) {
        self.crews[crew].wanted = number;
        if self.workers.len() < number * CREWS {
            self.workers.resize_with(number * CREWS, Worker::default);
        }
        let retire = if self.crews[crew].duty == Duty::Goes { Retire::Drained } else { Retire::Next };
        for place in self.places(crew) {
            let wanted = self.is_wanted(place);
            if self.worker_mut(place).want(wanted, now) {
                run.stream.segment.worker_place(place).set_retire(retire);
            }
        }
        // Those that retire may be asleep.
        run.stream.table().wake_everyone();
    }

    /// Tells how many workers are wanted, and how many places there are to look at.
    pub(super) fn count(&self, run: &Run) {
        let (settled, counters) = (&run.stream.settled, run.stream.counters());
        settled.workers.store(self.target() as u32, Ordering::Relaxed);
        let most = (self.workers.len() / CREWS) as u32;
        let most = settled.most_workers.fetch_max(most, Ordering::Relaxed).max(most);
        counters.workers.store(self.target() as u32, Ordering::Relaxed);
        counters.most_workers.store(most, Ordering::Relaxed);
    }

    /// Starts the workers that are due, as many as the fork server can answer for.
    pub(super) fn start_due(&mut self, run: &mut Run, now: Instant) {
        for place in (0..self.workers.len()).map(Place::at) {
            let due = self.worker(place).start_at().is_some_and(|at| at <= now);
            if due && !run.link.is_busy() {
                self.start(run, place, now);
            }
        }
    }

    fn start(&mut self, run: &mut Run, place: Place, now: Instant) {
        let drains = self.crews[place.crew()].duty == Duty::Goes;
        let (worker, shared) = (self.worker_mut(place), run.stream.segment.worker_place(place));
        worker.start(drains, shared.produced.load(Ordering::Relaxed), now);
        shared.set_retire(if drains { Retire::Drained } else { Retire::No });
        shared.looked_nanos.store(u64::MAX, Ordering::Relaxed);
        run.link.ask(Request::Start(worker.role(place), None), now);
    }

    // Reports of the processes.

    /// The plugin is constructed.
    pub(super) fn ready(&mut self, run: &Run, place: Place, nanos: u64) {
        // A worker that is stopped before its first look is to be missed, too.
        run.stream.segment.worker_place(place).watch_from(nanos);
        run.stream.segment.worker_place(place).note_return();
        self.worker_mut(place).ready();
    }

    /// The process could not be forked.
    pub(super) fn not_forked(
        &mut self,
        run: &Run,
        place: Place,
        reason: String,
        now: Instant,
    ) -> Option<Incident> {
        self.worker_mut(place).note_setup_failure(SetupFailure::Init(reason));
        self.after_death(run, place, Death::Exit(Exit::Code(0)), now)
    }

    /// The process has got a signal by which code crashes, and waits to be killed. Of an earlier
    /// incarnation nothing is left to look at.
    pub(super) fn crashed(&mut self, run: &mut Run, role: Role, place: Place, signal: i32, now: Instant) {
        let worker = self.worker_mut(place);
        if role == worker.role(place) {
            let about = run.stream.table().held_by(place);
            worker.verdict.get_or_insert(Verdict { death: Death::Exit(Exit::Signal(signal)), about });
            run.link.ask(Request::Kill(role), now);
        }
    }

    /// Kills a worker that is late with this message, or with its construction.
    pub(super) fn kill_late(
        &mut self,
        run: &mut Run,
        place: Place,
        limit: Duration,
        about: Option<u64>,
        now: Instant,
    ) {
        let worker = self.worker_mut(place);
        // A slot's word that was written over may name a worker that has no process.
        if worker.verdict.is_some() || !worker.is_process() {
            return;
        }
        worker.verdict = Some(Verdict { death: Death::Timeout { limit }, about });
        let (role, number) = (worker.role(place), place.worker());
        tracing::warn!(
            plugin = run.name(role),
            worker = number,
            sequence = about,
            ?limit,
            "a worker does not come back and is killed"
        );
        count(&run.stream.counters().timeouts);
        run.link.ask(Request::Kill(role), now);
    }

    // Deaths.

    /// Buries a worker that was reaped: takes its slot back, and has it started again if it is
    /// wanted.
    pub(super) fn bury(&mut self, run: &mut Run, place: Place, how: Death, now: Instant) -> Option<Incident> {
        let worker = &mut self.workers[place.index()];
        let verdict = worker.verdict.take();
        let death = verdict.map_or(how, |verdict| verdict.death);
        let (plugin, number) = (run.name(worker.role(place)), place.worker());
        if matches!(worker.life, Life::Retiring { .. }) && how == Death::Exit(Exit::Code(0)) {
            tracing::info!(plugin, worker = number, "a worker has retired");
        } else {
            tracing::warn!(plugin, worker = number, how = %death, at = worker.place_in_script(), "a worker died");
            run.stream.note_death(place, run.plan.edition(place.crew()), death);
            run.stream.notice(NoticeKind::Death, &format!("worker {number}: {death}"));
        }
        run.stream.segment.worker_place(place).note_death(run.stream.table().held_by(place).is_some());
        reclaim::after_death(run, place, worker, death, verdict);
        run.stream.table().restore();
        self.after_death(run, place, death, now)
    }

    /// A worker that was of use is started again at once, one that was of none later each time, and
    /// one that cannot be started, at last no more.
    fn after_death(&mut self, run: &Run, place: Place, death: Death, now: Instant) -> Option<Incident> {
        let (crew, wanted) = (place.crew(), self.is_wanted(place));
        let duty = self.crews[crew].duty;
        let worker = self.worker_mut(place);
        let failure = worker.take_failure(death);
        if let Life::Retiring { again: true, .. } = worker.life {
            worker.life = Life::Due(now);
            return None;
        }
        worker.died(run.stream.segment.worker_place(place).produced.load(Ordering::Relaxed));
        if wanted && duty == Duty::Comes {
            worker.life = Life::Off;
            return Some(Incident::NewcomerDied(failure));
        }
        let reason = failure.into_text();
        if !wanted {
            worker.life = Life::Off;
            run.stream.segment.worker_place(place).note_return();
            return self.drain(run, crew, &reason, now);
        }
        if worker.can_start() {
            restarted(run, place);
            worker.restart(now);
            return None;
        }
        worker.life = Life::GivenUp;
        tracing::error!(plugin = run.name(worker.role(place)), worker = place.worker(), %reason, "a worker is given up");
        let mut wanted = self.places(crew).take(self.crews[crew].wanted);
        let lost = wanted.all(|place| self.worker(place).life == Life::GivenUp);
        lost.then_some(Incident::WorkersLost { reason })
    }

    /// If a crew that goes has left a message behind, and has no worker to do it, one is started
    /// again.
    pub(super) fn drain(&mut self, run: &Run, crew: usize, reason: &str, now: Instant) -> Option<Incident> {
        if self.crews[crew].duty != Duty::Goes || !self.is_gone(crew) || !run.stream.table().has_work(crew) {
            return None;
        }
        let Some(place) = self.places(crew).find(|&place| self.worker(place).can_start()) else {
            return Some(Incident::WorkersLost { reason: reason.to_owned() });
        };
        restarted(run, place);
        self.worker_mut(place).restart(now);
        None
    }

    /// The fork server died, and all workers with it. No message caused this.
    pub(super) fn bury_all(&mut self, run: &Run, now: Instant) -> Option<Incident> {
        for place in (0..self.workers.len()).map(Place::at) {
            if self.worker(place).is_process() {
                let killed = Death::Exit(Exit::Signal(libc::SIGKILL));
                run.stream.note_death(place, run.plan.edition(place.crew()), killed);
            }
            let held = run.stream.table().held_by(place).is_some();
            reclaim::of_innocent(run, place);
            let wanted = self.is_wanted(place);
            let worker = self.worker_mut(place);
            worker.verdict = None;
            if worker.is_process() {
                run.stream.segment.worker_place(place).note_death(held);
                worker.life = if wanted { Life::Due(now) } else { Life::Off };
            }
        }
        let incidents: Vec<Incident> =
            (0..CREWS).filter_map(|crew| self.drain(run, crew, "the fork server died", now)).collect();
        incidents.into_iter().next()
    }
}

/// Counts a worker that is started again.
fn restarted(run: &Run, place: Place) {
    count(&run.stream.counters().worker_restarts);
    run.stream.segment.worker_place(place).restarts.fetch_add(1, Ordering::Relaxed);
}
