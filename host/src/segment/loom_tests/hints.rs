//! Sets and the queue, which are hints, and wakes that are not worth it.

use super::*;

/// The word of `ready` says "asleep" before this consumer sleeps. The consumer wants the batch
/// after the one that another took.
#[test]
fn consumer_that_goes_to_sleep_beside_another_is_woken() {
    check(|| {
        let model = Model::new(2);
        model.command_all(2);
        let claims = [0, 1].map(|_| model.claim_queued(FIRST).unwrap());
        let consume = |model: &Model| {
            while let Some(claim) = model.next(true) {
                model.consume(claim);
            }
        };
        let consumers = [start(&model, consume), start(&model, consume)];
        for claim in claims {
            model.produce(claim, FIRST);
        }
        for consumer in consumers {
            consumer.join().unwrap();
        }
    });
}

/// The commander sleeps or is about to. Its only message is claimed, and the slot is freed: the
/// commander must wake.
fn wakes_once_its_slot_is_free(model: &Arc<Model>) {
    let commander = start(model, |model| assert!(model.wait_for_free(&mut Supply::default()).is_some()));
    let worker = start(model, |model| model.produce_all(SECOND));
    let claim = model.next(true).unwrap();
    model.table().release(claim);
    commander.join().unwrap();
    model.table().request_stop();
    worker.join().unwrap();
}

#[test]
fn commander_is_woken_if_a_worker_died_before_it_removed_the_slot_from_the_set() {
    check(|| {
        let model = Model::new(1);
        model.command_until(&mut Supply::default(), 1);
        let word = &model.slots[0].word;
        word.transition_to_producing(word.load(), FIRST).unwrap();
        model.bury_worker(FIRST, 1);
        wakes_once_its_slot_is_free(&model);
    });
}

/// Of four slots, two have queued messages, one has a batch of the application, and one is held for
/// ever. The commander sleeps or is about to. It must wake once there is a free slot and at most
/// one message is queued.
#[test]
fn commander_is_woken_by_the_process_that_makes_the_backlog_low() {
    check(|| {
        let model = Model::new(4);
        let mut supply = Supply::default();
        model.command_until(&mut supply, 3);
        let held = model.table().claim_free(&mut supply).unwrap();
        let claim = model.claim_queued(FIRST).unwrap();
        model.produce(claim, FIRST);
        let batch = model.next(true).unwrap();
        let freed = batch.index();
        let worker = start(&model, move |model| {
            let _held = model.claim_queued(FIRST).unwrap();
        });
        let consumer = start(&model, |model| model.table().release(batch));
        assert_eq!(model.wait_for_free(&mut supply).unwrap().index(), freed);
        worker.join().unwrap();
        consumer.join().unwrap();
        assert_eq!(held.index(), 3);
    });
}

/// A ready slot is added twice, as after a death, and its batch is not wanted yet. The extra entry
/// must not hide the next batch.
#[test]
fn next_batch_is_found_in_a_slot_that_was_added_twice() {
    check(|| {
        let model = Model::new(2);
        let mut supply = Supply::default();
        for sequence in [0, 2] {
            model.command_until(&mut supply, sequence + 2);
            let [first, second] = [FIRST, SECOND].map(|worker| model.claim_queued(worker).unwrap());
            model.produce(second, SECOND);
            for _ in 0..2 {
                assert!(model.look(true).is_none());
                model.table().restore();
            }
            model.produce(first, FIRST);
            assert_eq!(model.consume(model.next(true).unwrap()), sequence);
            assert_eq!(model.consume(model.next(true).unwrap()), sequence + 1);
        }
    });
}

/// The set has a slot in its first word that is not ready.
#[test]
fn batch_in_the_second_word_of_the_set_is_found() {
    check(|| {
        let model = Model::new(65);
        let word = &model.slots[64].word;
        let snapshot = word.transition_to_commanding(word.load()).unwrap();
        model.command(Claim { index: 64, snapshot, role: Commanding }, 0);
        let claim = model.claim_queued(FIRST).unwrap();
        model.produce(claim, FIRST);
        model.table().ready().add(0);
        assert_eq!(model.consume(model.next(true).unwrap()), 0);
    });
}

/// The set has a slot that is claimed.
#[test]
fn free_slot_is_found_after_one_that_is_not_free() {
    check(|| {
        let model = Model::new(2);
        let held = model.table().claim_free(&mut Supply::default()).unwrap();
        (0..2).for_each(|slot| model.table().free().add(slot));
        let claim = model.table().claim_free(&mut Supply::default()).unwrap();
        assert_eq!((held.index(), claim.index()), (0, 1));
    });
}

/// Message 0 is in the second word of the set, message 1 in the first. A worker that looks at the
/// second word before the first may see message 1 alone. It must not make other workers believe
/// that message 0 is done.
#[test]
fn message_is_not_passed_over_if_a_worker_misses_it_in_another_word_of_the_set() {
    check(|| {
        let model = Model::new(66);
        let table = model.table();
        // The look begins at slot 64.
        table.queue().expect_after(table.queue().expected(), 63, 8);
        let claim_slot = |index: usize| {
            let word = &model.slots[index].word;
            let snapshot = word.transition_to_commanding(word.load()).unwrap();
            Claim { index, snapshot, role: Commanding }
        };
        let (claims, last) = ([64, 0].map(claim_slot), claim_slot(1));
        let commander = start(&model, |model| {
            (0..).zip(claims).for_each(|(sequence, claim)| model.command(claim, sequence));
        });
        let first = model.claim_queued(FIRST).map(|claim| model.table().sequence(&claim));
        commander.join().unwrap();
        model.command(last, 2);
        let others = std::iter::from_fn(|| model.claim_queued(SECOND));
        let others: Vec<u64> = others.map(|claim| model.table().sequence(&claim)).collect();
        let expected: Vec<u64> = (0..3).filter(|&sequence| Some(sequence) != first).collect();
        assert_eq!(others, expected);
    });
}

/// The supervisor sets the hints anew while a worker claims. A slot that stays in the set would
/// keep the commander asleep.
#[test]
fn commander_is_woken_though_hints_are_restored_while_its_message_is_claimed() {
    check(|| {
        let model = Model::new(1);
        let mut supply = Supply::default();
        model.command_until(&mut supply, 1);
        let worker = start(&model, |model| {
            let claim = model.claim_queued(FIRST).unwrap();
            model.produce(claim, FIRST);
        });
        model.table().restore();
        worker.join().unwrap();
        wakes_once_its_slot_is_free(&model);
    });
}

/// A message is queued again while a worker looks. The next worker claims it before later ones.
#[test]
fn message_that_is_queued_again_during_a_look_is_claimed_before_later_ones() {
    check(|| {
        let model = Model::new(4);
        model.command_until(&mut Supply::default(), 4);
        let _lost = model.claim_queued(SECOND).unwrap();
        let worker = start(&model, |model| {
            let _held = model.claim_queued(FIRST).unwrap();
        });
        model.bury_worker(SECOND, MAX_ATTEMPTS);
        worker.join().unwrap();
        let left = std::iter::from_fn(|| model.claim_queued(SECOND));
        let left: Vec<u64> = left.map(|claim| model.table().sequence(&claim)).collect();
        assert!(left.is_sorted() && left.len() == 3, "{left:?}");
    });
}
