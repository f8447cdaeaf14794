//! A stop in the middle of everything: nothing is started any more, and what does not end by itself
//! is killed after the grace.

use std::time::Duration;

use cobuf_plugin_api::PluginKind;

use super::play::{ENDED, KILLED, PAUSE, Play, START, care, newcomer, rehearsal, worker};
use crate::limits::SERVER_MARGIN;
use crate::protocol::message::Event;
use crate::protocol::role::Role;

const GRACE: Duration = Duration::from_secs(2);

/// Stops, and has everything end; nothing may be started meanwhile.
fn assert_stops(mut play: Play) {
    play.stops(GRACE);
    assert_eq!(play.stopped, Some(GRACE));
    let (alive, killed) = (play.alive.len(), play.killed.len());
    play.passes(PAUSE);
    assert!(play.parts.is_stopping() && !play.parts.is_over(play.now.at));
    let roles: Vec<Role> = play.alive.iter().map(|&(role, _)| role).collect();
    for (index, role) in roles.into_iter().enumerate() {
        play.dies(role, if index % 2 == 0 { ENDED } else { KILLED });
    }
    play.passes(PAUSE);
    assert!(play.alive.is_empty(), "{alive} processes have become {:?}", play.alive);
    assert_eq!(play.killed.len(), killed);
    assert!(!play.stream().has_failed());
    assert_eq!(play.parts.next_deadline().map(|at| at > play.now.at), Some(true));
    play.passes(GRACE + SERVER_MARGIN - PAUSE * 2);
    assert!(play.parts.is_over(play.now.at));
}

#[test]
fn of_two_stops_the_shorter_one_counts_in_either_order() {
    for graces in [[GRACE, Duration::ZERO], [Duration::ZERO, GRACE]] {
        let mut play = Play::of(2);
        graces.into_iter().for_each(|grace| play.stops(grace));
        assert_eq!(play.stopped, Some(Duration::ZERO), "{graces:?}");
        play.passes(SERVER_MARGIN);
        assert!(play.parts.is_over(play.now.at), "{graces:?}");
    }
}

#[test]
fn stop_while_all_work() {
    let mut play = Play::of(2);
    play.commands(2);
    play.takes(worker(0, 0));
    assert_stops(play);
}

#[test]
fn stop_during_the_start() {
    assert_stops(Play::starting(2, care()));
    let mut play = Play::starting(2, care());
    play.ready(worker(1, 0));
    play.ready(Role::Commander);
    assert_stops(play);
}

#[test]
fn stop_while_starts_are_due() {
    let mut play = Play::of(2);
    for incarnation in 0..2 {
        play.all_ready();
        play.dies(worker(1, incarnation), KILLED);
        play.dies(Role::Commander, KILLED);
    }
    assert_eq!(play.workers(), [worker(0, 0)]);
    assert_stops(play);
}

#[test]
fn stop_while_workers_retire() {
    let mut play = Play::of(3);
    play.wants_workers(1);
    play.wants_workers(2);
    assert_stops(play);
}

#[test]
fn stop_while_a_late_process_is_killed() {
    let mut play = Play::starting(1, care());
    play.passes(START);
    assert_eq!(play.killed.len(), 2);
    assert_stops(play);
}

#[test]
fn stop_while_a_plugin_is_rehearsed() {
    let mut play = Play::of(1);
    let answer = play.swaps(PluginKind::Producer);
    play.ready(rehearsal(PluginKind::Producer));
    play.says(Event::Rehearsed { role: rehearsal(PluginKind::Producer) });
    assert_stops(play);
    assert!(answer.is_dropped(), "the caller is not left waiting");
}

#[test]
fn stop_while_a_new_crew_is_constructed() {
    let mut play = Play::of(2);
    let answer = play.swaps(PluginKind::Producer);
    play.rehearses(rehearsal(PluginKind::Producer));
    play.ready(newcomer(1, 0));
    assert_stops(play);
    assert!(answer.is_dropped());
}

#[test]
fn stop_while_an_old_crew_drains() {
    let mut play = Play::of(1);
    play.commands(1);
    play.takes(worker(0, 0));
    let answer = play.swaps(PluginKind::Producer);
    play.rehearses(rehearsal(PluginKind::Producer));
    play.ready(newcomer(0, 0));
    assert_eq!(answer.first(), 1);
    let waiting = play.swaps(PluginKind::Producer);
    assert_stops(play);
    assert!(waiting.is_dropped());
}

#[test]
fn stop_while_the_commander_is_swapped() {
    let mut play = Play::of(1);
    let answer = play.swaps(PluginKind::Commander);
    play.rehearses(rehearsal(PluginKind::Commander));
    assert_stops(play);
    assert!(answer.is_dropped());
    let mut play = Play::of(1);
    let answer = play.swaps(PluginKind::Commander);
    play.rehearses(rehearsal(PluginKind::Commander));
    play.dies(Role::Commander, ENDED);
    assert!(play.is_alive(Role::Commander), "the new one");
    assert_stops(play);
    assert!(answer.is_dropped());
}

#[test]
fn stop_after_the_fork_server_was_replaced() {
    let mut play = Play::of(2);
    play.server_dies().unwrap();
    assert_stops(play);
}

#[test]
fn wishes_after_a_stop_are_dropped() {
    let mut play = Play::of(1);
    play.stops(GRACE);
    play.wants_workers(3);
    let answer = play.swaps(PluginKind::Producer);
    assert!(answer.is_dropped());
    assert_eq!(play.alive.len(), 2);
}
