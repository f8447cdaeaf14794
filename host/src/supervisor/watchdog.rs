//! Deadlines: which process is late. It is killed, after its stack was looked at; its message
//! counts an attempt once it was reaped.
//!
//! A worker is late that has held one message for longer than the deadline; a commander, that has
//! given none for so long although there is a free slot; either, if its plugin is constructed for
//! longer than a start may take. A process that is stopped (SIGSTOP) may hold nothing and swallow
//! wakes, or not have said yet that a batch is ready: if a message stays queued, or a batch ready,
//! past the deadline, hints are set anew and everyone is woken, and a worker that does not even
//! look for the queued message then is late, too.
//!
//! All of that is read from the segment, over which a plugin may have written. So in a run with a sandbox it
//! also looks whether no batch comes for longer than all deadlines allow (`stream/silence`).
//!
//! The watchdog only looks, and reports ([`Found`]).

use std::time::{Duration, Instant};

use super::commander::{Commander, CommanderLife};
use super::run::{Care, Moment, Run};
use super::worker::{Duty, Life, Worker};
use super::workforce::Workforce;
use crate::segment::place::Place;
use crate::segment::slot::SlotLook;
use crate::segment::sync::Ordering;
use crate::segment::word::{Owner, SlotState};

/// The clock of the times in the segment moves this often at least.
const CLOCK_STEP: Duration = Duration::from_millis(10);

/// A process that is late, or a stall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// A worker does not come back, at this message.
    Worker { place: Place, limit: Duration, about: Option<u64> },
    /// The commander does not come back.
    Commander { limit: Duration },
    /// No batch has come for so long, whatever the segment says.
    Silence { waited: Duration },
    /// A wake or a hint may have gone to a process that was stopped, or died: hints are to be set
    /// anew, everyone to be woken.
    Stalled,
}

/// The watchdog's memory from one look to the next.
#[derive(Debug)]
pub(super) struct Watchdog {
    next_look: Option<Instant>,
    /// When everyone was last woken because a message stayed queued, by the segment's clock, and
    /// the crew that was current then: another one has its own time to look.
    woken: Option<(u64, usize)>,
    /// Since when the commander owes a message, which one, and whether it was woken for it.
    owed: Option<Owed>,
}

#[derive(Debug, Clone, Copy)]
struct Owed {
    sequence: u64,
    /// The commander's incarnation: the next one has its own time.
    incarnation: u32,
    since: Instant,
    woken: bool,
}

impl Watchdog {
    /// Watches from now on, if there is a deadline.
    pub(super) fn new(care: &Care, now: Instant) -> Self {
        let watches = care.message_timeout.is_some() || care.commander_timeout.is_some();
        Self { next_look: watches.then_some(now), woken: None, owed: None }
    }

    pub(super) fn next_look(&self) -> Option<Instant> {
        self.next_look
    }

    /// Looks at the deadlines of messages, if it is time.
    pub(super) fn look(
        &mut self,
        run: &Run,
        workforce: &Workforce,
        commander: &Commander,
        now: Moment,
    ) -> Vec<Found> {
        let mut found = Vec::new();
        if self.next_look.is_none_or(|at| at > now.at) {
            return found;
        }
        let (workers_limit, commander_limit) = (run.care.message_timeout, run.care.commander_timeout);
        let workers = workers_limit.map(|limit| self.look_at_workers(run, workforce, limit, now, &mut found));
        let commanders =
            commander_limit.map(|limit| self.look_at_commander(run, commander, limit, now.at, &mut found));
        // A commander may take its time if it has no deadline.
        let owed = commander_limit.is_some() || commander.life() == CommanderLife::Done;
        found.extend(run.stream.silent_for(owed, now.at).map(|waited| Found::Silence { waited }));
        let pause = workers.into_iter().chain(commanders).min();
        self.next_look = pause.map(|pause| now.at + pause.max(CLOCK_STEP));
        found
    }

    /// Finds the workers that are late; gives the time until the next can be.
    fn look_at_workers(
        &mut self,
        run: &Run,
        workforce: &Workforce,
        limit: Duration,
        now: Moment,
        found: &mut Vec<Found>,
    ) -> Duration {
        let mut pause = limit;
        let (mut queued, mut ready) = (Duration::ZERO, Duration::ZERO);
        let mut busy = vec![false; workforce.workers.len()];
        for slot in run.stream.table().look() {
            match (slot.state, slot.owner) {
                (SlotState::Writing, Owner::Worker(place)) if place.index() < busy.len() => {
                    busy[place.index()] = true;
                    match time_left(run, place, limit, now) {
                        Some(left) => pause = pause.min(left),
                        None => found.push(Found::Worker { place, limit, about: slot.sequence }),
                    }
                }
                (SlotState::Writing, Owner::Nobody) => queued = queued.max(now.since(slot.since_nanos)),
                (SlotState::Ready, _) => ready = ready.max(now.since(slot.since_nanos)),
                _ => {}
            }
        }
        if ready >= limit {
            // Mostly the application is slow; but it may not know of the batch.
            found.push(Found::Stalled);
        }
        self.look_at_idle(run, workforce, limit, now, (queued, &busy), found);
        pause
    }

    /// If a message stays queued for too long, has everyone woken; then finds those that were woken
    /// and did not look.
    fn look_at_idle(
        &mut self,
        run: &Run,
        workforce: &Workforce,
        limit: Duration,
        now: Moment,
        (queued, busy): (Duration, &[bool]),
        found: &mut Vec<Found>,
    ) {
        if queued < limit {
            self.woken = None;
            return;
        }
        let Some((woken, _)) = self.woken.filter(|&(_, crew)| crew == workforce.current) else {
            self.woken = Some((now.nanos, workforce.current));
            return found.push(Found::Stalled);
        };
        if now.since(woken) < limit {
            return;
        }
        self.woken = None;
        for (place, busy) in (0..).map(Place::at).zip(busy) {
            let looked = run.stream.segment.worker_place(place).looked_nanos.load(Ordering::Relaxed);
            let lives = matches!(workforce.worker(place).life, Life::Ready | Life::Retiring { .. });
            // A crew that comes does not look for messages yet.
            let looks = workforce.crews[place.crew()].duty != Duty::Comes;
            if !busy && looked < woken && lives && looks {
                found.push(Found::Worker { place, limit, about: None });
            }
        }
    }

    /// Finds out whether the commander is late; gives the time until it can be.
    fn look_at_commander(
        &mut self,
        run: &Run,
        commander: &Commander,
        limit: Duration,
        now: Instant,
        found: &mut Vec<Found>,
    ) -> Duration {
        let table = run.stream.table();
        let has_room = |slot: SlotLook| slot.state == SlotState::Free || slot.owner == Owner::Commander;
        let owes = commander.life() == CommanderLife::Ready
            && !commander.is_condemned()
            && table.end().is_none()
            && table.look().any(has_room);
        if !owes {
            self.owed = None;
            return limit;
        }
        let (sequence, incarnation) = (table.commanded(), commander.incarnation());
        let same = |owed: &Owed| (owed.sequence, owed.incarnation) == (sequence, incarnation);
        let since_now = Owed { sequence, incarnation, since: now, woken: false };
        let owed = self.owed.filter(same).unwrap_or(since_now);
        self.owed = Some(owed);
        if let Some(left) = limit.checked_sub(now - owed.since).filter(|left| !left.is_zero()) {
            return left;
        }
        if !owed.woken {
            // Its wake may have gone to a process that died.
            self.owed = Some(Owed { woken: true, ..owed });
            found.push(Found::Stalled);
            return CLOCK_STEP;
        }
        self.owed = None;
        found.push(Found::Commander { limit });
        limit
    }
}

/// How much time a worker that holds a message has left.
fn time_left(run: &Run, place: Place, limit: Duration, now: Moment) -> Option<Duration> {
    let looked = run.stream.segment.worker_place(place).looked_nanos.load(Ordering::Relaxed);
    let held = if looked == u64::MAX { Duration::ZERO } else { now.since(looked) };
    limit.checked_sub(held).filter(|left| !left.is_zero())
}

/// Finds the processes with a plugin that is constructed for too long. The limit is that of the
/// host's start.
pub(super) fn late_starts(
    run: &Run,
    workforce: &Workforce,
    commander: &Commander,
    now: Instant,
) -> Vec<Found> {
    let limit = run.care.start_timeout;
    let late =
        |since: Option<Instant>| since.is_some_and(|since| now.saturating_duration_since(since) >= limit);
    let places = (0..workforce.workers.len()).map(Place::at);
    let workers = places.filter(|&place| late(workforce.worker(place).constructing_since()));
    let mut found: Vec<Found> = workers.map(|place| Found::Worker { place, limit, about: None }).collect();
    if late(commander.starting_since()) {
        found.push(Found::Commander { limit });
    }
    found
}

/// When the next plugin that is being constructed is late.
pub(super) fn next_late_start(run: &Run, workforce: &Workforce, commander: &Commander) -> Option<Instant> {
    let workers = workforce.workers.iter().filter(|worker| worker.verdict.is_none());
    let workers = workers.filter_map(Worker::constructing_since);
    let commander = commander.starting_since().filter(|_| !commander.is_condemned());
    workers.chain(commander).min().and_then(|since| since.checked_add(run.care.start_timeout))
}
