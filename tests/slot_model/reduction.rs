//! Which steps need not be tried in every order with those of others: a partial-order reduction.
//!
//! A step is private in a state if whatever the others do before the process's next step neither changes what the step
//! does nor is changed by it. In any run such a step can be moved to the front, and so can the death of the process in
//! its place (there are as many deaths as before); so where a process has a private step, the search goes on with it and
//! with the process's death only, and still finds every broken property and every state in which nothing goes on. No
//! circle consists of private steps alone (each round of waiting has `Ticket` in it), so nobody is put off for ever.
//!
//! That no mutation escapes by it is checked on small runs, in full and reduced, by a test.

use crate::process::Pc;
use crate::protocol::Model;
use crate::state::{COMMANDER, CONSUMER, PROCESSES, SUPERVISOR, SlotState, State};
use crate::swap::Swap;

pub(crate) fn is_private(model: &Model, state: &State, index: usize) -> bool {
    let process = &state.processes[index];
    let word = state.slots.get(usize::from(process.slot)).map(|slot| slot.word);
    match process.pc {
        // Payload and outcome, which only the holder touches.
        Pc::WriteMessage | Pc::ReadMessage | Pc::WriteFirstHalf | Pc::WriteSecondHalf => true,
        Pc::StoreOutcome | Pc::ReadFirstHalf | Pc::ReadSecondHalf => true,
        // Of the living, the commander alone uses the count; the supervisor does once it is dead.
        Pc::StoreCommanded | Pc::LoadCommanded => true,
        // What is, or is not, held by the dead stays so until the supervisor changes it; a dead commander sets no end.
        Pc::LoadWord | Pc::LoadSequence | Pc::LoadEnd if index == SUPERVISOR => true,
        Pc::ReloadSequence | Pc::Restart => true,
        // Only the commander changes a free slot, only the consumer a ready one; and whether it has, no other notices,
        // since no other looks for either state.
        Pc::LoadWord | Pc::Swap if index == COMMANDER => {
            word.is_some_and(|word| word.is(SlotState::Free, None))
        }
        Pc::LoadWord | Pc::LoadSequence | Pc::Swap if index == CONSUMER => {
            word.is_some_and(|word| word.state() == SlotState::Ready)
        }
        // A held slot's sequence is read only by who saw the slot's word before it was held.
        Pc::StoreSequence | Pc::ClearSequence if process.holds(index) => {
            let looks = |other: usize| {
                let other = &state.processes[other];
                other.pc == Pc::LoadSequence && other.slot == process.slot
            };
            !(0..PROCESSES).any(looks)
        }
        // Which crew may take what does not change any more, or nobody reads what is noted.
        Pc::LoadShare | Pc::Glance | Pc::LookAgain | Pc::StoreNote if state.shares_are_settled() => true,
        // Only workers of the old crew are told to retire, once.
        Pc::LoadRetire => state.swap == Swap::No || state.is_retired(index) || model.crew_of(index) == 1,
        // The ticket is out of date, and will not be less so.
        Pc::CompareAndSleep => process.fresh == 0,
        _ => false,
    }
}
