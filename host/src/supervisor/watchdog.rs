//! Deadlines, and crashes. Who does not come back is killed, after its stack was looked at; its message counts an attempt once it was reaped.
//!
//! A worker is late that has held one message for longer than the deadline; a commander, that has given none for so long although
//! there is a free slot. A process that is stopped (SIGSTOP) may hold nothing and swallow wakes, or not have said yet that a batch is
//! ready: where a message stays queued, or a batch ready, past the deadline, hints are set anew and everyone is woken, and a worker that
//! does not even look for the queued message then is killed too.

use std::time::{Duration, Instant};

use super::crews::Duty;
use super::workers::{Life, Verdict, Worker};
use super::{Care, Supervisor, commander, count};
use crate::limits::{MAX_UNANSWERED, SERVER_ANSWER_LIMIT};
use crate::protocol::message::Request;
use crate::protocol::role::Role;
use crate::record::death::Death;
use crate::record::death::Exit;
use crate::segment::clock;
use crate::segment::place::Place;
use crate::segment::sync::Ordering;
use crate::segment::word::{Owner, SlotState};

/// The clock of the times in the segment moves this often at least.
const CLOCK_STEP: Duration = Duration::from_millis(10);

/// What the watchdog remembers from one look to the next.
#[derive(Debug)]
pub(super) struct Watchdog {
    next_look: Option<Instant>,
    /// When everyone was last woken because a message stayed queued, by the segment's clock.
    woken_nanos: Option<u64>,
    /// Since when the commander owes a message, which one, and whether it was woken for it.
    owed: Option<Owed>,
    /// How many answers the fork server owes, and since when it has given none.
    unanswered: (u32, Instant),
}

#[derive(Debug, Clone, Copy)]
struct Owed {
    sequence: u64,
    since: Instant,
    woken: bool,
}

impl Watchdog {
    pub(super) fn new(care: &Care) -> Self {
        let watches = care.message_timeout.is_some() || care.commander_timeout.is_some();
        Self {
            next_look: watches.then(Instant::now),
            woken_nanos: None,
            owed: None,
            unanswered: (0, Instant::now()),
        }
    }

    pub(super) fn next_look(&self) -> Option<Instant> {
        self.next_look
    }

    /// A new commander owes nothing yet.
    pub(super) fn forget_commander(&mut self) {
        self.owed = None;
    }

    /// Others are to look for messages now.
    pub(super) fn forget_idle(&mut self) {
        self.woken_nanos = None;
    }

    /// The fork server has answered a request.
    pub(super) fn note_answer(&mut self) {
        self.unanswered = (self.unanswered.0.saturating_sub(1), Instant::now());
    }

    /// A new fork server was asked nothing yet.
    pub(super) fn forget_server(&mut self) {
        self.unanswered.0 = 0;
    }

    /// Whether it has been asked for as much as its answers have room for.
    pub(super) fn server_is_busy(&self) -> bool {
        self.unanswered.0 >= MAX_UNANSWERED
    }

    fn server_late_at(&self) -> Option<Instant> {
        let (requests, since) = self.unanswered;
        (requests > 0).then(|| since + SERVER_ANSWER_LIMIT)
    }
}

impl Supervisor {
    /// Asks the fork server for something that it answers. Where it is gone, the next receive says so.
    pub(super) fn ask(&mut self, request: &Request) {
        let (requests, since) = self.watchdog.unanswered;
        self.watchdog.unanswered = (requests + 1, if requests == 0 { Instant::now() } else { since });
        let _ = self.server.request(request);
    }

    /// Looks at all deadlines, where it is time.
    pub(super) fn watch(&mut self) {
        self.watch_starts();
        let now = Instant::now();
        if self.watchdog.next_look.is_none_or(|at| at > now) {
            return;
        }
        let workers = self.care.message_timeout.map(|limit| self.watch_workers(limit));
        let commander = self.care.commander_timeout.map(|limit| self.watch_commander(limit));
        let pause = workers.into_iter().chain(commander).min();
        self.watchdog.next_look = pause.map(|pause| now + pause.max(CLOCK_STEP));
    }

    /// Kills the workers that are late; gives the time until the next can be.
    fn watch_workers(&mut self, limit: Duration) -> Duration {
        let stream = self.stream.clone();
        let mut pause = limit;
        let (mut queued, mut ready) = (Duration::ZERO, Duration::ZERO);
        let mut busy = vec![false; self.workers.len()];
        for slot in stream.table().look() {
            match (slot.state, slot.owner) {
                (SlotState::Writing, Owner::Worker(place)) if place.index() < busy.len() => {
                    busy[place.index()] = true;
                    let looked = stream.segment.worker_place(place).looked_nanos.load(Ordering::Relaxed);
                    let held = if looked == u64::MAX { Duration::ZERO } else { clock::since(looked) };
                    match limit.checked_sub(held).filter(|left| !left.is_zero()) {
                        Some(left) => pause = pause.min(left),
                        None => self.kill_worker(place, limit, slot.sequence),
                    }
                }
                (SlotState::Writing, Owner::Nobody) => queued = queued.max(clock::since(slot.since_nanos)),
                (SlotState::Ready, _) => ready = ready.max(clock::since(slot.since_nanos)),
                _ => {}
            }
        }
        if ready >= limit {
            // Mostly the application is slow; but nobody may know of it.
            stream.table().restore();
        }
        self.watch_idle(limit, queued, busy);
        pause
    }

    /// Wakes everyone where a message stays queued for too long; kills those that were woken and did not look.
    fn watch_idle(&mut self, limit: Duration, queued: Duration, busy: Vec<bool>) {
        if queued < limit {
            self.watchdog.woken_nanos = None;
            return;
        }
        let Some(woken) = self.watchdog.woken_nanos else {
            self.watchdog.woken_nanos = Some(clock::now_nanos());
            return self.stream.table().restore();
        };
        if clock::since(woken) < limit {
            return;
        }
        self.watchdog.woken_nanos = None;
        for (place, busy) in (0..).map(Place::at).zip(busy) {
            let looked = self.stream.segment.worker_place(place).looked_nanos.load(Ordering::Relaxed);
            let lives = matches!(self.workers[place.index()].life, Life::Ready | Life::Retiring { .. });
            // A crew that comes does not look for messages yet.
            let looks = self.crews[place.crew()].duty != Duty::Comes;
            if !busy && looked < woken && lives && looks {
                self.kill_worker(place, limit, None);
            }
        }
    }

    /// Kills the commander where it is late; gives the time until it can be.
    fn watch_commander(&mut self, limit: Duration) -> Duration {
        let table = self.stream.table();
        let can_go_on =
            table.look().any(|slot| slot.state == SlotState::Free || slot.owner == Owner::Commander);
        let owes = self.commander.life == commander::Life::Ready && table.end().is_none() && can_go_on;
        let sequence = table.commanded();
        if !owes || self.commander.verdict.is_some() {
            self.watchdog.owed = None;
            return limit;
        }
        let now = Instant::now();
        let since_now = Owed { sequence, since: now, woken: false };
        let owed = self.watchdog.owed.filter(|owed| owed.sequence == sequence).unwrap_or(since_now);
        self.watchdog.owed = Some(owed);
        if let Some(left) = limit.checked_sub(now - owed.since).filter(|left| !left.is_zero()) {
            return left;
        }
        if !owed.woken {
            // Its wake may have gone to one that died.
            table.restore();
            self.watchdog.owed = Some(Owed { woken: true, ..owed });
            return CLOCK_STEP;
        }
        self.kill_commander(limit);
        limit
    }

    /// A plugin that was started again has as long to be constructed as at the start of the host. A fork server that does not answer
    /// is killed, and then replaced.
    fn watch_starts(&mut self) {
        if self.watchdog.server_late_at().is_some_and(|at| at <= Instant::now()) {
            tracing::error!(pid = self.server.pid(), "the fork server does not answer and is killed");
            self.watchdog.forget_server();
            self.server.kill();
        }
        let limit = self.care.start_timeout;
        let late = |since: Instant| since.elapsed() >= limit;
        for place in 0..self.workers.len() {
            if self.workers[place].constructing_since().is_some_and(late) {
                self.kill_worker(Place::at(place), limit, None);
            }
        }
        if matches!(self.commander.life, commander::Life::Starting(since) if late(since)) {
            self.kill_commander(limit);
        }
    }

    /// A process that crashed waits to be looked at before it is gone.
    pub(super) fn look_at_crash(&mut self, role: Role, signal: i32) {
        let death = Death::Exit(Exit::Signal(signal));
        match role {
            // Of an earlier incarnation there is nothing left to look at.
            Role::Worker { place, .. } if role != self.workers[place.index()].role(place) => return,
            Role::Worker { place, .. } => {
                let about = self.stream.table().held_by(place);
                self.workers[place.index()].verdict.get_or_insert(Verdict { death, about });
            }
            Role::Commander => drop(self.commander.verdict.get_or_insert(death)),
            Role::Rehearsal { .. } => self.rehearsal_crashed(role, death),
            Role::Probe { .. } | Role::Examiner { .. } => {}
        }
        self.ask(&Request::Kill(role));
    }

    /// When the next plugin that is being constructed is late, or the fork server's answer.
    pub(super) fn next_late_start(&self) -> Option<Instant> {
        let workers = self.workers.iter().filter(|worker| worker.verdict.is_none());
        let since = workers.filter_map(Worker::constructing_since);
        let commander = match self.commander.life {
            commander::Life::Starting(since) if self.commander.verdict.is_none() => Some(since),
            _ => None,
        };
        let start = since.chain(commander).min().and_then(|since| since.checked_add(self.care.start_timeout));
        start.into_iter().chain(self.watchdog.server_late_at()).min()
    }

    fn kill_commander(&mut self, limit: Duration) {
        if self.commander.verdict.is_some() {
            return;
        }
        let sequence = self.stream.table().commanded();
        tracing::warn!(
            plugin = self.plan.name(Role::Commander),
            sequence,
            ?limit,
            "the commander does not come back and is killed"
        );
        count(&self.stream.counters.timeouts);
        self.commander.verdict = Some(Death::Timeout { limit });
        // The next one has its own time.
        self.watchdog.forget_commander();
        self.ask(&Request::Kill(Role::Commander));
    }

    fn kill_worker(&mut self, place: Place, limit: Duration, about: Option<u64>) {
        let state = &mut self.workers[place.index()];
        // A slot's word that was written over may name one that is not there.
        if state.verdict.is_some() || !state.is_process() {
            return;
        }
        let (role, worker) = (state.role(place), place.worker());
        tracing::warn!(
            plugin = self.plan.name(role),
            worker,
            sequence = about,
            ?limit,
            "a worker does not come back and is killed"
        );
        count(&self.stream.counters.timeouts);
        state.verdict = Some(Verdict { death: Death::Timeout { limit }, about });
        self.ask(&Request::Kill(role));
    }
}
