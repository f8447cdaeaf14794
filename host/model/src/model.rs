//! The model of a run, and one step of it. The programs of all processes are written on top of
//! this.

use crate::config::Config;
use crate::mutations::Mutation;
use crate::process::{Event, Notify, Pc, Process};
use crate::state::State;
use crate::word::{COMMANDER, CONSUMER, FIRST_WORKER, SUPERVISOR, name};

/// A step from one state to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Does(usize, Pc, Notify),
    Dies(usize),
    /// The supervisor begins the cut between two crews.
    Cuts,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self::Does(process, pc, Notify::None) => write!(f, "{}: {pc:?}", name(process)),
            Self::Does(process, pc, notify) => write!(f, "{}: {pc:?} ({notify:?})", name(process)),
            Self::Cuts => write!(f, "THE CUT"),
            Self::Dies(process) => write!(f, "{} IS KILLED", name(process)),
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Model {
    pub(crate) config: Config,
    pub(crate) mutation: Option<Mutation>,
    /// Whether private steps are taken at once, see `reduction`.
    pub(crate) reduced: bool,
}

/// One process's next step, on a copy of the state.
pub(crate) struct Run<'a> {
    pub(crate) model: &'a Model,
    pub(crate) state: State,
    pub(crate) index: usize,
}

impl Model {
    pub(crate) fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    pub(crate) fn swaps(&self) -> bool {
        self.config.newcomers > 0
    }

    pub(crate) fn crew_of(&self, worker: usize) -> u8 {
        u8::from(worker >= FIRST_WORKER + self.config.workers)
    }

    /// The workers of the old crew.
    pub(crate) fn old_crew(&self) -> std::ops::Range<usize> {
        FIRST_WORKER..FIRST_WORKER + self.config.workers
    }

    /// The edition of a worker's batches, plus one; 0 if there is no swap.
    pub(crate) fn edition(&self, worker: usize) -> u8 {
        if self.swaps() { self.crew_of(worker) + 1 } else { 0 }
    }

    /// Whether a message may be given up.
    pub(crate) fn gives_up(&self) -> bool {
        self.config.max_attempts < u8::MAX
    }

    /// A process at its start. A commander goes on at `commanded`.
    pub(crate) fn started(&self, index: usize, commanded: u8) -> Process {
        let pc = match index {
            SUPERVISOR => Pc::Reap,
            COMMANDER if !self.config.plugin_ends && commanded >= self.config.messages => Pc::StoreEnd,
            _ => Pc::Ticket,
        };
        let early = self.swaps() && (FIRST_WORKER..CONSUMER).contains(&index);
        let number = if index == COMMANDER { commanded } else { 0 };
        Process { number, early: early.into(), ..Process::at(pc) }
    }

    /// The event that a process waits for.
    pub(crate) fn waits_for(&self, state: &State, index: usize) -> Option<Event> {
        let early = state.processes[index].early == 1 && !self.is(Mutation::NewcomerWaitsOnQueued);
        match index {
            COMMANDER => Some(Event::Freed),
            CONSUMER => Some(Event::Ready),
            SUPERVISOR => None,
            _ => Some(if early { Event::Opened } else { Event::Queued }),
        }
    }
}

/// Whether the process can be killed, and the supervisor must leave it alone.
pub(crate) fn alive(state: &State, index: usize) -> bool {
    !matches!(state.processes[index].pc, Pc::Dead | Pc::Ended | Pc::Due)
}
