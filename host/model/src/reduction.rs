//! Steps that need not be tried in every order with those of other processes: a partial-order
//! reduction.
//!
//! A step is private in a state if no steps that other processes take before it change what it
//! does, or are changed by it. In each run such a step can be moved to the front. So can the death
//! of the process in its place, as there are as many deaths as before. So if a process has a
//! private step, the search goes on with this step and with the process's death only. It still
//! finds each broken property and each state in which no process can go on. No circle consists of
//! private steps alone (each round of waiting has `Ticket` in it), so no process is put off for
//! ever.
//!
//! States between private steps are not kept, but deaths there are tried. States also leave out
//! what no process reads any more: an outdated expectation, and notes after the cut.
//!
//! A test checks on small runs, in full and reduced, that no mutation escapes by it.

use crate::model::{Model, alive};
use crate::mutations::Mutation;
use crate::process::{Event, FRESH, Notify, Pc, Process};
use crate::state::{State, Swap};
use crate::word::{COMMANDER, CONSUMER, FIRST_WORKER, PROCESSES, SUPERVISOR, SlotState};

pub(crate) fn is_private(model: &Model, state: &State, index: usize) -> bool {
    let process = &state.processes[index];
    // Mutated: the buried process lives.
    if index == SUPERVISOR && buried(state).is_some_and(|buried| buried.pc != Pc::Dead) {
        return false;
    }
    let word = state.slots.get(usize::from(process.slot)).map(|slot| slot.word);
    match process.pc {
        // Payload and outcome: only the holder touches them.
        Pc::WriteMessage | Pc::ReadMessage | Pc::WriteFirstHalf | Pc::WriteSecondHalf => true,
        Pc::StoreOutcome | Pc::ReadFirstHalf | Pc::ReadSecondHalf => true,
        // The commander is dead, or has counted its last message.
        Pc::LoadCommanded => index == SUPERVISOR || commands_no_more(model, state),
        // Only the supervisor changes what the dead hold. A dead commander sets no end.
        Pc::LoadWord | Pc::LoadSequence | Pc::LoadEnd if index == SUPERVISOR => true,
        Pc::ReloadSequence | Pc::Restart => true,
        // The end is set once.
        Pc::LoadEnd => state.end != 0,
        // The processes that would read it, or wait, are dead, and only the supervisor starts
        // others.
        Pc::RestoreRequeues | Pc::RestoreHas | Pc::RestoreAgain => !any_worker_lives(state),
        Pc::Count | Pc::Wake if index == SUPERVISOR && nobody_waits(state, process.notify) => true,
        // Only workers change a queued slot, and there is no other worker.
        Pc::LoadWord | Pc::FirstWord | Pc::LoadSequence | Pc::FirstSequence
            if is_only_worker(model, index) =>
        {
            word.is_some_and(|word| word.is(SlotState::Writing, None))
        }
        // Only workers remove slots from the set.
        Pc::LoadBit | Pc::FirstBit if is_only_worker(model, index) => {
            let slot = usize::from(process.from + process.walk) % model.config.slots;
            state.queued >> slot & 1 == 1
        }
        // Only workers read or write `next`, and a requeue ages it and what they have read alike.
        Pc::LoadNext | Pc::StoreNext if is_only_worker(model, index) => true,
        // Only the commander changes a free slot, and only the consumer a ready one. No other
        // process notices, since no other looks for either state, except for the supervisor after a
        // death.
        Pc::LoadWord if index == COMMANDER => word.is_some_and(|word| word.is(SlotState::Free, None)),
        Pc::LoadWord if index == CONSUMER => word.is_some_and(|word| word.state() == SlotState::Ready),
        Pc::Swap if index == COMMANDER || index == CONSUMER => nobody_dies(state),
        // Only a process that saw the slot's word before it was held reads a held slot's sequence.
        Pc::StoreSequence | Pc::ClearSequence if process.holds(index) => {
            let looks = |other: usize| {
                let other = &state.processes[other];
                let late = model.is(Mutation::LoadNumberAfterCommit);
                let will_look = match other.pc {
                    Pc::LoadSequence | Pc::FirstSequence => true,
                    Pc::AddReady | Pc::LoadNumberLate => late,
                    _ => false,
                };
                will_look && other.slot == process.slot
            };
            !(0..PROCESSES).any(looks)
        }
        // The shares do not change any more, or no process reads the notes.
        Pc::LoadShare | Pc::Glance | Pc::LookAgain | Pc::StoreNote if state.shares_are_settled() => true,
        Pc::LoadRequeues => nothing_is_requeued(model, state),
        // Only workers of the old crew are told to retire, and once.
        Pc::LoadRetire => state.swap == Swap::No || state.is_retired(index) || model.crew_of(index) == 1,
        // A commander that has exited waits for nothing.
        Pc::LoadAsleep | Pc::CountQueued | Pc::HasAny | Pc::AddFree
            if state.processes[COMMANDER].pc == Pc::Ended =>
        {
            true
        }
        Pc::Count | Pc::ClearAsleep | Pc::Wake if has_ended(state, process.notify) => true,
        // The ticket is out of date, and stays so.
        Pc::Announce | Pc::CompareAndSleep => process.fresh & FRESH == 0,
        _ => false,
    }
}

/// Whether the process is a newcomer whose cut has not begun. Until then no process notices where
/// in its wait it is, so it may as well begin its wait when the cut begins, which closes the share
/// word a step later.
pub(crate) fn can_come_later(model: &Model, state: &State, index: usize) -> bool {
    let early = state.swap == Swap::Pending && model.crew_of(index) == 1 && state.processes[index].early == 1;
    early && !model.is(Mutation::NewcomerWaitsOnQueued)
}

/// The process that the supervisor buries.
fn buried(state: &State) -> Option<&Process> {
    let supervisor = &state.processes[SUPERVISOR];
    let buries = supervisor.pc != Pc::Reap && usize::from(supervisor.number) != SUPERVISOR;
    buries.then(|| &state.processes[usize::from(supervisor.number)])
}

/// Whether the commander has counted its last message.
fn commands_no_more(model: &Model, state: &State) -> bool {
    state.processes[COMMANDER].pc == Pc::Ended || state.commanded == model.config.messages
}

fn any_worker_lives(state: &State) -> bool {
    (FIRST_WORKER..CONSUMER).any(|worker| alive(state, worker))
}

/// Whether no living process waits for the event.
fn nobody_waits(state: &State, notify: Notify) -> bool {
    match notify.event() {
        _ if notify == Notify::None => false,
        Event::Queued => !any_worker_lives(state),
        Event::Freed => !alive(state, COMMANDER),
        Event::Ready | Event::Opened => false,
    }
}

fn is_only_worker(model: &Model, index: usize) -> bool {
    model.config.workers == 1 && !model.swaps() && index == FIRST_WORKER
}

/// Whether no message will be queued again.
fn nothing_is_requeued(model: &Model, state: &State) -> bool {
    nobody_dies(state) && !model.swaps()
}

/// Whether the only process that waits for the event has exited.
fn has_ended(state: &State, notify: Notify) -> bool {
    let waiter = match notify.event() {
        _ if notify == Notify::None => return false,
        Event::Freed => COMMANDER,
        Event::Ready => CONSUMER,
        Event::Queued | Event::Opened => return false,
    };
    state.processes[waiter].pc == Pc::Ended
}

/// Whether no process is dead or being buried, and none can be killed any more.
fn nobody_dies(state: &State) -> bool {
    let dead = |process: &Process| process.pc == Pc::Dead;
    state.crashes == 0 && state.processes[SUPERVISOR].pc == Pc::Reap && !state.processes.iter().any(dead)
}
