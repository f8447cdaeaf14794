//! Looking for a slot and claiming it, step by step as in `segment/table.rs`: `claim_free`, `claim_queued`,
//! `take_ready`, and the looks of `reclaim_worker` and `reclaim_commander`. A wrong word costs one load, a right one
//! the load of its sequence too (not for a free slot), and then the compare-and-swap.

use crate::mutations::Mutation;
use crate::process::{Pc, Process};
use crate::protocol::{Property, Run};
use crate::state::{COMMANDER, CONSUMER, SUPERVISOR, Slot, SlotState, Word};

impl Run<'_> {
    pub(crate) fn slot(&mut self) -> &mut Slot {
        let slot = self.me().slot;
        &mut self.state.slots[usize::from(slot)]
    }

    /// Looks at the slots from the first.
    pub(crate) fn scan(&mut self) {
        let me = self.me();
        (me.slot, me.seen) = (0, Word::NONE);
        (me.best, me.best_sequence, me.best_seen) = (0, 0, Word::NONE);
        self.go(Pc::LoadWord);
    }

    fn scan_on(&mut self) {
        let slots = self.model.config.slots;
        self.me().seen = Word::NONE;
        self.me().slot += 1;
        if usize::from(self.me().slot) < slots {
            return self.go(Pc::LoadWord);
        }
        let best = *self.me();
        self.scan();
        if best.best_seen == Word::NONE {
            self.found_nothing();
        } else {
            self.choose(best.best, best.best_seen, best.best_sequence);
        }
    }

    fn found_nothing(&mut self) {
        let retires = self.me().retires == 1;
        match self.index {
            CONSUMER => self.go(Pc::LoadEnd),
            SUPERVISOR => self.reclaimed(),
            _ if retires => *self.me() = Process::at(Pc::Dead),
            _ => self.wait(),
        }
    }

    /// Goes on with the slot that was looked for.
    fn choose(&mut self, slot: u8, seen: Word, sequence: u8) {
        self.scan();
        (self.me().slot, self.me().seen) = (slot, seen);
        match self.index {
            SUPERVISOR => self.found_held(),
            _ if self.in_crew() => self.chosen(sequence),
            _ => self.go(Pc::Swap),
        }
    }

    fn wanted(&mut self, word: Word) -> bool {
        match self.index {
            COMMANDER => word.is(SlotState::Free, None),
            CONSUMER => word.state() == SlotState::Ready,
            SUPERVISOR => word.is(SlotState::Writing, Some(usize::from(self.me().number))),
            _ => word.is(SlotState::Writing, None),
        }
    }

    pub(crate) fn load_word(&mut self) {
        let word = self.slot().word;
        if !self.wanted(word) {
            return self.scan_on();
        }
        self.me().seen = word;
        self.go(if self.index == COMMANDER { Pc::Swap } else { Pc::LoadSequence });
    }

    pub(crate) fn load_sequence(&mut self) {
        let sequence = self.slot().sequence;
        let me = *self.me();
        let in_order = self.model.config.deterministic && !self.model.is(Mutation::TakeTheOldest);
        if self.index == CONSUMER && in_order {
            return match sequence == self.state.taken() + 1 {
                true => self.choose(me.slot, me.seen, sequence),
                false => self.scan_on(),
            };
        }
        if self.in_crew() && !self.glanced_at_share_of(sequence) {
            return self.scan_on();
        }
        if me.best_seen == Word::NONE || sequence < me.best_sequence {
            (self.me().best, self.me().best_sequence, self.me().best_seen) = (me.slot, sequence, me.seen);
        }
        self.scan_on();
    }

    /// The compare-and-swap that claims the slot, or by which the supervisor takes it back.
    pub(crate) fn swap(&mut self) -> Result<(), Property> {
        let (seen, stored) = (self.me().seen, self.slot().word);
        let blind = self.model.is(Mutation::ClaimWithoutComparing) && self.wanted(seen);
        if stored != seen && !blind {
            match self.index {
                SUPERVISOR => return Err(Property::Exclusive),
                COMMANDER => self.scan_on(),
                _ if self.in_crew() => self.glance(),
                _ => self.scan(),
            }
            return Ok(());
        }
        match self.index {
            COMMANDER => {
                self.new_use();
                self.claim(Word::new(SlotState::Writing, Some(COMMANDER), 0));
            }
            CONSUMER => {
                self.claim(seen.to(SlotState::Reading, None));
                return self.take();
            }
            SUPERVISOR => return self.take_back(),
            worker if self.in_crew() => self.claim_in_crew(seen.to(SlotState::Writing, Some(worker))),
            worker => self.claim(seen.to(SlotState::Writing, Some(worker))),
        }
        Ok(())
    }

    /// The generation is bumped: who has seen an older word will not find it again.
    fn new_use(&mut self) {
        if self.model.is(Mutation::SameGeneration) {
            return;
        }
        let slot = self.me().slot;
        for process in &mut self.state.processes {
            if process.slot == slot && process.seen != Word::NONE {
                process.seen = Word::STALE;
            }
            if process.best == slot && process.best_seen != Word::NONE {
                process.best_seen = Word::STALE;
            }
        }
    }

    fn claim(&mut self, next: Word) {
        let split = self.model.is(Mutation::ClaimInTwoStores) && self.index != CONSUMER;
        let stored = if split { next.to(next.state(), None) } else { next };
        self.slot().word = stored;
        let slot = self.me().slot;
        self.scan();
        self.keep_claim(slot, next);
        self.me().fresh = 0;
        if split { self.go(Pc::StoreOwner) } else { self.claimed() }
    }

    /// A transition by a holder, or by the supervisor for a dead one: nobody else changes the word.
    pub(crate) fn transition(&mut self, next: Word) -> Result<(), Property> {
        let seen = self.me().seen;
        if self.slot().word != seen {
            return Err(Property::Exclusive);
        }
        self.slot().word = next;
        Ok(())
    }

    /// The transition to a free slot. Its word keeps the attempts, of which the next use knows nothing: so does the
    /// model from here on.
    pub(crate) fn free(&mut self) -> Result<(), Property> {
        self.transition(Word::FREE)?;
        self.slot().message = 0;
        self.slot().spoil_array();
        Ok(())
    }
}
