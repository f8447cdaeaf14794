//! Deaths of the commander at each stage of its life, and the policies.

use super::play::{ENDED, KILLED, PAUSE, Play, START, care, report, worker};
use crate::limits::MAX_FAILED_STARTS;
use crate::protocol::message::{Event, SetupFailure};
use crate::protocol::role::Role;
use crate::record::death::{Death, Exit};
use crate::record::policy::{OnCommanderFailure, PerKind};
use crate::record::raw_stack::RawStack;
use crate::segment::sync::Ordering;
use crate::stream::delivery::Item;
use crate::stream::error::StreamError;
use crate::supervisor::run::Care;
use cobuf_plugin_api::ReportKind;

const COMMANDER: Role = Role::Commander;

#[test]
fn killed_commander_goes_on_at_its_message() {
    let mut play = Play::of(1);
    play.commands(3);
    play.dies(COMMANDER, KILLED);
    assert_eq!(play.beginning().sequence, 3);
    assert_eq!(play.restarts(), (0, 1));
}

#[test]
fn slot_of_a_dead_commander_is_free_again() {
    let mut play = Play::of(1);
    let claim = play.claims_slot();
    assert_eq!(play.stream().table().occupancy(), [7, 1, 0, 0]);
    // It dies with its claim.
    drop(claim);
    play.dies(COMMANDER, KILLED);
    assert_eq!(play.stream().table().occupancy(), [8, 0, 0, 0]);
}

#[test]
fn commander_goes_on_from_what_it_saved() {
    let mut play = Play::of(1);
    play.commands(1);
    play.saves(7);
    play.commands(1);
    play.dies(COMMANDER, KILLED);
    let beginning = play.beginning();
    let state = beginning.state.expect("a state");
    assert_eq!((beginning.sequence, state.sequence, state.state.bytes()), (2, 1, &[7][..]));
}

#[test]
fn commander_that_has_given_its_last_message_is_not_replaced() {
    let mut play = Play::of(1);
    play.commands(2);
    play.stream().table().end_stream(2);
    play.dies(COMMANDER, ENDED);
    assert!(!play.is_alive(COMMANDER));
    assert!(!play.stream().has_failed());
    play.passes(START);
    assert_eq!((play.is_alive(COMMANDER), play.restarts()), (false, (0, 0)));
}

#[test]
fn stream_ends_with_a_commander_that_dies_at_one_message_again_and_again() {
    let mut play = Play::of(1);
    play.commands(2);
    for _ in 0..3 {
        play.all_ready();
        play.dies(COMMANDER, KILLED);
        play.passes(PAUSE);
    }
    assert!(!play.is_alive(COMMANDER));
    for _ in 0..2 {
        play.takes(worker(0, 0));
        play.does(worker(0, 0));
    }
    assert_eq!(play.stream().table().end(), Some(2), "after what it had given");
    assert_eq!(play.restarts(), (0, 2));
    assert_eq!([0, 1].map(|_| play.stream().poll().is_ok()), [true, true]);
    let StreamError::CommanderDied { commanded: 2, attempts: 3, death, .. } = play.error() else {
        panic!("it died")
    };
    assert_eq!(death, KILLED);
}

#[test]
fn commander_that_dies_at_other_messages_is_replaced_at_once_each_time() {
    let mut play = Play::of(1);
    for _ in 0..6 {
        play.commands(1);
        play.dies(COMMANDER, KILLED);
        play.ready(COMMANDER);
    }
    assert_eq!(play.restarts(), (0, 6));
}

#[test]
fn commander_is_replaced_later_each_time_that_it_fails_at_one_message() {
    let mut play = Play::with(1, crate::supervisor::run::Care { max_attempts: 10, ..care() });
    let mut pauses = Vec::new();
    for _ in 0..4 {
        play.dies(COMMANDER, KILLED);
        pauses.push(play.parts.next_deadline().map(|at| (at - play.now.at).as_millis()));
        play.passes(PAUSE);
        play.ready(COMMANDER);
    }
    assert_eq!(pauses[1..], [Some(20), Some(40), Some(80)]);
}

#[test]
fn commanders_error_ends_the_stream_after_what_was_commanded() {
    let mut play = Play::of(1);
    play.commands(1);
    play.says(Event::CommanderFailed(report(ReportKind::Error)));
    play.dies(COMMANDER, ENDED);
    assert!(!play.is_alive(COMMANDER));
    play.takes(worker(0, 0));
    play.does(worker(0, 0));
    assert!(play.stream().poll().is_ok(), "the batch");
    assert!(matches!(play.error(), StreamError::Commander { commanded: 1, .. }));
}

#[test]
fn commander_that_failed_is_tried_again_if_the_policy_says_so() {
    let on_commander_failure = PerKind::new(
        OnCommanderFailure::Restart,
        OnCommanderFailure::Restart,
        OnCommanderFailure::End,
        OnCommanderFailure::End,
    );
    let policy = || crate::supervisor::run::Care { on_commander_failure, ..care() };
    let mut play = Play::with(1, policy());
    play.says(Event::CommanderFailed(report(ReportKind::Panic)));
    assert!(!play.stream().has_failed());
    play.dies(COMMANDER, ENDED);
    assert!(play.is_alive(COMMANDER));
    // A crash is to end the stream.
    play.ready(COMMANDER);
    play.commands(1);
    play.dies(COMMANDER, KILLED);
    assert!(!play.is_alive(COMMANDER) && play.stream().has_failed());
}

#[test]
fn commander_that_dies_while_it_is_brought_to_its_message_is_tried_again() {
    let mut play = Play::of(1);
    play.dies(COMMANDER, KILLED);
    assert!(play.is_alive(COMMANDER), "it is not ready yet");
    play.dies(COMMANDER, KILLED);
    play.passes(PAUSE);
    assert!(play.is_alive(COMMANDER));
    assert_eq!(play.restarts(), (0, 2));
}

#[test]
fn restarted_commander_whose_plugin_fails_ends_the_stream_with_its_error() {
    let mut play = Play::of(1);
    play.dies(COMMANDER, KILLED);
    play.fails(COMMANDER, SetupFailure::Load("no such symbol".to_owned()));
    let StreamError::Commander { source, .. } = play.error() else { panic!("it has said why") };
    assert_eq!((source.kind, &source.chain[0][..]), (ReportKind::Error, "no such symbol"));
}

#[test]
fn commander_that_cannot_be_forked_ends_the_stream() {
    let mut play = Play::of(1);
    play.silent = true;
    play.dies(COMMANDER, KILLED);
    play.silent = false;
    play.says(Event::Started { role: COMMANDER, pid: Err("no processes left".to_owned()) });
    let StreamError::Commander { source, .. } = play.error() else { panic!("it has said why") };
    assert_eq!(source.chain[0], "no processes left");
}

#[test]
fn start_of_a_commander_that_is_late_is_killed_and_tried_again() {
    let mut play = Play::starting(1, care());
    play.ready(worker(0, 0));
    play.passes(START);
    assert_eq!(play.killed, [COMMANDER]);
    play.passes(START);
    assert_eq!(play.killed, [COMMANDER], "it is killed once");
    play.dies(COMMANDER, KILLED);
    assert!(play.is_alive(COMMANDER));
    assert_eq!(play.stream().counters().timeouts.load(Ordering::Relaxed), 1);
}

#[test]
fn signal_of_a_commanders_crash_is_what_is_told_with_the_place_in_its_script() {
    let mut play = Play::with(1, crate::supervisor::run::Care { max_attempts: 1, ..care() });
    play.says(Event::Crashed { role: COMMANDER, signal: 6 });
    assert_eq!(play.killed, [COMMANDER]);
    let trace =
        "Current thread 0x1 (most recent call first):\n  File \"/slides.py\", line 12 in read".to_owned();
    play.says(Event::Stack { role: COMMANDER, stack: Ok(RawStack { trace, ..RawStack::default() }) });
    play.dies(COMMANDER, KILLED);
    let error = play.error();
    assert!(error.to_string().ends_with(" by signal 6 (SIGABRT), in read at /slides.py:12"), "{error}");
    let StreamError::CommanderDied { death, .. } = error else { panic!("it died") };
    assert_eq!(death, Death::Exit(Exit::Signal(6)));
}

#[test]
fn commander_that_is_ended_from_outside_goes_on_whatever_the_policy_says() {
    let end = OnCommanderFailure::End;
    let care = Care { on_commander_failure: PerKind::new(end, end, end, end), max_attempts: 1, ..care() };
    let mut play = Play::with(1, care);
    play.commands(2);
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        play.dies(COMMANDER, Death::Exit(Exit::Signal(signal)));
        play.passes(PAUSE);
        assert_eq!(play.beginning().sequence, 2);
        play.all_ready();
    }
    assert!(!play.stream().has_failed());
}

#[test]
fn workers_that_are_lost_end_a_stream_that_waits_for_a_failed_commanders_messages() {
    let mut play = Play::of(1);
    play.commands(2);
    play.takes(worker(0, 0));
    play.does(worker(0, 0));
    play.takes(worker(0, 0));
    play.says(Event::CommanderFailed(report(ReportKind::Error)));
    play.dies(COMMANDER, ENDED);
    for incarnation in 0..=MAX_FAILED_STARTS {
        play.dies(worker(0, incarnation), KILLED);
        play.passes(PAUSE);
    }
    assert!(matches!(play.stream().poll(), Ok(Item::Batch(..))), "what is ready comes first");
    let StreamError::Twice { error, earlier } = play.error() else { panic!("two failures") };
    assert!(matches!(*error, StreamError::WorkersLost { .. }));
    assert!(matches!(*earlier, StreamError::Commander { commanded: 2, .. }));
}
