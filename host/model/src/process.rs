//! A process of the model: its next step, and the values that it remembers.

use bytemuck::NoUninit;

use crate::share::Share;
use crate::word::{SUPERVISOR, Word};

/// The four events. Each word is a bit in [`State::asleep`](crate::state::State) and, for a process
/// that has read it, [`Process::fresh`].
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    Queued,
    Freed,
    Ready,
    Opened,
}

/// Why an event is notified. The event, the processes that are woken and the next step follow from
/// it.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, NoUninit)]
pub(crate) enum Notify {
    None,
    Publish,
    Release,
    /// A worker has claimed a message.
    Claim,
    Commit,
    End,
    GiveBack,
    EveryoneQueued,
    EveryoneFreed,
    EveryoneReady,
}

impl Notify {
    pub(crate) fn event(self) -> Event {
        match self {
            Self::Publish | Self::GiveBack | Self::EveryoneQueued => Event::Queued,
            Self::Release | Self::Claim | Self::EveryoneFreed => Event::Freed,
            _ => Event::Ready,
        }
    }

    /// Whether it is `Event::rouse`, which wakes even if no process says that it sleeps.
    pub(crate) fn rouses(self) -> bool {
        matches!(self, Self::EveryoneQueued | Self::EveryoneFreed | Self::EveryoneReady)
    }
}

/// The next step of a process. Each is at most one access to shared memory.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, NoUninit)]
pub(crate) enum Pc {
    /// Killed, or a worker that retired. Not reaped yet.
    Dead,
    /// Exited. The consumer: has seen the end.
    Ended,
    /// A worker that is to be started.
    Due,
    // `Event::wait_for` and `Event::sleep`.
    Ticket,
    Announce,
    CompareAndSleep,
    Asleep,
    // `Event::notify_one`, `Event::notify_all_if`, `Event::rouse`, and whether a wake is worth it.
    Count,
    /// Mutated: counts after the look for sleepers.
    CountLate,
    LoadAsleep,
    CountQueued,
    HasAny,
    LoadWanted,
    ClearAsleep,
    /// Mutated: clears the bit after the wake.
    ClearLate,
    Wake,
    WakeOne,
    RouseAll,
    // `SlotSet::take`.
    TakeFree,
    TakeReady,
    // A look at slots, then the compare-and-swap of the word that was chosen.
    LoadWord,
    LoadSequence,
    Swap,
    /// Mutated: the second store of a transition that is two stores.
    StoreOwner,
    // A worker's look: the expectation, the next slot of the set, then each of them.
    LoadRequeues,
    LoadNext,
    FirstBit,
    FirstWord,
    FirstSequence,
    LoadBit,
    /// Mutated: before the claim.
    RemoveEarly,
    // After its claim. The supervisor too, before it gives a message up.
    RemoveBit,
    StoreNext,
    // In a swap: a worker before its looks and around its claim.
    LoadRetire,
    LoadShare,
    Glance,
    StoreNote,
    LookAgain,
    AddBack,
    GiveBack,
    NoteRequeue,
    // The commander, while it holds a slot.
    WriteMessage,
    StoreSequence,
    StoreCommanded,
    AddQueued,
    Queue,
    Abandon,
    StoreEnd,
    // A worker, while it holds a slot.
    ReadMessage,
    WriteFirstHalf,
    WriteSecondHalf,
    StoreOutcome,
    Commit,
    AddReady,
    /// Mutated: after the transition.
    LoadNumberLate,
    // The consumer.
    StoreWanted,
    ReadFirstHalf,
    ReadSecondHalf,
    ClearSequence,
    Free,
    /// The commander too.
    AddFree,
    LoadEnd,
    // The supervisor.
    Reap,
    ReloadSequence,
    /// A worker too, before it looks at each slot of the set.
    LoadCommanded,
    RestoreWord,
    RestoreHas,
    RestoreAgain,
    RestoreBit,
    RestoreRequeues,
    Restart,
    // The supervisor's cut.
    Close,
    LoadNote,
    Open,
    StoreRetire,
    Drain,
}

/// A process: its step, and the few values that it remembers. Values that it needs no longer are
/// zeroed, so that states that differ in nothing else are one.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, NoUninit)]
pub(crate) struct Process {
    pub(crate) pc: Pc,
    /// The slot that it looks at, or holds.
    pub(crate) slot: u8,
    /// That slot's word, as the process saw it, or as its claim says.
    pub(crate) seen: Word,
    /// The best slot so far: its number, its sequence, its word. Also the sequence of the slot that
    /// a worker chose, or of the batch that it commits.
    pub(crate) best: u8,
    pub(crate) best_sequence: u8,
    pub(crate) best_seen: Word,
    /// A worker's look: the slot that it begins at, and the sequence of the message that it
    /// expects; 0 if it expects none.
    pub(crate) from: u8,
    pub(crate) expects: u8,
    /// A worker's look: the age of the count of requeues that it has read, see
    /// [`Next`](crate::state::Next).
    pub(crate) age: u8,
    /// A worker's look: the number of messages that were commanded before it looked at each slot.
    pub(crate) until: u8,
    /// 1: a worker knows that the message that it claims is the oldest.
    pub(crate) known: u8,
    /// How many slots of the set the process has looked at. For the consumer: the bits that it has
    /// taken.
    pub(crate) walk: u8,
    /// The observations of this look, see [`Look`].
    pub(crate) look: Look,
    /// Its memory from look to look, a bit for each slot: a commander's supply, or the consumer's
    /// arrivals.
    pub(crate) hints: u8,
    /// The commander's next message, a worker's message, or the process that the supervisor buries.
    /// The supervisor itself during its cut.
    pub(crate) number: u8,
    /// Whether the event's word is as the process read it: its count ([`FRESH`]), and its bit then
    /// ([`SLEEPER`]).
    pub(crate) fresh: u8,
    pub(crate) notify: Notify,
    /// A worker's glance at the share word.
    pub(crate) share: Share,
    /// 1: a worker that has seen that it must retire, or the supervisor that has said so.
    pub(crate) retires: u8,
    /// 1: a worker that waits for its share.
    pub(crate) early: u8,
}

/// The count has not changed since it was read.
pub(crate) const FRESH: u8 = 1;
/// A process was asleep then.
pub(crate) const SLEEPER: u8 = 2;

/// The observations of a process in one look.
#[repr(transparent)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, NoUninit)]
pub(crate) struct Look(u8);

impl Look {
    pub(crate) const NOTHING: Self = Self(0);
    /// The consumer has found something in the set.
    pub(crate) const FOUND: u8 = 8;
    /// The supervisor has found a ready slot, or a queued one. If neither, a free one.
    pub(crate) const READY: u8 = 16;
    pub(crate) const QUEUED: u8 = 64;
    /// Mutated: a process slept when it looked.
    pub(crate) const ASLEEP: u8 = 32;

    pub(crate) fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    pub(crate) fn set(&mut self, flag: u8, value: bool) {
        self.0 = if value { self.0 | flag } else { self.0 & !flag };
    }
}

impl Process {
    pub(crate) const fn at(pc: Pc) -> Self {
        Self {
            pc,
            slot: 0,
            seen: Word::NONE,
            best: 0,
            best_sequence: 0,
            best_seen: Word::NONE,
            from: 0,
            expects: 0,
            age: 0,
            until: 0,
            known: 0,
            walk: 0,
            look: Look::NOTHING,
            hints: 0,
            number: 0,
            fresh: 0,
            notify: Notify::None,
            share: Share::FIRST_CREW,
            retires: 0,
            early: 0,
        }
    }

    /// Begins something else. Its memory from look to look stays.
    pub(crate) fn begins(&self, pc: Pc) -> Self {
        let Self { number, early, hints, .. } = *self;
        Self { number, early, hints, ..Self::at(pc) }
    }

    pub(crate) fn bytes(&self) -> [u8; size_of::<Self>()] {
        bytemuck::bytes_of(self).try_into().expect("a process has as many bytes as it has")
    }

    /// Whether it is between the step that makes a claim and the one that gives it up.
    pub(crate) fn holds(&self, index: usize) -> bool {
        let holding = match self.pc {
            Pc::StoreOwner | Pc::WriteMessage | Pc::StoreSequence | Pc::StoreCommanded => true,
            Pc::AddQueued | Pc::Queue => true,
            Pc::ReadMessage | Pc::WriteFirstHalf | Pc::WriteSecondHalf | Pc::StoreOutcome => true,
            Pc::LookAgain | Pc::AddBack | Pc::GiveBack | Pc::Commit => true,
            Pc::StoreWanted | Pc::ReadFirstHalf | Pc::ReadSecondHalf | Pc::Free => true,
            // The supervisor does these to the slot of a dead process.
            Pc::Abandon | Pc::ClearSequence | Pc::RemoveBit => index != SUPERVISOR,
            _ => self.notify == Notify::Claim,
        };
        holding && self.seen != Word::NONE
    }
}
