//! The state machine of one slot, in one word.
//!
//! ```text
//!   bit 63             32 31      18 17         2 1   0
//!       │   generation   │ attempts │   owner    │state│
//! ```
//!
//! | state | owner | the process that may touch the payload |
//! | --- | --- | --- |
//! | Free | – | none |
//! | Writing | commander | the commander, writing the message |
//! | Writing | nobody (*queued*) | none; any worker may claim it |
//! | Writing | worker k | worker k; after k was reaped, the supervisor |
//! | Ready | – | none; any consumer may claim it |
//! | Reading | – | the holder of the batch |
//!
//! Every transition is one compare-and-swap of the whole word, so state and owner never disagree.
//! The generation counts the slot's uses: a claim that was decided on an older use fails. Only this
//! module sees bits.

use std::fmt;

use super::place::Place;
use super::sync::{AtomicU64, Ordering};

const STATE_BITS: u32 = 2;
const OWNER_BITS: u32 = 16;
const ATTEMPT_BITS: u32 = 14;
const OWNER_SHIFT: u32 = STATE_BITS;
const ATTEMPT_SHIFT: u32 = OWNER_SHIFT + OWNER_BITS;
const GENERATION_SHIFT: u32 = ATTEMPT_SHIFT + ATTEMPT_BITS;
/// The bits of state and owner. No two states or owners have the same.
const HELD: u64 = (1 << ATTEMPT_SHIFT) - 1;

/// The most attempts that a word can count.
pub(crate) const MAX_COUNTED_ATTEMPTS: u32 = (1 << ATTEMPT_BITS) - 1;
const _: () = assert!(MAX_COUNTED_ATTEMPTS == crate::limits::MAX_ATTEMPTS, "the limit is the word's");

/// The public states of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SlotState {
    Free,
    Writing,
    Ready,
    Reading,
}

/// The process that holds a slot in state Writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    Nobody,
    Commander,
    Worker(Place),
}

impl Owner {
    const COMMANDER: u64 = (1 << OWNER_BITS) - 1;

    fn bits(self) -> u64 {
        match self {
            Self::Nobody => 0,
            Self::Commander => Self::COMMANDER,
            Self::Worker(place) => place.index() as u64 + 1,
        }
    }

    fn from_bits(bits: u64) -> Self {
        match bits {
            0 => Self::Nobody,
            Self::COMMANDER => Self::Commander,
            place => Self::Worker(Place::at((place - 1) as usize)),
        }
    }
}

/// A value of the word.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Snapshot(u64);

impl Snapshot {
    fn new(state: SlotState, owner: Owner, attempts: u32, generation: u32) -> Self {
        Self(
            held(state, owner)
                | u64::from(attempts.min(MAX_COUNTED_ATTEMPTS)) << ATTEMPT_SHIFT
                | u64::from(generation) << GENERATION_SHIFT,
        )
    }

    pub(crate) fn state(self) -> SlotState {
        match self.0 & ((1 << STATE_BITS) - 1) {
            0 => SlotState::Free,
            1 => SlotState::Writing,
            2 => SlotState::Ready,
            _ => SlotState::Reading,
        }
    }

    pub(crate) fn owner(self) -> Owner {
        Owner::from_bits(self.0 >> OWNER_SHIFT & ((1 << OWNER_BITS) - 1))
    }

    /// How many attempts at the message ended with a worker's death.
    pub(crate) fn attempts(self) -> u32 {
        (self.0 >> ATTEMPT_SHIFT) as u32 & MAX_COUNTED_ATTEMPTS
    }

    fn generation(self) -> u32 {
        (self.0 >> GENERATION_SHIFT) as u32
    }

    pub(crate) fn is(self, state: SlotState, owner: Owner) -> bool {
        self.0 & HELD == held(state, owner)
    }

    /// Whether both values belong to the same use of the slot, and so to the same message.
    pub(super) fn is_same_use(self, other: Self) -> bool {
        self.generation() == other.generation()
    }

    fn to(self, state: SlotState, owner: Owner) -> Self {
        Self(self.0 & !HELD | held(state, owner))
    }
}

fn held(state: SlotState, owner: Owner) -> u64 {
    state as u64 | owner.bits() << OWNER_SHIFT
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?}/{:?} attempts {} gen {}",
            self.state(),
            self.owner(),
            self.attempts(),
            self.generation()
        )
    }
}

/// A slot's word. Zero is a free slot that was never used.
#[repr(transparent)]
#[derive(Debug)]
pub(crate) struct SlotWord(AtomicU64);

impl SlotWord {
    #[cfg(all(test, cobuf_loom))]
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// The current value. Everything that the slot's holder wrote before it is visible.
    pub(crate) fn load(&self) -> Snapshot {
        Snapshot(self.0.load(Ordering::Acquire))
    }

    /// Free → Writing(commander): a new use of the slot.
    pub(crate) fn transition_to_commanding(&self, seen: Snapshot) -> Option<Snapshot> {
        let generation = seen.generation().wrapping_add(1);
        let next = Snapshot::new(SlotState::Writing, Owner::Commander, 0, generation);
        self.swap(seen, (SlotState::Free, Owner::Nobody), next)
    }

    /// Writing(commander) → Writing(nobody): the message is complete.
    pub(crate) fn transition_to_queued(&self, held: Snapshot) -> Option<Snapshot> {
        self.swap(held, (SlotState::Writing, Owner::Commander), held.to(SlotState::Writing, Owner::Nobody))
    }

    /// Writing(nobody) → Writing(worker).
    pub(crate) fn transition_to_producing(&self, seen: Snapshot, worker: Place) -> Option<Snapshot> {
        let next = seen.to(SlotState::Writing, Owner::Worker(worker));
        self.swap(seen, (SlotState::Writing, Owner::Nobody), next)
    }

    /// Writing(worker) → Ready: the batch, or the report of its failure, is complete.
    pub(crate) fn transition_to_ready(&self, held: Snapshot, worker: Place) -> Option<Snapshot> {
        self.swap(held, (SlotState::Writing, Owner::Worker(worker)), held.to(SlotState::Ready, Owner::Nobody))
    }

    /// Ready → Reading. A ready slot has an owner only if a plugin wrote over its word. The owner
    /// stays then, and the slot is never free again, because that owner may still write to it.
    pub(crate) fn transition_to_reading(&self, seen: Snapshot) -> Option<Snapshot> {
        let owner = seen.owner();
        self.swap(seen, (SlotState::Ready, owner), seen.to(SlotState::Reading, owner))
    }

    /// Reading → Free.
    pub(crate) fn transition_to_free(&self, held: Snapshot) -> Option<Snapshot> {
        self.swap(held, (SlotState::Reading, Owner::Nobody), held.to(SlotState::Free, Owner::Nobody))
    }

    /// Writing(commander) → Free: the commander had no message for it.
    pub(crate) fn transition_to_abandoned(&self, held: Snapshot) -> Option<Snapshot> {
        self.swap(held, (SlotState::Writing, Owner::Commander), held.to(SlotState::Free, Owner::Nobody))
    }

    /// Writing(worker) → Writing(nobody), after so many attempts: the worker was reaped.
    pub(crate) fn transition_to_requeued(
        &self,
        held: Snapshot,
        worker: Place,
        attempts: u32,
    ) -> Option<Snapshot> {
        let next = Snapshot::new(SlotState::Writing, Owner::Nobody, attempts, held.generation());
        self.swap(held, (SlotState::Writing, Owner::Worker(worker)), next)
    }

    fn swap(&self, seen: Snapshot, from: (SlotState, Owner), next: Snapshot) -> Option<Snapshot> {
        if !seen.is(from.0, from.1) {
            return None;
        }
        let swapped = self.0.compare_exchange(seen.0, next.0, Ordering::AcqRel, Ordering::Acquire);
        swapped.is_ok().then_some(next)
    }
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;

    #[test]
    fn word_keeps_state_owner_attempts_and_generation() {
        for owner in
            [Owner::Nobody, Owner::Commander, Owner::Worker(Place::at(0)), Owner::Worker(Place::at(1023))]
        {
            let snapshot = Snapshot::new(SlotState::Writing, owner, 3, u32::MAX);
            assert_eq!((snapshot.state(), snapshot.owner()), (SlotState::Writing, owner));
            assert_eq!((snapshot.attempts(), snapshot.generation()), (3, u32::MAX));
        }
        assert_eq!(Snapshot(0).state(), SlotState::Free);
    }

    #[test]
    fn claim_that_was_decided_on_an_older_use_fails() {
        let word = SlotWord(AtomicU64::new(0));
        let old = word.load();
        let held = word.transition_to_commanding(old).unwrap();
        word.transition_to_abandoned(held).unwrap();
        assert_eq!(word.load().state(), SlotState::Free);
        assert!(word.transition_to_commanding(old).is_none());
    }

    #[test]
    fn attempts_last_until_the_next_use() {
        let word = SlotWord(AtomicU64::new(0));
        word.transition_to_queued(word.transition_to_commanding(word.load()).unwrap()).unwrap();
        word.transition_to_requeued(
            word.transition_to_producing(word.load(), Place::at(5)).unwrap(),
            Place::at(5),
            1,
        )
        .unwrap();
        assert_eq!(word.load().attempts(), 1);
        word.transition_to_ready(
            word.transition_to_producing(word.load(), Place::at(6)).unwrap(),
            Place::at(6),
        )
        .unwrap();
        word.transition_to_free(word.transition_to_reading(word.load()).unwrap()).unwrap();
        assert_eq!(word.transition_to_commanding(word.load()).unwrap().attempts(), 0);
    }
}
