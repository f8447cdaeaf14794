//! A plugin takes another's place while the run goes on.
//!
//! ```text
//!   both        Waiting ─► Rehearsing ─┐      a process that is thrown away; the run does not see it
//!   producer    ┌──────────────────────┘
//!               └► Constructing ─► cut        the new crew waits, the old one works until the cut
//!   commander   └► Relieving ─► Beginning     the old one hands its state over, and ends between two messages
//! ```
//!
//! Whatever fails before the last step, the old plugin goes on: a crew that comes is sent away; an old commander is started again where it
//! has ended.

use std::fs;
use std::time::{Duration, Instant};

use cobuf_plugin_api::{PluginKind, Report};

use super::crews::Duty;
use super::mailbox::{Swap, Swapped};
use super::swap_error::SwapError;
use super::swap_error::late;
use super::workers::Life;
use super::{Supervisor, commander, count};
use crate::plugin::copy::PluginPlan;
use crate::protocol::message::{Request, SetupFailure};
use crate::protocol::plan::ProducerPlan;
use crate::protocol::role::Role;
use crate::record::death::Death;
use crate::record::state::StateAt;
use crate::segment::place::CREWS;
use crate::segment::place::Place;
use crate::segment::sync::Ordering;

/// How far a swap has come.
#[derive(Debug)]
pub(super) enum Stage {
    /// A crew of an earlier swap has not ended yet.
    Waiting,
    Rehearsing {
        role: Role,
        limit: Duration,
        passed: bool,
        failure: Option<SetupFailure>,
        death: Option<Death>,
    },
    /// The workers of the new crew are started, in the place of those of an older one.
    Constructing { relic: Option<Box<ProducerPlan>> },
    /// The old commander is to end.
    Relieving,
    /// The new commander was started, to give this message first. What it saves is believed once it is ready.
    Beginning { old: Box<PluginPlan>, first: u64, saved: Vec<StateAt> },
}

/// A swap that is going on.
#[derive(Debug)]
pub(super) struct Swapping {
    pub(super) wish: Swap,
    pub(super) stage: Stage,
    /// When the stage has taken too long; `None` where it was told to end.
    deadline: Option<Instant>,
}

impl Swapping {
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }
}

impl Supervisor {
    /// Begins a swap; the host asks for one at a time.
    pub(super) fn swap(&mut self, wish: Swap) {
        if self.stream.table().stop_requested() {
            return;
        }
        self.swapping = Some(Swapping { wish, stage: Stage::Waiting, deadline: None });
        self.enter(Stage::Waiting);
    }

    pub(super) fn enter(&mut self, stage: Stage) {
        if let Some(swapping) = &mut self.swapping {
            swapping.stage = stage;
        }
        self.set_deadline(self.care.start_timeout);
    }

    pub(super) fn set_deadline(&mut self, limit: Duration) {
        if let Some(swapping) = &mut self.swapping {
            swapping.deadline = Instant::now().checked_add(limit);
        }
    }

    /// Does the next step, where it is time.
    pub(super) fn go_on_swapping(&mut self) {
        let Some(Swapping { wish, stage, deadline }) = &self.swapping else { return };
        let (kind, late) = (wish.kind, deadline.is_some_and(|deadline| deadline <= Instant::now()));
        let no_commander = kind == PluginKind::Commander && self.commander.life == commander::Life::Done;
        match stage {
            Stage::Waiting if self.plan.letters.is_some() && kind == PluginKind::Commander => {
                self.abandon_swap(SwapError::Replay);
            }
            _ if no_commander && self.stream.has_failed() => self.abandon_swap(SwapError::Ended),
            _ if no_commander => {
                let commanded = self.stream.table().commanded();
                self.abandon_swap(SwapError::NothingLeft { commanded });
            }
            Stage::Waiting if kind == PluginKind::Commander || self.other_crew_is_gone() => self.rehearse(),
            Stage::Constructing { .. } if self.newcomers_are_ready() => self.cut(),
            Stage::Relieving if self.commander.start_at().is_some() => self.begin_commander(),
            Stage::Beginning { .. } if self.commander.life == commander::Life::Ready => {
                self.commander_swapped();
            }
            _ if late => self.swap_is_late(),
            _ => {}
        }
    }

    /// Answers the caller; the swap is over.
    fn answer(&mut self, answer: Result<Swapped, SwapError>) {
        if let Some(Swapping { wish, .. }) = self.swapping.take() {
            match &answer {
                Ok(Swapped { first, .. }) => {
                    count(&self.stream.counters.swaps);
                    let version = &wish.plugin.version;
                    tracing::info!(plugin = wish.plugin.name, %version, first, "the {} was swapped", wish.kind);
                }
                Err(error) => {
                    tracing::warn!(plugin = wish.plugin.name, %error, "the {} was not swapped", wish.kind);
                }
            }
            // One that waits for nothing any more is gone with the application.
            let _ = wish.answer.send(answer);
        }
    }

    /// Gives the swap up: the old plugin goes on.
    pub(super) fn abandon_swap(&mut self, error: SwapError) {
        let Some(Swapping { wish, stage, .. }) = &mut self.swapping else { return };
        let library = wish.plugin.library.clone();
        match std::mem::replace(stage, Stage::Waiting) {
            Stage::Waiting => {}
            Stage::Rehearsing { role, .. } => self.ask(&Request::Kill(role)),
            Stage::Constructing { relic } => {
                let crew = self.other_crew();
                self.plan.plugins.producers[crew] = relic.map(|relic| *relic);
                self.crews[crew].duty = Duty::Current;
                self.want(crew, 0);
                self.dismiss(crew);
            }
            Stage::Relieving => self.relieve(false),
            Stage::Beginning { old, .. } => {
                self.plan.plugins.commander = Some(*old);
                self.start_commander_anew();
            }
        }
        self.plan.plugins.candidate = None;
        self.exchange();
        let _ = fs::remove_file(library);
        self.answer(Err(error));
    }

    /// What is started from now on is of the present plugins.
    pub(super) fn exchange(&self) {
        // Where the fork server is gone, the next receive says so.
        let _ = self.server.request(&Request::Exchange(Box::new(self.plan.plugins.clone())));
    }

    fn swap_is_late(&mut self) {
        let limit = self.care.start_timeout;
        let Some(Swapping { wish, stage, deadline }) = &mut self.swapping else { return };
        *deadline = None;
        let new = format!("the {} {}", wish.kind, wish.plugin.name);
        match stage {
            Stage::Waiting => {
                let sequence = self.oldest_of(self.other_crew());
                self.abandon_swap(SwapError::Draining { sequence, limit });
            }
            Stage::Rehearsing { role, death, limit, .. } => {
                let (role, limit) = (*role, *limit);
                death.get_or_insert(Death::Timeout { limit });
                self.ask(&Request::Kill(role));
            }
            Stage::Constructing { .. } => self.abandon_swap(late(&new, limit)),
            Stage::Relieving => self.ask(&Request::Kill(Role::Commander)),
            // It has its own deadline, see `watch_starts`.
            Stage::Beginning { .. } => {}
        }
    }

    // The producer.

    fn other_crew(&self) -> usize {
        CREWS - 1 - self.current
    }

    fn other_crew_is_gone(&self) -> bool {
        let other = self.other_crew();
        self.is_gone(other) && !(self.crews[other].duty == Duty::Goes && self.stream.table().has_work(other))
    }

    /// The oldest message that a crew holds.
    fn oldest_of(&self, crew: usize) -> Option<u64> {
        self.places(crew).filter_map(|place| self.stream.table().held_by(place)).min()
    }

    /// Starts the workers of the new crew, beside those of the old.
    pub(super) fn bring_in(&mut self) {
        let (crew, edition) = (self.other_crew(), self.plan.edition(self.current) + 1);
        let Some(Swapping { wish, .. }) = &self.swapping else { return };
        let new = ProducerPlan { plugin: wish.plugin.clone(), edition };
        let relic = self.plan.plugins.producers[crew].replace(new).map(Box::new);
        self.exchange();
        self.crews[crew].duty = Duty::Comes;
        self.places(crew).for_each(|place| self.workers[place.index()].renew());
        self.want(crew, self.target());
        self.count_workers();
        self.enter(Stage::Constructing { relic });
    }

    /// Kills those of a crew that are still being constructed, which may take for ever; the start timeout would do so later.
    fn dismiss(&mut self, crew: usize) {
        for place in self.places(crew) {
            let worker = &self.workers[place.index()];
            if worker.constructing_since().is_some() && !self.watchdog.server_is_busy() {
                let role = worker.role(place);
                self.ask(&Request::Kill(role));
            }
        }
    }

    fn newcomers_are_ready(&self) -> bool {
        let crew = self.other_crew();
        let mut places = self.places(crew).take(self.crews[crew].wanted);
        places.all(|place| self.workers[place.index()].life == Life::Ready)
    }

    /// A worker of the new crew died before its cut.
    pub(super) fn newcomer_died(&mut self, failure: Option<SetupFailure>, death: Death) {
        let error = self.newcomer_error(failure, death);
        self.abandon_swap(error);
    }

    fn cut(&mut self) {
        let (old, new) = (self.current, self.other_crew());
        let (segment, places) = (&self.stream.segment, self.places(old));
        let noted = |place: Place| segment.worker_place(place).noted.load(Ordering::SeqCst);
        let first = self.stream.table().cut(old, || places.map(noted).max().unwrap_or_default());
        self.current = new;
        self.watchdog.forget_idle();
        self.crews[new].duty = Duty::Current;
        self.crews[old].duty = Duty::Goes;
        self.want(old, 0);
        self.drain(old, "it had died before the cut");
        self.note_swap(PluginKind::Producer);
        self.stream.counters.edition.store(self.plan.edition(new).into(), Ordering::Relaxed);
        if let Some(Swapping { stage: Stage::Constructing { relic: Some(relic) }, .. }) = &self.swapping {
            // Nobody runs it any more. It has stayed until now for who would roll back, and for the names in the stacks of its dead.
            let _ = fs::remove_file(&relic.plugin.library);
        }
        let before = self.plan.producer(old).map(|plugin| plugin.library.clone()).unwrap_or_default();
        self.answer(Ok(Swapped { first, before }));
    }

    fn note_swap(&self, kind: PluginKind) {
        if let Some(Swapping { wish, .. }) = &self.swapping {
            self.stream.history.note_swap(kind, &wish.plugin);
        }
    }

    // The commander.

    /// Whether the commander shall end before its next message.
    pub(super) fn relieve(&self, ends: bool) {
        let table = self.stream.table();
        table.control.relieve_commander.store(ends.into(), Ordering::SeqCst);
        table.wake_everyone();
    }

    /// Whether the end of a commander is part of a swap.
    pub(super) fn swaps_commander(&self) -> bool {
        let stage = self.swapping.as_ref().map(|swapping| &swapping.stage);
        matches!(stage, Some(Stage::Relieving | Stage::Beginning { .. }))
    }

    /// The old commander has ended, or the new one before it was ready.
    pub(super) fn commander_left(&mut self, failure: Option<Report>, death: Death) {
        if matches!(&self.swapping, Some(Swapping { stage: Stage::Relieving, .. })) {
            return self.begin_commander();
        }
        let error = self.newcomer_error(failure.map(SetupFailure::Plugin), death);
        self.abandon_swap(error);
    }

    /// The old commander has ended.
    fn begin_commander(&mut self) {
        self.relieve(false);
        let Some(Swapping { wish, .. }) = &self.swapping else { return };
        let Some(old) = self.plan.plugins.commander.replace(wish.plugin.clone()) else { return };
        self.exchange();
        let first = self.stream.table().commanded();
        self.start_commander_anew();
        self.enter(Stage::Beginning { old: Box::new(old), first, saved: Vec::new() });
    }

    fn commander_swapped(&mut self) {
        let Some(Swapping { stage: Stage::Beginning { old, first, saved }, .. }) = &mut self.swapping else {
            return;
        };
        let (first, saved, before) = (*first, std::mem::take(saved), old.library.clone());
        if let Some(relic) = self.commander_relic.replace(before.clone()) {
            let _ = fs::remove_file(relic);
        }
        saved.into_iter().for_each(|state| self.stream.history.note_state(state));
        self.note_swap(PluginKind::Commander);
        self.answer(Ok(Swapped { first, before }));
    }

    /// A commander has saved its state.
    pub(super) fn note_state(&mut self, state: StateAt) {
        match &mut self.swapping {
            // Where it fails, the old one goes on with the state that it had itself.
            Some(Swapping { stage: Stage::Beginning { saved, .. }, .. }) => saved.push(state),
            _ => self.stream.history.note_state(state),
        }
    }
}
