//! A swap of the producer.

use super::*;
use crate::segment::sync::{AtomicU32, Ordering};

fn model_of_two_crews() -> Arc<Model> {
    let model = Model::new(2);
    // Loom knows which of two sequentially consistent stores a load must see, but a first value is
    // no such store.
    model.noted.iter().for_each(|noted| noted.store(0, Ordering::SeqCst));
    model
}

/// Consumes two batches. From the message `first` on they are the new crew's.
fn consume_cut_at(model: &Model, first: u64) {
    for sequence in 0..2 {
        let claim = model.next(true).unwrap();
        assert_eq!(model.table().outcome(&claim).edition, u32::from(sequence >= first));
        assert_eq!(model.consume(claim), sequence);
    }
}

/// The cut comes at any time between the old worker's looks and claims. All messages that it has
/// not claimed by then are the new worker's. All messages are queued before.
#[test]
fn each_message_is_done_by_one_of_two_crews_wherever_the_cut_is() {
    check(|| {
        let model = model_of_two_crews();
        model.command_all(2);
        let old = start(&model, |model| {
            while let Some(claim) = model.claim_queued(FIRST) {
                model.produce(claim, FIRST);
            }
        });
        let first = model.table().cut(0, || model.noted[FIRST.index()].load(Ordering::SeqCst));
        for _ in first..2 {
            let claim = model.wait_for_message(NEWCOMER).unwrap();
            assert!(model.table().sequence(&claim) >= first);
            model.produce(claim, NEWCOMER);
        }
        consume_cut_at(&model, first);
        old.join().unwrap();
    });
}

/// The old worker waits for messages while the cut is made, and is then told to retire. The main
/// thread is the commander, the supervisor and, after the cut, the new worker: with a thread of its
/// own for each, the runs take more than ten minutes.
#[test]
fn cut_between_two_crews_is_exact() {
    check_large(|| {
        let model = model_of_two_crews();
        let retire = Arc::new(AtomicU32::new(0));
        let old = {
            let retire = retire.clone();
            start(&model, move |model| {
                let mut produced = 0;
                loop {
                    let (found, _) = model.control.queued.event.wait_for(&Patience::default(), None, || {
                        let retires = retire.load(Ordering::SeqCst) != 0;
                        let claim = model.claim_queued(FIRST);
                        (claim.is_some() || retires).then_some(claim)
                    });
                    let Some(claim) = found.flatten() else { return produced };
                    model.produce(claim, FIRST);
                    produced += 1;
                }
            })
        };
        let mut supply = Supply::default();
        model.command(model.table().claim_free(&mut supply).unwrap(), 0);
        let first = model.table().cut(0, || model.noted[FIRST.index()].load(Ordering::SeqCst));
        retire.store(1, Ordering::SeqCst);
        model.table().wake_everyone();
        model.command(model.table().claim_free(&mut supply).unwrap(), 1);
        for _ in first..2 {
            let claim = model.wait_for_message(NEWCOMER).unwrap();
            assert!(model.table().sequence(&claim) >= first);
            model.produce(claim, NEWCOMER);
        }
        consume_cut_at(&model, first);
        assert_eq!(old.join().unwrap(), first);
    });
}

#[test]
fn new_crew_that_waits_for_the_cut_is_woken() {
    check(|| {
        let model = Model::new(1);
        let new = start(&model, |model| {
            let open = || model.table().is_open_for(1).then_some(());
            model.control.shares.opened.wait_for(&Patience::default(), None, open);
        });
        model.table().cut(0, || 0);
        new.join().unwrap();
    });
}

/// A worker of the old crew has claimed a message, so that the commander wakes nobody for the next one.
/// That one is the new crew's, and the old worker ends.
#[test]
fn message_of_the_new_crew_wakes_its_worker_though_one_of_the_old_crew_tends_the_queue() {
    check(|| {
        let model = model_of_two_crews();
        let mut supply = Supply::default();
        model.command_until(&mut supply, 1);
        let claim = model.wait_for_message(FIRST).unwrap();
        assert_eq!(model.table().cut(0, || model.noted[FIRST.index()].load(Ordering::SeqCst)), 1);
        let new = start(&model, |model| {
            let _held = model.wait_for_message(NEWCOMER).unwrap();
        });
        let old = start(&model, move |model| {
            model.produce(claim, FIRST);
            assert!(model.claim_queued(FIRST).is_none());
            model.leave(FIRST);
        });
        model.command_until(&mut supply, 2);
        new.join().unwrap();
        old.join().unwrap();
    });
}
