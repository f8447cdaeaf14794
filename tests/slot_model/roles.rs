//! The programs of commander, worker and consumer once they hold a slot: `process/commander.rs` with `publish`,
//! `abandon` and `end_stream`; `process/worker.rs` with `commit`; `stream.rs` with `take_ready` and `release`.

use crate::mutations::Mutation;
use crate::process::{Notify, Pc, Process};
use crate::protocol::{Property, Run};
use crate::state::{COMMANDER, CONSUMER, SUPERVISOR, SlotState};

impl Run<'_> {
    /// What follows on a claim.
    pub(crate) fn claimed(&mut self) {
        let over = self.me().number >= self.model.config.messages;
        self.go(match self.index {
            COMMANDER if over => Pc::Abandon,
            COMMANDER => Pc::WriteMessage,
            CONSUMER => Pc::ReadFirstHalf,
            _ => Pc::ReadMessage,
        });
    }

    pub(crate) fn role_step(&mut self) -> Result<(), Property> {
        match self.index {
            SUPERVISOR => self.burial_step(),
            CONSUMER => self.consumer_step(),
            COMMANDER => self.commander_step(),
            _ => self.worker_step(),
        }
    }

    fn store_owner(&mut self) {
        let seen = self.me().seen;
        self.slot().word = seen;
        self.claimed();
    }

    // The commander.

    fn commander_step(&mut self) -> Result<(), Property> {
        let me = *self.me();
        match me.pc {
            Pc::StoreOwner => self.store_owner(),
            Pc::WriteMessage => {
                self.slot().message = me.number + 1;
                self.go(if self.model.is(Mutation::CountBeforeSequence) {
                    Pc::StoreCommanded
                } else {
                    Pc::StoreSequence
                });
            }
            Pc::StoreSequence => {
                self.slot().sequence = me.number + 1;
                match self.model.mutation {
                    Some(Mutation::CountBeforeSequence | Mutation::CountAfterQueueing) => self.go(Pc::Queue),
                    _ => self.go(Pc::StoreCommanded),
                }
            }
            Pc::StoreCommanded => {
                self.state.commanded = me.number + 1;
                match self.model.mutation {
                    Some(Mutation::CountBeforeSequence) => self.go(Pc::StoreSequence),
                    Some(Mutation::CountAfterQueueing) => self.notify(Notify::Publish),
                    Some(Mutation::NotifyBeforeQueueing) => {
                        self.notify(Notify::Publish);
                        self.keep_claim(me.slot, me.seen);
                    }
                    _ => self.go(Pc::Queue),
                }
            }
            Pc::Queue => {
                self.transition(me.seen.to(SlotState::Writing, None))?;
                match self.model.mutation {
                    Some(Mutation::CountAfterQueueing) => {
                        *self.me() = Process { number: me.number, ..Process::at(Pc::StoreCommanded) };
                    }
                    Some(Mutation::NotifyBeforeQueueing) => self.next_message(),
                    _ => self.notify(Notify::Publish),
                }
            }
            pc => return self.end_step(pc),
        }
        Ok(())
    }

    fn end_step(&mut self, pc: Pc) -> Result<(), Property> {
        match pc {
            Pc::Abandon => {
                self.free()?;
                *self.me() = Process::at(Pc::LoadCommanded);
            }
            Pc::LoadCommanded => {
                *self.me() = Process { number: self.state.commanded, ..Process::at(Pc::StoreEnd) };
            }
            Pc::StoreEnd => {
                self.state.end = self.me().number + 1;
                self.notify(Notify::End);
            }
            pc => unreachable!("{pc:?} is not the commander's"),
        }
        Ok(())
    }

    pub(crate) fn published(&mut self) {
        if self.model.is(Mutation::NotifyBeforeQueueing) { self.go(Pc::Queue) } else { self.next_message() }
    }

    fn next_message(&mut self) {
        let next = self.me().number + 1;
        *self.me() = self.model.started(COMMANDER, next);
    }

    // A worker.

    fn worker_step(&mut self) -> Result<(), Property> {
        let me = *self.me();
        match me.pc {
            Pc::StoreOwner => self.store_owner(),
            Pc::ReadMessage => {
                let slot = *self.slot();
                if slot.sequence == 0 || slot.message != slot.sequence {
                    return Err(Property::Whole);
                }
                self.me().number = slot.message;
                self.go(Pc::WriteFirstHalf);
            }
            Pc::WriteFirstHalf => {
                self.slot().halves[0] = me.number;
                self.go(Pc::WriteSecondHalf);
            }
            Pc::WriteSecondHalf => {
                self.slot().halves[1] = me.number;
                self.me().number = 0;
                self.go(Pc::StoreOutcome);
            }
            Pc::StoreOutcome => {
                self.slot().failed = 0;
                self.slot().edition = self.model.edition(self.index);
                self.go(Pc::Commit);
            }
            Pc::Commit => self.commit()?,
            _ => self.crew_step()?,
        }
        Ok(())
    }

    pub(crate) fn commit(&mut self) -> Result<(), Property> {
        let seen = self.me().seen;
        self.transition(seen.to(SlotState::Ready, None))?;
        self.notify(Notify::Commit);
        Ok(())
    }

    /// A worker looks for the next message; the supervisor, who has committed a report, goes on with its burial.
    pub(crate) fn committed(&mut self) {
        if self.index == SUPERVISOR { self.reclaimed() } else { self.look() }
    }

    // The consumer.

    /// A slot was taken: the message counts as delivered, as a batch or as its error.
    pub(crate) fn take(&mut self) -> Result<(), Property> {
        let Some(sequence) = self.slot().sequence.checked_sub(1) else { return Err(Property::Whole) };
        if self.state.taken >> sequence & 1 == 1 {
            return Err(Property::Once);
        }
        if self.model.config.deterministic && sequence != self.state.taken() {
            return Err(Property::InOrder);
        }
        self.state.taken |= 1 << sequence;
        let died_of_it = self.state.deaths[usize::from(sequence)];
        if (self.slot().failed == 1) != (died_of_it >= self.model.config.max_attempts) {
            return Err(Property::ErrorInItsPlace);
        }
        self.of_the_right_edition(sequence)?;
        // Of no meaning any more.
        self.state.deaths[usize::from(sequence)] = 0;
        Ok(())
    }

    fn consumer_step(&mut self) -> Result<(), Property> {
        let (me, slot) = (*self.me(), *self.slot());
        match me.pc {
            Pc::ReadFirstHalf | Pc::ReadSecondHalf => {
                let half = slot.halves[usize::from(me.pc == Pc::ReadSecondHalf)];
                if slot.message != slot.sequence || slot.failed == 0 && half != slot.sequence {
                    return Err(Property::Whole);
                }
                let keeps = self.model.is(Mutation::ReleaseKeepsSequence);
                let first_frees = self.model.is(Mutation::ClearAfterRelease) || keeps;
                self.go(match me.pc {
                    Pc::ReadFirstHalf => Pc::ReadSecondHalf,
                    _ if first_frees => Pc::Free,
                    _ => Pc::ClearSequence,
                });
            }
            Pc::ClearSequence => {
                self.slot().sequence = 0;
                match self.model.is(Mutation::ClearAfterRelease) {
                    true => self.notify(Notify::Release),
                    false => self.go(Pc::Free),
                }
            }
            Pc::Free => {
                self.free()?;
                match self.model.is(Mutation::ClearAfterRelease) {
                    true => *self.me() = Process { slot: me.slot, ..Process::at(Pc::ClearSequence) },
                    false => self.notify(Notify::Release),
                }
            }
            Pc::LoadEnd => match self.state.end.checked_sub(1) {
                Some(end) if end == self.state.taken() => {
                    *self.me() = Process::at(Pc::Ended);
                    if end != self.model.config.messages {
                        return Err(Property::Complete);
                    }
                }
                _ => self.wait(),
            },
            pc => unreachable!("{pc:?} is not the consumer's"),
        }
        Ok(())
    }

    pub(crate) fn released(&mut self) {
        self.look();
    }
}
