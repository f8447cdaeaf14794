//! The slot protocol as an explicit model: each state that it can reach, with a death at each step.
//!
//! ```text
//!   commander ──► slots ──► worker 0, worker 1 ──► slots ──► consumer        supervisor
//!       │                      │                                                │
//!       └──────── may be killed before and after each step ◄── reaps, takes back, wakes, restarts
//! ```
//!
//! Loom (`host/src/segment/loom_tests/`) runs the shipped functions with all that weak memory
//! allows. Here each process is a small program, written after the shipped one. Its steps are its
//! accesses to shared memory, in their order: loads, stores, compare-and-swaps, the futex's
//! compare-and-sleep, and its wake (of any one sleeper). A killed process forgets all that it knew
//! and keeps a wake that it received; its stores stay. The supervisor buries it, step by step too,
//! and starts the next incarnation: a worker anew, a commander at the first message that was not
//! counted, unless the end is set.
//!
//! In each reachable state, each `Property` (`config.rs`) must hold. Each mistake of
//! `Mutation` (`mutations.rs`), such as a notification that is not counted, must break one.
//!
//! Not modelled: weak memory (see loom), timeouts, the stop, several consumers, batches that the
//! application keeps, the death of the host (which ends the run) or of the fork server, a worker
//! that is given up because it does not start, a swap that is given up while its newcomers live or
//! that another swap follows, a relieved commander, and the burial of a commander that has come to
//! its end (it finds nothing, and wakes). Counters do not wrap. Numbers that are accessed under a
//! claim and decide nothing (lengths, rows, times) share a step with their neighbours. That the
//! model is the shipped code is checked by reading: a change to the order of steps there must be
//! made here too.
//!
//! ```text
//!   config      a run's parameters, what must hold  word        a slot's word, the processes
//!   process     a process's steps and memory        share       the share word
//!   state       shared memory and all processes     mutations   mistakes, and what notices them
//!   model       a model, and one step of it         protocol    what can come next; the checks
//!   waiting     `event.rs`                          slots       `table.rs`: looks and claims
//!   queue       `queue.rs`, `search.rs`             arrivals    `arrivals.rs`, the consumer
//!   roles       commander, worker                   burial      `supervisor/`, `recovery.rs`
//!   shares      `shares.rs`, a crew's worker        swap        two crews, the cut
//!   search      breadth first, then backwards       reduction   steps that need no interleaving
//! ```
//!
//! `cargo test -p cobuf-model --lib -- --nocapture` prints the number of states; `--ignored` runs
//! the tests that take gigabytes. A broken property comes with a run that breaks it, step by step.
//! The search knows no shorter one.

#![cfg(test)]

mod arrivals;
mod burial;
mod config;
mod model;
mod mutations;
mod process;
mod protocol;
mod queue;
mod reduction;
mod roles;
mod search;
mod share;
mod shares;
mod slots;
mod state;
mod swap;
mod waiting;
mod word;

use std::time::Instant;

use config::{Config, Property};
use model::Model;
use mutations::{
    CAUGHT, CAUGHT_LATE, HARMLESS, HARMLESS_IN_SWAP, IN_FULL, Mutation, ONE_SLOT, RUNS, SMALL, SWAP,
    SWAP_AND_DEATH, TWO_WORKERS,
};
use search::{Outcome, search};

fn run(config: Config, mutation: Option<Mutation>, reduced: bool) -> Outcome {
    let started = Instant::now();
    let outcome = search(&Model { config, mutation, reduced });
    let said = outcome.violation.as_ref().map_or("nothing is broken".to_owned(), |violation| {
        format!("{:?} is broken by {} steps", violation.property, violation.steps)
    });
    let mistake = mutation.map_or("the protocol".to_owned(), |mutation| format!("{mutation:?}"));
    println!("{mistake}: {} states, {:.1?}: {said}", outcome.states, started.elapsed());
    outcome
}

/// Checks that no reachable state breaks a property.
fn holds(config: Config) {
    println!("{config:?}");
    if let Some(violation) = run(config, None, true).violation {
        panic!("{:?} is broken:\n{}", violation.property, violation.trace);
    }
}

#[test]
fn each_message_comes_once_in_order_whichever_process_dies() {
    holds(SMALL);
    holds(Config { low: 1, ..SMALL });
    holds(Config { messages: 3, ..SMALL });
}

#[test]
fn each_message_comes_once_in_any_order_whichever_process_dies() {
    holds(Config { deterministic: false, ..SMALL });
    holds(Config { deterministic: false, messages: 3, ..SMALL });
}

#[test]
fn each_message_comes_once_through_one_slot_whichever_two_processes_die() {
    holds(Config { crashes: 2, ..ONE_SLOT });
}

#[test]
fn stream_ends_if_the_commander_learns_of_the_end_while_it_holds_a_slot() {
    holds(Config { plugin_ends: true, ..SMALL });
}

#[test]
fn each_message_comes_once_through_two_workers() {
    holds(Config { workers: 2, crashes: 0, ..SMALL });
    holds(Config { workers: 2, crashes: 0, deterministic: false, ..SMALL });
}

#[test]
fn each_message_comes_once_through_two_workers_whichever_process_dies() {
    holds(TWO_WORKERS);
    holds(Config { deterministic: false, ..TWO_WORKERS });
    holds(Config { slots: 2, ..TWO_WORKERS });
}

#[test]
fn message_that_kills_its_workers_becomes_an_error_once_in_its_place() {
    holds(Config { max_attempts: 1, ..SMALL });
    holds(Config { max_attempts: 2, messages: 1, crashes: 2, ..ONE_SLOT });
}

/// One old worker and one new, with the cut at any time or never.
#[test]
fn cut_between_two_crews_is_exact() {
    holds(SWAP);
}

#[test]
#[ignore = "takes minutes and many gigabytes"]
fn cut_between_two_crews_is_exact_in_larger_runs() {
    holds(SWAP_AND_DEATH);
    holds(Config { max_attempts: 1, ..SWAP_AND_DEATH });
    holds(Config { messages: 2, ..SWAP });
}

#[test]
#[ignore = "takes minutes and many gigabytes"]
fn each_message_comes_once_in_larger_runs() {
    holds(Config { slots: 3, messages: 4, crashes: 0, ..SMALL });
    holds(Config { workers: 2, messages: 3, crashes: 0, deterministic: false, ..SMALL });
    holds(Config { messages: 3, crashes: 2, ..SMALL });
}

fn expect_noticed(mistakes: &[(Mutation, Config, Property)]) {
    let wrong: Vec<String> = mistakes
        .iter()
        .filter_map(|&(mutation, config, expected)| match run(config, Some(mutation), true).violation {
            None => Some(format!("{mutation:?} is not noticed")),
            Some(violation) if violation.property != expected => {
                Some(format!("{mutation:?} breaks something else:\n{}", violation.trace))
            }
            Some(_) => None,
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_mistake_in_the_protocol_is_noticed() {
    expect_noticed(CAUGHT);
}

#[test]
#[ignore = "takes minutes and many gigabytes"]
fn mistakes_that_show_late_are_noticed() {
    expect_noticed(CAUGHT_LATE);
}

fn expect_harmless(mistakes: &[Mutation], runs: &[Config]) {
    for &mutation in mistakes {
        for &config in runs {
            let violation = run(config, Some(mutation), true).violation;
            assert!(violation.is_none(), "{mutation:?} is not harmless: move it to CAUGHT\n{violation:?}");
        }
    }
}

#[test]
fn harmless_mistakes_break_nothing() {
    expect_harmless(HARMLESS, RUNS);
}

#[test]
#[ignore = "takes minutes"]
fn harmless_mistakes_break_nothing_in_a_swap() {
    expect_harmless(HARMLESS_IN_SWAP, &[SWAP]);
}

#[test]
fn reduction_hides_nothing() {
    let without_swap = CAUGHT.iter().filter(|(_, config, _)| config.newcomers == 0);
    let mutations = without_swap.map(|&(mutation, ..)| Some(mutation)).chain([None]);
    for mutation in mutations {
        for &config in IN_FULL {
            // The full search finds all that the reduced one finds: its steps are among all steps.
            if run(config, mutation, true).violation.is_none() {
                let violation = run(config, mutation, false).violation;
                assert!(violation.is_none(), "{mutation:?} escapes the reduction:\n{violation:?}");
            }
        }
    }
}
