//! The protocol with one mistake, and the property that must notice it.

use Mutation as M;
use Property as P;

use crate::config::{Config, Property};
use crate::process::Notify;

/// One mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutation {
    // A notification is not counted.
    NoCountInPublish,
    NoCountInRelease,
    NoCountInClaim,
    NoCountInCommit,
    NoCountInEndStream,
    NoCountOfQueuedForEveryone,
    NoCountOfFreedForEveryone,
    NoCountOfReadyForEveryone,
    // Waiting and waking in another order.
    LookForSleepersBeforeCount,
    TicketAfterLook,
    AnnounceWithoutComparing,
    SleepWithoutComparing,
    SleepUnannounced,
    ClearWithoutWake,
    ClearAfterWake,
    NoWakeAfterClearing,
    NotifyBeforeQueueing,
    // Notifications that wake no sleeper.
    NoWakeByClaim,
    WakeBelowLow,
    WakeBelowWanted,
    WantNothing,
    WantAfterLook,
    // The sets of free and ready slots.
    AddBeforeFree,
    AddBeforeReady,
    NoBitOfFree,
    NoBitOfReady,
    NoRestoreOfFree,
    NoRestoreOfReady,
    LoadNumberAfterCommit,
    // The set of queued slots.
    AddAfterQueueing,
    NoBitOfQueued,
    NoBitOfGiveBack,
    NoRestoreOfQueued,
    RestoreWithoutLooking,
    RemoveBeforeClaim,
    NoRemove,
    NoRemoveOfGivenUp,
    // Where the oldest message is expected.
    CommandedAfterLook,
    NoLookAtCommanded,
    ExpectOfTheNewCount,
    BelieveTheOld,
    ExpectNothing,
    NoNoteInRestore,
    NoNoteOfGiveBack,
    // No process is woken after a death.
    NoWakeAfterWorker,
    NoWakeAfterCommander,
    NoWakeAtTheEnd,
    WakeBeforeReclaim,
    // A burial in another order, or of the living.
    RestartBeforeReclaim,
    ReclaimFromTheLiving,
    // The attempts.
    RequeueWithoutAttempt,
    OneAttemptTooMany,
    // A claim that is not one compare-and-swap.
    ClaimWithoutComparing,
    ClaimInTwoStores,
    SameGeneration,
    TakeTheOldest,
    // How a dead commander's successor goes on.
    CommanderSkipsOne,
    CommanderRepeatsOne,
    CountAfterQueueing,
    CountBeforeSequence,
    NeverRequeueCommanded,
    AbandonNothing,
    AbandonKeepsSequence,
    ReleaseKeepsSequence,
    ClearAfterRelease,
    // A claim of a crew's worker.
    NoSecondLook,
    NoNote,
    NoteAfterClaim,
    NoteAfterSecondLook,
    GiveBackWithoutWake,
    GiveBackIsAnAttempt,
    CutOffIsAnAttempt,
    NewCrewTakesAll,
    NewcomerWaitsOnQueued,
    // The cut.
    NotesBeforeClosing,
    CutWithoutClosing,
    NoWakeByCut,
    NoWakeByRetiring,
    NoWakeInSwap,
    NoDrain,
}

impl Mutation {
    /// The mutation that does not count this notification.
    pub(crate) fn without_count(notify: Notify) -> Option<Self> {
        match notify {
            Notify::None | Notify::GiveBack => None,
            Notify::Publish => Some(Self::NoCountInPublish),
            Notify::Release => Some(Self::NoCountInRelease),
            Notify::Claim => Some(Self::NoCountInClaim),
            Notify::Commit => Some(Self::NoCountInCommit),
            Notify::End => Some(Self::NoCountInEndStream),
            Notify::EveryoneQueued => Some(Self::NoCountOfQueuedForEveryone),
            Notify::EveryoneFreed => Some(Self::NoCountOfFreedForEveryone),
            Notify::EveryoneReady => Some(Self::NoCountOfReadyForEveryone),
        }
    }
}

/// One worker, two slots, two messages, one death.
pub(crate) const SMALL: Config = Config {
    slots: 2,
    workers: 1,
    newcomers: 0,
    messages: 2,
    crashes: 1,
    max_attempts: u8::MAX,
    deterministic: true,
    plugin_ends: false,
    low: 0,
    rouses_at_once: false,
};
/// The slot is used again. Most mistakes show here.
pub(crate) const ONE_SLOT: Config = Config { slots: 1, ..SMALL };
const ANY: Config = Config { deterministic: false, ..ONE_SLOT };
const ANY_TWO: Config = Config { slots: 2, ..ANY };
const ANY_NO_DEATH: Config = Config { crashes: 0, messages: 3, ..ANY_TWO };
/// One death is one too many.
const ONE_ATTEMPT: Config = Config { max_attempts: 1, ..ONE_SLOT };
/// Two deaths by one message are one too many.
const TWO_ATTEMPTS: Config = Config { messages: 1, crashes: 2, max_attempts: 2, ..ONE_SLOT };
/// Slots are used again, and a commander's successor dies too.
const LONG: Config = Config { messages: 3, crashes: 2, ..SMALL };
pub(crate) const TWO_WORKERS: Config = Config { workers: 2, messages: 1, ..ONE_SLOT };
const TWO_WORKERS_TWO_MESSAGES: Config =
    Config { slots: 2, messages: 2, rouses_at_once: true, ..TWO_WORKERS };
const TWO_WORKERS_NO_DEATH: Config = Config { workers: 2, crashes: 0, ..SMALL };

/// The run in which each mistake is noticed, and the first property that a shortest run breaks.
pub(crate) const CAUGHT: &[(Mutation, Config, Property)] = &[
    (M::NoCountInPublish, ONE_SLOT, P::NotStuck),
    (M::NoCountInRelease, ONE_SLOT, P::NotStuck),
    (M::NoCountInCommit, ONE_SLOT, P::NotStuck),
    (M::NoCountInEndStream, ONE_SLOT, P::NotStuck),
    (M::NoCountOfQueuedForEveryone, ONE_SLOT, P::NotStuck),
    (M::NoCountOfReadyForEveryone, ONE_SLOT, P::NotStuck),
    (M::LookForSleepersBeforeCount, ONE_SLOT, P::NotStuck),
    (M::TicketAfterLook, ONE_SLOT, P::NotStuck),
    (M::AnnounceWithoutComparing, ONE_SLOT, P::NotStuck),
    (M::SleepWithoutComparing, ONE_SLOT, P::NotStuck),
    (M::SleepUnannounced, ONE_SLOT, P::NotStuck),
    (M::ClearWithoutWake, ONE_SLOT, P::NotStuck),
    (M::ClearAfterWake, ONE_SLOT, P::NotStuck),
    (M::NoWakeAfterClearing, SMALL, P::NotStuck),
    (M::NotifyBeforeQueueing, ONE_SLOT, P::NotStuck),
    (M::WakeBelowLow, ONE_SLOT, P::NotStuck),
    (M::WakeBelowWanted, ONE_SLOT, P::NotStuck),
    (M::WantNothing, ONE_SLOT, P::NotStuck),
    (M::AddBeforeFree, ONE_SLOT, P::NotStuck),
    (M::AddBeforeReady, ONE_SLOT, P::NotStuck),
    (M::NoBitOfFree, ONE_SLOT, P::NotStuck),
    (M::NoBitOfReady, ONE_SLOT, P::NotStuck),
    (M::NoRestoreOfFree, ONE_SLOT, P::NotStuck),
    (M::NoRestoreOfReady, ONE_SLOT, P::NotStuck),
    (M::AddAfterQueueing, ONE_SLOT, P::NotStuck),
    (M::NoBitOfQueued, ONE_SLOT, P::NotStuck),
    (M::NoRestoreOfQueued, ONE_SLOT, P::NotStuck),
    (M::RestoreWithoutLooking, ONE_SLOT, P::NotStuck),
    (M::RemoveBeforeClaim, Config { slots: 1, ..TWO_WORKERS_NO_DEATH }, P::NotStuck),
    (M::NoRemove, ONE_SLOT, P::NotStuck),
    (M::NoRemoveOfGivenUp, ONE_ATTEMPT, P::NotStuck),
    (M::CommandedAfterLook, ANY_NO_DEATH, P::Oldest),
    (M::NoLookAtCommanded, ANY_NO_DEATH, P::Oldest),
    (M::ExpectOfTheNewCount, TWO_WORKERS_TWO_MESSAGES, P::Oldest),
    (M::BelieveTheOld, ANY_TWO, P::Oldest),
    (M::NoNoteInRestore, SMALL, P::Oldest),
    (M::NoWakeAfterWorker, ONE_SLOT, P::NotStuck),
    (M::NoWakeAfterCommander, ONE_SLOT, P::NotStuck),
    (M::NoWakeAtTheEnd, ONE_SLOT, P::NotStuck),
    (M::WakeBeforeReclaim, ONE_SLOT, P::NotStuck),
    (M::RestartBeforeReclaim, SMALL, P::OnlyFromTheDead),
    (M::ReclaimFromTheLiving, ONE_SLOT, P::OnlyFromTheDead),
    (M::RequeueWithoutAttempt, TWO_ATTEMPTS, P::ErrorInItsPlace),
    (M::OneAttemptTooMany, ONE_ATTEMPT, P::ErrorInItsPlace),
    (M::ClaimWithoutComparing, TWO_WORKERS, P::Exclusive),
    (M::ClaimInTwoStores, SMALL, P::Whole),
    (M::TakeTheOldest, TWO_WORKERS_NO_DEATH, P::InOrder),
    (M::CommanderSkipsOne, SMALL, P::NotStuck),
    (M::CommanderRepeatsOne, ANY, P::Oldest),
    (M::CountAfterQueueing, ANY_TWO, P::Oldest),
    (M::CountBeforeSequence, ONE_SLOT, P::NotStuck),
    (M::NeverRequeueCommanded, ONE_SLOT, P::NotStuck),
    (M::AbandonNothing, ONE_SLOT, P::CanFinish),
    (M::ReleaseKeepsSequence, ONE_SLOT, P::Whole),
    (M::ClearAfterRelease, ONE_SLOT, P::Oldest),
    (M::NoSecondLook, SWAP, P::Edition),
    (M::NoNote, SWAP, P::Edition),
    (M::NoteAfterSecondLook, SWAP, P::Edition),
    (M::NotesBeforeClosing, SWAP, P::Edition),
    (M::CutWithoutClosing, SWAP, P::Edition),
    (M::NewcomerWaitsOnQueued, SWAP, P::NotStuck),
    (M::NoWakeByRetiring, SWAP, P::NotStuck),
    (M::NoWakeInSwap, SWAP, P::NotStuck),
    (M::NewCrewTakesAll, SWAP_AND_DEATH, P::Edition),
    (M::GiveBackIsAnAttempt, Config { max_attempts: 2, ..SWAP_AND_DEATH }, P::ErrorInItsPlace),
    (M::CutOffIsAnAttempt, Config { max_attempts: 1, ..SWAP_AND_DEATH }, P::ErrorInItsPlace),
];

/// Mistakes whose runs take gigabytes.
pub(crate) const CAUGHT_LATE: &[(Mutation, Config, Property)] =
    &[(M::AbandonKeepsSequence, LONG, P::Whole), (M::NoDrain, SWAP_AND_DEATH, P::NotStuck)];

/// One old worker and one new, one message.
pub(crate) const SWAP: Config =
    Config { slots: 1, newcomers: 1, messages: 1, crashes: 0, rouses_at_once: true, ..SMALL };
pub(crate) const SWAP_AND_DEATH: Config = Config { crashes: 1, ..SWAP };

/// Mistakes that make no difference here.
///
/// - After a death no process needs the count of `freed`: the process that frees a slot counts
///   itself. (A stop, which is not modelled, needs it.)
/// - A worker that has seen an older use of a slot and claims it by a newer one holds it all the
///   same, and reads the sequence only then. It may have missed an older message once. So the
///   generation is a second line of defence.
/// - Without the wake by a claim the commander is woken when the next batch is freed. An
///   application that keeps its batch until it has the next would wait for ever. Here each batch is
///   freed at once; loom's `commander_is_woken_by_the_process_that_makes_the_backlog_low` finds
///   this mistake.
/// - The consumer may store what it wants after its look: its announcement fails if a batch became
///   ready in between.
/// - After its batch is ready, a slot may hold another message, with a higher number, or none, when
///   the worker reads the number. But then the consumer has taken the batch, and does not wait for
///   it.
/// - A worker that expects nothing looks at each slot of the set and claims the oldest message all
///   the same.
pub(crate) const HARMLESS: &[Mutation] = &[
    M::NoCountOfFreedForEveryone,
    M::SameGeneration,
    M::NoWakeByClaim,
    M::NoCountInClaim,
    M::WantAfterLook,
    M::LoadNumberAfterCommit,
    M::ExpectNothing,
];

/// Mistakes that make no difference in a swap with one message and no death.
///
/// - A note after the claim is still before the second look. A worker that dies in between has done
///   nothing, and the message may be the new crew's.
/// - After its cut the supervisor wakes all processes once more, when it has told the old crew to
///   retire.
/// - The exit of an old worker wakes all processes, after all that it has given back, and sets the
///   hints again. Wake and bit save waiting for it.
/// - A message that is given back is not expected, and there is no other message.
pub(crate) const HARMLESS_IN_SWAP: &[Mutation] =
    &[M::NoteAfterClaim, M::NoWakeByCut, M::GiveBackWithoutWake, M::NoBitOfGiveBack, M::NoNoteOfGiveBack];

/// The runs in which harmless mistakes must break nothing.
pub(crate) const RUNS: &[Config] = &[ONE_SLOT, ANY, TWO_WORKERS_NO_DEATH];

/// The runs in which the full search must find no more than the reduced one.
pub(crate) const IN_FULL: &[Config] =
    &[Config { crashes: 0, ..ONE_SLOT }, Config { messages: 1, ..ONE_SLOT }, Config { messages: 1, ..ANY }];
