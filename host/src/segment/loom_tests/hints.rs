//! Sets and queue, which only hint, and wakes that are not worth it.

use super::*;

/// A worker that looks at all slots, as after any death, may take the message before the commander has entered it into the queue.
/// Worker and consumer are one thread: who of them wakes the commander is asked below.
#[test]
fn is_the_commander_woken_where_a_message_was_taken_before_it_was_entered() {
    check(|| {
        let model = Model::new(1);
        model.table().restore();
        let commander = start(&model, |model| model.command_all(2));
        let mut worker = Worker::at(FIRST);
        for sequence in 0..2 {
            let claim = model.wait_for_message(&mut worker).unwrap();
            model.produce(claim, &worker);
            assert_eq!(model.consume(model.next(true).unwrap()), sequence);
        }
        commander.join().unwrap();
    });
}

/// The word of `ready` says that somebody sleeps before this consumer does: it wants what another took before.
#[test]
fn is_a_consumer_woken_that_goes_to_sleep_beside_another() {
    check(|| {
        let model = Model::new(2);
        model.command_all(2);
        let mut worker = Worker::at(FIRST);
        let claims = [0, 1].map(|_| model.claim_queued(&mut worker).unwrap());
        let consume = |model: &Model| {
            while let Some(claim) = model.next(true) {
                model.consume(claim);
            }
        };
        let consumers = [start(&model, consume), start(&model, consume)];
        for claim in claims {
            model.produce(claim, &worker);
        }
        for consumer in consumers {
            consumer.join().unwrap();
        }
    });
}

/// The commander sleeps or is about to, its only message is taken, and the slot comes back: it must wake.
fn is_it_woken_once_its_slot_is_free(model: &Arc<Model>) {
    let commander = start(model, |model| assert!(model.wait_for_free(&mut Supply::default()).is_some()));
    let worker = start(model, |model| model.produce_all(SECOND));
    let claim = model.next(true).unwrap();
    model.table().release(claim);
    commander.join().unwrap();
    model.table().request_stop();
    worker.join().unwrap();
}

#[test]
fn is_the_commander_woken_whose_message_was_taken_before_it_was_entered() {
    check(|| {
        let model = Model::new(1);
        let (table, mut worker) = (model.table(), Worker::at(FIRST));
        table.restore();
        model.command_unentered(table.claim_free(&mut Supply::default()).unwrap(), 0);
        let claim = model.claim_queued(&mut worker).unwrap();
        table.queue.enter(0);
        model.control.queued.notify_one();
        model.produce(claim, &worker);
        is_it_woken_once_its_slot_is_free(&model);
    });
}

#[test]
fn is_the_commander_woken_whose_message_was_given_up_before_it_was_passed() {
    check(|| {
        let model = Model::new(1);
        model.command_until(&mut Supply::default(), 1);
        let word = &model.slots[0].word;
        word.transition_to_producing(word.load(), FIRST).unwrap();
        model.bury_worker(FIRST, 1);
        is_it_woken_once_its_slot_is_free(&model);
    });
}

/// Four slots: two hold queued messages, one a batch of the application, one is held for ever. The commander sleeps or is about to, until
/// there is a free slot, and one message or none is queued.
#[test]
fn is_the_commander_woken_by_whoever_brings_the_backlog_low() {
    check(|| {
        let model = Model::new(4);
        let mut supply = Supply::default();
        model.command_until(&mut supply, 3);
        let held = model.table().claim_free(&mut supply).unwrap();
        let mut worker = Worker::at(FIRST);
        let claim = model.claim_queued(&mut worker).unwrap();
        model.produce(claim, &worker);
        let batch = model.next(true).unwrap();
        let freed = batch.index();
        let worker = start(&model, move |model| {
            let _held = model.claim_queued(&mut worker).unwrap();
        });
        let consumer = start(&model, |model| model.table().release(batch));
        assert_eq!(model.wait_for_free(&mut supply).unwrap().index(), freed);
        worker.join().unwrap();
        consumer.join().unwrap();
        assert_eq!(held.index(), 3);
    });
}

/// A ready slot is told of twice, as after a death, and its batch is not wanted yet. What is left of that must not hide the next one.
#[test]
fn is_the_next_batch_found_in_a_slot_that_was_told_of_twice() {
    check(|| {
        let model = Model::new(2);
        let mut supply = Supply::default();
        let mut workers = [Worker::at(FIRST), Worker::at(SECOND)];
        for sequence in [0, 2] {
            model.command_until(&mut supply, sequence + 2);
            let [first, second] = workers.each_mut().map(|worker| model.claim_queued(worker).unwrap());
            model.produce(second, &workers[1]);
            for _ in 0..2 {
                assert!(model.look(true).is_none());
                model.table().restore();
            }
            model.produce(first, &workers[0]);
            assert_eq!(model.consume(model.next(true).unwrap()), sequence);
            assert_eq!(model.consume(model.next(true).unwrap()), sequence + 1);
        }
    });
}

/// The set says that a slot of its first word may be ready, and that one is not.
#[test]
fn is_a_batch_found_that_the_second_word_of_the_set_leads_to() {
    check(|| {
        let model = Model::new(65);
        let word = &model.slots[64].word;
        let snapshot = word.transition_to_commanding(word.load()).unwrap();
        model.command(Claim { index: 64, snapshot, role: Commanding }, 0);
        let mut worker = Worker::at(FIRST);
        let claim = model.claim_queued(&mut worker).unwrap();
        model.produce(claim, &worker);
        model.table().ready.add(0);
        assert_eq!(model.consume(model.next(true).unwrap()), 0);
    });
}

/// The set says that a slot may be free that is claimed.
#[test]
fn is_a_free_slot_found_behind_one_that_is_not() {
    check(|| {
        let model = Model::new(2);
        let held = model.table().claim_free(&mut Supply::default()).unwrap();
        (0..2).for_each(|slot| model.table().free.add(slot));
        let claim = model.table().claim_free(&mut Supply::default()).unwrap();
        assert_eq!((held.index(), claim.index()), (0, 1));
    });
}
