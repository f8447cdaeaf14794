//! A commander takes another's place, and each step at which that may fail.

use std::time::Duration;

use cobuf_plugin_api::{PluginKind, ReportKind};

use super::play::{Answer, ENDED, KILLED, PAUSE, Play, START, care, report};
use crate::plugin::PluginError;
use crate::protocol::message::{Event, SetupFailure};
use crate::protocol::role::Role;
use crate::segment::sync::Ordering;
use crate::supervisor::run::Care;
use crate::supervisor::swap_error::SwapError;

const COMMANDER: Role = Role::Commander;
const REHEARSAL: Role = Role::Rehearsal { kind: PluginKind::Commander, number: 1 };

/// A run whose next commander is being rehearsed.
fn rehearsing() -> (Play, Answer) {
    let mut play = Play::of(1);
    let answer = play.swaps(PluginKind::Commander);
    (play, answer)
}

/// A run whose commander is to end, so that the next may begin.
fn relieving() -> (Play, Answer) {
    let (mut play, answer) = rehearsing();
    play.rehearses(REHEARSAL);
    (play, answer)
}

/// A run whose next commander is being brought to its message.
fn beginning() -> (Play, Answer) {
    let (mut play, answer) = relieving();
    play.commands(2);
    play.dies(COMMANDER, ENDED);
    (play, answer)
}

fn is_relieved(play: &Play) -> bool {
    play.stream().table().control.relieve_commander.load(Ordering::SeqCst) != 0
}

fn assert_old_goes_on(play: &Play) {
    assert!(play.is_alive(COMMANDER) && !is_relieved(play));
    assert_eq!(play.plugins.commander.as_ref().unwrap().name, "old");
    assert!(play.plugins.candidate.is_none());
    assert_eq!(play.stream().counters().swaps.load(Ordering::Relaxed), 0);
    assert!(!play.stream().has_failed());
}

#[test]
fn new_commander_goes_on_at_the_message_at_which_the_old_one_ended() {
    let (mut play, answer) = rehearsing();
    assert!(!is_relieved(&play), "the old one is not touched by the rehearsal");
    play.rehearses(REHEARSAL);
    assert!(is_relieved(&play) && answer.is_open());
    play.commands(2);
    play.saves(7);
    play.dies(COMMANDER, ENDED);
    assert!(!is_relieved(&play));
    assert_eq!(play.plugins.commander.as_ref().unwrap().name, "new");
    let beginning = play.beginning();
    assert_eq!((beginning.sequence, beginning.state.unwrap().state.bytes()), (2, &[7][..]));
    assert!(answer.is_open());
    play.ready(COMMANDER);
    assert_eq!(answer.first(), 2);
    assert_eq!(play.restarts(), (0, 0), "it was no failure");
}

#[test]
fn what_the_new_commander_saves_is_believed_once_it_is_ready() {
    let (mut play, _answer) = beginning();
    play.saves(9);
    assert!(play.stream().history.beginning_at(2).state.is_none());
    play.ready(COMMANDER);
    assert_eq!(play.stream().history.beginning_at(2).state.unwrap().state.bytes(), [9]);
}

#[test]
fn what_a_new_commander_that_fails_has_saved_is_forgotten() {
    let (mut play, answer) = beginning();
    play.saves(9);
    play.dies(COMMANDER, KILLED);
    let _ = answer.refused();
    assert!(play.beginning().state.is_none());
    play.saves(8);
    assert!(play.stream().history.beginning_at(2).state.is_some(), "that of the old one counts again");
}

#[test]
fn old_commander_that_dies_while_it_is_relieved_makes_room_as_well() {
    let (mut play, answer) = relieving();
    drop(play.claims_slot());
    play.says(Event::Crashed { role: COMMANDER, signal: 11 });
    play.dies(COMMANDER, KILLED);
    assert_eq!(play.plugins.commander.as_ref().unwrap().name, "new");
    play.ready(COMMANDER);
    assert_eq!(answer.first(), 0);
    assert_eq!(play.stream().table().occupancy(), [8, 0, 0, 0]);
}

#[test]
fn old_commander_that_waits_for_its_restart_is_not_started_again() {
    let (mut play, answer) = rehearsing();
    play.ready(REHEARSAL);
    play.says(Event::Rehearsed { role: REHEARSAL });
    for _ in 0..2 {
        play.all_ready();
        play.dies(COMMANDER, KILLED);
    }
    assert!(!play.is_alive(COMMANDER), "it is started after a pause");
    play.dies(REHEARSAL, ENDED);
    assert!(play.is_alive(COMMANDER), "the new one is, at once");
    assert_eq!(play.plugins.commander.as_ref().unwrap().name, "new");
    play.ready(COMMANDER);
    assert_eq!(answer.first(), 0);
}

#[test]
fn old_commander_that_does_not_end_is_killed() {
    let (mut play, answer) = relieving();
    play.passes(START);
    assert_eq!(play.killed, [COMMANDER]);
    play.passes(START);
    assert_eq!(play.killed, [COMMANDER], "it is killed once");
    play.dies(COMMANDER, KILLED);
    play.ready(COMMANDER);
    assert_eq!(answer.first(), 0);
}

#[test]
fn second_swap_removes_what_nobody_can_roll_back_to_any_more() {
    let (mut play, answer) = beginning();
    play.ready(COMMANDER);
    assert_eq!(answer.first(), 2);
    let answer = play.swaps(PluginKind::Commander);
    play.rehearses(Role::Rehearsal { kind: PluginKind::Commander, number: 2 });
    play.dies(COMMANDER, ENDED);
    play.ready(COMMANDER);
    assert_eq!(answer.first(), 2);
    assert_eq!(play.stream().counters().swaps.load(Ordering::Relaxed), 2);
}

// Refusals, step by step.

#[test]
fn commander_that_fails_in_its_rehearsal() {
    let failures = [
        SetupFailure::Load("no such symbol".to_owned()),
        SetupFailure::Plugin(report(ReportKind::Error)),
        SetupFailure::Message { sequence: 0, report: report(ReportKind::Panic) },
        SetupFailure::Init("no such folder".to_owned()),
    ];
    for failure in failures {
        let (mut play, answer) = rehearsing();
        play.fails(REHEARSAL, failure);
        let _ = answer.refused();
        assert_old_goes_on(&play);
    }
}

#[test]
fn commander_whose_rehearsal_is_late() {
    let limit = Duration::from_secs(1);
    let mut play = Play::with(1, Care { commander_timeout: Some(limit), ..care() });
    let answer = play.swaps(PluginKind::Commander);
    play.ready(REHEARSAL);
    // All slots are taken, so that the old one owes nothing meanwhile.
    play.commands(8);
    play.passes(limit);
    assert_eq!(play.killed, [REHEARSAL]);
    play.dies(REHEARSAL, KILLED);
    assert!(matches!(answer.refused(), SwapError::Timeout { .. }));
    assert_old_goes_on(&play);
}

#[test]
fn commander_that_dies_before_it_is_ready() {
    let (mut play, answer) = beginning();
    play.dies(COMMANDER, KILLED);
    assert!(matches!(answer.refused(), SwapError::Plugin(PluginError::Died { .. })));
    assert_old_goes_on(&play);
    assert_eq!(play.beginning().sequence, 2);
    assert_eq!(play.restarts(), (0, 0));
}

#[test]
fn commander_that_says_why_it_cannot_be_brought_to_its_message() {
    let (mut play, answer) = beginning();
    play.fails(COMMANDER, SetupFailure::Plugin(report(ReportKind::Error)));
    assert!(matches!(answer.refused(), SwapError::Plugin(PluginError::Setup { .. })));
    assert_old_goes_on(&play);
}

#[test]
fn commander_that_is_late_to_be_ready() {
    let (mut play, answer) = beginning();
    play.passes(START);
    assert_eq!(play.killed, [COMMANDER], "by the watchdog, and once");
    assert!(answer.is_open(), "it was not reaped yet");
    play.dies(COMMANDER, KILLED);
    assert!(matches!(answer.refused(), SwapError::Timeout { limit: START, .. }));
    assert_old_goes_on(&play);
}

#[test]
fn commander_that_cannot_be_forked() {
    let (mut play, answer) = relieving();
    play.silent = true;
    play.dies(COMMANDER, ENDED);
    play.silent = false;
    play.says(Event::Started { role: COMMANDER, pid: Err("no processes left".to_owned()) });
    assert!(matches!(answer.refused(), SwapError::Process { .. }));
    assert_old_goes_on(&play);
}

#[test]
fn nothing_is_left_once_the_old_commander_has_given_its_last_message() {
    for step in [rehearsing, relieving] {
        let (mut play, answer) = step();
        play.commands(2);
        play.stream().table().end_stream(2);
        play.dies(COMMANDER, ENDED);
        assert!(matches!(answer.refused(), SwapError::NothingLeft { commanded: 2 }));
        assert!(!play.is_alive(COMMANDER) && !is_relieved(&play));
    }
}

#[test]
fn swap_ends_with_a_stream_that_the_old_commander_ends_by_its_error() {
    for step in [rehearsing, relieving] {
        let (mut play, answer) = step();
        play.says(Event::CommanderFailed(report(ReportKind::Error)));
        play.dies(COMMANDER, ENDED);
        assert!(matches!(answer.refused(), SwapError::Ended));
        play.passes(PAUSE);
        assert!(!play.is_alive(COMMANDER));
    }
}

#[test]
fn replay_has_no_commander_to_swap() {
    let mut play = Play::of(1);
    play.parts.run.plan.letters = Some(Vec::new());
    let answer = play.swaps(PluginKind::Commander);
    assert!(matches!(answer.refused(), SwapError::Replay));
    let _ = play.swaps(PluginKind::Producer);
    assert!(play.is_alive(Role::Rehearsal { kind: PluginKind::Producer, number: 2 }));
}
