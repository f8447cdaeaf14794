//! The programs of commander and worker while they hold a slot: `process/commander/` with
//! `publish`, `abandon` and `end_stream`; `process/worker.rs` with `commit`.

use crate::config::Property;
use crate::model::Run;
use crate::mutations::Mutation;
use crate::process::{Notify, Pc, Process};
use crate::word::{COMMANDER, CONSUMER, SUPERVISOR, SlotState};

impl Run<'_> {
    /// The step after a claim.
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
        self.has_claimed();
    }

    // The commander.

    fn commander_step(&mut self) -> Result<(), Property> {
        let me = *self.me();
        let count_late = self.model.is(Mutation::CountAfterQueueing);
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
                let counted = self.model.is(Mutation::CountBeforeSequence) || count_late;
                self.go(if counted { Pc::AddQueued } else { Pc::StoreCommanded });
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
                    Some(Mutation::AddAfterQueueing) => self.go(Pc::Queue),
                    _ => self.go(Pc::AddQueued),
                }
            }
            Pc::AddQueued => {
                if !self.model.is(Mutation::NoBitOfQueued) {
                    self.state.queued |= 1 << me.slot;
                }
                match self.model.is(Mutation::AddAfterQueueing) {
                    true => self.notify(Notify::Publish),
                    false => self.go(Pc::Queue),
                }
            }
            Pc::Queue => {
                self.transition(me.seen.to(SlotState::Writing, None))?;
                match self.model.mutation {
                    Some(Mutation::AddAfterQueueing) => self.released(Pc::AddQueued),
                    Some(Mutation::NotifyBeforeQueueing) => self.next_message(),
                    _ if count_late => self.released(Pc::StoreCommanded),
                    _ => self.notify(Notify::Publish),
                }
            }
            Pc::Abandon => {
                self.free()?;
                self.released(Pc::AddFree);
            }
            Pc::AddFree => {
                self.add_free();
                *self.me() = self.me().begins(Pc::StoreEnd);
            }
            Pc::StoreEnd => {
                self.state.end = me.number + 1;
                self.notify(Notify::End);
            }
            pc => unreachable!("{pc:?} is not the commander's"),
        }
        Ok(())
    }

    pub(crate) fn published(&mut self) {
        match self.model.is(Mutation::NotifyBeforeQueueing) {
            true => self.go(Pc::AddQueued),
            false => self.next_message(),
        }
    }

    fn next_message(&mut self) {
        let Process { number, hints, .. } = *self.me();
        *self.me() = Process { hints, ..self.model.started(COMMANDER, number + 1) };
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
                self.store_outcome(0, self.index);
                if self.model.is(Mutation::AddBeforeReady) {
                    self.go(Pc::AddReady);
                }
            }
            Pc::Commit | Pc::AddReady | Pc::LoadNumberLate => self.commit_step()?,
            _ => self.crew_step()?,
        }
        Ok(())
    }

    /// `commit`, by a worker, or by the supervisor for a dead one. Up to the transition the slot is
    /// the holder's.
    pub(crate) fn store_outcome(&mut self, failed: u8, worker: usize) {
        let edition = self.model.edition(worker);
        let slot = self.slot();
        (slot.failed, slot.edition) = (failed, edition);
        self.me().best_sequence = if self.model.config.deterministic { self.slot().sequence } else { 0 };
        self.go(Pc::Commit);
    }

    pub(crate) fn commit_step(&mut self) -> Result<(), Property> {
        let me = *self.me();
        let early = self.model.is(Mutation::AddBeforeReady) && self.index != SUPERVISOR;
        let late = self.model.is(Mutation::LoadNumberAfterCommit) && self.model.config.deterministic;
        match me.pc {
            Pc::Commit => {
                self.transition(me.seen.to(SlotState::Ready, None))?;
                self.released(Pc::AddReady);
                self.me().best_sequence = me.best_sequence;
                if early {
                    self.notify(Notify::Commit);
                }
            }
            Pc::AddReady => {
                if !self.model.is(Mutation::NoBitOfReady) {
                    self.state.ready |= 1 << me.slot;
                }
                match (early, late) {
                    (true, _) => self.go(Pc::Commit),
                    (_, true) => self.go(Pc::LoadNumberLate),
                    _ => self.notify(Notify::Commit),
                }
            }
            // Mutated: the slot may hold another message.
            _ => {
                self.me().best_sequence = self.slot().sequence;
                self.notify(Notify::Commit);
            }
        }
        Ok(())
    }

    /// A worker looks for the next message. The supervisor, which has committed a report, goes on
    /// with its burial.
    pub(crate) fn committed(&mut self) {
        if self.index == SUPERVISOR { self.reclaimed() } else { self.look() }
    }
}
