//! The supervisor's swap of one crew for another, step by step as in `cut`, `want`, `plan_restart`
//! and `drain` in `supervisor/`:
//!
//! ```text
//!   supervisor   close ─► read the notes ─► open, wake ─► tell the old crew to retire, wake ─► drain
//! ```
//!
//! The new crew waits on `opened` from the first state on. The cut may come at any time, or never.
//! If a newcomer dies before the cut, the swap is given up. After the cut an old worker exits when
//! it finds nothing. It is started again only if no worker of its crew lives and a message of its
//! crew is left.

use crate::config::Property;
use crate::model::{Model, Run};
use crate::mutations::Mutation;
use crate::process::{Notify, Pc, Process};
use crate::share::Share;
use crate::state::{State, Swap};
use crate::word::{CONSUMER, FIRST_WORKER, SUPERVISOR, SlotState, WORKERS};

impl Model {
    /// The supervisor has seen the newcomers ready.
    pub(crate) fn begins_cut(&self, state: &State) -> State {
        let late = self.is(Mutation::NotesBeforeClosing) || self.is(Mutation::CutWithoutClosing);
        let first = if late { Pc::LoadNote } else { Pc::Close };
        let mut next = *state;
        next.swap = Swap::Cut;
        next.processes[SUPERVISOR] = cutting(first, FIRST_WORKER);
        next
    }

    /// Any worker that is due is started, at any time: the supervisor may wait before.
    pub(crate) fn starts_due(&self, state: &State, mut found: impl FnMut(State)) {
        for index in FIRST_WORKER..CONSUMER {
            if state.processes[index].pc == Pc::Due {
                let mut next = *state;
                next.processes[index] = self.started(index, 0);
                let goes = self.crew_of(index) == 0 && state.swap == Swap::Cut;
                next.retire |= u8::from(goes) << index;
                found(next);
            }
        }
    }
}

/// The supervisor in its cut. `worker` is the next worker whose note it reads, or that it tells to
/// retire.
fn cutting(pc: Pc, worker: usize) -> Process {
    Process { number: SUPERVISOR as u8, best: worker as u8, ..Process::at(pc) }
}

impl Run<'_> {
    pub(crate) fn cut_step(&mut self) -> Result<(), Property> {
        let me = *self.me();
        let (worker, late) = (usize::from(me.best), self.model.is(Mutation::NotesBeforeClosing));
        let last = worker + 1 == self.model.old_crew().end;
        match me.pc {
            Pc::Close => {
                self.state.share = Share::CLOSED;
                self.go(if late { Pc::Open } else { Pc::LoadNote });
            }
            Pc::LoadNote => {
                let noted = self.state.noted[worker - FIRST_WORKER];
                self.me().best_sequence = noted.max(me.best_sequence);
                match last {
                    true => self.go(if late { Pc::Close } else { Pc::Open }),
                    false => self.me().best += 1,
                }
            }
            Pc::Open => self.open(me.best_sequence)?,
            Pc::StoreRetire => {
                match self.state.processes[worker].pc {
                    Pc::Ended => {}
                    Pc::Due => self.state.processes[worker] = Process::at(Pc::Ended),
                    _ => self.state.retire |= 1 << worker,
                }
                match last {
                    true => self.retired(),
                    false => self.me().best += 1,
                }
            }
            Pc::Drain => {
                self.drain();
                *self.me() = Process::at(Pc::Reap);
            }
            pc => unreachable!("{pc:?} is not the supervisor's"),
        }
        Ok(())
    }

    /// Opens the share word for the new crew. A note is of a queued message, so the shipped minimum
    /// of it and `commanded` is the note.
    fn open(&mut self, first: u8) -> Result<(), Property> {
        if first > self.state.commanded || self.state.taken >> first != 0 {
            return Err(Property::Edition);
        }
        self.state.share = Share::open_for_newcomers(first);
        self.state.noted = [0; WORKERS];
        *self.me() = cutting(Pc::StoreRetire, FIRST_WORKER);
        if !matches!(self.model.mutation, Some(Mutation::NoWakeByCut | Mutation::NoWakeInSwap)) {
            self.notify(Notify::EveryoneQueued);
        }
        Ok(())
    }

    /// The old crew was told to retire.
    fn retired(&mut self) {
        *self.me() = Process { retires: 1, ..cutting(Pc::Drain, 0) };
        if !matches!(self.model.mutation, Some(Mutation::NoWakeByRetiring | Mutation::NoWakeInSwap)) {
            self.notify(Notify::EveryoneQueued);
        }
    }

    pub(crate) fn woke_in_cut(&mut self) {
        *self.me() = match self.me().retires {
            0 => cutting(Pc::StoreRetire, FIRST_WORKER),
            _ => cutting(Pc::Drain, 0),
        };
    }

    /// A worker was buried. It is to be started again, or its crew retires, or the swap is given up
    /// because it was the newcomer.
    pub(crate) fn plan_restart(&mut self, index: usize) {
        let newcomer = self.model.crew_of(index) == 1;
        let due = newcomer == (self.state.swap == Swap::Cut);
        self.state.processes[index] = Process::at(if due { Pc::Due } else { Pc::Ended });
        if newcomer && !due {
            self.state.swap = Swap::No;
            self.state.noted = [0; WORKERS];
        } else if !due {
            self.drain();
        }
    }

    /// Whether a dead worker's message is not its crew's: the cut came before the worker died, and
    /// it died before it gave the message back.
    pub(crate) fn was_cut_off(&mut self) -> bool {
        let (worker, sequence) = (usize::from(self.me().number), self.slot().sequence);
        let ignored = self.model.is(Mutation::CutOffIsAnAttempt);
        let share = self.state.share;
        let cut_off =
            self.model.swaps() && !share.allows(self.model.crew_of(worker), sequence.saturating_sub(1));
        if cut_off && self.model.gives_up() {
            self.state.deaths[usize::from(sequence.saturating_sub(1))] -= 1;
        }
        cut_off && !ignored
    }

    /// If no worker of the old crew is left but a message that only it may claim, starts one again.
    /// One step: without the crew no process changes its share.
    fn drain(&mut self) {
        let mut crew = self.model.old_crew();
        let gone = crew.all(|index| self.state.processes[index].pc == Pc::Ended);
        let left = self.state.slots.iter().any(|slot| {
            let message = slot.sequence.saturating_sub(1);
            slot.word.is(SlotState::Writing, None) && self.state.share.allows(0, message)
        });
        if gone && left && !self.model.is(Mutation::NoDrain) {
            self.state.processes[FIRST_WORKER] = Process::at(Pc::Due);
        }
    }
}
