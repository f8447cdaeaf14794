//! Deaths of workers and of the commander.

use super::*;

/// One of two workers claims the message, if it is still there, writes half of the array, and dies.
#[test]
fn half_done_message_of_a_dead_worker_is_done_once_by_another() {
    check(|| {
        let model = Model::new(1);
        model.command_all(1);
        let living = start(&model, |model| model.produce_all(SECOND));
        let dying = start(&model, |model| {
            let Some(mut claim) = model.claim_queued(FIRST) else { return };
            model.write(&mut claim, |contents| contents.array[0] = u64::MAX);
        });
        dying.join().unwrap();
        model.bury_worker(FIRST, MAX_ATTEMPTS);
        model.consume_in_order(1);
        model.table().request_stop();
        assert_eq!(living.join().unwrap(), 1);
    });
}

/// The first of two messages is half done, the second is queued.
#[test]
fn order_is_kept_if_a_worker_dies() {
    check(|| {
        let model = Model::new(2);
        model.command_all(2);
        let mut claim = model.claim_queued(FIRST).unwrap();
        model.write(&mut claim, |contents| contents.array[0] = u64::MAX);
        let living = start(&model, |model| model.produce_all(SECOND));
        model.bury_worker(FIRST, MAX_ATTEMPTS);
        model.consume_in_order(2);
        model.table().request_stop();
        assert_eq!(living.join().unwrap(), 2);
    });
}

/// Two of three messages were held by dead workers. They come first.
#[test]
fn messages_of_dead_workers_are_claimed_before_later_ones() {
    check(|| {
        let model = Model::new(3);
        model.command_all(3);
        for place in [FIRST, SECOND] {
            let _lost = model.claim_queued(place).unwrap();
        }
        for place in [FIRST, SECOND] {
            model.bury_worker(place, MAX_ATTEMPTS);
        }
        for sequence in 0..3 {
            let claim = model.claim_queued(FIRST).unwrap();
            assert_eq!(model.table().sequence(&claim), sequence);
        }
    });
}

/// Another worker looks while a message is queued, lost with its worker and queued again.
#[test]
fn message_that_was_queued_and_lost_during_a_look_is_found() {
    check(|| {
        let model = Model::new(1);
        let living = start(&model, |model| {
            let _held = model.wait_for_message(SECOND).unwrap();
        });
        model.command_until(&mut Supply::default(), 1);
        let _lost = model.claim_queued(FIRST);
        model.bury_worker(FIRST, MAX_ATTEMPTS);
        living.join().unwrap();
    });
}

/// The worker dies as soon as it is woken, or if it need not sleep, before it claims the message.
/// The supervisor goes on in its thread.
#[test]
fn other_worker_is_woken_if_the_one_that_was_woken_dies() {
    check(|| {
        let model = Model::new(1);
        let living = start(&model, |model| {
            let _held = model.wait_for_message(SECOND).unwrap();
        });
        let dying = start(&model, |model| {
            let mut looks = 0;
            model.control.queued.event.wait_for(&Patience::default(), None, || {
                looks += 1;
                (looks > 1 || model.table().commanded() > 0).then_some(())
            });
            model.bury_worker(FIRST, MAX_ATTEMPTS);
        });
        model.command_until(&mut Supply::default(), 1);
        living.join().unwrap();
        // If the living worker got the wake, the other one dies by this.
        model.table().request_stop();
        dying.join().unwrap();
    });
}

/// A worker makes its batch ready and dies before it adds the slot to the set, or before it wakes
/// the consumer.
fn survive_a_worker_that_dies_in_its_commit(is_added: bool) {
    check(move || {
        let model = Model::new(1);
        model.command_all(1);
        let consumer = start(&model, |model| model.consume_in_order(1));
        let mut claim = model.claim_queued(FIRST).unwrap();
        model.fill(&mut claim);
        model.slots[claim.index].word.transition_to_ready(claim.snapshot, FIRST).unwrap();
        if is_added {
            model.table().ready().add(claim.index);
        }
        model.bury_worker(FIRST, MAX_ATTEMPTS);
        consumer.join().unwrap();
    });
}

#[test]
fn batch_is_found_if_its_worker_dies_before_it_adds_the_slot_to_the_set() {
    survive_a_worker_that_dies_in_its_commit(false);
}

#[test]
fn consumer_is_woken_if_the_worker_dies_before_it_wakes_one() {
    survive_a_worker_that_dies_in_its_commit(true);
}

#[test]
fn message_that_kills_its_workers_is_given_up_and_reported() {
    check(|| {
        let model = Model::new(1);
        let consumer = start(&model, |model| {
            let claim = model.next(true).unwrap();
            assert!(model.table().outcome(&claim).failed);
            assert_eq!((claim.attempts(), model.read(&claim).message), (1, message(0)));
            model.table().release(claim);
            assert!(model.next(true).is_none());
        });
        model.command_all(1);
        for place in [FIRST, SECOND] {
            let dying = start(&model, move |model| {
                let mut claim = model.wait_for_message(place).unwrap();
                model.write(&mut claim, |contents| contents.array[0] = u64::MAX);
            });
            dying.join().unwrap();
            model.bury_worker(place, 2);
        }
        consumer.join().unwrap();
        assert_eq!(model.table().occupancy(), [1, 0, 0, 0]);
    });
}

/// A commander has queued one message, and acts on the next slot before it dies. This many batches
/// come.
fn survive_a_commander_that_dies(batches: u64, last_act: fn(&Model, Claim<Commanding>)) {
    check(move || {
        let model = Model::new(2);
        let mut supply = Supply::default();
        model.command_until(&mut supply, 1);
        let worker = start(&model, |model| model.produce_all(FIRST));
        last_act(&model, model.table().claim_free(&mut supply).unwrap());
        model.bury_commander();
        model.table().end_stream(model.table().commanded());
        model.consume_in_order(batches);
        assert_eq!(model.table().occupancy(), [2, 0, 0, 0]);
        model.table().request_stop();
        assert_eq!(worker.join().unwrap(), batches);
    });
}

#[test]
fn slot_is_freed_if_its_commander_dies_without_a_message() {
    survive_a_commander_that_dies(1, |_, _claim| {});
}

#[test]
fn slot_is_freed_if_its_commander_dies_with_a_half_written_message() {
    survive_a_commander_that_dies(1, |model, mut claim| {
        model.write(&mut claim, |contents| contents.message = u64::MAX);
    });
}

#[test]
fn message_is_kept_if_its_commander_dies_after_it_was_queued() {
    survive_a_commander_that_dies(2, |model, claim| model.command(claim, 1));
}

/// The commander had taken all free slots from the set and claimed one, which is done and freed
/// meanwhile. The next commander gets all.
#[test]
fn next_commander_gets_the_slots_that_a_dead_one_had_taken_from_the_set() {
    check(|| {
        let model = Model::new(3);
        model.command_until(&mut Supply::default(), 1);
        let others = start(&model, |model| {
            let claim = model.claim_queued(FIRST).unwrap();
            model.produce(claim, FIRST);
            model.consume(model.next(true).unwrap());
        });
        model.bury_commander();
        let mut supply = Supply::default();
        let claims = [0; 3].map(|_| model.wait_for_free(&mut supply).unwrap());
        let mut slots = claims.each_ref().map(Claim::index);
        slots.sort();
        assert_eq!(slots, [0, 1, 2]);
        (1..).zip(claims).for_each(|(sequence, claim)| model.command(claim, sequence));
        others.join().unwrap();
        for sequence in 1..4 {
            let claim = model.claim_queued(FIRST).unwrap();
            assert_eq!(model.table().sequence(&claim), sequence);
        }
    });
}
