//! Deadlines of messages, of the commander, and of the fork server's answers.

use std::time::Duration;

use super::play::{KILLED, Play, care, worker};
use crate::limits::SERVER_ANSWER_LIMIT;
use crate::protocol::message::Event;
use crate::protocol::role::Role;
use crate::record::death::Death;
use crate::segment::sync::Ordering;
use crate::supervisor::run::Care;

const LIMIT: Duration = Duration::from_secs(1);
const ALMOST: Duration = Duration::from_millis(900);
/// Longer than a tick of the segment's clock.
const TICK: Duration = Duration::from_millis(200);

fn watched(workers: usize) -> Play {
    Play::with(workers, Care { message_timeout: Some(LIMIT), ..care() })
}

fn commander_watched() -> Play {
    Play::with(1, Care { commander_timeout: Some(LIMIT), ..care() })
}

#[test]
fn worker_that_holds_a_message_past_its_deadline_is_killed() {
    let mut play = watched(2);
    play.commands(1);
    play.takes(worker(0, 0));
    play.passes(ALMOST);
    assert!(play.killed.is_empty());
    play.passes(TICK);
    assert_eq!(play.killed, [worker(0, 0)]);
    play.dies(worker(0, 0), KILLED);
    let attempts = play.stream().history.attempts(0);
    assert_eq!(attempts[0].death, Death::Timeout { limit: LIMIT });
    assert_eq!(play.takes(worker(1, 0)), Some(0));
}

#[test]
fn time_in_which_the_whole_run_stood_still_counts_for_no_deadline() {
    let mut play = watched(1);
    play.commands(1);
    play.takes(worker(0, 0));
    for _ in 0..3 {
        play.passes(TICK);
        play.stands_still(LIMIT * 4);
    }
    assert!(play.killed.is_empty());
    play.passes(ALMOST);
    assert_eq!(play.killed, [worker(0, 0)]);
}

#[test]
fn next_message_of_a_worker_has_its_own_time() {
    let mut play = watched(1);
    play.commands(2);
    play.takes(worker(0, 0));
    play.passes(ALMOST);
    play.does(worker(0, 0));
    play.takes(worker(0, 0));
    play.passes(ALMOST);
    assert!(play.killed.is_empty());
}

#[test]
fn message_that_a_late_worker_took_at_the_last_moment_counts_no_attempt() {
    let mut play = watched(1);
    play.commands(2);
    play.takes(worker(0, 0));
    play.passes(LIMIT + TICK);
    assert_eq!(play.killed, [worker(0, 0)]);
    play.does(worker(0, 0));
    assert_eq!(play.takes(worker(0, 0)), Some(1));
    play.dies(worker(0, 0), KILLED);
    assert!(play.stream().history.attempts(1).is_empty());
}

#[test]
fn idle_worker_that_does_not_look_for_a_queued_message_is_killed_after_a_wake() {
    let mut play = watched(1);
    play.commands(1);
    play.passes(LIMIT + TICK);
    assert!(play.killed.is_empty(), "its wake may have been lost: it is woken first");
    play.passes(LIMIT + TICK);
    assert_eq!(play.killed, [worker(0, 0)]);
    play.dies(worker(0, 0), KILLED);
    assert!(play.stream().history.attempts(0).is_empty(), "it had not taken the message");
}

#[test]
fn worker_that_looks_after_its_wake_lives() {
    let mut play = watched(1);
    play.commands(1);
    play.passes(LIMIT + TICK);
    play.takes(worker(0, 0));
    play.does(worker(0, 0));
    play.passes(ALMOST);
    assert!(play.killed.is_empty());
}

#[test]
fn nobody_is_watched_without_a_deadline() {
    let mut play = Play::of(1);
    play.commands(1);
    play.takes(worker(0, 0));
    play.passes(LIMIT * 1000);
    assert!(play.killed.is_empty());
    assert_eq!(play.parts.next_deadline(), None);
}

#[test]
fn commander_that_owes_a_message_is_woken_and_then_killed() {
    let mut play = commander_watched();
    play.passes(LIMIT);
    assert!(play.killed.is_empty(), "from this look on it owes one");
    play.passes(LIMIT);
    assert!(play.killed.is_empty(), "its wake may have been lost: it is woken first");
    play.passes(TICK);
    assert_eq!(play.killed, [Role::Commander]);
    play.dies(Role::Commander, KILLED);
    assert!(play.is_alive(Role::Commander));
    assert_eq!(play.stream().counters().timeouts.load(Ordering::Relaxed), 1);
}

#[test]
fn next_commander_has_its_own_time() {
    let mut play = commander_watched();
    play.passes(ALMOST);
    play.dies(Role::Commander, KILLED);
    play.ready(Role::Commander);
    play.passes(ALMOST);
    assert!(play.killed.is_empty());
}

#[test]
fn commander_owes_nothing_while_all_slots_are_taken() {
    let mut play = commander_watched();
    play.commands(8);
    play.passes(LIMIT * 10);
    play.passes(LIMIT * 10);
    assert!(play.killed.is_empty());
    for _ in 0..8 {
        play.takes(worker(0, 0));
        play.does(worker(0, 0));
    }
    assert_eq!(play.delivered().len(), 8);
    play.passes(LIMIT);
    play.passes(LIMIT);
    play.passes(TICK);
    assert_eq!(play.killed, [Role::Commander]);
}

#[test]
fn fork_server_that_does_not_answer_is_killed() {
    let mut play = Play::of(1);
    play.silent = true;
    play.dies(worker(0, 0), KILLED);
    play.passes(SERVER_ANSWER_LIMIT - TICK);
    assert!(!play.server_killed);
    play.passes(TICK);
    assert!(play.server_killed);
    play.silent = false;
    play.server_dies().unwrap();
    assert!(play.is_alive(worker(0, 2)) && play.is_alive(Role::Commander));
}

#[test]
fn fork_server_that_answers_slowly_lives() {
    let mut play = Play::of(3);
    play.silent = true;
    (0..3).for_each(|number| play.dies(worker(number, 0), KILLED));
    for number in 0..3 {
        play.passes(SERVER_ANSWER_LIMIT - TICK);
        play.says(Event::Started { role: worker(number, 1), pid: Ok(1) });
    }
    play.passes(SERVER_ANSWER_LIMIT);
    assert!(!play.server_killed);
}
