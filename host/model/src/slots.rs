//! Looking for a slot and claiming it, step by step as in `segment/table.rs` and `search.rs`:
//! `claim_free` and `claim_queued`, and the looks of `reclaim_worker` and `reclaim_commander`. A
//! wrong word costs one load. A right one costs the load of its sequence too (not for a free slot),
//! and then the compare-and-swap.

use crate::config::Property;
use crate::model::Run;
use crate::mutations::Mutation;
use crate::process::{Look, Pc, Process};
use crate::state::Slot;
use crate::word::{COMMANDER, CONSUMER, SUPERVISOR, SlotState, Word};

impl Run<'_> {
    pub(crate) fn claim_step(&mut self) -> Result<(), Property> {
        let supervises = self.index == SUPERVISOR;
        match self.me().pc {
            Pc::TakeFree => self.take_free(),
            Pc::TakeReady => self.take_ready(),
            Pc::LoadWord => self.load_word(),
            Pc::LoadSequence => self.load_sequence(),
            Pc::Swap => return self.swap(),
            pc @ (Pc::LoadRequeues | Pc::LoadNext | Pc::LoadBit) => self.queue_step(pc),
            pc @ (Pc::FirstBit | Pc::FirstWord | Pc::FirstSequence) => self.queue_step(pc),
            pc @ (Pc::RemoveEarly | Pc::StoreNext) => self.queue_step(pc),
            pc @ (Pc::LoadCommanded | Pc::RemoveBit) if !supervises => self.queue_step(pc),
            _ => return self.role_step(),
        }
        Ok(())
    }

    pub(crate) fn slot(&mut self) -> &mut Slot {
        let slot = self.me().slot;
        &mut self.state.slots[usize::from(slot)]
    }

    // The commander's supply.

    /// Looks at the first slot of the supply, or takes another supply.
    pub(crate) fn next_free(&mut self) {
        let supply = self.me().hints;
        if supply == 0 {
            return self.go(Pc::TakeFree);
        }
        self.me().slot = supply.trailing_zeros() as u8;
        self.me().hints &= supply - 1;
        self.go(Pc::LoadWord);
    }

    /// The load that finds nothing, or else the swap. Bits can only be added in between.
    fn take_free(&mut self) {
        match std::mem::take(&mut self.state.free) {
            0 => self.wait(),
            bits => {
                self.me().hints = bits;
                self.next_free();
            }
        }
    }

    // The supervisor's look at all slots.

    /// Looks at all slots, from the first.
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
        self.me().slot = 0;
        let Process { best, best_sequence, best_seen, .. } = *self.me();
        match best_seen {
            Word::NONE => self.reclaimed(),
            seen => self.choose(best, seen, best_sequence),
        }
    }

    pub(crate) fn found_nothing(&mut self) {
        match self.me().retires {
            1 => *self.me() = Process::at(Pc::Dead),
            _ => self.wait(),
        }
    }

    /// Goes on with the slot that was found.
    pub(crate) fn choose(&mut self, slot: u8, seen: Word, sequence: u8) {
        self.scan();
        (self.me().slot, self.me().seen) = (slot, seen);
        self.me().look = Look::NOTHING;
        match self.index {
            SUPERVISOR => self.found_held(),
            _ if self.in_crew() => self.chosen(sequence),
            _ => {
                let claim = self.before_claim();
                self.go(claim);
            }
        }
    }

    pub(crate) fn before_claim(&mut self) -> Pc {
        if self.model.is(Mutation::RemoveBeforeClaim) { Pc::RemoveEarly } else { Pc::Swap }
    }

    fn wanted(&mut self, word: Word) -> bool {
        match self.index {
            COMMANDER => word.is(SlotState::Free, None),
            CONSUMER => word.state() == SlotState::Ready,
            SUPERVISOR => word.is(SlotState::Writing, Some(usize::from(self.me().number))),
            _ => word.is(SlotState::Writing, None),
        }
    }

    fn load_word(&mut self) {
        let word = self.slot().word;
        let wanted = self.wanted(word);
        if self.index == CONSUMER {
            return self.arrives(wanted);
        }
        if !wanted {
            return match self.index {
                COMMANDER => self.next_free(),
                SUPERVISOR => self.scan_on(),
                _ => self.look_on(),
            };
        }
        self.me().seen = word;
        self.go(if self.index == COMMANDER { Pc::Swap } else { Pc::LoadSequence });
    }

    fn load_sequence(&mut self) {
        let sequence = self.slot().sequence;
        let me = *self.me();
        if self.index != SUPERVISOR {
            return self.read_queued(sequence);
        }
        // As in `message_number`: no number is read as the first.
        if me.best_seen == Word::NONE || sequence.max(1) < me.best_sequence.max(1) {
            (self.me().best, self.me().best_sequence, self.me().best_seen) = (me.slot, sequence, me.seen);
        }
        self.scan_on();
    }

    // The compare-and-swap.

    /// Claims the slot. The supervisor takes it back.
    fn swap(&mut self) -> Result<(), Property> {
        let (seen, stored) = (self.me().seen, self.slot().word);
        let blind = self.model.is(Mutation::ClaimWithoutComparing) && self.wanted(seen);
        if stored != seen && !blind {
            match self.index {
                SUPERVISOR => return Err(Property::Exclusive),
                COMMANDER => self.next_free(),
                CONSUMER => self.next_arrival(),
                _ if self.in_crew() => self.glance(),
                _ => self.claim_anew(Pc::LoadRequeues),
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

    /// Begins the next round of `claim_queued`, in the same look.
    pub(crate) fn claim_anew(&mut self, pc: Pc) {
        let Process { retires, fresh, hints, .. } = *self.me();
        *self.me() = Process { retires, fresh, hints, ..Process::at(pc) };
    }

    /// Increments the generation. A process that remembers an older word will not find it again.
    fn new_use(&mut self) {
        if self.model.is(Mutation::SameGeneration) {
            return;
        }
        let slot = self.me().slot;
        for process in &mut self.state.processes {
            let seen = [(process.slot, &mut process.seen), (process.best, &mut process.best_seen)];
            for (_, word) in seen.into_iter().filter(|(of, word)| *of == slot && **word != Word::NONE) {
                *word = Word::STALE;
            }
        }
    }

    fn claim(&mut self, next: Word) {
        let split = self.model.is(Mutation::ClaimInTwoStores) && self.index != CONSUMER;
        let stored = if split { next.to(next.state(), None) } else { next };
        self.slot().word = stored;
        let Process { slot, known, age, best_sequence, .. } = *self.me();
        *self.me() = Process { known, age, best_sequence, ..self.me().begins(Pc::Swap) };
        self.keep_claim(slot, next);
        if split { self.go(Pc::StoreOwner) } else { self.has_claimed() }
    }

    /// The word is changed.
    pub(crate) fn has_claimed(&mut self) {
        match self.index {
            COMMANDER => self.claimed(),
            CONSUMER if self.model.config.deterministic && !self.model.is(Mutation::WantAfterLook) => {
                self.go(Pc::StoreWanted);
            }
            CONSUMER => self.claimed(),
            _ if self.model.is(Mutation::RemoveBeforeClaim) => self.took(),
            _ => self.go(Pc::RemoveBit),
        }
    }

    /// A transition by the holder, or by the supervisor for a dead one. No other process changes
    /// the word.
    pub(crate) fn transition(&mut self, next: Word) -> Result<(), Property> {
        let seen = self.me().seen;
        if self.slot().word != seen {
            return Err(Property::Exclusive);
        }
        self.slot().word = next;
        Ok(())
    }

    /// The transition to a free slot. Its word keeps the attempts in the shipped code; the next use
    /// resets them, and the model does so here.
    pub(crate) fn free(&mut self) -> Result<(), Property> {
        self.transition(Word::FREE)?;
        self.slot().message = 0;
        self.slot().spoil_array();
        Ok(())
    }
}
