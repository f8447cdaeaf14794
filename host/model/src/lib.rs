//! The slot protocol as an explicit model: every state that it can reach, with a death at every step.
//!
//! ```text
//!   commander ──► slots ──► worker 0, worker 1 ──► slots ──► consumer        supervisor
//!       │                      │                                                │
//!       └──────── may be killed before and after each step ◄── reaps, takes back, wakes, restarts
//! ```
//!
//! Loom (`host/src/segment/loom_tests/`) runs the shipped functions, with all that weak memory allows, but cannot kill
//! a process between two steps of one function. Here each process is a little program, written after the shipped one,
//! whose steps are its accesses to shared memory in their order: loads, stores, compare-and-swaps, the futex's
//! compare-and-sleep, its wake (of any one sleeper). A killed process forgets what it knew and swallows a wake that it
//! has had; what it wrote stays. The supervisor buries it, step by step too, and starts the next incarnation: a worker
//! anew, the commander at the first message that was not counted, unless the end is set.
//!
//! Checked, in every reachable state: [`Property`](protocol::Property). Every mistake of
//! [`Mutation`](mutations::Mutation), such as a notification that is not counted, must break one.
//!
//! Not here: weak memory (loom), timeouts, the stop, several consumers or held batches, the death of the host (which
//! ends the run) or of the fork server, a worker that is given up because it does not start, a swap that is given up while its newcomers
//! live or that another follows, a commander that is relieved; nor the burial of a commander that has come to its end, which finds nothing
//! and wakes. A counter does not wrap. What is
//! accessed under a claim and decided by nobody (lengths, rows, times) is one step with its neighbour. That the model is
//! the shipped code is by reading: who changes the order of steps there changes it here.
//!
//! ```text
//!   state       shared memory                       process     a process's steps and what it remembers
//!   protocol    what can come next, what must hold  mutations   mistakes, and what notices them
//!   waiting     `event.rs`                          slots       `table.rs`: looks and claims
//!   queue       `queue.rs`, `search.rs`             arrivals    `arrivals.rs`, `stream.rs`: the consumer
//!   roles       commander, worker                   burial      `supervisor/`, `recovery.rs`
//!   shares      `shares.rs`: who may take what      swap        two crews, the cut
//!   search      breadth first, then backwards       reduction   steps that need no interleaving
//! ```
//!
//! `cargo test -p cobuf-model --lib -- --nocapture` prints how many states there are; `--ignored` runs what
//! takes gigabytes. A property that is broken comes with a run that breaks it, step by step, of which the
//! search knows no shorter one.

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

/// Nothing is broken in any reachable state.
fn holds(config: Config) {
    println!("{config:?}");
    if let Some(violation) = run(config, None, true).violation {
        panic!("{:?} is broken:\n{}", violation.property, violation.trace);
    }
}

#[test]
fn does_each_message_come_once_in_order_whoever_dies() {
    holds(SMALL);
    holds(Config { low: 1, ..SMALL });
    holds(Config { messages: 3, ..SMALL });
}

#[test]
fn does_each_message_come_once_in_any_order_whoever_dies() {
    holds(Config { deterministic: false, ..SMALL });
    holds(Config { deterministic: false, messages: 3, ..SMALL });
}

#[test]
fn does_each_message_come_once_through_one_slot_whatever_two_processes_die() {
    holds(Config { crashes: 2, ..ONE_SLOT });
}

#[test]
fn does_the_stream_end_where_the_commander_learns_of_the_end_with_a_slot_in_its_hands() {
    holds(Config { plugin_ends: true, ..SMALL });
}

#[test]
fn does_each_message_come_once_through_two_workers() {
    holds(Config { workers: 2, crashes: 0, ..SMALL });
    holds(Config { workers: 2, crashes: 0, deterministic: false, ..SMALL });
}

#[test]
fn does_each_message_come_once_through_two_workers_whoever_dies() {
    holds(TWO_WORKERS);
    holds(Config { deterministic: false, ..TWO_WORKERS });
    holds(Config { slots: 2, ..TWO_WORKERS });
}

#[test]
fn is_a_message_that_kills_its_workers_an_error_once_in_its_place() {
    holds(Config { max_attempts: 1, ..SMALL });
    holds(Config { max_attempts: 2, messages: 1, crashes: 2, ..ONE_SLOT });
}

/// One old worker and one new, the cut at any time or never.
#[test]
fn is_the_cut_between_two_crews_exact() {
    holds(SWAP);
}

#[test]
#[ignore = "takes minutes and many gigabytes"]
fn is_the_cut_between_two_crews_exact_in_larger_runs() {
    holds(SWAP_AND_DEATH);
    holds(Config { max_attempts: 1, ..SWAP_AND_DEATH });
    holds(Config { messages: 2, ..SWAP });
}

#[test]
#[ignore = "takes minutes and many gigabytes"]
fn does_each_message_come_once_in_larger_runs() {
    holds(Config { slots: 3, messages: 4, crashes: 0, ..SMALL });
    holds(Config { workers: 2, messages: 3, crashes: 0, deterministic: false, ..SMALL });
    holds(Config { messages: 3, crashes: 2, ..SMALL });
}

fn is_noticed(mistakes: &[(Mutation, Config, Property)]) {
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
fn is_every_mistake_in_the_protocol_noticed() {
    is_noticed(CAUGHT);
}

#[test]
#[ignore = "takes minutes and many gigabytes"]
fn is_what_shows_late_noticed() {
    is_noticed(CAUGHT_LATE);
}

fn makes_no_difference(mistakes: &[Mutation], runs: &[Config]) {
    for &mutation in mistakes {
        for &config in runs {
            let violation = run(config, Some(mutation), true).violation;
            assert!(violation.is_none(), "{mutation:?} is not harmless: move it to CAUGHT\n{violation:?}");
        }
    }
}

#[test]
fn is_what_makes_no_difference_known() {
    makes_no_difference(HARMLESS, RUNS);
}

#[test]
#[ignore = "takes minutes"]
fn is_what_makes_no_difference_in_a_swap_known() {
    makes_no_difference(HARMLESS_IN_SWAP, &[SWAP]);
}

#[test]
fn does_the_reduction_hide_nothing() {
    let without_swap = CAUGHT.iter().filter(|(_, config, _)| config.newcomers == 0);
    let mutations = without_swap.map(|&(mutation, ..)| Some(mutation)).chain([None]);
    for mutation in mutations {
        for &config in IN_FULL {
            // What the reduced search finds, the full one would: its steps are among all.
            if run(config, mutation, true).violation.is_none() {
                let violation = run(config, mutation, false).violation;
                assert!(violation.is_none(), "{mutation:?} escapes the reduction:\n{violation:?}");
            }
        }
    }
}
