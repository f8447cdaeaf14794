//! Loss of the fork server, and all processes with it, at each stage.

use cobuf_plugin_api::PluginKind;

use super::play::{ENDED, KILLED, Play, START, care, newcomer, rehearsal, worker};
use crate::limits::MAX_FORK_SERVER_STARTS;
use crate::process::launch::{ServerStart, StartMethod};
use crate::protocol::role::Role;
use crate::segment::failpoint::{Failpoint, Fault};
use crate::segment::sync::Ordering;
use crate::supervisor::run::Care;
use crate::supervisor::swap_error::SwapError;

#[test]
fn all_processes_are_started_again_and_go_on() {
    let mut play = Play::of(2);
    play.commands(3);
    play.takes(worker(0, 0));
    play.server_dies().unwrap();
    assert_eq!(play.workers(), [worker(0, 1), worker(1, 1)]);
    assert_eq!(play.beginning().sequence, 3);
    play.all_ready();
    assert_eq!(play.takes(worker(1, 1)), Some(0), "the message of the worker that died");
    assert!(play.stream().history.attempts(0).is_empty(), "which was not its doing");
    assert_eq!(play.stream().counters().fork_server_restarts.load(Ordering::Relaxed), 1);
}

#[test]
fn what_is_ready_or_delivered_stays_as_it_is() {
    let mut play = Play::of(1);
    play.commands(2);
    for _ in 0..2 {
        play.takes(worker(0, 0));
        play.does(worker(0, 0));
    }
    play.server_dies().unwrap();
    assert_eq!(play.delivered(), [0, 1]);
}

#[test]
fn slot_that_the_commander_held_is_free_again() {
    let mut play = Play::of(1);
    drop(play.claims_slot());
    play.server_dies().unwrap();
    assert_eq!(play.stream().table().occupancy(), [8, 0, 0, 0]);
}

#[test]
fn loss_while_plugins_are_constructed() {
    let mut play = Play::starting(2, care());
    play.server_dies().unwrap();
    assert_eq!(play.workers().len(), 2);
    assert!(play.is_alive(Role::Commander));
    play.passes(START / 2);
    assert!(play.killed.is_empty(), "the new ones have their own time");
}

#[test]
fn loss_while_starts_are_due() {
    let mut play = Play::of(2);
    for incarnation in 0..2 {
        play.all_ready();
        play.dies(worker(1, incarnation), KILLED);
        play.dies(Role::Commander, KILLED);
    }
    play.server_dies().unwrap();
    play.passes(START / 2);
    assert_eq!(play.workers().len(), 2);
    assert!(play.is_alive(Role::Commander));
}

#[test]
fn loss_while_a_late_process_is_killed() {
    let mut play = Play::of(1);
    play.dies(worker(0, 0), KILLED);
    play.passes(START);
    assert_eq!(play.killed, [worker(0, 1)]);
    play.server_dies().unwrap();
    play.passes(START / 2);
    assert!(play.killed.is_empty(), "the next incarnation is not condemned");
    play.passes(START / 2);
    assert_eq!(play.killed, [worker(0, 2), Role::Commander]);
}

#[test]
fn loss_while_workers_retire() {
    let mut play = Play::of(3);
    play.wants_workers(1);
    play.server_dies().unwrap();
    assert_eq!(play.workers(), [worker(0, 1)]);
}

#[test]
fn commander_that_is_done_is_not_started_again() {
    let mut play = Play::of(1);
    play.commands(1);
    play.stream().table().end_stream(1);
    play.dies(Role::Commander, ENDED);
    play.server_dies().unwrap();
    assert!(!play.is_alive(Role::Commander));
    assert_eq!(play.workers(), [worker(0, 1)]);
}

#[test]
fn loss_while_a_plugin_is_rehearsed_ends_the_swap() {
    for kind in [PluginKind::Producer, PluginKind::Commander] {
        let mut play = Play::of(1);
        let answer = play.swaps(kind);
        play.ready(rehearsal(kind));
        play.server_dies().unwrap();
        assert!(matches!(answer.refused(), SwapError::ForkServerDied));
        assert_eq!(play.alive.len(), 2);
        assert!(play.plugins.candidate.is_none());
    }
}

#[test]
fn loss_while_a_new_crew_is_constructed_ends_the_swap() {
    let mut play = Play::of(2);
    let answer = play.swaps(PluginKind::Producer);
    play.rehearses(rehearsal(PluginKind::Producer));
    play.ready(newcomer(0, 0));
    play.server_dies().unwrap();
    assert!(matches!(answer.refused(), SwapError::ForkServerDied));
    assert_eq!(play.workers(), [worker(0, 1), worker(1, 1)]);
    assert!(play.plugins.producers[1].is_none());
}

#[test]
fn loss_while_an_old_crew_drains_has_its_message_done_by_that_crew() {
    let mut play = Play::of(1);
    play.commands(1);
    play.takes(worker(0, 0));
    let answer = play.swaps(PluginKind::Producer);
    play.rehearses(rehearsal(PluginKind::Producer));
    play.ready(newcomer(0, 0));
    assert_eq!(answer.first(), 1);
    play.server_dies().unwrap();
    assert_eq!(play.workers(), [worker(0, 1), newcomer(0, 1)]);
    play.all_ready();
    assert_eq!(play.takes(newcomer(0, 1)), None);
    assert_eq!(play.takes(worker(0, 1)), Some(0));
}

#[test]
fn loss_while_the_commander_is_relieved_brings_the_old_one_back() {
    let mut play = Play::of(1);
    let answer = play.swaps(PluginKind::Commander);
    play.rehearses(rehearsal(PluginKind::Commander));
    play.server_dies().unwrap();
    assert!(matches!(answer.refused(), SwapError::ForkServerDied));
    assert_eq!(play.plugins.commander.as_ref().unwrap().name, "old");
    assert_eq!(play.stream().table().control.relieve_commander.load(Ordering::SeqCst), 0);
    assert!(play.is_alive(Role::Commander));
}

#[test]
fn loss_while_the_new_commander_begins_brings_the_old_one_back() {
    let mut play = Play::of(1);
    let answer = play.swaps(PluginKind::Commander);
    play.rehearses(rehearsal(PluginKind::Commander));
    play.dies(Role::Commander, ENDED);
    play.server_dies().unwrap();
    assert!(matches!(answer.refused(), SwapError::ForkServerDied));
    assert_eq!(play.plugins.commander.as_ref().unwrap().name, "old");
    assert!(play.is_alive(Role::Commander));
}

#[test]
fn loss_in_the_middle_of_a_burial() {
    let mut play = Play::of(1);
    play.commands(1);
    play.takes(worker(0, 0));
    play.stream().table().control.armed.arm(Failpoint::Reclaim, Fault::Kill);
    play.dies(worker(0, 0), KILLED);
    assert!(play.server_killed);
    play.server_dies().unwrap();
    assert_eq!(play.workers(), [worker(0, 2)]);
    play.all_ready();
    assert_eq!(play.takes(worker(0, 2)), Some(0));
}

#[test]
fn new_server_is_asked_for_nothing_of_what_the_old_one_was() {
    let mut play = Play::of(1);
    play.silent = true;
    play.dies(worker(0, 0), KILLED);
    assert!(play.parts.run.link.late_at().is_some());
    // Still said by processes of the dead server, and not sent any more.
    play.parts.take(crate::protocol::message::Event::Crashed { role: Role::Commander, signal: 6 }, play.now);
    play.silent = false;
    play.server_dies().unwrap();
    assert!(play.killed.is_empty());
    assert_eq!(play.parts.run.link.late_at(), None);
}

#[test]
fn servers_that_die_in_a_row_without_a_batch_are_given_up() {
    let mut play = Play::of(1);
    for _ in 0..MAX_FORK_SERVER_STARTS {
        play.server_dies().unwrap();
    }
    let reason = play.server_dies().unwrap_err();
    assert_eq!(reason, "4 of them died in a row, with no batch in between");
}

#[test]
fn servers_that_die_with_batches_in_between_are_replaced() {
    let mut play = Play::of(1);
    for incarnation in 0..MAX_FORK_SERVER_STARTS + 3 {
        play.all_ready();
        play.commands(1);
        play.takes(worker(0, incarnation)).unwrap();
        play.does(worker(0, incarnation));
        assert_eq!(play.delivered().len(), 1);
        play.server_dies().unwrap();
    }
}

#[test]
fn fork_of_the_application_is_not_replaced() {
    let server = ServerStart { method: StartMethod::Fork, ..ServerStart::default() };
    let mut play = Play::with(1, Care { server, ..care() });
    let reason = play.server_dies().unwrap_err();
    assert!(reason.contains("only the start of a host may fork the application"), "{reason}");
}
