//! The supervisor's program, as in `supervisor/` with `reclaim_worker`, `reclaim_commander` and
//! `restore`:
//!
//! ```text
//!   reap ─► take back its slot ─► set the hints again, wake all ─► start the next incarnation
//!            worker: queue its message again, or make its report ready
//!            commander: queue the message if it was counted, else free the slot
//! ```
//!
//! The next commander starts at the first message that was not counted, unless the stream's end is
//! set. All processes are woken in either case, since the commander may have died after it set the
//! end and before it notified the consumer.

use crate::config::Property;
use crate::model::{Model, Run, alive};
use crate::mutations::Mutation;
use crate::process::{Look, Notify, Pc, Process};
use crate::state::State;
use crate::word::{COMMANDER, FIRST_WORKER, SUPERVISOR, SlotState, WORKERS, Word};

impl Model {
    /// Any dead process is next: the fork server has said that it was reaped.
    pub(crate) fn reaps(&self, state: &State, mut found: impl FnMut(State)) {
        let robs = self.is(Mutation::ReclaimFromTheLiving) && state.crashes > 0;
        for index in COMMANDER..FIRST_WORKER + WORKERS {
            if state.processes[index].pc == Pc::Dead || robs && alive(state, index) {
                let mut run = Run { model: self, state: *state, index: SUPERVISOR };
                run.state.crashes -= u8::from(alive(state, index));
                run.me().number = index as u8;
                if self.is(Mutation::RestartBeforeReclaim) {
                    run.go(Pc::Restart);
                } else if self.is(Mutation::WakeBeforeReclaim) {
                    run.notify(Notify::EveryoneQueued);
                } else {
                    run.reclaim();
                }
                found(run.state);
            }
        }
    }
}

impl Run<'_> {
    fn buries_commander(&mut self) -> bool {
        usize::from(self.me().number) == COMMANDER
    }

    fn reclaim(&mut self) {
        let looks = self.buries_commander() && self.model.is(Mutation::NoWakeAtTheEnd);
        if looks { self.go(Pc::LoadEnd) } else { self.scan() }
    }

    pub(crate) fn burial_step(&mut self) -> Result<(), Property> {
        let me = *self.me();
        match me.pc {
            // Mutated: a commander that has set the end holds nothing, so the supervisor does
            // nothing.
            Pc::LoadEnd if self.state.end == 0 => self.scan(),
            Pc::LoadEnd => self.go(Pc::Restart),
            Pc::ReloadSequence => {
                let sequence = self.slot().sequence;
                self.me().best_sequence = sequence;
                self.go(if sequence == 0 { Pc::ClearSequence } else { Pc::LoadCommanded });
            }
            Pc::LoadCommanded => {
                let counted = self.state.commanded == me.best_sequence
                    && !self.model.is(Mutation::NeverRequeueCommanded);
                self.me().best_sequence = 0;
                self.go(if counted { Pc::Swap } else { Pc::ClearSequence });
            }
            Pc::ClearSequence => {
                if !self.model.is(Mutation::AbandonKeepsSequence) {
                    self.slot().sequence = 0;
                }
                self.go(Pc::Abandon);
            }
            Pc::Abandon => {
                self.only_from_the_dead()?;
                if !self.model.is(Mutation::AbandonNothing) {
                    self.free()?;
                }
                self.scan();
            }
            Pc::RemoveBit => {
                if !self.model.is(Mutation::NoRemoveOfGivenUp) {
                    self.state.queued &= !(1 << me.slot);
                }
                self.go(Pc::StoreOutcome);
            }
            Pc::StoreOutcome => {
                self.store_outcome(1, me.number.into());
            }
            Pc::Commit | Pc::AddReady | Pc::LoadNumberLate => self.commit_step()?,
            Pc::RestoreWord => self.restore_word(),
            Pc::RestoreHas => match self.state.queued >> me.slot & 1 == 1 {
                true => self.restore_next(),
                false => self.go(Pc::RestoreAgain),
            },
            Pc::RestoreAgain => match self.slot().word == me.seen {
                true => self.go(Pc::RestoreBit),
                false => self.restore_next(),
            },
            Pc::RestoreBit => {
                let set = match (me.look.has(Look::READY), me.look.has(Look::QUEUED)) {
                    (true, _) => &mut self.state.ready,
                    (_, true) => &mut self.state.queued,
                    _ => &mut self.state.free,
                };
                *set |= 1 << me.slot;
                self.restore_next();
            }
            Pc::RestoreRequeues => {
                if !self.model.is(Mutation::NoNoteInRestore) {
                    self.state.note_requeue();
                }
                self.restored();
            }
            Pc::Restart => self.restart(),
            _ => self.cut_step()?,
        }
        Ok(())
    }

    /// The supervisor has found a slot that the dead process held.
    pub(crate) fn found_held(&mut self) {
        let innocent = !self.buries_commander() && self.was_cut_off();
        let attempts = self.me().seen.attempts() + u8::from(!innocent);
        // Whether the attempt is not counted.
        self.me().best = innocent.into();
        let more = u8::from(self.model.is(Mutation::OneAttemptTooMany));
        let most = self.model.config.max_attempts.saturating_add(more);
        let gives_up = !self.buries_commander() && !innocent && attempts >= most;
        let reload = self.buries_commander();
        self.go(match (gives_up, reload) {
            (true, _) => Pc::RemoveBit,
            (_, true) => Pc::ReloadSequence,
            _ => Pc::Swap,
        });
    }

    /// Queues the message of the dead process (again); its word was as seen.
    pub(crate) fn take_back(&mut self) -> Result<(), Property> {
        self.only_from_the_dead()?;
        let seen = self.me().seen;
        if self.buries_commander() {
            self.transition(seen.to(SlotState::Writing, None))?;
            self.scan();
        } else {
            let counts = self.me().best == 0 && self.model.gives_up();
            let attempts =
                seen.attempts() + u8::from(counts && !self.model.is(Mutation::RequeueWithoutAttempt));
            self.transition(Word::new(SlotState::Writing, None, attempts))?;
            self.restore();
        }
        Ok(())
    }

    fn only_from_the_dead(&mut self) -> Result<(), Property> {
        let (slot, owner) = (self.me().slot, usize::from(self.me().number));
        let process = self.state.processes[owner];
        if process.holds(owner) && process.slot == slot { Err(Property::OnlyFromTheDead) } else { Ok(()) }
    }

    /// The dead process holds nothing any more.
    pub(crate) fn reclaimed(&mut self) {
        self.restore();
    }

    // `restore`.

    fn restore(&mut self) {
        *self.me() = self.me().begins(Pc::RestoreWord);
    }

    fn restore_word(&mut self) {
        let word = self.slot().word;
        let (state, is_queued) = (word.state(), word.is(SlotState::Writing, None));
        let leaves_out = match self.model.mutation {
            Some(Mutation::NoRestoreOfFree) => state == SlotState::Free,
            Some(Mutation::NoRestoreOfReady) => state == SlotState::Ready,
            Some(Mutation::NoRestoreOfQueued) => is_queued,
            _ => false,
        };
        if leaves_out || !is_queued && !matches!(state, SlotState::Free | SlotState::Ready) {
            return self.restore_next();
        }
        self.me().look.set(Look::READY, state == SlotState::Ready);
        self.me().look.set(Look::QUEUED, is_queued);
        if is_queued && !self.model.is(Mutation::RestoreWithoutLooking) {
            self.me().seen = word;
            return self.go(Pc::RestoreHas);
        }
        self.go(Pc::RestoreBit);
    }

    fn restore_next(&mut self) {
        (self.me().look, self.me().seen) = (Look::NOTHING, Word::NONE);
        self.me().slot += 1;
        let last = usize::from(self.me().slot) == self.model.config.slots;
        if last {
            self.me().slot = 0;
        }
        self.go(if last { Pc::RestoreRequeues } else { Pc::RestoreWord });
    }

    fn restored(&mut self) {
        let commander = self.buries_commander();
        match self.model.mutation {
            Some(Mutation::WakeBeforeReclaim) => self.restart_next(),
            Some(Mutation::NoWakeAfterWorker) if !commander => self.restart_next(),
            Some(Mutation::NoWakeAfterCommander) if commander => self.restart_next(),
            _ => self.notify(Notify::EveryoneQueued),
        }
    }

    pub(crate) fn woke_everyone(&mut self) {
        if usize::from(self.me().number) == SUPERVISOR {
            return self.woke_in_cut();
        }
        match self.model.mutation {
            Some(Mutation::WakeBeforeReclaim) => self.reclaim(),
            Some(Mutation::RestartBeforeReclaim) => *self.me() = Process::at(Pc::Reap),
            _ => self.restart_next(),
        }
    }

    fn restart_next(&mut self) {
        let number = self.me().number;
        *self.me() = Process { number, ..Process::at(Pc::Restart) };
    }

    /// Starts the next incarnation, except for a commander whose stream has its end.
    fn restart(&mut self) {
        let index = usize::from(self.me().number);
        let commanded = match self.model.mutation {
            Some(Mutation::CommanderSkipsOne) => self.state.commanded + 1,
            Some(Mutation::CommanderRepeatsOne) => self.state.commanded.saturating_sub(1),
            _ => self.state.commanded,
        };
        let leaves = index == COMMANDER && self.state.end != 0;
        if self.model.swaps() && index != COMMANDER {
            self.plan_restart(index);
        } else {
            let next = if leaves { Process::at(Pc::Ended) } else { self.model.started(index, commanded) };
            self.state.processes[index] = next;
        }
        if self.model.is(Mutation::RestartBeforeReclaim) {
            self.reclaim();
        } else {
            *self.me() = Process::at(Pc::Reap);
        }
    }
}
