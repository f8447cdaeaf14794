//! Deaths at each access to shared memory, on the way of one message.
//!
//! A killed process is reaped at once: its thread goes on as the supervisor. All other processes
//! run before, beside and after it.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::segment::mortal::is_killed_at;

/// Runs a model, which returns whether a process was killed. Returns whether one was killed in any
/// of its runs.
fn kills(model: impl Fn() -> bool + Send + Sync + 'static) -> bool {
    let killed = Arc::new(AtomicBool::new(false));
    check_large({
        let killed = killed.clone();
        move || {
            killed.fetch_or(model(), Ordering::Relaxed);
        }
    });
    killed.load(Ordering::Relaxed)
}

/// Runs it with a death at the first access, at the second and so on, until the process ends before
/// that access in all runs.
fn at_each_access(kills: impl Fn(usize) -> bool) {
    let accesses = (0..).take_while(|&access| kills(access)).count();
    assert!(accesses > 1, "no process was killed");
}

/// The commander dies on the way of the second of three messages in one slot.
#[test]
fn each_message_is_done_once_at_whichever_access_the_commander_dies() {
    let model = |access| {
        let model = Model::new(1);
        let produce = |model: &Model| {
            let claim = model.wait_for_message(FIRST).unwrap();
            model.produce(claim, FIRST);
        };
        let consume = |model: &Model, sequence| {
            assert_eq!(model.consume(model.next(true).unwrap()), sequence);
        };
        model.command_until(&mut Supply::default(), 1);
        produce(&model);
        consume(&model, 0);
        let worker = start(&model, produce);
        let killed = is_killed_at(access, || model.command_until(&mut Supply::default(), 2));
        model.bury_commander();
        let mut supply = Supply::default();
        model.command_until(&mut supply, 2);
        consume(&model, 1);
        worker.join().unwrap();
        assert!(model.claim_queued(FIRST).is_none());
        model.command_until(&mut supply, 3);
        produce(&model);
        consume(&model, 2);
        assert_eq!(model.table().occupancy(), [1, 0, 0, 0]);
        killed
    };
    at_each_access(|access| kills(move || model(access)));
}

/// Two commanders die one after the other, each on the way of two messages. In between, all queued
/// messages are done. One thread.
#[test]
fn each_message_is_done_once_at_whichever_accesses_two_commanders_die() {
    let model = |accesses: [usize; 2]| {
        let (model, mut done) = (Model::new(2), 0);
        let mut do_all = |model: &Model| {
            while let Some(claim) = model.claim_queued(FIRST) {
                model.produce(claim, FIRST);
            }
            while let Some(claim) = model.look(true).flatten() {
                assert_eq!(model.consume(claim), done);
                done += 1;
            }
            done
        };
        let killed = accesses.map(|access| {
            let end = model.table().commanded() + 2;
            let killed = is_killed_at(access, || model.command_until(&mut Supply::default(), end));
            model.bury_commander();
            assert_eq!(do_all(&model), model.table().commanded());
            killed
        });
        let end = model.table().commanded() + 2;
        model.command_until(&mut Supply::default(), end);
        assert_eq!(do_all(&model), end);
        assert_eq!(model.table().occupancy(), [2, 0, 0, 0]);
        killed
    };
    at_each_access(|second| {
        at_each_access(|first| kills(move || model([first, second])[0]));
        kills(move || model([0, second])[1])
    });
}

/// A worker dies on the way of the first of two messages.
#[test]
fn each_message_is_done_once_at_whichever_access_a_worker_dies() {
    let model = |access| {
        let model = Model::new(2);
        model.command_all(2);
        let living = start(&model, |model| model.produce_all(SECOND));
        let killed = is_killed_at(access, || {
            if let Some(claim) = model.claim_queued(FIRST) {
                model.produce(claim, FIRST);
            }
        });
        model.bury_worker(FIRST, MAX_ATTEMPTS);
        model.consume_in_order(2);
        model.table().request_stop();
        living.join().unwrap();
        assert_eq!(model.table().occupancy(), [2, 0, 0, 0]);
        killed
    };
    at_each_access(|access| kills(move || model(access)));
}
