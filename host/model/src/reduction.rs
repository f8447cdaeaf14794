//! Which steps need not be tried in every order with those of others: a partial-order reduction.
//!
//! A step is private in a state if whatever the others do before the process's next step neither changes what the step
//! does nor is changed by it. In any run such a step can be moved to the front, and so can the death of the process in
//! its place (there are as many deaths as before); so where a process has a private step, the search goes on with it and
//! with the process's death only, and still finds every broken property and every state in which nothing goes on. No
//! circle consists of private steps alone (each round of waiting has `Ticket` in it), so nobody is put off for ever.
//!
//! No state is kept in between; a death there is tried all the same. What a process no longer reads is left out of a state too:
//! entries of the queue that were passed, notes once the cut is made.
//!
//! That no mutation escapes by it is checked on small runs, in full and reduced, by a test.

use crate::model::{Model, alive};
use crate::mutations::Mutation;
use crate::process::{Event, FRESH, Notify, Pc, Process};
use crate::state::{State, Swap};
use crate::word::{COMMANDER, CONSUMER, FIRST_WORKER, PROCESSES, SUPERVISOR, SlotState};

pub(crate) fn is_private(model: &Model, state: &State, index: usize) -> bool {
    let process = &state.processes[index];
    // Mutated: it is not dead.
    if index == SUPERVISOR && buried(state).is_some_and(|buried| buried.pc != Pc::Dead) {
        return false;
    }
    let word = state.slots.get(usize::from(process.slot)).map(|slot| slot.word);
    match process.pc {
        // Payload and outcome, which only the holder touches.
        Pc::WriteMessage | Pc::ReadMessage | Pc::WriteFirstHalf | Pc::WriteSecondHalf => true,
        Pc::StoreOutcome | Pc::ReadFirstHalf | Pc::ReadSecondHalf => true,
        // The commander is dead, or has nothing left to count.
        Pc::LoadCommanded => index == SUPERVISOR || commands_no_more(model, state),
        // What is, or is not, held by the dead stays so until the supervisor changes it; a dead commander sets no end.
        Pc::LoadWord | Pc::LoadSequence | Pc::LoadEnd if index == SUPERVISOR => true,
        Pc::ReloadSequence | Pc::Restart => true,
        // The end is set once.
        Pc::LoadEnd => state.end != 0,
        // Who would hear of it, or wait, is dead, and only the supervisor starts another.
        Pc::RestoreRequeues | Pc::RestoreHas | Pc::RestoreAgain => !any_worker_lives(state),
        Pc::Count | Pc::Wake if index == SUPERVISOR && nobody_waits(state, process.notify) => true,
        // Only a worker changes what is queued, and there is no other.
        Pc::LoadWord | Pc::FirstWord | Pc::LoadSequence | Pc::FirstSequence
            if is_only_worker(model, index) =>
        {
            word.is_some_and(|word| word.is(SlotState::Writing, None))
        }
        // Likewise who alone removes slots from the set.
        Pc::LoadBit | Pc::FirstBit if is_only_worker(model, index) => {
            let slot = usize::from(process.from + process.walk) % model.config.slots;
            state.queued >> slot & 1 == 1
        }
        // Only workers read or write it, and the age of what they know is the age of what is stored.
        Pc::LoadNext | Pc::StoreNext if is_only_worker(model, index) => true,
        // Only the commander changes a free slot, only the consumer a ready one; and whether it has, no other notices,
        // since no other looks for either state, the supervisor after a death apart.
        Pc::LoadWord if index == COMMANDER => word.is_some_and(|word| word.is(SlotState::Free, None)),
        Pc::LoadWord if index == CONSUMER => word.is_some_and(|word| word.state() == SlotState::Ready),
        Pc::Swap if index == COMMANDER || index == CONSUMER => nobody_dies(state),
        // A held slot's sequence is read only by who saw the slot's word before it was held.
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
        // Which crew may take what does not change any more, or nobody reads what is noted.
        Pc::LoadShare | Pc::Glance | Pc::LookAgain | Pc::StoreNote if state.shares_are_settled() => true,
        Pc::LoadRequeues => nothing_is_requeued(model, state),
        // Only workers of the old crew are told to retire, once.
        Pc::LoadRetire => state.swap == Swap::No || state.is_retired(index) || model.crew_of(index) == 1,
        // A commander that has ended waits for nothing.
        Pc::LoadAsleep | Pc::CountQueued | Pc::HasAny | Pc::AddFree
            if state.processes[COMMANDER].pc == Pc::Ended =>
        {
            true
        }
        Pc::Count | Pc::ClearAsleep | Pc::Wake if has_ended(state, process.notify) => true,
        // The ticket is out of date, and will not be less so.
        Pc::Announce | Pc::CompareAndSleep => process.fresh & FRESH == 0,
        _ => false,
    }
}

/// Whether it is a newcomer whose cut was not begun yet. Until then nobody notices where in its wait it is: it may as well begin with it
/// when the cut does, which closes the share word only a step later.
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

/// Whether nobody lives who waits for the event.
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

/// Whether there will be no requeue.
fn nothing_is_requeued(model: &Model, state: &State) -> bool {
    nobody_dies(state) && !model.swaps()
}

/// Whether who alone waits for the event has ended.
fn has_ended(state: &State, notify: Notify) -> bool {
    let waiter = match notify.event() {
        _ if notify == Notify::None => return false,
        Event::Freed => COMMANDER,
        Event::Ready => CONSUMER,
        Event::Queued | Event::Opened => return false,
    };
    state.processes[waiter].pc == Pc::Ended
}

/// Whether nobody is dead, buried, or yet to be killed.
fn nobody_dies(state: &State) -> bool {
    let dead = |process: &Process| process.pc == Pc::Dead;
    state.crashes == 0 && state.processes[SUPERVISOR].pc == Pc::Reap && !state.processes.iter().any(dead)
}
