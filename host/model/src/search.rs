//! The exhaustive search: breadth first over all reachable states, then backwards from the states
//! in which the run is finished.
//!
//! The search is our own, in a few dozen lines. The crate `stateright` (0.31.0) keeps 64-bit
//! fingerprints of states, so a collision would silently cut off a part of the space. It has no
//! property "the end can still be reached from each state": its `eventually` works on acyclic paths
//! only, and waiting makes cycles. It brings an explorer with a web server, although a printed run
//! is enough. Here whole states are kept, with the predecessor of each. So a counterexample is a
//! shortest one, except for private steps, and is printed step by step.

use std::hash::{BuildHasherDefault, Hasher};

use indexmap::IndexSet;

use crate::config::Property;
use crate::model::{Model, Step};
use crate::state::State;

/// Hashes the bytes of a state in one go.
#[derive(Default)]
pub(crate) struct BytesHasher(u64);

impl Hasher for BytesHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxhash_rust::xxh3::xxh3_64_with_seed(bytes, self.0);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[derive(Debug)]
pub(crate) struct Violation {
    pub(crate) property: Property,
    pub(crate) steps: usize,
    pub(crate) trace: String,
}

/// The result of a search.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) states: usize,
    pub(crate) violation: Option<Violation>,
}

struct Search<'a> {
    model: &'a Model,
    states: IndexSet<State, BuildHasherDefault<BytesHasher>>,
    /// The state from which each was found first; the first state is its own.
    found_from: Vec<u32>,
    /// For each state whose successors are known, the end of its range in `successors`. Deaths and
    /// a swap are not among them.
    ends: Vec<usize>,
    successors: Vec<u32>,
}

/// Visits each reachable state, or all up to the first that breaks a property.
pub(crate) fn search(model: &Model) -> Outcome {
    let (states, found_from) = (IndexSet::default(), vec![0]);
    let mut search = Search { model, states, found_from, ends: Vec::new(), successors: Vec::new() };
    search.states.insert(model.first());
    let violation = search.forwards().or_else(|| search.backwards());
    Outcome { states: search.states.len(), violation }
}

impl Search<'_> {
    fn forwards(&mut self) -> Option<Violation> {
        let mut index = 0;
        while let Some(&state) = self.states.get_index(index) {
            let (mut broken, mut stuck) = (None, true);
            self.model.successors(&state, |way, result| match result {
                Err(property) => broken = broken.take().or_else(|| Some((way.to_vec(), property))),
                Ok(next) => {
                    let (found, new) = self.states.insert_full(self.model.canonical(next));
                    if new {
                        self.found_from.push(index as u32);
                    }
                    if way.iter().all(|step| matches!(step, Step::Does(..))) {
                        stuck = false;
                        self.successors.push(found as u32);
                    }
                }
            });
            if let Some((way, property)) = broken {
                return Some(self.violation(index, &way, property));
            }
            if stuck && !self.model.finished(&state) {
                return Some(self.violation(index, &[], Property::NotStuck));
            }
            self.ends.push(self.successors.len());
            index += 1;
        }
        None
    }

    /// Looks for states from which no finished one can be reached. Most successors were found later
    /// than their state, so a few passes from the last state to the first are enough.
    fn backwards(&self) -> Option<Violation> {
        let mut can: Vec<bool> = self.states.iter().map(|state| self.model.finished(state)).collect();
        let mut changed = true;
        while std::mem::take(&mut changed) {
            for index in (0..can.len()).rev() {
                let start = if index == 0 { 0 } else { self.ends[index - 1] };
                let next = &self.successors[start..self.ends[index]];
                if !can[index] && next.iter().any(|&next| can[next as usize]) {
                    can[index] = true;
                    changed = true;
                }
            }
        }
        let index = can.iter().position(|can| !can)?;
        Some(self.violation(index, &[], Property::CanFinish))
    }

    /// The shortest way to a state, and the steps from there that break the property, if steps do.
    fn violation(&self, index: usize, last: &[Step], property: Property) -> Violation {
        let mut way = vec![index];
        while let Some(&index) = way.last().filter(|&&index| index != 0) {
            way.push(self.found_from[index] as usize);
        }
        let mut state = self.model.first();
        let mut trace = String::new();
        // States are known except for the workers' names. Going through them again from the first
        // gives the names.
        let mut steps = 0;
        for &index in way.iter().rev().skip(1) {
            let mut taken = None;
            self.model.successors(&state, |way, next| {
                let leads_there = |next: &State| self.model.canonical(*next) == self.states[index];
                taken = taken.take().or_else(|| Some((way.to_vec(), next.ok().filter(leads_there)?)));
            });
            let (way, next) = taken.expect("each state was found by steps");
            way.iter().for_each(|step| trace += &format!("      {step}\n"));
            steps += way.len();
            trace += &format!("{steps:>4}. {}\n", next.line());
            state = next;
        }
        last.iter().for_each(|step| trace += &format!("      {step}\n"));
        trace += &format!("      which breaks {property:?}\n");
        Violation { property, steps: steps + last.len(), trace }
    }
}
