//! A checkpoint has what was submitted and not delivered, at whatever moment it is made. The run that
//! resumes delivers exactly that, and goes on with the next number.

use crate::common::dice::Dice;
use crate::common::{
    Delivered, Gate, Leaks, all_items, gated, index, isolated, next_batch, next_item, random, random_stream,
    read_again, small, submitting, submitting_random, take_seven_and_keep, wait_for_ready,
};
use cobuf_host::{Batch, Checkpoint, Host, Source, SubmitError};
use std::thread;

#[test]
fn what_was_submitted_before_a_checkpoint_is_delivered_after_it() {
    let _leaks = isolated!();
    let expected = Delivered::of(&random_stream(12).start().unwrap().batches()).sorted();
    for (stopped, ordered, slots) in [(false, true, 2), (true, false, 2), (true, true, 1), (false, false, 9)]
    {
        let host = submitting_random().workers(2).slots(8).start().unwrap();
        let (submitter, batches) = (host.submitter(), host.batches());
        (0..8).for_each(|_| assert!(submitter.submit(&random()).is_ok()));
        let mut delivered = Delivered::default();
        (0..3).for_each(|_| delivered.add(&next_batch(&batches)));
        let held = next_batch(&batches);
        if stopped {
            host.stop();
        }
        let checkpoint = host.checkpoint();
        assert_eq!((checkpoint.delivered(), checkpoint.first_missing()), (3, 3));
        drop((held, batches, host));

        let resumed = submitting_random().workers(1).slots(slots).ordered(ordered);
        let host = resumed.source(Source::Resume(read_again(&checkpoint))).start().unwrap();
        let submitter = host.submitter();
        let submit = thread::spawn(move || {
            (8..12).for_each(|number| assert_eq!(submitter.submit(&random()).unwrap(), number));
            submitter.close().unwrap();
        });
        for batch in all_items(&host.batches()).map(Result::unwrap) {
            delivered.add(&batch);
        }
        submit.join().unwrap();
        assert_eq!(delivered.sorted(), expected);
        assert_eq!(host.checkpoint().delivered(), 12);
    }
}

#[test]
fn messages_beyond_the_slots_come_without_a_submit() {
    let _leaks = isolated!();
    let host = submitting(&small()).slots(8).start().unwrap();
    (0..8).for_each(|number| assert!(host.submitter().submit(&index(number)).is_ok()));
    let checkpoint = host.checkpoint();
    drop(host);
    let host = submitting(&small()).workers(1).slots(3).source(Source::Resume(checkpoint)).start().unwrap();
    let (submitter, batches) = (host.submitter(), host.batches());
    // Those of the earlier run have the slots until the last of them is queued.
    wait_for_ready(&host, 3);
    assert!(matches!(submitter.try_submit(&index(8)), Err(SubmitError::Full { slots: 3, .. })));
    let again = host.checkpoint();
    let held: Vec<Batch> = (0..3).map(|_| next_batch(&batches)).collect();
    assert_eq!(again, host.checkpoint(), "nothing was delivered");
    drop(held);
    (3..8).for_each(|number| assert_eq!(next_batch(&batches).sequence(), number));
    assert_eq!(submitter.submit(&index(8)).unwrap(), 8);
    submitter.close().unwrap();
    assert_eq!(next_batch(&batches).sequence(), 8);
    assert!(next_item(&batches).is_none());
}

#[test]
fn checkpoint_remembers_holes_among_submitted_messages() {
    let _leaks = isolated!();
    let gate = Gate::new();
    let host = submitting(&small()).workers(2).slots(8).ordered(false).start().unwrap();
    let (submitter, batches) = (host.submitter(), host.batches());
    submitter.submit(&gated(0, "", &gate)).unwrap();
    (1..8).for_each(|number| assert!(submitter.submit(&index(number)).is_ok()));
    let kept = take_seven_and_keep(&batches, 4);
    let checkpoint = host.checkpoint();
    assert_eq!((checkpoint.delivered(), checkpoint.first_missing()), (6, 0));
    drop((kept, host));
    gate.open();
    for ordered in [true, false] {
        let resumed = submitting(&small()).ordered(ordered).workers(1).slots(1);
        let host = resumed.source(Source::Resume(read_again(&checkpoint))).start().unwrap();
        host.submitter().close().unwrap();
        let mut sequences = Delivered::of(&host.batches()).sequences;
        sequences.sort_unstable();
        assert_eq!(sequences, [0, 4]);
        let last = host.checkpoint();
        assert_eq!((last.delivered(), last.first_missing()), (8, 8));
        drop(host);
        let host = submitting(&small()).source(Source::Resume(last)).start().unwrap();
        assert_eq!(host.submitter().submit(&index(8)).unwrap(), 8);
    }
}

#[test]
fn limit_keeps_later_messages_for_a_run_with_a_greater_one() {
    let _leaks = isolated!();
    let host = submitting(&small()).slots(8).start().unwrap();
    (0..8).for_each(|number| assert!(host.submitter().submit(&index(number)).is_ok()));
    let mut checkpoint = host.checkpoint();
    drop(host);
    for (limit, expected) in [(2, 0..2), (2, 2..2), (6, 2..6), (9, 6..8)] {
        let resumed = submitting(&small()).slots(3).limit(limit);
        let host = resumed.source(Source::Resume(checkpoint)).start().unwrap();
        if limit < 9 {
            assert!(matches!(host.submitter().submit(&index(8)), Err(SubmitError::Limit { .. })));
        } else {
            host.submitter().close().unwrap();
        }
        assert!(Delivered::of(&host.batches()).sequences.into_iter().eq(expected));
        checkpoint = host.checkpoint();
    }
    assert_eq!(checkpoint.first_missing(), 8);
}

/// One host of several: submits in a thread while it reads, and ends with a checkpoint somewhere in
/// between. Gives it with how many messages were submitted so far.
fn run_leg(dice: &mut Dice, before: Option<Checkpoint>, delivered: &mut Delivered) -> Checkpoint {
    let _leaks = Leaks::watch();
    let builder = submitting_random().workers(1 + dice.throw(3) as usize).slots(1 + dice.throw(8) as usize);
    let builder = builder.ordered(dice.throw(2) == 0);
    let host = match before {
        Some(checkpoint) => builder.source(Source::Resume(read_again(&checkpoint))),
        None => builder,
    };
    let host = host.start().unwrap();
    let submitter = host.submitter();
    let submit = thread::spawn(move || while submitter.submit(&random()).is_ok() {});
    let batches = host.batches();
    // Of as many as there are slots one is held, so that something always comes.
    let holds = host.slots() > 1 && dice.throw(2) == 0;
    let mut held: Vec<Batch> = Vec::new();
    for _ in 0..dice.throw(30) {
        held.push(next_batch(&batches));
        if held.len() > usize::from(holds) {
            delivered.add(&held.remove(0));
        }
    }
    let checkpoint = host.checkpoint();
    assert_eq!(checkpoint.delivered(), delivered.sequences.len() as u64);
    stop(host, submit);
    checkpoint
}

fn stop(host: Host, submit: thread::JoinHandle<()>) {
    host.stop();
    submit.join().unwrap();
}

#[test]
fn successive_hosts_deliver_what_was_submitted_once() {
    let _leaks = isolated!();
    let mut dice = Dice::of_process();
    for _ in 0..6 {
        let (mut delivered, mut checkpoint) = (Delivered::default(), None);
        for _ in 0..3 {
            checkpoint = Some(run_leg(&mut dice, checkpoint, &mut delivered));
        }
        let last = submitting_random().workers(2).slots(3).source(Source::Resume(checkpoint.unwrap()));
        let host = last.start().unwrap();
        host.submitter().close().unwrap();
        all_items(&host.batches()).for_each(|batch| delivered.add(&batch.unwrap()));
        // Without a hole: as many as were submitted before the last checkpoint.
        let messages = delivered.sequences.len() as u64;
        if messages == 0 {
            continue;
        }
        let expected = Delivered::of(&random_stream(messages).start().unwrap().batches());
        assert_eq!(delivered.sorted(), expected);
    }
}
