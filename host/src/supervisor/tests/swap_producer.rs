//! A producer takes another's place, and each step at which that may fail.

use std::time::Duration;

use cobuf_plugin_api::{ArraySpec, DType, PluginKind, ReportKind, Schema};

use super::play::{Answer, ENDED, KILLED, PAUSE, Play, START, care, newcomer, rehearsal, report, worker};
use crate::limits::MAX_FAILED_STARTS;
use crate::plugin::PluginError;
use crate::protocol::message::{Event, SetupFailure};
use crate::protocol::role::Role;
use crate::record::death::{Death, Exit};
use crate::segment::sync::Ordering;
use crate::segment::worker_place::Retire;
use crate::stream::error::StreamError;
use crate::supervisor::run::Care;
use crate::supervisor::swap_error::SwapError;

const REHEARSAL: Role = Role::Rehearsal { kind: PluginKind::Producer, number: 1 };

/// A run whose next producer is being rehearsed.
fn rehearsing(workers: usize) -> (Play, Answer) {
    let mut play = Play::of(workers);
    let answer = play.swaps(PluginKind::Producer);
    (play, answer)
}

/// A run whose next producer is being constructed.
fn constructing(workers: usize) -> (Play, Answer) {
    let (mut play, answer) = rehearsing(workers);
    play.rehearses(REHEARSAL);
    (play, answer)
}

/// The old producer goes on: nothing of the new one is left, and another swap is possible.
fn assert_goes_on(play: &mut Play, workers: usize) {
    assert_eq!(play.plugins.producers[0].as_ref().unwrap().plugin.name, "old");
    assert!(play.plugins.producers[1].is_none() && play.plugins.candidate.is_none());
    // What was told to end does so.
    let gone: Vec<Role> = play.alive.iter().map(|&(role, _)| role).filter(|role| is_new(*role)).collect();
    gone.into_iter().for_each(|role| play.dies(role, KILLED));
    assert_eq!(play.workers(), (0..workers).map(|number| worker(number, 0)).collect::<Vec<_>>());
    assert_eq!(play.restarts(), (0, 0));
    play.commands(1);
    assert!(play.takes(worker(0, 0)).is_some());
    let (counters, settled) = (play.stream().counters(), &play.stream().settled);
    assert_eq!((counters.swaps.load(Ordering::Relaxed), settled.edition.load(Ordering::Relaxed)), (0, 0));
    let _ = play.swaps(PluginKind::Producer);
    assert!(play.is_alive(Role::Rehearsal { kind: PluginKind::Producer, number: 2 }));
}

fn is_new(role: Role) -> bool {
    matches!(role, Role::Worker { place, .. } if place.crew() == 1) || matches!(role, Role::Rehearsal { .. })
}

#[test]
fn new_crew_takes_over_at_the_first_message_that_no_old_worker_has_taken() {
    let (mut play, answer) = rehearsing(2);
    play.commands(4);
    assert_eq!(play.takes(worker(0, 0)), Some(0));
    assert_eq!(play.plugins.candidate.as_ref().unwrap().name, "new");
    play.rehearses(REHEARSAL);
    assert_eq!(play.takes(worker(1, 0)), Some(1), "the old crew works on");
    assert_eq!(play.takes(newcomer(0, 0)), None, "the new one waits");
    play.ready(newcomer(0, 0));
    assert!(answer.is_open());
    play.ready(newcomer(1, 0));
    assert_eq!(answer.first(), 2);
    assert_eq!(play.takes(newcomer(0, 0)), Some(2));
    assert_eq!([0, 1].map(|number| play.retire_of(worker(number, 0))), [Retire::Drained; 2]);
    assert_eq!(play.stream().settled.edition.load(Ordering::Relaxed), 1);
    assert_eq!(play.plugins.producers[1].as_ref().unwrap().edition, 1);
    for number in 0..2 {
        play.does(worker(number, 0));
        play.dies(worker(number, 0), ENDED);
    }
    assert_eq!(play.workers(), [newcomer(0, 0), newcomer(1, 0)]);
    assert_eq!(play.restarts(), (0, 0));
}

#[test]
fn two_swaps_in_a_row_come_back_to_the_first_crew() {
    let (mut play, answer) = constructing(1);
    play.ready(newcomer(0, 0));
    assert_eq!(answer.first(), 0);
    let answer = play.swaps(PluginKind::Producer);
    let second = Role::Rehearsal { kind: PluginKind::Producer, number: 2 };
    assert!(!play.is_alive(second), "the old crew has not ended");
    play.dies(worker(0, 0), ENDED);
    play.rehearses(second);
    // Another plugin's first incarnation in this place.
    play.ready(worker(0, 0));
    assert_eq!(answer.first(), 0);
    assert_eq!(play.plugins.producers[0].as_ref().unwrap().edition, 2);
}

#[test]
fn swap_while_an_older_crew_drains_waits_for_its_end() {
    let (mut play, answer) = constructing(1);
    play.commands(1);
    play.takes(worker(0, 0));
    play.ready(newcomer(0, 0));
    assert_eq!(answer.first(), 1);
    let next = play.swaps(PluginKind::Producer);
    play.passes(START - PAUSE);
    assert!(next.is_open());
    play.passes(PAUSE);
    let SwapError::Draining { sequence: Some(0), limit: START } = next.refused() else {
        panic!("the old worker is at message 0")
    };
    // Of a swap of the commander nobody needs to be gone.
    let _ = play.swaps(PluginKind::Commander);
    assert!(play.is_alive(Role::Rehearsal { kind: PluginKind::Commander, number: 3 }));
}

#[test]
fn worker_of_a_crew_that_goes_is_replaced_if_it_leaves_a_message_behind() {
    let (mut play, answer) = constructing(2);
    play.commands(2);
    play.takes(worker(0, 0));
    play.ready(newcomer(0, 0));
    play.ready(newcomer(1, 0));
    assert_eq!(answer.first(), 1);
    play.dies(worker(0, 0), KILLED);
    assert_eq!(play.takes(newcomer(0, 0)), Some(1));
    assert!(!play.is_alive(worker(0, 1)), "the other one is still there to do it");
    play.dies(worker(1, 0), ENDED);
    assert!(play.is_alive(worker(0, 1)));
    assert_eq!(play.retire_of(worker(0, 1)), Retire::Drained);
    assert_eq!(play.takes(worker(0, 1)), Some(0));
    play.does(worker(0, 1));
    play.dies(worker(0, 1), ENDED);
    assert_eq!(play.workers(), [newcomer(0, 0), newcomer(1, 0)]);
}

#[test]
fn stream_ends_if_no_worker_of_a_crew_that_goes_can_be_kept_alive() {
    let (mut play, _answer) = constructing(1);
    play.commands(1);
    play.takes(worker(0, 0));
    play.ready(newcomer(0, 0));
    play.dies(worker(0, 0), KILLED);
    for incarnation in 1..=MAX_FAILED_STARTS {
        play.passes(PAUSE);
        play.dies(worker(0, incarnation), KILLED);
    }
    assert!(matches!(play.error(), StreamError::WorkersLost { .. }));
}

#[test]
fn worker_of_a_crew_that_goes_may_be_late_while_it_is_constructed() {
    let (mut play, _answer) = constructing(1);
    play.commands(1);
    play.takes(worker(0, 0));
    play.ready(newcomer(0, 0));
    play.dies(worker(0, 0), KILLED);
    play.passes(START);
    assert_eq!(play.killed, [worker(0, 1)]);
}

#[test]
fn message_that_a_worker_was_cut_off_from_counts_no_attempt() {
    let (mut play, _answer) = constructing(1);
    play.commands(1);
    // It has noted and claimed the message just after the cut had looked at the notes.
    play.ready(newcomer(0, 0));
    assert_eq!(play.takes(worker(0, 0)), None);
    play.dies(worker(0, 0), KILLED);
    assert!(play.stream().history.attempts(0).is_empty());
    assert_eq!(play.workers(), [newcomer(0, 0)]);
}

#[test]
fn number_of_workers_that_changes_meanwhile_holds_for_both_crews() {
    let (mut play, answer) = constructing(1);
    play.wants_workers(2);
    assert_eq!(play.workers(), [worker(0, 0), newcomer(0, 0), worker(1, 0), newcomer(1, 0)]);
    play.all_ready();
    assert_eq!(answer.first(), 0);
    play.wants_workers(1);
    assert_eq!(play.retire_of(newcomer(1, 0)), Retire::Next);
    assert_eq!(play.retire_of(worker(1, 0)), Retire::Drained);
}

#[test]
fn old_worker_that_dies_while_the_new_crew_is_constructed_is_replaced() {
    let (mut play, answer) = constructing(1);
    play.commands(1);
    play.takes(worker(0, 0));
    play.dies(worker(0, 0), KILLED);
    assert!(play.is_alive(worker(0, 1)));
    play.ready(newcomer(0, 0));
    // The message was the old crew's.
    assert_eq!(answer.first(), 1);
    assert_eq!(play.takes(newcomer(0, 0)), None);
    play.ready(worker(0, 1));
    assert_eq!(play.takes(worker(0, 1)), Some(0));
}

// Refusals, step by step.

#[test]
fn producer_that_the_loader_refuses() {
    let (mut play, answer) = rehearsing(2);
    play.fails(REHEARSAL, SetupFailure::Load("no such symbol".to_owned()));
    let error = answer.refused();
    assert_eq!(error.to_string(), "cannot load the plugin /nowhere/libnew.so: no such symbol");
    assert_goes_on(&mut play, 2);
}

#[test]
fn producer_whose_construction_fails() {
    for kind in [ReportKind::Error, ReportKind::Panic] {
        let (mut play, answer) = rehearsing(2);
        play.fails(REHEARSAL, SetupFailure::Plugin(report(kind)));
        let SwapError::Plugin(PluginError::Setup { plugin, source, .. }) = answer.refused() else {
            panic!("its own failure is told")
        };
        assert_eq!((&plugin[..], source.kind), ("new", kind));
        assert_goes_on(&mut play, 2);
    }
}

#[test]
fn producer_that_declares_other_arrays() {
    let (mut play, answer) = rehearsing(1);
    let declared = Schema::new([ArraySpec::new("x", DType::U8, [17])]).unwrap();
    play.fails(REHEARSAL, SetupFailure::Schema(declared));
    let SwapError::Schema { differences, .. } = answer.refused() else { panic!("the schema differs") };
    assert_eq!(differences, ["the array \"x\" is u8 (17,), expected u8 (16,)"]);
    assert_goes_on(&mut play, 1);
}

#[test]
fn producer_that_fails_at_the_message_of_its_rehearsal() {
    let (mut play, answer) = rehearsing(1);
    play.ready(REHEARSAL);
    play.fails(REHEARSAL, SetupFailure::Message { sequence: 7, report: report(ReportKind::Error) });
    assert!(matches!(answer.refused(), SwapError::Rehearsal { sequence: 7, .. }));
    assert_goes_on(&mut play, 1);
}

#[test]
fn producer_whose_rehearsal_crashes() {
    let (mut play, answer) = rehearsing(1);
    play.ready(REHEARSAL);
    play.says(Event::Crashed { role: REHEARSAL, signal: 6 });
    assert_eq!(play.killed, [REHEARSAL]);
    play.dies(REHEARSAL, KILLED);
    let SwapError::Plugin(PluginError::Died { how, .. }) = answer.refused() else { panic!("it died") };
    assert_eq!(how, "signal 6 (SIGABRT)");
    play.killed.clear();
    assert_goes_on(&mut play, 1);
}

#[test]
fn producer_whose_rehearsal_ends_without_a_word() {
    for how in [ENDED, KILLED, Death::Exit(Exit::Code(7))] {
        let (mut play, answer) = rehearsing(1);
        play.ready(REHEARSAL);
        play.dies(REHEARSAL, how);
        assert!(matches!(answer.refused(), SwapError::Plugin(PluginError::Died { .. })));
        assert_goes_on(&mut play, 1);
    }
}

#[test]
fn producer_that_passes_and_dies_then() {
    let (mut play, answer) = rehearsing(1);
    play.ready(REHEARSAL);
    play.says(Event::Rehearsed { role: REHEARSAL });
    play.dies(REHEARSAL, KILLED);
    assert!(matches!(answer.refused(), SwapError::Plugin(PluginError::Died { .. })));
    assert_goes_on(&mut play, 1);
}

#[test]
fn producer_whose_rehearsal_is_late() {
    let (mut play, answer) = rehearsing(1);
    play.passes(START);
    assert_eq!(play.killed, [REHEARSAL]);
    assert!(answer.is_open(), "it was not reaped yet");
    play.dies(REHEARSAL, KILLED);
    assert!(matches!(answer.refused(), SwapError::Timeout { limit: START, .. }));
    assert_goes_on(&mut play, 1);
}

#[test]
fn rehearsed_message_has_the_deadline_of_messages() {
    let limit = Duration::from_secs(1);
    let mut play = Play::with(1, Care { message_timeout: Some(limit), ..care() });
    let answer = play.swaps(PluginKind::Producer);
    play.passes(START / 2);
    play.ready(REHEARSAL);
    play.passes(limit);
    assert_eq!(play.killed, [REHEARSAL]);
    play.dies(REHEARSAL, KILLED);
    let SwapError::Timeout { limit: told, .. } = answer.refused() else { panic!("it is late") };
    assert_eq!(told, limit);
}

#[test]
fn producer_whose_rehearsal_cannot_be_forked() {
    let mut play = Play::of(1);
    play.silent = true;
    let answer = play.swaps(PluginKind::Producer);
    play.silent = false;
    play.says(Event::Started { role: REHEARSAL, pid: Err("no processes left".to_owned()) });
    let error = answer.refused().to_string();
    assert_eq!(error, "the producer new cannot be started: no processes left");
    assert_goes_on(&mut play, 1);
}

#[test]
fn newcomer_that_dies_before_its_cut() {
    for was_ready in [false, true] {
        let (mut play, answer) = constructing(2);
        if was_ready {
            play.ready(newcomer(1, 0));
        }
        play.dies(newcomer(1, 0), KILLED);
        assert!(matches!(answer.refused(), SwapError::Plugin(PluginError::Died { .. })));
        assert_eq!(play.killed, [newcomer(0, 0)], "its construction may take for ever");
        assert_eq!(play.retire_of(newcomer(0, 0)), Retire::Next);
        assert_goes_on(&mut play, 2);
    }
}

#[test]
fn newcomer_that_says_why_it_cannot_be_constructed() {
    let (mut play, answer) = constructing(2);
    play.ready(newcomer(0, 0));
    play.fails(newcomer(1, 0), SetupFailure::Plugin(report(ReportKind::Error)));
    assert!(matches!(answer.refused(), SwapError::Plugin(PluginError::Setup { .. })));
    assert!(play.killed.is_empty(), "the one that is ready ends by itself");
    assert_goes_on(&mut play, 2);
}

#[test]
fn newcomer_that_cannot_be_forked() {
    let (mut play, answer) = rehearsing(1);
    play.ready(REHEARSAL);
    play.says(Event::Rehearsed { role: REHEARSAL });
    play.silent = true;
    play.dies(REHEARSAL, ENDED);
    play.silent = false;
    play.says(Event::Started { role: newcomer(0, 0), pid: Err("no processes left".to_owned()) });
    assert!(matches!(answer.refused(), SwapError::Process { .. }));
    assert_goes_on(&mut play, 1);
}

#[test]
fn newcomer_that_is_late() {
    let (mut play, answer) = constructing(2);
    play.ready(newcomer(0, 0));
    play.passes(START);
    assert!(matches!(answer.refused(), SwapError::Timeout { limit: START, .. }));
    assert!(!play.killed.is_empty() && play.killed.iter().all(|&role| role == newcomer(1, 0)));
    assert_goes_on(&mut play, 2);
}

#[test]
fn end_of_an_abandoned_rehearsal_is_not_taken_for_that_of_the_next() {
    let (mut play, answer) = rehearsing(1);
    play.server_dies().unwrap();
    assert!(matches!(answer.refused(), SwapError::ForkServerDied));
    let answer = play.swaps(PluginKind::Producer);
    play.says(Event::Exited { role: rehearsal(PluginKind::Producer), how: KILLED });
    assert!(answer.is_open());
    play.rehearses(Role::Rehearsal { kind: PluginKind::Producer, number: 2 });
    assert!(play.is_alive(newcomer(0, 0)));
}
