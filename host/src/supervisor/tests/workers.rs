//! Deaths of workers at each stage of their lives.

use super::play::{ENDED, KILLED, PAUSE, Play, START, care, place_of, report, worker};
use crate::limits::{MAX_FAILED_STARTS, MAX_UNANSWERED};
use crate::protocol::message::{Event, SetupFailure};
use crate::protocol::role::Role;
use crate::record::death::{Death, Exit};
use crate::segment::sync::Ordering;
use crate::segment::worker_place::Retire;
use crate::stream::delivery::WaitingFor;
use crate::stream::error::StreamError;
use crate::supervisor::run::Care;
use cobuf_plugin_api::ReportKind;

#[test]
fn killed_worker_is_replaced_and_its_message_done_by_another() {
    let mut play = Play::of(2);
    play.commands(2);
    assert_eq!(play.takes(worker(0, 0)), Some(0));
    play.dies(worker(0, 0), KILLED);
    assert!(play.is_alive(worker(0, 1)), "at once: it is the first that was of no use");
    assert_eq!(play.takes(worker(1, 0)), Some(0), "the oldest message is queued again");
    play.does(worker(1, 0));
    assert_eq!(play.delivered(), [0]);
    assert_eq!(play.restarts(), (1, 0));
    assert_eq!(play.stream().counters().retries.load(Ordering::Relaxed), 1);
}

#[test]
fn idle_worker_that_dies_is_replaced_at_no_messages_cost() {
    let mut play = Play::of(1);
    play.dies(worker(0, 0), KILLED);
    assert!(play.is_alive(worker(0, 1)));
    assert_eq!((play.restarts(), play.stream().counters().retries.load(Ordering::Relaxed)), ((1, 0), 0));
}

#[test]
fn slot_is_taken_back_before_the_next_incarnation_is_started() {
    let mut play = Play::of(1);
    play.commands(1);
    play.takes(worker(0, 0));
    play.says(Event::Crashed { role: worker(0, 0), signal: 11 });
    assert_eq!(play.killed, [worker(0, 0)]);
    assert_eq!(play.workers(), [worker(0, 0)], "it was not reaped yet");
    assert_eq!(play.stream().table().held_by(place_of(worker(0, 0))), Some(0));
    play.dies(worker(0, 0), KILLED);
    assert_eq!(play.stream().table().held_by(place_of(worker(0, 0))), None);
    assert_eq!(play.workers(), [worker(0, 1)]);
}

#[test]
fn signal_of_a_crash_is_what_the_attempt_says() {
    let mut play = Play::of(1);
    play.commands(1);
    play.takes(worker(0, 0));
    play.says(Event::Crashed { role: worker(0, 0), signal: 11 });
    play.dies(worker(0, 0), KILLED);
    let attempts = play.stream().history.attempts(0);
    assert_eq!(attempts[0].death, Death::Exit(Exit::Signal(11)));
}

#[test]
fn message_is_given_up_after_its_attempts_with_a_summary_of_them() {
    let mut play = Play::of(1);
    play.commands(2);
    for incarnation in 0..3 {
        play.all_ready();
        let role = worker(0, incarnation);
        assert_eq!(play.takes(role), Some(0));
        let (level, target, message) = (3, "plugin".to_owned(), format!("line {incarnation}"));
        play.says(Event::Log { role, level, target, message });
        play.dies(role, KILLED);
        play.passes(PAUSE);
    }
    let StreamError::Batch(error) = play.error() else { panic!("it is the batch's error") };
    assert_eq!((error.sequence(), error.kind(), error.attempts().len()), (0, ReportKind::Crash, 3));
    assert_eq!(
        error.chain()[0],
        "the worker was ended at each of 3 attempts by signal 9 (SIGKILL); its last log line: line 2"
    );
    assert_eq!(error.attempts()[1].log, ["line 1"]);
    play.all_ready();
    assert_eq!(play.takes(worker(0, 3)), Some(1), "the stream goes on");
}

#[test]
fn worker_that_is_of_no_use_is_replaced_later_each_time() {
    let mut play = Play::of(1);
    let mut pauses = Vec::new();
    for incarnation in 0..4 {
        play.ready(worker(0, incarnation));
        play.dies(worker(0, incarnation), KILLED);
        pauses.push(play.parts.next_deadline().map_or(0, |at| (at - play.now.at).as_millis()));
        play.passes(PAUSE);
    }
    assert_eq!(pauses[1..], [20, 40, 80]);
    play.ready(worker(0, 4));
    play.commands(1);
    play.takes(worker(0, 4));
    play.does(worker(0, 4));
    play.dies(worker(0, 4), KILLED);
    assert!(play.is_alive(worker(0, 5)), "one that has done a message is replaced at once");
}

#[test]
fn worker_whose_plugin_cannot_be_constructed_is_given_up_at_last() {
    let mut play = Play::of(2);
    for incarnation in 0..=MAX_FAILED_STARTS {
        let role = worker(0, incarnation);
        // The first was ready, and is none of them.
        match incarnation {
            0 => play.dies(role, KILLED),
            _ => play.fails(role, SetupFailure::Plugin(report(ReportKind::Error))),
        }
        play.passes(PAUSE);
    }
    assert_eq!(play.workers(), [worker(1, 0)]);
    assert!(!play.stream().has_failed(), "the other one works");
    for incarnation in 0..=MAX_FAILED_STARTS {
        play.dies(worker(1, incarnation), KILLED);
        play.passes(PAUSE);
    }
    let StreamError::WorkersLost { reason } = play.error() else { panic!("all are lost") };
    assert_eq!(reason, "signal 9 (SIGKILL)");
    // An operator may want them again: what they failed at is forgotten.
    play.wants_workers(3);
    assert_eq!(play.workers().len(), 3);
}

#[test]
fn reason_that_the_last_worker_gave_is_told() {
    let mut play = Play::starting(1, care());
    for incarnation in 0..MAX_FAILED_STARTS {
        play.fails(worker(0, incarnation), SetupFailure::Load("no such symbol".to_owned()));
        play.passes(PAUSE);
    }
    let StreamError::WorkersLost { reason } = play.error() else { panic!("all are lost") };
    assert_eq!(reason, "no such symbol");
}

#[test]
fn worker_that_cannot_be_forked_is_tried_again() {
    let mut play = Play::of(1);
    play.silent = true;
    play.dies(worker(0, 0), KILLED);
    assert!(play.workers().is_empty());
    play.silent = false;
    play.says(Event::Started { role: worker(0, 1), pid: Err("no processes left".to_owned()) });
    play.passes(PAUSE);
    assert_eq!(play.workers(), [worker(0, 2)]);
}

#[test]
fn worker_that_dies_while_its_producer_is_made_anew_has_failed_to_start() {
    let mut play = Play::of(1);
    for incarnation in 0..MAX_FAILED_STARTS {
        let role = worker(0, incarnation);
        if incarnation == 0 {
            play.says(Event::Renewing { role });
        }
        play.dies(role, KILLED);
        play.passes(PAUSE);
    }
    assert!(play.stream().has_failed());
}

#[test]
fn start_that_is_late_is_killed_and_tried_again() {
    let mut play = Play::starting(2, care());
    play.ready(Role::Commander);
    play.ready(worker(0, 0));
    play.passes(START);
    assert_eq!(play.killed, [worker(1, 0)], "only the one that is not ready");
    play.passes(START);
    assert_eq!(play.killed, [worker(1, 0)], "it is killed once");
    play.dies(worker(1, 0), KILLED);
    assert!(play.is_alive(worker(1, 1)));
    assert_eq!(play.stream().counters().timeouts.load(Ordering::Relaxed), 1);
}

#[test]
fn worker_that_is_not_wanted_any_more_retires() {
    let mut play = Play::of(3);
    play.commands(1);
    play.takes(worker(2, 0));
    play.wants_workers(1);
    assert_eq!(play.retire_of(worker(2, 0)), Retire::Next);
    assert_eq!(play.retire_of(worker(0, 0)), Retire::No);
    play.does(worker(2, 0));
    play.dies(worker(2, 0), ENDED);
    play.dies(worker(1, 0), ENDED);
    assert_eq!(play.workers(), [worker(0, 0)]);
    assert_eq!(play.restarts(), (0, 0));
    assert_eq!(play.delivered(), [0]);
}

#[test]
fn message_of_a_retiring_worker_that_dies_is_done_by_another() {
    let mut play = Play::of(2);
    play.commands(1);
    play.takes(worker(1, 0));
    play.wants_workers(1);
    play.dies(worker(1, 0), KILLED);
    assert_eq!(play.workers(), [worker(0, 0)]);
    assert_eq!(play.takes(worker(0, 0)), Some(0));
}

#[test]
fn retiring_worker_that_is_wanted_again_is_started_once_it_has_ended() {
    let mut play = Play::of(2);
    play.wants_workers(1);
    play.wants_workers(2);
    assert_eq!(play.workers(), [worker(0, 0), worker(1, 0)]);
    play.dies(worker(1, 0), ENDED);
    assert_eq!(play.workers(), [worker(0, 0), worker(1, 1)]);
    assert_eq!(play.restarts(), (0, 0), "it was no failure");
    assert_eq!(play.retire_of(worker(1, 1)), Retire::No);
}

#[test]
fn worker_that_is_due_and_not_wanted_any_more_is_not_started() {
    let mut play = Play::of(2);
    for incarnation in 0..2 {
        play.ready(worker(1, incarnation));
        play.dies(worker(1, incarnation), KILLED);
    }
    assert_eq!(play.workers(), [worker(0, 0)], "it is started after a pause");
    play.wants_workers(1);
    play.passes(PAUSE);
    assert_eq!(play.workers(), [worker(0, 0)]);
}

#[test]
fn worker_that_retires_while_it_is_constructed_may_be_late_too() {
    let mut play = Play::starting(2, care());
    play.ready(worker(0, 0));
    play.ready(Role::Commander);
    play.wants_workers(1);
    play.passes(START);
    assert_eq!(play.killed, [worker(1, 0)]);
    play.dies(worker(1, 0), KILLED);
    assert_eq!(play.workers(), [worker(0, 0)]);
}

#[test]
fn no_more_starts_are_asked_for_than_the_fork_server_can_answer() {
    let most = MAX_UNANSWERED as usize;
    let mut play = Play::of(1);
    play.silent = true;
    play.wants_workers(2 * most);
    let asked = |play: &Play| play.parts.run.link.is_busy();
    assert!(asked(&play));
    assert_eq!(play.parts.next_deadline(), play.parts.run.link.late_at(), "it waits for answers only");
    play.silent = false;
    play.says(Event::Started { role: worker(1, 0), pid: Ok(1) });
    assert!(play.is_alive(worker(most + 1, 0)), "an answer makes room for one more");
}

#[test]
fn message_that_a_killed_worker_took_meanwhile_is_innocent() {
    let mut play = Play::of(1);
    play.commands(2);
    play.takes(worker(0, 0));
    play.says(Event::Crashed { role: worker(0, 0), signal: 24 });
    // It had not crashed at all, and went on until it was killed.
    play.does(worker(0, 0));
    assert_eq!(play.takes(worker(0, 0)), Some(1));
    play.dies(worker(0, 0), KILLED);
    assert!(play.stream().history.attempts(1).is_empty());
    assert_eq!(play.delivered(), [0]);
    assert!(matches!(play.stream().poll(), Err(WaitingFor::Producers)));
}

#[test]
fn end_from_outside_counts_no_attempt_at_the_message() {
    let mut play = Play::with(1, Care { max_attempts: 1, ..care() });
    play.commands(1);
    for (incarnation, signal) in (0..).zip([libc::SIGTERM, libc::SIGINT, libc::SIGHUP]) {
        play.all_ready();
        assert_eq!(play.takes(worker(0, incarnation)), Some(0));
        play.dies(worker(0, incarnation), Death::Exit(Exit::Signal(signal)));
        play.passes(PAUSE);
    }
    assert!(play.stream().history.attempts(0).is_empty());
    play.all_ready();
    assert_eq!(play.takes(worker(0, 3)), Some(0));
}
