//! A worker of one of two crews, step by step as in `segment/shares.rs` and `claim_queued`:
//!
//! ```text
//!   worker   retire? ─► glance ─► look ─► note ─► claim ─► look again ─► hold it, or give it back and wake
//! ```
//!
//! Without a swap the share word is constant and no process reads the notes, so the workers'
//! programs are without these steps.

use crate::config::Property;
use crate::model::{Model, Run};
use crate::mutations::Mutation;
use crate::process::{Notify, Pc, Process};
use crate::share::Share;
use crate::word::{CONSUMER, FIRST_WORKER, SlotState, Word};

impl Model {
    fn may_take(&self, share: Share, worker: usize, sequence: u8) -> bool {
        let crew = self.crew_of(worker);
        let all = self.is(Mutation::NewCrewTakesAll) && crew == 1 && share.is_open_for(1);
        all || share.allows(crew, sequence.saturating_sub(1))
    }
}

impl Run<'_> {
    // A worker.

    /// Whether it is a worker of one of two crews.
    pub(crate) fn in_crew(&self) -> bool {
        self.model.swaps() && (FIRST_WORKER..CONSUMER).contains(&self.index)
    }

    /// Whether the worker may claim a message by its glance at the share word.
    pub(crate) fn glanced_at_share_of(&mut self, sequence: u8) -> bool {
        let share = self.me().share;
        self.model.may_take(share, self.index, sequence)
    }

    fn my_share_is_empty(&mut self) -> bool {
        let share = self.me().share;
        let is_open = share.is_open_for(self.model.crew_of(self.index));
        share == Share::CLOSED || !is_open && share.first() == 0
    }

    /// Begins `claim_queued`, or its next round.
    pub(crate) fn glance(&mut self) {
        self.claim_anew(Pc::Glance);
    }

    /// A worker has found a queued message of its share.
    pub(crate) fn chosen(&mut self, sequence: u8) {
        use Mutation::{NoNote, NoteAfterClaim, NoteAfterSecondLook};
        self.me().best_sequence = sequence;
        let later = matches!(self.model.mutation, Some(NoNote | NoteAfterClaim | NoteAfterSecondLook));
        let claim = self.before_claim();
        self.go(if later { claim } else { Pc::StoreNote });
    }

    pub(crate) fn claim_in_crew(&mut self, next: Word) {
        self.slot().word = next;
        (self.me().seen, self.me().share) = (next, Share::FIRST_CREW);
        self.go(Pc::RemoveBit);
    }

    /// The word is changed and the bit removed.
    pub(crate) fn look_again(&mut self) {
        match self.model.mutation {
            Some(Mutation::NoSecondLook) => self.confirmed(),
            Some(Mutation::NoteAfterClaim) => self.go(Pc::StoreNote),
            _ => self.go(Pc::LookAgain),
        }
    }

    /// The claim stands.
    fn confirmed(&mut self) {
        let Process { slot, seen, known, age, best_sequence, .. } = *self.me();
        *self.me() = Process { slot, seen, known, age, best_sequence, ..self.me().begins(Pc::LookAgain) };
        self.took();
    }

    /// The wait for the share is over.
    fn may_begin(&mut self) {
        self.me().early = 0;
        self.look();
    }

    pub(crate) fn crew_step(&mut self) -> Result<(), Property> {
        let (me, share, crew) = (*self.me(), self.state.share, self.model.crew_of(self.index));
        match me.pc {
            Pc::LoadRetire => match (me.early == 1, self.state.is_retired(self.index)) {
                (true, true) => self.may_begin(),
                (true, false) => self.go(Pc::LoadShare),
                (false, retires) => {
                    self.me().retires = retires.into();
                    self.go(Pc::Glance);
                }
            },
            Pc::LoadShare if share.is_open_for(crew) => self.may_begin(),
            Pc::LoadShare => self.wait(),
            Pc::Glance => {
                self.me().share = share;
                match self.my_share_is_empty() {
                    true => self.found_nothing(),
                    false => self.go(Pc::LoadRequeues),
                }
            }
            Pc::StoreNote => {
                // It has no meaning after the cut.
                if !self.state.shares_are_settled() {
                    let noted = &mut self.state.noted[self.index - FIRST_WORKER];
                    *noted = me.best_sequence.max(1).max(*noted);
                }
                match self.model.mutation {
                    Some(Mutation::NoteAfterClaim) => self.go(Pc::LookAgain),
                    Some(Mutation::NoteAfterSecondLook) => self.confirmed(),
                    _ => {
                        let claim = self.before_claim();
                        self.go(claim);
                    }
                }
            }
            Pc::LookAgain if !self.model.may_take(share, self.index, me.best_sequence) => {
                self.go(Pc::AddBack);
            }
            Pc::LookAgain if self.model.is(Mutation::NoteAfterSecondLook) => self.go(Pc::StoreNote),
            Pc::LookAgain => self.confirmed(),
            Pc::AddBack => {
                if !self.model.is(Mutation::NoBitOfGiveBack) {
                    self.state.queued |= 1 << me.slot;
                }
                self.go(Pc::GiveBack);
            }
            Pc::GiveBack => self.give_back()?,
            Pc::NoteRequeue => {
                if !self.model.is(Mutation::NoNoteOfGiveBack) {
                    self.state.note_requeue();
                }
                match self.model.is(Mutation::GiveBackWithoutWake) {
                    true => self.glance(),
                    false => self.notify(Notify::GiveBack),
                }
            }
            pc => unreachable!("{pc:?} is not a worker's"),
        }
        Ok(())
    }

    /// Gives a message back: the cut came between the glance and the claim, and the message may be
    /// the other crew's.
    fn give_back(&mut self) -> Result<(), Property> {
        let attempts = self.me().seen.attempts() + u8::from(self.model.is(Mutation::GiveBackIsAnAttempt));
        self.transition(Word::new(SlotState::Writing, None, attempts))?;
        self.claim_anew(Pc::NoteRequeue);
        Ok(())
    }

    // The consumer.

    /// A message that is taken before the share word is opened is checked when it is opened.
    pub(crate) fn of_the_right_edition(&mut self, message: u8) -> Result<(), Property> {
        let share = self.state.share;
        let new = share.is_open_for(1) && message >= share.first();
        let right = !self.model.swaps() || self.slot().edition == 1 + u8::from(new);
        if right { Ok(()) } else { Err(Property::Edition) }
    }
}
