//! The protocol with one mistake in it, and which property must notice.

use Mutation as M;
use Property as P;

use crate::process::Notify;
use crate::protocol::{Config, Property};

/// One mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutation {
    // A counter is not bumped.
    NoBumpInPublish,
    NoBumpInRelease,
    NoBumpInCommit,
    NoBumpInEndStream,
    NoBumpOfQueuedForEveryone,
    NoBumpOfFreedForEveryone,
    NoBumpOfReadyForEveryone,
    // Waiting in another order.
    LookForWaitersBeforeBump,
    TicketAfterLook,
    SleepWithoutComparing,
    SleepUnannounced,
    NotifyBeforeQueueing,
    // Nobody is woken after a death.
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
    // What a commander's successor goes by.
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
    /// The mutation that leaves out the bump of this notification.
    pub(crate) fn without_bump(notify: Notify) -> Option<Self> {
        match notify {
            Notify::None | Notify::GiveBack => None,
            Notify::Publish => Some(Self::NoBumpInPublish),
            Notify::Release => Some(Self::NoBumpInRelease),
            Notify::Commit => Some(Self::NoBumpInCommit),
            Notify::End => Some(Self::NoBumpInEndStream),
            Notify::EveryoneQueued => Some(Self::NoBumpOfQueuedForEveryone),
            Notify::EveryoneFreed => Some(Self::NoBumpOfFreedForEveryone),
            Notify::EveryoneReady => Some(Self::NoBumpOfReadyForEveryone),
        }
    }
}

/// One worker, two messages, one death: where most mistakes show.
pub(crate) const SMALL: Config = Config {
    slots: 2,
    workers: 1,
    newcomers: 0,
    messages: 2,
    crashes: 1,
    max_attempts: 9,
    deterministic: true,
    plugin_ends: false,
};
const ANY: Config = Config { deterministic: false, ..SMALL };
/// One death is one too many.
const ONE_ATTEMPT: Config = Config { messages: 1, max_attempts: 1, ..SMALL };
/// Two deaths by one message are one too many.
const TWO_ATTEMPTS: Config = Config { messages: 1, crashes: 2, max_attempts: 2, ..SMALL };
/// Slots are used again, and a commander's successor dies too.
const LONG: Config = Config { messages: 3, crashes: 2, ..SMALL };
const TWO_WORKERS: Config = Config { workers: 2, messages: 1, ..SMALL };
const TWO_WORKERS_NO_DEATH: Config = Config { workers: 2, crashes: 0, ..SMALL };

/// In which run each mistake is noticed, and which property is the first that a shortest run breaks.
pub(crate) const CAUGHT: &[(Mutation, Config, Property)] = &[
    (M::NoBumpInPublish, SMALL, P::NotStuck),
    (M::NoBumpInRelease, LONG, P::NotStuck),
    (M::NoBumpInCommit, SMALL, P::NotStuck),
    (M::NoBumpInEndStream, SMALL, P::NotStuck),
    (M::NoBumpOfQueuedForEveryone, SMALL, P::NotStuck),
    (M::NoBumpOfReadyForEveryone, SMALL, P::NotStuck),
    (M::LookForWaitersBeforeBump, SMALL, P::NotStuck),
    (M::TicketAfterLook, SMALL, P::NotStuck),
    (M::SleepWithoutComparing, SMALL, P::NotStuck),
    (M::SleepUnannounced, SMALL, P::NotStuck),
    (M::NotifyBeforeQueueing, SMALL, P::NotStuck),
    (M::NoWakeAfterWorker, SMALL, P::NotStuck),
    (M::NoWakeAfterCommander, SMALL, P::NotStuck),
    (M::NoWakeAtTheEnd, SMALL, P::NotStuck),
    (M::WakeBeforeReclaim, SMALL, P::NotStuck),
    (M::RestartBeforeReclaim, SMALL, P::OnlyFromTheDead),
    (M::ReclaimFromTheLiving, SMALL, P::OnlyFromTheDead),
    (M::RequeueWithoutAttempt, TWO_ATTEMPTS, P::ErrorInItsPlace),
    (M::OneAttemptTooMany, ONE_ATTEMPT, P::ErrorInItsPlace),
    (M::ClaimWithoutComparing, TWO_WORKERS, P::Exclusive),
    (M::ClaimInTwoStores, SMALL, P::Exclusive),
    (M::TakeTheOldest, TWO_WORKERS_NO_DEATH, P::InOrder),
    (M::CommanderSkipsOne, SMALL, P::Complete),
    (M::CommanderRepeatsOne, ANY, P::Once),
    (M::CountAfterQueueing, ANY, P::Once),
    (M::CountBeforeSequence, SMALL, P::NotStuck),
    (M::NeverRequeueCommanded, SMALL, P::NotStuck),
    (M::AbandonNothing, SMALL, P::CanFinish),
    (M::AbandonKeepsSequence, LONG, P::Whole),
    (M::ReleaseKeepsSequence, SMALL, P::Whole),
    (M::ClearAfterRelease, SMALL, P::Whole),
    (M::NoSecondLook, SWAP, P::Edition),
    (M::NoNote, SWAP, P::Edition),
    (M::NoteAfterSecondLook, SWAP, P::Edition),
    (M::NotesBeforeClosing, SWAP, P::Edition),
    (M::CutWithoutClosing, SWAP, P::Edition),
    (M::NewCrewTakesAll, SWAP_AND_DEATH, P::Edition),
    (M::NewcomerWaitsOnQueued, SWAP, P::NotStuck),
    (M::NoWakeByRetiring, SWAP, P::NotStuck),
    (M::NoWakeInSwap, SWAP, P::NotStuck),
    (M::NoDrain, SWAP_AND_DEATH, P::NotStuck),
    (M::GiveBackIsAnAttempt, Config { max_attempts: 2, ..SWAP_AND_DEATH }, P::ErrorInItsPlace),
    (M::CutOffIsAnAttempt, Config { max_attempts: 1, ..SWAP_AND_DEATH }, P::ErrorInItsPlace),
];

/// One old worker and one new, one message.
pub(crate) const SWAP: Config = Config { slots: 1, newcomers: 1, messages: 1, crashes: 0, ..SMALL };
const SWAP_AND_DEATH: Config = Config { crashes: 1, ..SWAP };

/// What makes no difference here.
///
/// - After a death nobody waits for `freed`: the commander alone does, and it is dead, or another died, who notifies no
///   `freed`. (A stop, which is not modelled, needs this bump.)
/// - Who has seen an older use of a slot and claims it by a newer one holds it all the same, and reads the sequence only
///   then; it may have missed an older message for once. So the generation is a second line of defence.
pub(crate) const HARMLESS: &[Mutation] = &[M::NoBumpOfFreedForEveryone, M::SameGeneration];

/// What makes no difference in a swap, tried with one message and no death.
///
/// - A note after the claim is before the second look all the same; who dies in between has done nothing, and the message may be
///   the new crew's.
/// - After its cut the supervisor wakes everyone once more, when it has told the old crew to retire.
/// - The end of an old worker wakes everyone, after all that it has given back. The wake saves waiting for it.
pub(crate) const HARMLESS_IN_SWAP: &[Mutation] = &[M::NoteAfterClaim, M::NoWakeByCut, M::GiveBackWithoutWake];

/// The runs in which all that is harmless must be so, and in which the full search must not see more than the reduced.
pub(crate) const RUNS: &[Config] = &[SMALL, ANY, TWO_ATTEMPTS, TWO_WORKERS];
