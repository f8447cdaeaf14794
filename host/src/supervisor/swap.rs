//! The state machine of a swap: a plugin takes another's place while the run goes on.
//!
//! ```text
//!   both        Waiting ─► Rehearsing ─┐      in a process that is thrown away
//!   producer    ┌──────────────────────┘
//!               └► Constructing ─► cut        the new crew waits, the old one works until the cut
//!   commander   └► Relieving ─► Beginning     the old one saves its state and ends, the new begins
//! ```
//!
//! The machine knows neither workers nor processes: [`Swap::step`] takes an [`Event`] and gives
//! [`Action`]s. If a step fails, the old plugin goes on: a crew that comes is sent away; an old
//! commander that has ended is started again.

use std::time::{Duration, Instant};

use cobuf_plugin_api::{PluginKind, Schema};

use super::commander::{CommanderLife, CommanderLoss};
use super::mailbox::SwapWish;
use super::swap_error::{SwapError, differences, late};
use crate::protocol::message::SetupFailure;
use crate::protocol::role::Role;
use crate::record::death::{Death, Exit};
use crate::record::state::StateAt;

/// How far a swap has come.
#[derive(Debug)]
enum Stage {
    /// A crew of an earlier swap has not ended yet.
    Waiting,
    /// The new plugin does one message in a process that is thrown away.
    Rehearsing { limit: Duration, passed: bool, failure: Option<SetupFailure>, death: Option<Death> },
    /// The workers of the new crew are constructed.
    Constructing,
    /// The old commander is to end.
    Relieving,
    /// The new commander was started, to give this message first. The states that it saves count
    /// once it is ready.
    Beginning { first: u64, saved: Vec<StateAt> },
}

/// How long the stages may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// A construction.
    pub(super) start: Duration,
    /// The rehearsed message.
    pub(super) message: Option<Duration>,
}

/// An event that concerns the swap.
#[derive(Debug)]
pub(super) enum Event {
    /// Something has changed, or the deadline has passed: the present situation.
    Look(Scene),
    /// The rehearsed plugin is constructed, and goes on to a message.
    RehearsalGoesOn(Role),
    RehearsalPassed(Role),
    RehearsalFailed(Role, SetupFailure),
    /// Its process has got a signal by which code crashes.
    RehearsalCrashed(Role, Death),
    /// Its process was reaped.
    RehearsalEnded(Role, Death),
    /// A worker of the new crew has ended.
    NewcomerDied(SetupFailure),
    /// The old commander has ended, or the new one before it was ready.
    CommanderLeft {
        loss: CommanderLoss,
        /// The number of the next message.
        commanded: u64,
    },
    /// The fork server died, and all processes with it.
    ServerDied,
}

/// The present situation, as far as a swap waits for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scene {
    /// Whether the crew of an earlier swap has ended, and left nothing behind.
    pub(super) other_crew_is_gone: bool,
    pub(super) newcomers_are_ready: bool,
    pub(super) commander: CommanderLife,
    /// The number of the next message.
    pub(super) commanded: u64,
    /// Whether the run replays given-up messages, so that there is no commander.
    pub(super) is_replay: bool,
    pub(super) stream_has_failed: bool,
}

/// An action to be carried out. After each of the last four the swap is over.
#[derive(Debug)]
pub(super) enum Action {
    /// Start the rehearsal.
    Rehearse(Role),
    /// Kill this process.
    Kill(Role),
    /// Start the new crew beside the old one.
    BringIn,
    /// Take the new crew away again.
    SendAway,
    /// Say whether the commander is to end before its next message.
    Relieve(bool),
    /// Start the new commander.
    Begin,
    /// Start the old commander again.
    BringBack,
    /// Make the cut, and answer.
    Cut,
    /// The new commander is ready: answer, and keep the states that it has saved.
    Relieved { first: u64, saved: Vec<StateAt> },
    /// A crew of an earlier swap did not end within this time: answer with the message that it is
    /// at.
    StillDraining(Duration),
    /// Answer why the plugin is not taken.
    Refuse(SwapError),
}

/// A swap that is going on.
#[derive(Debug)]
pub(super) struct Swap {
    wish: SwapWish,
    /// The role of its rehearsal.
    rehearsal: Role,
    limits: Limits,
    /// The arrays of the slots.
    expected: Schema,
    stage: Stage,
    /// When the stage has taken too long; `None` once its process was told to end.
    deadline: Option<Instant>,
}

impl Swap {
    /// A swap that was asked for, by its number.
    pub(super) fn new(wish: SwapWish, number: u32, limits: Limits, expected: Schema, now: Instant) -> Self {
        let rehearsal = Role::Rehearsal { kind: wish.kind, number };
        let deadline = now.checked_add(limits.start);
        Self { wish, rehearsal, limits, expected, stage: Stage::Waiting, deadline }
    }

    pub(super) fn wish(&self) -> &SwapWish {
        &self.wish
    }

    /// It is over.
    pub(super) fn into_wish(self) -> SwapWish {
        self.wish
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Whether the end of a commander is part of it.
    pub(super) fn takes_commander(&self) -> bool {
        matches!(self.stage, Stage::Relieving | Stage::Beginning { .. })
    }

    /// Keeps a state that the new commander has saved until it is ready: if it fails, the old one
    /// goes on with its own state. Gives back the state of another commander.
    pub(super) fn keep_state(&mut self, state: StateAt) -> Option<StateAt> {
        match &mut self.stage {
            Stage::Beginning { saved, .. } => {
                saved.push(state);
                None
            }
            _ => Some(state),
        }
    }

    /// Takes an event; gives the actions, in their sequence.
    pub(super) fn step(&mut self, event: Event, now: Instant) -> Vec<Action> {
        match event {
            Event::Look(scene) => self.look(scene, now),
            Event::NewcomerDied(failure) => self.abandon(self.refusal(failure)),
            Event::CommanderLeft { loss, commanded } => self.commander_left(loss, commanded, now),
            Event::ServerDied => self.abandon(SwapError::ForkServerDied),
            Event::RehearsalGoesOn(role)
            | Event::RehearsalPassed(role)
            | Event::RehearsalFailed(role, _)
            | Event::RehearsalCrashed(role, _)
            | Event::RehearsalEnded(role, _)
                if role != self.rehearsal =>
            {
                // That of an earlier swap, which was given up.
                Vec::new()
            }
            event => self.rehearsal_says(event, now),
        }
    }

    fn enter(&mut self, stage: Stage, now: Instant) {
        self.stage = stage;
        self.deadline = now.checked_add(self.limits.start);
    }

    /// Does the next step, if it is time.
    fn look(&mut self, scene: Scene, now: Instant) -> Vec<Action> {
        let of_commander = self.wish.kind == PluginKind::Commander;
        let no_commander = of_commander && scene.commander == CommanderLife::Done;
        match &mut self.stage {
            Stage::Waiting if of_commander && scene.is_replay => self.abandon(SwapError::Replay),
            _ if no_commander && scene.stream_has_failed => self.abandon(SwapError::Ended),
            _ if no_commander => self.abandon(SwapError::NothingLeft { commanded: scene.commanded }),
            Stage::Waiting if of_commander || scene.other_crew_is_gone => {
                let limit = self.limits.start;
                self.enter(Stage::Rehearsing { limit, passed: false, failure: None, death: None }, now);
                vec![Action::Rehearse(self.rehearsal)]
            }
            Stage::Constructing if scene.newcomers_are_ready => vec![Action::Cut],
            // It had died before, and is not started again.
            Stage::Relieving if matches!(scene.commander, CommanderLife::Due(_)) => {
                self.begin(scene.commanded, now)
            }
            Stage::Beginning { first, saved } if scene.commander == CommanderLife::Ready => {
                vec![Action::Relieved { first: *first, saved: std::mem::take(saved) }]
            }
            _ if self.deadline.is_some_and(|deadline| deadline <= now) => self.late(),
            _ => Vec::new(),
        }
    }

    fn rehearsal_says(&mut self, event: Event, now: Instant) -> Vec<Action> {
        let Stage::Rehearsing { limit, passed, failure, death } = &mut self.stage else { return Vec::new() };
        match event {
            Event::RehearsalGoesOn(_) => {
                if let Some(message) = self.limits.message {
                    *limit = message;
                    self.deadline = now.checked_add(message);
                }
            }
            Event::RehearsalPassed(_) => *passed = true,
            Event::RehearsalFailed(_, said) => *failure = Some(said),
            Event::RehearsalCrashed(_, how) => {
                death.get_or_insert(how);
                return vec![Action::Kill(self.rehearsal)];
            }
            Event::RehearsalEnded(_, how) => {
                let well =
                    *passed && failure.is_none() && death.is_none() && how == Death::Exit(Exit::Code(0));
                let why = failure.take().unwrap_or(SetupFailure::Died(death.unwrap_or(how)));
                self.enter(Stage::Waiting, now);
                return if well { self.take_place(now) } else { self.abandon(self.refusal(why)) };
            }
            _ => {}
        }
        Vec::new()
    }

    /// The rehearsal went well: the plugin may take the other's place.
    fn take_place(&mut self, now: Instant) -> Vec<Action> {
        match self.wish.kind {
            PluginKind::Producer => {
                self.enter(Stage::Constructing, now);
                vec![Action::BringIn]
            }
            PluginKind::Commander => {
                self.enter(Stage::Relieving, now);
                vec![Action::Relieve(true)]
            }
        }
    }

    /// The old commander has ended, in whatever way; or the new one has failed.
    fn commander_left(&mut self, loss: CommanderLoss, commanded: u64, now: Instant) -> Vec<Action> {
        match self.stage {
            Stage::Relieving => self.begin(commanded, now),
            Stage::Beginning { .. } => {
                let CommanderLoss { failure, death, .. } = loss;
                self.abandon(self.refusal(failure.unwrap_or(SetupFailure::Died(death))))
            }
            _ => Vec::new(),
        }
    }

    fn begin(&mut self, first: u64, now: Instant) -> Vec<Action> {
        self.enter(Stage::Beginning { first, saved: Vec::new() }, now);
        vec![Action::Relieve(false), Action::Begin]
    }

    /// The stage has taken too long.
    fn late(&mut self) -> Vec<Action> {
        self.deadline = None;
        let limit = self.limits.start;
        match &mut self.stage {
            Stage::Waiting => vec![Action::StillDraining(limit)],
            Stage::Rehearsing { limit, death, .. } => {
                death.get_or_insert(Death::Timeout { limit: *limit });
                vec![Action::Kill(self.rehearsal)]
            }
            Stage::Constructing => self.abandon(self.refusal(SetupFailure::Died(Death::Timeout { limit }))),
            Stage::Relieving => vec![Action::Kill(Role::Commander)],
            // The watchdog has an eye on its start.
            Stage::Beginning { .. } => Vec::new(),
        }
    }

    /// Gives the swap up: the old plugin goes on.
    fn abandon(&mut self, error: SwapError) -> Vec<Action> {
        let undo = match std::mem::replace(&mut self.stage, Stage::Waiting) {
            Stage::Waiting => None,
            Stage::Rehearsing { .. } => Some(Action::Kill(self.rehearsal)),
            Stage::Constructing => Some(Action::SendAway),
            Stage::Relieving => Some(Action::Relieve(false)),
            Stage::Beginning { .. } => Some(Action::BringBack),
        };
        undo.into_iter().chain([Action::Refuse(error)]).collect()
    }

    /// Why the new plugin is not taken.
    fn refusal(&self, failure: SetupFailure) -> SwapError {
        let SwapWish { kind, plugin, .. } = &self.wish;
        let (kind, name) = (*kind, plugin.name.clone());
        match failure {
            SetupFailure::Died(Death::Timeout { limit }) => late(&format!("the {kind} {name}"), limit),
            SetupFailure::Schema(declared) => {
                SwapError::Schema { plugin: name, differences: differences(&declared, &self.expected) }
            }
            SetupFailure::Message { sequence, report: source } => {
                SwapError::Rehearsal { kind, plugin: name, sequence, source }
            }
            failure => match failure.into_plugin_error(kind, plugin) {
                Ok(error) => error.into(),
                Err(other) => {
                    SwapError::Process { role: format!("{kind} {name}"), reason: other.into_text() }
                }
            },
        }
    }
}
