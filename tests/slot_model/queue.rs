//! A worker's way to the oldest message, step by step as in `segment/queue.rs` and `find_queued`:
//!
//! ```text
//!   requeues? ─► head ─► entry, its slot's word ─► …  the first that is queued, and of its share
//!   a requeue that it has not seen, or a share with an end: looks at all slots too, and takes the oldest
//!   claimed ─► pass its ticket ─► low backlog? wake the commander        not low: settle what leads nowhere, ask again
//! ```
//!
//! A worker has seen a requeue once queue and slots agree on the oldest message, or on none.

use crate::mutations::Mutation;
use crate::process::{Look, Notify, Pc, Process};
use crate::protocol::{Model, Run};
use crate::state::{SUPERVISOR, SlotState, State, Word};

impl Run<'_> {
    pub(crate) fn queue_step(&mut self, pc: Pc) {
        let (me, slots) = (*self.me(), self.model.config.slots as u8);
        match pc {
            Pc::LoadRequeues => self.load_requeues(),
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
            Pc::Enter => {
                let entry = &mut self.state.entries[usize::from(self.state.tail & (slots - 1))];
                *entry = (self.state.tail + 1) << 1 | me.slot;
                self.go(Pc::StoreTail);
            }
            Pc::StoreTail => {
                self.state.tail += 1;
                match self.index {
                    SUPERVISOR => self.restore(),
                    _ => self.entered(),
                }
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

    fn load_requeues(&mut self) {
        let (seen, ends) = (self.me().hints == 1, !self.my_share_is_open());
        let look = &mut self.me().look;
        look.set(Look::NO_REQUEUE_SINCE, true);
        look.set(Look::SCANS, !seen || ends);
        match self.my_share_is_empty() {
            true => self.found_nothing(),
            false => self.go(Pc::LoadFirst),
        }
    }

    /// The first message was found that the queue leads to.
    fn led_to(&mut self, sequence: u8) {
        let me = self.me();
        (me.next, me.next_sequence, me.next_seen) = (me.slot, sequence, me.seen);
        self.went_through();
    }

    fn went_through(&mut self) {
        let Process { next, next_sequence, next_seen, look, .. } = *self.me();
        self.me().walk = 0;
        if look.has(Look::SCANS) && !self.model.is(Mutation::NeverScan) {
            return self.scan();
        }
        (self.me().next, self.me().next_sequence, self.me().next_seen) = (0, 0, Word::NONE);
        match next_seen {
            Word::NONE => self.found_nothing(),
            seen => self.choose(next, seen, next_sequence),
        }
    }

    /// All slots were looked at: takes what the queue leads to, unless that is not the oldest.
    pub(crate) fn scanned(&mut self) {
        let me = *self.me();
        let same = (me.next_seen != Word::NONE) == (me.best_seen != Word::NONE) && me.next == me.best;
        let done = if self.model.is(Mutation::ScanUntilNothing) { me.best_seen == Word::NONE } else { same };
        let now = me.look.has(Look::NO_REQUEUE_SINCE) || self.model.is(Mutation::SeeLaterRequeues);
        if done && now {
            self.me().hints = 1;
        }
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
pub(crate) enum Entry {
    None,
    Slot(u8),
    /// It was written over by a later round: the ticket to go on with.
    Later(u8),
}

impl Model {
    pub(crate) fn entry(&self, state: &State, ticket: u8) -> Entry {
        let slots = self.config.slots as u8;
        let entry = state.entries[usize::from(ticket & (slots - 1))];
        match entry >> 1 {
            next if next <= ticket => Entry::None,
            next if next == ticket + 1 => Entry::Slot(entry & 1),
            next => Entry::Later((ticket + 1).max(next.saturating_sub(slots))),
        }
    }
}
