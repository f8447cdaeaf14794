//! Deaths at every access to shared memory, on the way of one message.
//!
//! Whoever is killed is reaped at once: the one thread goes on as the supervisor. All others run beside, before and after.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::segment::mortal::is_killed_at;

/// Tries a model with a death at the first access, at the second and so on, until the process ends before in all runs.
fn at_each_access(model: impl Fn(usize) -> bool + Copy + Send + Sync + 'static) {
    let mut accesses = 0;
    loop {
        let killed = Arc::new(AtomicBool::new(false));
        check_large({
            let killed = killed.clone();
            move || {
                killed.fetch_or(model(accesses), Ordering::Relaxed);
            }
        });
        if !killed.load(Ordering::Relaxed) {
            break;
        }
        accesses += 1;
    }
    assert!(accesses > 1, "nobody was killed");
}

/// The commander dies on the way of the second of three messages in one slot. The third comes when the worker has heard of the death.
#[test]
fn is_each_message_done_once_wherever_the_commander_dies() {
    at_each_access(|access| {
        let model = Model::new(1);
        let mut worker = Worker::at(FIRST);
        let produce = |model: &Model, worker: &mut Worker| {
            let claim = model.wait_for_message(worker).unwrap();
            model.produce(claim, worker);
        };
        let consume = |model: &Model, sequence| {
            assert_eq!(model.consume(model.next(true).unwrap()), sequence);
        };
        model.command_until(&mut Supply::default(), 1);
        produce(&model, &mut worker);
        consume(&model, 0);
        let worker = start(&model, move |model| {
            produce(model, &mut worker);
            worker
        });
        let killed = is_killed_at(access, || model.command_until(&mut Supply::default(), 2));
        model.bury_commander();
        let mut supply = Supply::default();
        model.command_until(&mut supply, 2);
        consume(&model, 1);
        let mut worker = worker.join().unwrap();
        assert!(model.claim_queued(&mut worker).is_none());
        model.command_until(&mut supply, 3);
        produce(&model, &mut worker);
        consume(&model, 2);
        assert_eq!(model.table().occupancy(), [1, 0, 0, 0]);
        killed
    });
}

/// A worker dies on the way of the first of two messages.
#[test]
fn is_each_message_done_once_wherever_a_worker_dies() {
    at_each_access(|access| {
        let model = Model::new(2);
        model.command_all(2);
        let living = start(&model, |model| model.produce_all(SECOND));
        let killed = is_killed_at(access, || {
            let mut worker = Worker::at(FIRST);
            if let Some(claim) = model.claim_queued(&mut worker) {
                model.produce(claim, &worker);
            }
        });
        model.bury_worker(FIRST, MAX_ATTEMPTS);
        model.consume_in_order(2);
        model.table().request_stop();
        living.join().unwrap();
        assert_eq!(model.table().occupancy(), [2, 0, 0, 0]);
        killed
    });
}
