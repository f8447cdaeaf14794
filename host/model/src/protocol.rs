//! The steps that can follow a state, and the properties that must hold in each.
//!
//! The programs of the processes are in `waiting` (`event.rs`), `slots` (`table.rs`: looks and
//! claims), `queue` (`search.rs`), `roles` (commander, worker), `arrivals` (the consumer), `burial`
//! (the supervisor), and `shares` and `swap` (two crews). This module runs them: each process's
//! next step, or the death of the commander or a worker, may come next.

use crate::config::Property;
use crate::model::{Model, Run, Step, alive};
use crate::mutations::Mutation;
use crate::process::{Event, Pc, Process};
use crate::reduction::{can_come_later, is_private};
use crate::share::Share;
use crate::state::{CURRENT, MESSAGES, Next, SLOTS, Slot, State, Swap};
use crate::word::{COMMANDER, CONSUMER, FIRST_WORKER, PROCESSES, SUPERVISOR, SlotState, WORKERS, Word};

impl Model {
    pub(crate) fn first(&self) -> State {
        let slot = Slot { word: Word::FREE, sequence: 0, message: 0, halves: [0; 2], failed: 0, edition: 0 };
        let mut processes = [Process::at(Pc::Ended); PROCESSES];
        for (index, process) in processes.iter_mut().enumerate() {
            if index < FIRST_WORKER + self.config.workers + self.config.newcomers || index >= CONSUMER {
                *process = self.started(index, 0);
                // The workers before the newcomers are at work already.
                process.early &= self.crew_of(index);
            }
        }
        assert!(self.config.workers + self.config.newcomers <= WORKERS && self.config.newcomers <= 1);
        assert!(self.config.slots <= SLOTS && usize::from(self.config.messages) <= MESSAGES);
        State {
            slots: [slot; SLOTS],
            commanded: 0,
            end: 0,
            asleep: 0,
            free: (1 << self.config.slots) - 1,
            ready: 0,
            queued: 0,
            next: Next::FIRST,
            wanted: if self.config.deterministic { 0 } else { u8::MAX },
            share: Share::FIRST_CREW,
            noted: [0; WORKERS],
            retire: 0,
            swap: if self.swaps() { Swap::Pending } else { Swap::No },
            processes,
            taken: 0,
            deaths: [0; MESSAGES],
            crashes: self.config.crashes,
        }
    }

    /// The one of equivalent states that the search keeps.
    pub(crate) fn canonical(&self, state: State) -> State {
        if !self.reduced {
            return state;
        }
        let state = if self.is(Mutation::BelieveTheOld) { state } else { state.without_the_old() };
        if self.config.workers == 2 && !self.swaps() { state.canonical() } else { state }
    }

    /// All that can happen next, and the resulting states. In a reduced search each way goes on
    /// over private steps.
    pub(crate) fn successors(&self, state: &State, mut found: impl FnMut(&[Step], Result<State, Property>)) {
        let mut way = Vec::new();
        let mut goes = |step, next| {
            way.push(step);
            self.goes_on(&mut way, next, &mut found);
            way.clear();
        };
        (0..PROCESSES).for_each(|index| self.does(state, index, &mut goes));
        (0..PROCESSES).filter_map(|index| self.dies(state, index)).for_each(|(step, next)| goes(step, next));
    }

    /// Takes private steps as long as there are any. The process may die before each.
    fn goes_on(
        &self,
        way: &mut Vec<Step>,
        mut next: Result<State, Property>,
        found: &mut impl FnMut(&[Step], Result<State, Property>),
    ) {
        let before = way.len();
        while let Some((state, alone)) = next.ok().and_then(|state| Some((state, self.alone(&state)?))) {
            if let Some((step, dead)) = self.dies(&state, alone) {
                way.push(step);
                self.goes_on(way, dead, found);
                way.pop();
            }
            self.does(&state, alone, &mut |step, after| {
                way.push(step);
                next = after;
            });
        }
        found(way, next);
        way.truncate(before);
    }

    /// A process whose next step is private.
    fn alone(&self, state: &State) -> Option<usize> {
        (0..PROCESSES).find(|&index| self.reduced && is_private(self, state, index))
    }

    /// A process's next step, or its next steps if there is a choice.
    fn does(&self, state: &State, index: usize, found: &mut impl FnMut(Step, Result<State, Property>)) {
        let process = &state.processes[index];
        let step = Step::Does(index, process.pc, process.notify);
        match process.pc {
            Pc::Dead | Pc::Ended | Pc::Due | Pc::Asleep => {}
            _ if self.reduced && can_come_later(self, state, index) => {}
            Pc::Wake => found(step, self.checked(self.wakes_all(state, index))),
            Pc::WakeOne => self.wakes_one(state, index, |next| found(step, self.checked(next))),
            Pc::Reap => {
                self.reaps(state, |next| found(step, self.checked(next)));
                self.starts_due(state, |next| found(step, self.checked(next)));
                if state.swap == Swap::Pending {
                    found(Step::Cuts, Ok(self.begins_cut(state)));
                }
            }
            _ => {
                let mut run = Run { model: self, state: *state, index };
                let result = run.step();
                found(step, result.and_then(|()| self.checked(run.state)));
            }
        }
    }

    /// A process's death, if it may die.
    fn dies(&self, state: &State, index: usize) -> Option<(Step, Result<State, Property>)> {
        let mortal = (COMMANDER..CONSUMER).contains(&index);
        (mortal && state.crashes > 0 && alive(state, index))
            .then(|| (Step::Dies(index), self.checked(self.killed(state, index))))
    }

    /// The state after a SIGKILL. The process's memory is gone; its stores stay, and so does the
    /// bit that says that it sleeps.
    fn killed(&self, state: &State, index: usize) -> State {
        let mut next = *state;
        next.processes[index] = Process::at(Pc::Dead);
        next.crashes -= 1;
        for slot in &mut next.slots {
            if index != COMMANDER && slot.word.is(SlotState::Writing, Some(index)) {
                next.deaths[usize::from(slot.sequence.saturating_sub(1))] += u8::from(self.gives_up());
                slot.spoil_array();
            }
        }
        next
    }

    fn sleepers(&self, state: &State, event: Event) -> impl Iterator<Item = usize> {
        let asleep = move |&index: &usize| {
            state.processes[index].pc == Pc::Asleep && self.waits_for(state, index) == Some(event)
        };
        (0..PROCESSES).filter(asleep)
    }

    fn wakes_all(&self, state: &State, index: usize) -> State {
        let mut next = Run { model: self, state: *state, index };
        self.sleepers(state, state.processes[index].notify.event()).for_each(|sleeper| next.wake(sleeper));
        match self.is(Mutation::ClearAfterWake) {
            true => next.go(Pc::ClearLate),
            false => next.notified(),
        }
        next.state
    }

    /// Any one waiter of the event wakes.
    fn wakes_one(&self, state: &State, index: usize, mut found: impl FnMut(State)) {
        let mut sleepers = self.sleepers(state, state.processes[index].notify.event()).peekable();
        if sleepers.peek().is_none() {
            let mut next = Run { model: self, state: *state, index };
            next.wakes_if(true);
            return found(next.state);
        }
        for sleeper in sleepers {
            let mut next = Run { model: self, state: *state, index };
            next.wake(sleeper);
            next.notified();
            found(next.state);
        }
    }

    /// Checks the properties of each state.
    fn checked(&self, state: State) -> Result<State, Property> {
        let holders = || state.processes.iter().enumerate().filter(|(index, process)| process.holds(*index));
        for (index, process) in holders() {
            let same = |&(other, held): &(usize, &Process)| other != index && held.slot == process.slot;
            let splitting = process.pc == Pc::StoreOwner;
            if !splitting && state.slots[usize::from(process.slot)].word != process.seen
                || holders().any(|it| same(&it))
            {
                return Err(Property::Exclusive);
            }
        }
        if self.passes_one_over(&state) { Err(Property::Oldest) } else { Ok(state) }
    }

    /// Whether a queued message is older than the expected one. It may be until the requeue is
    /// counted.
    fn passes_one_over(&self, state: &State) -> bool {
        let supervisor = &state.processes[SUPERVISOR];
        let buries = supervisor.pc != Pc::Reap && usize::from(supervisor.number) != SUPERVISOR;
        let counts = state.processes.iter().any(|process| process.pc == Pc::NoteRequeue);
        // Mutated: a slot between two stores looks queued.
        let splits = state.processes.iter().any(|process| process.pc == Pc::StoreOwner);
        if state.next.age != CURRENT || buries || counts || splits {
            return false;
        }
        // The new crew expects no message of the old one's.
        let first = if state.share.is_open_for(1) { state.share.first() + 1 } else { 1 };
        state.slots.iter().any(|slot| {
            let sequence = slot.sequence.max(1);
            slot.word.is(SlotState::Writing, None) && (first..state.next.sequence).contains(&sequence)
        })
    }

    /// The stream was consumed, the commander has exited, and no slot is held.
    pub(crate) fn finished(&self, state: &State) -> bool {
        let ended = |index: usize| state.processes[index].pc == Pc::Ended;
        let free = |slot: &Slot| slot.word.state() == SlotState::Free;
        let relieved = state.swap != Swap::Cut || self.old_crew().all(ended);
        ended(CONSUMER) && ended(COMMANDER) && relieved && state.slots.iter().all(free)
    }
}
