//! The consumer, step by step as in `segment/arrivals.rs`, `stream/` and `release`:
//!
//! ```text
//!   the oldest arrival, if it is wanted ─► claim ─► want the next ─► read, free, wake the commander
//!   else: take the ready set; each slot's word and number ─► arrivals ─► again, until the set is empty
//!         ─► the end? ─► sleep
//! ```
//!
//! No other process changes a ready slot, and the consumer does not die. So a ready slot reads the
//! same at any time, and reading it is no step of its own. Arrivals are one bit for each slot: an
//! arrival whose message was taken leads nowhere.

use crate::config::Property;
use crate::model::Run;
use crate::mutations::Mutation;
use crate::process::{Look, Notify, Pc, Process};
use crate::state::{SLOTS, Slot};

impl Run<'_> {
    /// The next message in order.
    fn next_message_in_order(&self) -> u8 {
        self.state.taken()
    }

    /// Goes on with the oldest arrival that is still there.
    pub(crate) fn next_arrival(&mut self) {
        self.me().look = Look::NOTHING;
        let (arrivals, slots) = (self.me().hints, &self.state.slots);
        let arrived = (0..SLOTS).filter(|slot| arrivals >> slot & 1 == 1);
        let Some(oldest) = arrived.min_by_key(|&slot| slots[slot].sequence) else {
            return self.go(Pc::TakeReady);
        };
        let Slot { word, sequence, .. } = slots[oldest];
        let in_order = self.model.config.deterministic && !self.model.is(Mutation::TakeTheOldest);
        if in_order && sequence != self.next_message_in_order() + 1 {
            return self.go(Pc::TakeReady);
        }
        (self.me().slot, self.me().seen) = (oldest as u8, word);
        self.me().hints &= !(1 << oldest);
        self.go(Pc::Swap);
    }

    pub(crate) fn take_ready(&mut self) {
        let bits = std::mem::take(&mut self.state.ready);
        if bits != 0 {
            self.me().walk = bits;
            return self.next_ready();
        }
        match self.me().look.has(Look::FOUND) {
            true => self.next_arrival(),
            false => self.go(Pc::LoadEnd),
        }
    }

    fn next_ready(&mut self) {
        let bits = self.me().walk;
        if bits == 0 {
            self.me().slot = 0;
            return self.go(Pc::TakeReady);
        }
        self.me().slot = bits.trailing_zeros() as u8;
        self.me().walk &= bits - 1;
        self.go(Pc::LoadWord);
    }

    /// A slot of the set was looked at.
    pub(crate) fn arrives(&mut self, ready: bool) {
        if ready {
            self.me().hints |= 1 << self.me().slot;
            self.me().look.set(Look::FOUND, true);
        }
        self.next_ready();
    }

    /// The consumer has claimed a slot. Its message counts as delivered, as a batch or as its
    /// error.
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
        // It has no meaning any more.
        self.state.deaths[usize::from(sequence)] = 0;
        Ok(())
    }

    pub(crate) fn consumer_step(&mut self) -> Result<(), Property> {
        let (me, slot) = (*self.me(), *self.slot());
        match me.pc {
            Pc::StoreWanted => {
                if !self.model.is(Mutation::WantNothing) {
                    self.state.wanted = self.next_message_in_order();
                }
                if self.model.is(Mutation::WantAfterLook) { self.sleep() } else { self.claimed() }
            }
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
                let late = self.model.is(Mutation::ClearAfterRelease);
                self.go(if late || self.model.is(Mutation::AddBeforeFree) { Pc::AddFree } else { Pc::Free });
            }
            Pc::Free => {
                self.free()?;
                match self.model.mutation {
                    Some(Mutation::ClearAfterRelease) => self.released(Pc::ClearSequence),
                    Some(Mutation::AddBeforeFree) => self.notify(Notify::Release),
                    _ => self.released(Pc::AddFree),
                }
            }
            Pc::AddFree => {
                self.add_free();
                match self.model.is(Mutation::AddBeforeFree) {
                    true => self.go(Pc::Free),
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

    /// The process holds the slot no longer.
    pub(crate) fn released(&mut self, pc: Pc) {
        let slot = self.me().slot;
        *self.me() = Process { slot, ..self.me().begins(pc) };
    }

    pub(crate) fn add_free(&mut self) {
        let slot = self.me().slot;
        if !self.model.is(Mutation::NoBitOfFree) {
            self.state.free |= 1 << slot;
        }
    }
}
