//! A slot's word, as in `segment/word.rs`, and the processes that may own a slot.

use std::fmt;

use bytemuck::NoUninit;

pub(crate) const WORKERS: usize = 2;

/// The processes, each by its index in a state.
pub(crate) const COMMANDER: usize = 0;
pub(crate) const FIRST_WORKER: usize = 1;
pub(crate) const SECOND_WORKER: usize = FIRST_WORKER + 1;
pub(crate) const CONSUMER: usize = FIRST_WORKER + WORKERS;
pub(crate) const SUPERVISOR: usize = CONSUMER + 1;
pub(crate) const PROCESSES: usize = SUPERVISOR + 1;

pub(crate) fn name(process: usize) -> String {
    match process {
        COMMANDER => "commander".to_owned(),
        CONSUMER => "consumer".to_owned(),
        SUPERVISOR => "supervisor".to_owned(),
        worker => format!("worker {}", worker - FIRST_WORKER),
    }
}

#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SlotState {
    Free,
    Writing,
    Ready,
    Reading,
}

/// A value of a slot's word: state, owner, attempts. The owner is 0 for none, else the process's
/// index plus one.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, NoUninit)]
pub(crate) struct Word(u8);

impl Word {
    /// Zero, as in fresh shared memory.
    pub(crate) const FREE: Self = Self(0);
    /// A remembered value of an older use. No word has its generation any more.
    pub(crate) const STALE: Self = Self(0xFE);
    /// No value is remembered.
    pub(crate) const NONE: Self = Self(0xFF);

    pub(crate) const fn new(state: SlotState, owner: Option<usize>, attempts: u8) -> Self {
        let owner = match owner {
            None => 0,
            Some(process) => process as u8 + 1,
        };
        assert!(owner < 7 && attempts < 8);
        Self(state as u8 | owner << 2 | attempts << 5)
    }

    pub(crate) fn state(self) -> SlotState {
        [SlotState::Free, SlotState::Writing, SlotState::Ready, SlotState::Reading][usize::from(self.0 & 3)]
    }

    /// The word with the two workers' names exchanged.
    pub(crate) fn exchanged(self) -> Self {
        let other = match self.owner() {
            Some(worker @ (FIRST_WORKER | SECOND_WORKER)) => FIRST_WORKER + SECOND_WORKER - worker,
            _ => return self,
        };
        if self == Self::NONE || self == Self::STALE { self } else { self.to(self.state(), Some(other)) }
    }

    pub(crate) fn owner(self) -> Option<usize> {
        usize::from(self.0 >> 2 & 7).checked_sub(1)
    }

    pub(crate) fn attempts(self) -> u8 {
        self.0 >> 5
    }

    pub(crate) fn is(self, state: SlotState, owner: Option<usize>) -> bool {
        self.state() == state && self.owner() == owner
    }

    /// The value with another state and owner.
    pub(crate) fn to(self, state: SlotState, owner: Option<usize>) -> Self {
        Self::new(state, owner, self.attempts())
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let owner = match (self.state(), self.owner()) {
            (SlotState::Writing, None) => "(queued)".to_owned(),
            (_, None) => String::new(),
            (_, Some(process)) => format!("({})", name(process)),
        };
        write!(f, "{:?}{owner}/{}", self.state(), self.attempts())
    }
}
