//! A worker's way to the oldest message, step by step as in `segment/queue.rs` and `search.rs`:
//!
//! ```text
//!   requeues ─► next ─► first slot of the set: bit, word, number ─► as expected? claim it
//!      no: commanded ─► bit, word, number of each slot of the set ─► claim the oldest
//!   claimed ─► remove the bit ─► expect the next, if this one was the oldest for certain
//!           ─► does the commander sleep? count the set
//! ```
//!
//! Each slot of the set has a word of its own here. So the worker sees two slots at two moments, as
//! it does in the shipped set if they are in two words.

use crate::model::Run;
use crate::mutations::Mutation;
use crate::process::{Notify, Pc, Process};
use crate::state::{CURRENT, Next};
use crate::word::{SlotState, Word};

impl Run<'_> {
    pub(crate) fn queue_step(&mut self, pc: Pc) {
        let me = *self.me();
        match pc {
            Pc::LoadRequeues => {
                self.me().age = CURRENT;
                self.go(Pc::LoadNext);
            }
            Pc::LoadNext => {
                let Next { slot, sequence, age } = self.state.next;
                let holds = age == me.age || self.model.is(Mutation::BelieveTheOld);
                (self.me().from, self.me().expects) = (slot, if holds { sequence } else { 0 });
                self.go(Pc::FirstBit);
            }
            Pc::FirstBit | Pc::LoadBit => {
                self.me().slot = self.at(me.walk);
                let is_first = pc == Pc::FirstBit;
                match self.state.queued >> self.me().slot & 1 == 1 {
                    true => self.go(if is_first { Pc::FirstWord } else { Pc::LoadWord }),
                    false => self.walk_on(is_first),
                }
            }
            Pc::FirstWord => {
                let word = self.slot().word;
                let is_queued = word.is(SlotState::Writing, None);
                self.me().seen = if is_queued { word } else { Word::NONE };
                self.go(if is_queued { Pc::FirstSequence } else { Pc::LoadCommanded });
            }
            Pc::FirstSequence => {
                let sequence = self.slot().sequence;
                match self.is_expected(sequence) {
                    true => self.found(me.slot, me.seen, sequence, true),
                    false => self.go(Pc::LoadCommanded),
                }
            }
            Pc::LoadCommanded => {
                (self.me().until, self.me().walk, self.me().seen) = (self.state.commanded, 0, Word::NONE);
                self.go(Pc::LoadBit);
            }
            Pc::RemoveEarly => {
                self.state.queued &= !(1 << me.slot);
                self.go(Pc::Swap);
            }
            Pc::RemoveBit => {
                if !self.model.is(Mutation::NoRemove) {
                    self.state.queued &= !(1 << me.slot);
                }
                if self.in_crew() { self.look_again() } else { self.took() }
            }
            Pc::StoreNext => {
                let age = if self.model.is(Mutation::ExpectOfTheNewCount) { CURRENT } else { me.age };
                let slot = (me.slot + 1) % self.model.config.slots as u8;
                self.state.next = Next { slot, sequence: me.best_sequence.max(1) + 1, age };
                self.wake_the_commander();
            }
            pc => unreachable!("{pc:?} is not of the queue"),
        }
    }

    /// The slot that a look comes to at this position.
    fn at(&mut self, nth: u8) -> u8 {
        let slots = self.model.config.slots as u8;
        (self.me().from + nth) % slots
    }

    fn walk_on(&mut self, is_first: bool) {
        self.me().walk += 1;
        if usize::from(self.me().walk) < self.model.config.slots {
            self.go(if is_first { Pc::FirstBit } else { Pc::LoadBit });
        } else if is_first {
            self.found_nothing();
        } else {
            self.looked_at_all();
        }
    }

    /// A worker goes on after a slot that it does not want, or not yet.
    pub(crate) fn look_on(&mut self) {
        self.me().seen = Word::NONE;
        self.walk_on(false);
    }

    fn is_expected(&mut self, sequence: u8) -> bool {
        let of_share = !self.in_crew() || self.glanced_at_share_of(sequence);
        of_share && sequence.max(1) == self.me().expects
    }

    /// A worker has read the number of a queued message in its look at each slot of the set.
    pub(crate) fn read_queued(&mut self, sequence: u8) {
        let me = *self.me();
        if self.in_crew() && !self.glanced_at_share_of(sequence) {
            return self.look_on();
        }
        if self.is_expected(sequence) {
            return self.found(me.slot, me.seen, sequence, true);
        }
        // As in `message_number`: no number is read as the first.
        if me.best_seen == Word::NONE || sequence.max(1) < me.best_sequence.max(1) {
            (self.me().best, self.me().best_sequence, self.me().best_seen) = (me.slot, sequence, me.seen);
        }
        self.look_on();
    }

    fn looked_at_all(&mut self) {
        let Process { best, best_sequence, best_seen, until, .. } = *self.me();
        let until = match self.model.mutation {
            Some(Mutation::CommandedAfterLook) => self.state.commanded,
            Some(Mutation::NoLookAtCommanded) => u8::MAX,
            _ => until,
        };
        match best_seen {
            Word::NONE => self.found_nothing(),
            seen => self.found(best, seen, best_sequence, best_sequence.max(1) <= until),
        }
    }

    /// A worker has found a message; `known` if it is the oldest for certain.
    fn found(&mut self, slot: u8, seen: Word, sequence: u8, known: bool) {
        let age = if known { self.me().age } else { 0 };
        self.choose(slot, seen, sequence);
        (self.me().known, self.me().age, self.me().best_sequence) = (known.into(), age, sequence);
        (self.me().from, self.me().expects, self.me().until, self.me().walk) = (0, 0, 0, 0);
    }

    /// The claim stands.
    pub(crate) fn took(&mut self) {
        self.me().notify = Notify::Claim;
        let known = self.me().known == 1 && !self.model.is(Mutation::ExpectNothing);
        if known { self.go(Pc::StoreNext) } else { self.wake_the_commander() }
    }

    fn wake_the_commander(&mut self) {
        let Process { slot, seen, notify, .. } = *self.me();
        *self.me() = Process { slot, seen, notify, ..self.me().begins(Pc::LoadAsleep) };
        if self.model.is(Mutation::NoWakeByClaim) {
            self.notified();
        }
    }
}
