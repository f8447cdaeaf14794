//! Runs whose commander is the application, which no death of a process touches.

use super::play::{KILLED, PAUSE, Play, START, worker};
use crate::limits::MIN_MESSAGE_CAPACITY;
use crate::protocol::role::Role;

#[test]
fn no_commander_is_started_or_missed() {
    let mut play = Play::submitted(2);
    play.passes(START);
    play.passes(PAUSE);
    assert!(!play.is_alive(Role::Commander) && play.killed.is_empty());
    assert_eq!(play.parts.first_roles(), [worker(0, 0), worker(1, 0)]);
    assert_eq!(play.restarts(), (0, 0));
}

#[test]
fn slot_that_a_thread_of_the_application_holds_stays_its_own() {
    let mut play = Play::submitted(1);
    let claim = play.claims_slot();
    play.dies(worker(0, 0), KILLED);
    play.server_dies().unwrap();
    assert_eq!(play.stream().table().occupancy(), [7, 1, 0, 0], "it is being written");
    play.all_ready();
    play.stream().table().publish(claim, 0, MIN_MESSAGE_CAPACITY);
    let producing = play.workers()[0];
    assert_eq!(play.takes(producing), Some(0));
    play.does(producing);
    assert_eq!(play.delivered(), [0]);
    assert!(!play.is_alive(Role::Commander));
}

#[test]
fn messages_that_were_submitted_outlive_the_fork_server() {
    let mut play = Play::submitted(2);
    play.commands(3);
    play.takes(worker(0, 0));
    play.server_dies().unwrap();
    play.all_ready();
    for (message, producing) in (0..3).zip(play.workers().into_iter().cycle()) {
        assert_eq!(play.takes(producing), Some(message));
        play.does(producing);
    }
    assert_eq!(play.delivered(), [0, 1, 2]);
}
