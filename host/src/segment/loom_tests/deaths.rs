//! Deaths of workers, and of the commander.

use super::*;

/// One of two workers claims the message if there still is one, writes half of the array, and dies.
#[test]
fn is_the_half_done_message_of_a_worker_that_died_done_once_by_another() {
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

/// The first of two messages was half done, the second is queued.
#[test]
fn does_the_order_stay_where_a_worker_died() {
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

/// Two of three messages were lost with their workers: they come first.
#[test]
fn are_the_messages_of_dead_workers_found_before_later_ones() {
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

/// Another worker hears of the death, and has not yet heard of the message.
#[test]
fn is_a_message_found_that_came_and_was_lost_during_a_look() {
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

/// It dies as soon as it was woken, or need not sleep, before it claims the message. Who reaps it goes on in its thread.
#[test]
fn is_a_wake_that_a_dying_worker_swallowed_made_good() {
    check(|| {
        let model = Model::new(1);
        let living = start(&model, |model| {
            let _held = model.wait_for_message(SECOND).unwrap();
        });
        let dying = start(&model, |model| {
            let mut looks = 0;
            model.control.queued.wait_for(&Patience::default(), None, || {
                looks += 1;
                (looks > 1 || model.table().commanded() > 0).then_some(())
            });
            model.bury_worker(FIRST, MAX_ATTEMPTS);
        });
        model.command_until(&mut Supply::default(), 1);
        living.join().unwrap();
        // Where the living worker got the wake, it is this that kills the other.
        model.table().request_stop();
        dying.join().unwrap();
    });
}

/// A worker makes its batch ready, and dies before it makes it known, or before it wakes the consumer.
fn survive_a_worker_that_dies_in_its_commit(known: bool) {
    check(move || {
        let model = Model::new(1);
        model.command_all(1);
        let consumer = start(&model, |model| model.consume_in_order(1));
        let mut claim = model.claim_queued(FIRST).unwrap();
        model.fill(&mut claim);
        model.slots[claim.index].word.transition_to_ready(claim.snapshot, FIRST).unwrap();
        if known {
            model.table().ready.add(claim.index);
        }
        model.bury_worker(FIRST, MAX_ATTEMPTS);
        consumer.join().unwrap();
    });
}

#[test]
fn is_a_batch_found_whose_worker_died_before_it_made_it_known() {
    survive_a_worker_that_dies_in_its_commit(false);
}

#[test]
fn is_a_batch_waited_for_whose_worker_died_before_it_woke_anyone() {
    survive_a_worker_that_dies_in_its_commit(true);
}

#[test]
fn is_a_message_that_kills_its_workers_given_up_and_reported() {
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

/// A commander has queued one message and does something else with the next slot before it dies; so many batches come.
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
fn is_a_slot_free_again_whose_commander_died_without_a_message() {
    survive_a_commander_that_dies(1, |_, _claim| {});
}

#[test]
fn is_a_slot_free_again_whose_commander_died_with_a_half_written_message() {
    survive_a_commander_that_dies(1, |model, mut claim| {
        model.write(&mut claim, |contents| contents.message = u64::MAX);
    });
}

#[test]
fn is_a_message_kept_whose_commander_died_after_it_was_queued() {
    survive_a_commander_that_dies(2, |model, claim| model.command(claim, 1));
}

/// It had taken all free slots from the set, and claimed one. That one is done and free again meanwhile; the next commander gets all.
#[test]
fn does_the_next_commander_get_the_slots_that_a_dead_one_had_come_upon() {
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
