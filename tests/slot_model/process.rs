//! A process of the model: the step that it does next, and what it remembers.

use bytemuck::NoUninit;

use crate::state::{SUPERVISOR, Word};
use crate::swap::Share;

/// The four events. Their counts are in [`Process::fresh`], see `state`.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    Queued,
    Freed,
    Ready,
    Opened,
}

/// Why an event is notified: which event, whom it wakes, and what comes next follow from it.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, NoUninit)]
pub(crate) enum Notify {
    None,
    Publish,
    Release,
    Commit,
    End,
    GiveBack,
    EveryoneQueued,
    EveryoneFreed,
    EveryoneReady,
}

impl Notify {
    /// Whether it is `Event::rouse`, which does not look for waiters.
    pub(crate) fn rouses(self) -> bool {
        use Notify::{EveryoneFreed, EveryoneQueued, EveryoneReady};
        matches!(self, EveryoneQueued | EveryoneFreed | EveryoneReady)
    }
}

/// The step that a process does next. Each is at most one access to what processes share.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, NoUninit)]
pub(crate) enum Pc {
    /// Killed, or a worker that retired; not reaped yet.
    Dead,
    /// Exited; of the consumer: has seen the end.
    Ended,
    /// A worker that is to be started.
    Due,
    // `Event::wait_for` and `Event::sleep`.
    Ticket,
    Announce,
    CompareAndSleep,
    Asleep,
    Retract,
    // `Event::notify`.
    Bump,
    LookForWaiters,
    Wake,
    RouseAll,
    // `Table::oldest` and its like, then the compare-and-swap of the word that was chosen.
    LoadWord,
    LoadSequence,
    Swap,
    /// Mutated: the second store of a transition that is two stores.
    StoreOwner,
    // Where the producer's code is swapped: a worker before its looks, and around its claim.
    LoadRetire,
    LoadShare,
    Glance,
    StoreNote,
    LookAgain,
    GiveBack,
    // The commander, holding a slot.
    WriteMessage,
    StoreSequence,
    StoreCommanded,
    Queue,
    Abandon,
    LoadCommanded,
    StoreEnd,
    // A worker, holding a slot.
    ReadMessage,
    WriteFirstHalf,
    WriteSecondHalf,
    StoreOutcome,
    Commit,
    // The consumer.
    ReadFirstHalf,
    ReadSecondHalf,
    ClearSequence,
    Free,
    LoadEnd,
    // The supervisor.
    Reap,
    // The supervisor's cut.
    Close,
    LoadNote,
    Open,
    StoreRetire,
    Drain,
    ReloadSequence,
    Restart,
}

/// A process: its step, and the few values that it remembers. What it does not need any more is zeroed, so that
/// states which differ in nothing else are one.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, NoUninit)]
pub(crate) struct Process {
    pub(crate) pc: Pc,
    /// The slot that it looks at, or holds.
    pub(crate) slot: u8,
    /// That slot's word, as it was seen, or as the claim says.
    pub(crate) seen: Word,
    /// The best of the slots looked at before: its number, its sequence, its word. The sequence of the slot that a worker chose.
    pub(crate) best: u8,
    pub(crate) best_sequence: u8,
    pub(crate) best_seen: Word,
    /// The commander's next sequence number, a worker's message, the process that the supervisor buries, or itself
    /// while it cuts.
    pub(crate) number: u8,
    /// 1: the event's count still is the ticket.
    pub(crate) fresh: u8,
    pub(crate) notify: Notify,
    /// A worker's glance at the share word.
    pub(crate) share: Share,
    /// 1: a worker that has seen that it shall retire; the supervisor, that has said so.
    pub(crate) retires: u8,
    /// 1: a worker that waits for its share.
    pub(crate) early: u8,
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
            number: 0,
            fresh: 0,
            notify: Notify::None,
            share: Share::FIRST_CREW,
            retires: 0,
            early: 0,
        }
    }

    pub(crate) fn bytes(&self) -> [u8; size_of::<Self>()] {
        bytemuck::bytes_of(self).try_into().expect("a process has as many bytes as it has")
    }

    /// Whether it is between the step that made a claim and the one that gives it up.
    pub(crate) fn holds(&self, index: usize) -> bool {
        let holding = match self.pc {
            Pc::StoreOwner | Pc::WriteMessage | Pc::StoreSequence | Pc::StoreCommanded | Pc::Queue => true,
            Pc::ReadMessage | Pc::WriteFirstHalf | Pc::WriteSecondHalf | Pc::StoreOutcome => true,
            Pc::LookAgain | Pc::GiveBack | Pc::Commit | Pc::ReadFirstHalf | Pc::ReadSecondHalf | Pc::Free => {
                true
            }
            // The supervisor does these with what the dead commander held.
            Pc::Abandon | Pc::ClearSequence => index != SUPERVISOR,
            _ => false,
        };
        holding && self.seen != Word::NONE
    }
}
