//! Runs without deaths.

use super::*;

/// Commander, worker and consumer with this many slots, to the end of the stream and the stop of
/// the host.
fn run_through(slots: usize, messages: u64) {
    check(move || {
        let model = Model::new(slots);
        let commander = start(&model, move |model| model.command_all(messages));
        let worker = start(&model, |model| model.produce_all(FIRST));
        model.consume_in_order(messages);
        model.table().request_stop();
        commander.join().unwrap();
        assert_eq!(worker.join().unwrap(), messages);
    });
}

#[test]
fn each_batch_comes_once_and_in_order_through_one_slot() {
    run_through(1, 2);
}

#[test]
fn each_batch_comes_once_and_in_order_through_two_slots() {
    run_through(2, 2);
}

#[test]
fn two_workers_produce_each_message_once() {
    check(|| {
        let model = Model::new(2);
        model.command_all(2);
        let produce_one = |model: &Model, worker| {
            let claim = model.wait_for_message(worker).unwrap();
            model.produce(claim, worker);
        };
        let workers = [FIRST, SECOND].map(|worker| start(&model, move |model| produce_one(model, worker)));
        model.consume_in_order(2);
        for worker in workers {
            worker.join().unwrap();
        }
    });
}

#[test]
fn two_consumers_get_each_batch_once_in_any_order() {
    check(|| {
        let model = Model::new(2);
        model.table().want(u64::MAX);
        let consume_any = |model: &Model| model.consume(model.next(false).unwrap());
        let consumers = [start(&model, consume_any), start(&model, consume_any)];
        let mut supply = Supply::default();
        for sequence in 0..2 {
            model.command(model.table().claim_free(&mut supply).unwrap(), sequence);
            let claim = model.claim_queued(FIRST).unwrap();
            model.produce(claim, FIRST);
        }
        let [first, second] = consumers.map(|consumer| consumer.join().unwrap());
        assert_eq!(first + second, 1);
        assert_eq!(model.table().occupancy(), [2, 0, 0, 0]);
    });
}

#[test]
fn two_consumers_get_each_batch_once_and_the_end_in_order() {
    check(|| {
        let model = Model::new(2);
        model.command_all(2);
        let [first, second] = [FIRST, SECOND].map(|worker| (model.claim_queued(worker).unwrap(), worker));
        let consume = |model: &Model| {
            let mut sequences = 0;
            while let Some(claim) = model.next(true) {
                sequences += 1 + model.consume(claim);
            }
            sequences
        };
        let consumers = [start(&model, consume), start(&model, consume)];
        // A batch that is ready before its turn must be found when its turn comes.
        for (claim, worker) in [second, first] {
            model.produce(claim, worker);
        }
        let sequences: u64 = consumers.map(|consumer| consumer.join().unwrap()).iter().sum();
        assert_eq!(sequences, 1 + 2);
        assert_eq!(model.table().occupancy(), [2, 0, 0, 0]);
    });
}

#[test]
fn no_process_sleeps_after_a_stop() {
    check(|| {
        let model = Model::new(1);
        let held = model.table().claim_free(&mut Supply::default()).unwrap();
        let commander = start(&model, |model| model.wait_for_free(&mut Supply::default()).is_none());
        let worker = start(&model, |model| model.produce_all(FIRST) == 0);
        let consumer = start(&model, |model| model.next(true).is_none());
        model.table().request_stop();
        for process in [commander, worker, consumer] {
            assert!(process.join().unwrap());
        }
        model.table().abandon(held);
    });
}
