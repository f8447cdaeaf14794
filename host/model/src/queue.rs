//! A worker's way to the oldest message, step by step as in `segment/queue.rs` and `find_queued`:
//!
//! ```text
//!   requeues? ─► head ─► entry, its slot's word ─► …  the first that is queued, and of its share
//!      └─► one that it has not heard of: until = commanded
//!   until such messages are gone, or where its share has an end: looks at all slots too, and takes the oldest
//!   claimed ─► pass its ticket ─► low backlog? wake the commander        not low: settle what leads nowhere, ask again
//! ```

use crate::mutations::Mutation;
use crate::process::{Look, Notify, Pc, Process};
use crate::protocol::{Model, Run};
use crate::state::{CONSUMER, FIRST_WORKER, SLOTS, SlotState, State, Word};

pub(crate) const SLOT_BITS: u32 = 2;
pub(crate) const SLOT_MASK: u8 = (1 << SLOT_BITS) - 1;

/// What a worker knows of messages that the queue may not lead to: whether it has heard of the last requeue, and until which message
/// it looks at all slots.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scout {
    pub(crate) has_heard: bool,
    pub(crate) until: u8,
}

impl Scout {
    /// As a process keeps it. Who is to hear of a requeue will set `until` anew.
    pub(crate) const fn hints(self, in_a_look: bool) -> u8 {
        if self.has_heard || in_a_look { self.until << 1 | self.has_heard as u8 } else { 0 }
    }

    pub(crate) fn of(process: &Process) -> Self {
        Self { has_heard: process.hints & 1 == 1, until: process.hints >> 1 }
    }
}

impl State {
    /// `requeues` is counted: nobody has heard of the last.
    pub(crate) fn note_requeue(&mut self) {
        for process in &mut self.processes[FIRST_WORKER..CONSUMER] {
            let looks = matches!(process.pc, Pc::LoadUntil | Pc::LoadFirst | Pc::LoadWord | Pc::LoadSequence);
            let scout = Scout { has_heard: false, ..Scout::of(process) };
            process.hints = scout.hints(looks || process.pc.walks());
        }
    }
}

impl Run<'_> {
    pub(crate) fn queue_step(&mut self, pc: Pc) {
        let me = *self.me();
        match pc {
            Pc::LoadRequeues if self.my_share_is_empty() => self.found_nothing(),
            Pc::LoadRequeues if self.model.is(Mutation::UntilBeforeRequeues) => self.hear_late(),
            Pc::LoadRequeues => {
                let has_heard = Scout::of(&me).has_heard;
                self.me().hints |= 1;
                self.go(if has_heard { Pc::LoadFirst } else { Pc::LoadUntil });
            }
            Pc::LoadUntil => {
                let until = match self.model.is(Mutation::UntilTheTail) {
                    true => self.state.tail,
                    false => self.state.commanded,
                };
                self.me().hints = Scout { until, ..Scout::of(&me) }.hints(true);
                self.go(Pc::LoadFirst);
            }
            Pc::LoadFirst => {
                self.me().walk = self.state.head;
                self.go(Pc::LoadEntry);
            }
            Pc::LoadEntry => match self.model.entry(&self.state, me.walk) {
                Entry::None => self.went_through(),
                Entry::Later(walk) => self.me().walk = walk,
                Entry::Slot(slot) => {
                    self.me().walk += 1;
                    (self.me().slot, self.me().ticket) = (slot, me.walk + 1);
                    self.go(Pc::LoadEntryWord);
                }
            },
            Pc::LoadEntryWord => {
                let word = self.slot().word;
                if !word.is(SlotState::Writing, None) {
                    return self.go(Pc::LoadEntry);
                }
                self.me().seen = word;
                match self.in_crew() {
                    true => self.go(Pc::LoadEntrySequence),
                    false => self.led_to(0),
                }
            }
            Pc::LoadEntrySequence => {
                let sequence = self.slot().sequence;
                if self.glanced_at_share_of(sequence) {
                    return self.led_to(sequence);
                }
                self.me().seen = Word::NONE;
                self.go(Pc::LoadEntry);
            }
            // Before the first round is over there is nothing to write over.
            Pc::Enter if self.state.tail >= self.model.entries() && !me.look.has(Look::FOUND) => {
                self.me().look.set(Look::FOUND, true);
                let lapped = self.state.tail.saturating_sub(self.state.head) >= self.model.entries();
                if lapped && !self.model.is(Mutation::NoNoteOfLap) {
                    self.go(Pc::NoteRequeue);
                }
            }
            Pc::Enter => {
                let at = self.model.entry_at(self.state.tail);
                self.state.entries[at] = (self.state.tail + 1) << SLOT_BITS | me.slot;
                self.go(Pc::StoreTail);
            }
            Pc::StoreTail => {
                self.state.tail += 1;
                self.entered();
            }
            Pc::Pass => self.pass(),
            Pc::SettleFirst => {
                self.me().walk = self.state.head;
                self.go(Pc::SettleEntry);
            }
            Pc::SettleEntry => match self.model.entry(&self.state, me.walk) {
                Entry::None => self.settled(),
                Entry::Later(walk) => self.me().walk = walk,
                Entry::Slot(slot) => {
                    self.me().walk += 1;
                    self.me().next = slot;
                    self.go(Pc::SettleWord);
                }
            },
            Pc::SettleWord => {
                match self.state.slots[usize::from(me.next)].word.is(SlotState::Writing, None) {
                    true => self.settled(),
                    false => {
                        self.me().ticket = me.walk;
                        self.go(Pc::SettleEntry);
                    }
                }
            }
            Pc::SettlePass => self.pass(),
            pc => unreachable!("{pc:?} is not of the queue"),
        }
    }

    /// Mutated: two steps, of which the first reads how many messages were commanded.
    fn hear_late(&mut self) {
        let (me, commanded) = (*self.me(), self.state.commanded);
        if !me.look.has(Look::FOUND) {
            self.me().look.set(Look::FOUND, true);
            self.me().best_sequence = commanded;
            return;
        }
        if !Scout::of(&me).has_heard {
            self.me().hints = Scout { has_heard: true, until: me.best_sequence }.hints(true);
        }
        (self.me().look, self.me().best_sequence) = (Look::NOTHING, 0);
        self.go(Pc::LoadFirst);
    }

    /// The first message was found that the queue leads to.
    fn led_to(&mut self, sequence: u8) {
        let me = self.me();
        (me.next, me.next_sequence, me.next_seen) = (me.slot, sequence, me.seen);
        self.went_through();
    }

    fn went_through(&mut self) {
        let Process { next, next_sequence, next_seen, .. } = *self.me();
        self.me().walk = 0;
        let scans = Scout::of(self.me()).until > 0 || !self.my_share_is_open();
        if scans && !self.model.is(Mutation::NeverScan) {
            return self.scan();
        }
        (self.me().next, self.me().next_sequence, self.me().next_seen) = (0, 0, Word::NONE);
        self.has_looked();
        match next_seen {
            Word::NONE => self.found_nothing(),
            seen => self.choose(next, seen, next_sequence),
        }
    }

    /// All slots were looked at: takes what the queue leads to, unless that is not the oldest.
    pub(crate) fn scanned(&mut self) {
        let me = *self.me();
        let scout = Scout::of(&me);
        let same = (me.next_seen != Word::NONE) == (me.best_seen != Word::NONE) && me.next == me.best;
        let none = me.best_seen == Word::NONE;
        let done = match self.model.mutation {
            Some(Mutation::ScanOnce) => true,
            Some(Mutation::ScanUntilAgreed) => same,
            Some(Mutation::ScanUntilNothing) => none,
            _ => none || me.best_sequence.saturating_sub(1) >= scout.until,
        };
        if done {
            self.me().hints = Scout { until: 0, ..scout }.hints(true);
        }
        self.has_looked();
        (self.me().next, self.me().next_sequence, self.me().next_seen) = (0, 0, Word::NONE);
        match (me.best_seen, same) {
            (Word::NONE, _) => self.found_nothing(),
            (_, true) => self.choose(me.next, me.next_seen, me.next_sequence),
            (_, false) => {
                self.me().ticket = 0;
                self.choose(me.best, me.best_seen, me.best_sequence);
            }
        }
    }

    /// The look is over.
    fn has_looked(&mut self) {
        let scout = Scout::of(self.me());
        let has_heard = scout.has_heard || self.model.is(Mutation::HearOfLaterRequeues);
        self.me().hints = Scout { has_heard, ..scout }.hints(false);
    }

    /// Mutated: enters the newest queued message for the dead commander, unless an entry from the head on leads to its slot.
    pub(crate) fn enter_the_last(&mut self) {
        let queued = (0..SLOTS).filter(|&slot| self.state.slots[slot].word.is(SlotState::Writing, None));
        let Some(newest) = queued.max_by_key(|&slot| self.state.slots[slot].sequence) else { return };
        let mut walk = self.state.head;
        loop {
            match self.model.entry(&self.state, walk) {
                Entry::None => break,
                Entry::Later(later) => walk = later,
                Entry::Slot(slot) if usize::from(slot) == newest => return,
                Entry::Slot(_) => walk += 1,
            }
        }
        let at = self.model.entry_at(self.state.tail);
        self.state.entries[at] = (self.state.tail + 1) << SLOT_BITS | newest as u8;
        self.state.tail += 1;
    }

    /// A claim stands.
    pub(crate) fn took(&mut self) {
        self.me().notify = Notify::Claim;
        let passes = self.me().ticket != 0 && !self.model.is(Mutation::PassBeforeClaim);
        self.go(if passes { Pc::Pass } else { Pc::LoadHead });
    }

    fn pass(&mut self) {
        self.state.head = self.state.head.max(self.me().ticket);
        self.me().ticket = 0;
        let claims = self.me().notify == Notify::None;
        self.go(if claims { Pc::Swap } else { Pc::LoadHead });
    }

    fn settled(&mut self) {
        (self.me().next, self.me().walk) = (0, 0);
        let stale = self.me().ticket != 0;
        self.go(if stale { Pc::SettlePass } else { Pc::LoadHead });
    }
}

/// What a place in the queue says to who comes by with a ticket.
enum Entry {
    None,
    Slot(u8),
    /// It was written over by a later round: the ticket to go on with.
    Later(u8),
}

impl Model {
    fn entries(&self) -> u8 {
        self.config.slots.next_power_of_two() as u8
    }

    fn entry_at(&self, ticket: u8) -> usize {
        (ticket & (self.entries() - 1)).into()
    }

    fn entry(&self, state: &State, ticket: u8) -> Entry {
        let entry = state.entries[self.entry_at(ticket)];
        match entry >> SLOT_BITS {
            next if next <= ticket => Entry::None,
            next if next == ticket + 1 => Entry::Slot(entry & SLOT_MASK),
            next => Entry::Later((ticket + 1).max(next.saturating_sub(self.entries()))),
        }
    }
}
