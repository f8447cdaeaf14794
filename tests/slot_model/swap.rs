//! Two crews and the cut between them, step by step as in `segment/shares.rs`, `claim_queued`, and `cut`, `want`, `plan_restart` and
//! `drain` in `supervisor/`:
//!
//! ```text
//!   worker       retire? ─► glance ─► look ─► note ─► claim ─► look again ─► hold it, or give it back and wake
//!   supervisor   close ─► read the notes ─► open, wake ─► tell the old crew to retire, wake ─► drain
//! ```
//!
//! The new crew waits on `opened` from the first state on; the cut may come at any time, or never. A newcomer that dies before ends
//! the swap. From its cut on an old worker ends when it finds nothing, and is started again only where nobody of its crew is
//! there and one has left a message. Where nothing is swapped the share word is a constant and no note is read, so that
//! the workers' programs are without these steps.

use bytemuck::NoUninit;

use crate::mutations::Mutation;
use crate::process::{Notify, Pc, Process};
use crate::protocol::{Model, Property, Run};
use crate::state::{CONSUMER, FIRST_WORKER, SUPERVISOR, SlotState, State, Word};

/// The share word, as in `segment/shares.rs`.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, NoUninit)]
pub(crate) struct Share(u8);

impl Share {
    /// All messages are the first crew's.
    pub(crate) const FIRST_CREW: Self = Self(0);
    /// They are being cut.
    const CLOSED: Self = Self(2);

    fn open_for_newcomers(first: u8) -> Self {
        Self(first << 2 | 1)
    }

    fn first(self) -> u8 {
        self.0 >> 2
    }

    fn is_open_for(self, crew: u8) -> bool {
        self.0 & 3 == crew
    }

    pub(crate) fn bits(self) -> u8 {
        self.0
    }

    /// Whether a crew may take this message.
    fn allows(self, crew: u8, message: u8) -> bool {
        match self {
            Self::CLOSED => false,
            _ if self.is_open_for(crew) => message >= self.first(),
            _ => message < self.first(),
        }
    }
}

impl std::fmt::Debug for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self::CLOSED => write!(f, "closed"),
            share => write!(f, "from {} on crew {}", share.first(), share.0 & 1),
        }
    }
}

/// What the supervisor knows of the swap.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, NoUninit)]
pub(crate) enum Swap {
    /// There is none, or it was given up.
    No,
    /// The newcomers are there.
    Pending,
    /// The cut was begun: the first crew goes.
    Cut,
}

impl State {
    /// Whether the share word will not change any more.
    pub(crate) fn shares_are_settled(&self) -> bool {
        self.swap == Swap::No || self.share.is_open_for(1)
    }

    pub(crate) fn is_retired(&self, index: usize) -> bool {
        self.retire >> index & 1 == 1
    }
}

impl Model {
    pub(crate) fn swaps(&self) -> bool {
        self.config.newcomers > 0
    }

    pub(crate) fn crew_of(&self, worker: usize) -> u8 {
        u8::from(worker >= FIRST_WORKER + self.config.workers)
    }

    /// The workers of the crew that goes.
    pub(crate) fn old_crew(&self) -> std::ops::Range<usize> {
        FIRST_WORKER..FIRST_WORKER + self.config.workers
    }

    /// What a worker's batch is marked with.
    pub(crate) fn edition(&self, worker: usize) -> u8 {
        if self.swaps() { self.crew_of(worker) + 1 } else { 0 }
    }

    fn may_take(&self, share: Share, worker: usize, sequence: u8) -> bool {
        let crew = self.crew_of(worker);
        let all = self.is(Mutation::NewCrewTakesAll) && crew == 1 && share.is_open_for(1);
        all || share.allows(crew, sequence.saturating_sub(1))
    }

    /// The supervisor has seen the newcomers ready.
    pub(crate) fn begins_cut(&self, state: &State) -> State {
        let late = self.is(Mutation::NotesBeforeClosing) || self.is(Mutation::CutWithoutClosing);
        let first = if late { Pc::LoadNote } else { Pc::Close };
        let mut next = *state;
        next.swap = Swap::Cut;
        next.processes[SUPERVISOR] = cutting(first, FIRST_WORKER);
        next
    }

    /// Any worker that is due is started, at any time: it may have to wait before.
    pub(crate) fn starts_due(&self, state: &State, mut found: impl FnMut(State)) {
        for index in FIRST_WORKER..CONSUMER {
            if state.processes[index].pc == Pc::Due {
                let mut next = *state;
                next.processes[index] = self.started(index, 0);
                let goes = self.crew_of(index) == 0 && state.swap == Swap::Cut;
                next.retire |= u8::from(goes) << index;
                found(next);
            }
        }
    }
}

/// The supervisor in its cut; `worker` is the next whose note it reads, or that it tells to retire.
fn cutting(pc: Pc, worker: usize) -> Process {
    Process { number: SUPERVISOR as u8, best: worker as u8, ..Process::at(pc) }
}

impl Run<'_> {
    // A worker.

    /// Whether it is a worker of one of two crews.
    pub(crate) fn in_crew(&self) -> bool {
        self.model.swaps() && (FIRST_WORKER..CONSUMER).contains(&self.index)
    }

    /// Whether what it has seen at a glance lets a worker take a message.
    pub(crate) fn glanced_at_share_of(&mut self, sequence: u8) -> bool {
        let share = self.me().share;
        self.model.may_take(share, self.index, sequence)
    }

    /// Whether, as far as it has seen, its share has no end.
    pub(crate) fn my_share_is_open(&mut self) -> bool {
        let share = self.me().share;
        !self.in_crew() || share.is_open_for(self.model.crew_of(self.index))
    }

    pub(crate) fn my_share_is_empty(&mut self) -> bool {
        let share = self.me().share;
        self.in_crew() && (share == Share::CLOSED || !self.my_share_is_open() && share.first() == 0)
    }

    /// Begins `claim_queued`, or its next round.
    pub(crate) fn glance(&mut self) {
        self.claim_anew(Pc::Glance);
    }

    /// A queued message of its share was found.
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
        match self.model.mutation {
            Some(Mutation::NoSecondLook) => self.confirmed(),
            Some(Mutation::NoteAfterClaim) => self.go(Pc::StoreNote),
            _ => self.go(Pc::LookAgain),
        }
    }

    /// The claim stands.
    fn confirmed(&mut self) {
        let Process { slot, seen, ticket, .. } = *self.me();
        *self.me() = Process { slot, seen, ticket, ..self.me().begins(Pc::LookAgain) };
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
                self.go(Pc::LoadRequeues);
            }
            Pc::StoreNote => {
                let noted = &mut self.state.noted[self.index - FIRST_WORKER];
                *noted = me.best_sequence.max(1).max(*noted);
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
                self.go(Pc::GiveBack);
            }
            Pc::LookAgain if self.model.is(Mutation::NoteAfterSecondLook) => self.go(Pc::StoreNote),
            Pc::LookAgain => self.confirmed(),
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

    /// Cut off between the glance and the claim: the message may be the other crew's.
    fn give_back(&mut self) -> Result<(), Property> {
        let attempts = self.me().seen.attempts() + u8::from(self.model.is(Mutation::GiveBackIsAnAttempt));
        self.transition(Word::new(SlotState::Writing, None, attempts))?;
        self.claim_anew(Pc::NoteRequeue);
        Ok(())
    }

    // The consumer.

    /// Whose share a message is that is taken before the share word is opened again is checked when it is.
    pub(crate) fn of_the_right_edition(&mut self, message: u8) -> Result<(), Property> {
        let share = self.state.share;
        let new = share.is_open_for(1) && message >= share.first();
        let right = !self.model.swaps() || self.slot().edition == 1 + u8::from(new);
        if right { Ok(()) } else { Err(Property::Edition) }
    }

    // The supervisor.

    pub(crate) fn cut_step(&mut self) -> Result<(), Property> {
        let me = *self.me();
        let (worker, late) = (usize::from(me.best), self.model.is(Mutation::NotesBeforeClosing));
        let last = worker + 1 == self.model.old_crew().end;
        match me.pc {
            Pc::Close => {
                self.state.share = Share::CLOSED;
                self.go(if late { Pc::Open } else { Pc::LoadNote });
            }
            Pc::LoadNote => {
                let noted = self.state.noted[worker - FIRST_WORKER];
                self.me().best_sequence = noted.max(me.best_sequence);
                match last {
                    true => self.go(if late { Pc::Close } else { Pc::Open }),
                    false => self.me().best += 1,
                }
            }
            Pc::Open => self.open(me.best_sequence)?,
            Pc::StoreRetire => {
                match self.state.processes[worker].pc {
                    Pc::Ended => {}
                    Pc::Due => self.state.processes[worker] = Process::at(Pc::Ended),
                    _ => self.state.retire |= 1 << worker,
                }
                match last {
                    true => self.retired(),
                    false => self.me().best += 1,
                }
            }
            Pc::Drain => {
                self.drain();
                *self.me() = Process::at(Pc::Reap);
            }
            pc => unreachable!("{pc:?} is not the supervisor's"),
        }
        Ok(())
    }

    /// Hands over. A note is of a message that was queued, so that the shipped minimum of it and `commanded` is the note.
    fn open(&mut self, first: u8) -> Result<(), Property> {
        if first > self.state.commanded || self.state.taken >> first != 0 {
            return Err(Property::Edition);
        }
        self.state.share = Share::open_for_newcomers(first);
        *self.me() = cutting(Pc::StoreRetire, FIRST_WORKER);
        if !matches!(self.model.mutation, Some(Mutation::NoWakeByCut | Mutation::NoWakeInSwap)) {
            self.notify(Notify::EveryoneQueued);
        }
        Ok(())
    }

    /// The old crew was told to retire.
    fn retired(&mut self) {
        *self.me() = Process { retires: 1, ..cutting(Pc::Drain, 0) };
        if !matches!(self.model.mutation, Some(Mutation::NoWakeByRetiring | Mutation::NoWakeInSwap)) {
            self.notify(Notify::EveryoneQueued);
        }
    }

    pub(crate) fn woke_in_cut(&mut self) {
        *self.me() = match self.me().retires {
            0 => cutting(Pc::StoreRetire, FIRST_WORKER),
            _ => cutting(Pc::Drain, 0),
        };
    }

    /// A worker was buried: it is to be started again; or its crew goes; or the swap is given up, since it was the newcomer.
    pub(crate) fn plan_restart(&mut self, index: usize) {
        let newcomer = self.model.crew_of(index) == 1;
        let due = newcomer == (self.state.swap == Swap::Cut);
        self.state.processes[index] = Process::at(if due { Pc::Due } else { Pc::Ended });
        if newcomer && !due {
            self.state.swap = Swap::No;
        } else if !due {
            self.drain();
        }
    }

    /// Whether the message in the slot that a dead worker left is not its crew's: it was cut off, and died before it gave it back.
    pub(crate) fn was_cut_off(&mut self) -> bool {
        let (worker, sequence) = (usize::from(self.me().number), self.slot().sequence);
        let ignored = self.model.is(Mutation::CutOffIsAnAttempt);
        let share = self.state.share;
        let cut_off =
            self.model.swaps() && !share.allows(self.model.crew_of(worker), sequence.saturating_sub(1));
        if cut_off {
            self.state.deaths[usize::from(sequence.saturating_sub(1))] -= 1;
        }
        cut_off && !ignored
    }

    /// Where nobody of the old crew is left and there is a message that only it may take, one is started again. One step:
    /// without the crew nobody changes its share.
    fn drain(&mut self) {
        let mut crew = self.model.old_crew();
        let gone = crew.all(|index| self.state.processes[index].pc == Pc::Ended);
        let left = self.state.slots.iter().any(|slot| {
            let message = slot.sequence.saturating_sub(1);
            slot.word.is(SlotState::Writing, None) && self.state.share.allows(0, message)
        });
        if gone && left && !self.model.is(Mutation::NoDrain) {
            self.state.processes[FIRST_WORKER] = Process::at(Pc::Due);
        }
    }
}
