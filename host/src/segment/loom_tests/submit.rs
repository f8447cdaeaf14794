//! The application's threads as commanders: they take turns under a lock, see
//! `stream/submission.rs`.

use super::*;

/// How far the application is, behind its lock.
#[derive(Default)]
struct Submission {
    next: u64,
    /// The slot from which on a free one is looked for.
    from: usize,
    closed: bool,
}

struct Locked {
    submission: Mutex<Submission>,
    /// The turn to sleep until a slot is free.
    turn: Mutex<()>,
}

type Submissions = Arc<Locked>;

fn submissions() -> Submissions {
    Arc::new(Locked { submission: Mutex::default(), turn: Mutex::default() })
}

/// Submits a message; gives its number, or `None` after the end or a stop.
fn submit(model: &Model, submissions: &Submissions) -> Option<u64> {
    if let Some(found) = look(model, submissions) {
        return found;
    }
    let _turn = submissions.turn.lock().unwrap();
    let found = model.table().wait_for_free(&Patience::default(), None, || look(model, submissions));
    found.0.flatten()
}

fn look(model: &Model, submissions: &Submissions) -> Option<Option<u64>> {
    let state = &mut *submissions.submission.lock().unwrap();
    if model.table().stop_requested() || state.closed {
        return Some(None);
    }
    let claim = model.table().claim_free_from(state.from)?;
    state.from = claim.index() + 1;
    let sequence = state.next;
    model.command(claim, sequence);
    state.next += 1;
    Some(Some(sequence))
}

fn close(model: &Model, submissions: &Submissions) {
    let state = &mut *submissions.submission.lock().unwrap();
    state.closed = true;
    model.table().end_stream(state.next);
    model.control.free.event.rouse();
}

/// Starts a thread that submits one message.
fn submitting(model: &Arc<Model>, submissions: &Submissions) -> JoinHandle<Option<u64>> {
    let submissions = submissions.clone();
    start(model, move |model| submit(model, &submissions))
}

/// Has a worker and a consumer do the oldest message.
fn deliver(model: &Model) -> u64 {
    let claim = model.claim_queued(FIRST).unwrap();
    model.produce(claim, FIRST);
    model.consume(model.next(true).unwrap())
}

#[test]
fn two_threads_submit_while_a_third_stops_and_no_thread_sleeps() {
    check(|| {
        let (model, submissions) = (Model::new(1), submissions());
        let threads = [submitting(&model, &submissions), submitting(&model, &submissions)];
        model.table().request_stop();
        let submitted = threads.map(|thread| thread.join().unwrap());
        let numbers: Vec<u64> = submitted.into_iter().flatten().collect();
        // There is one slot. Who submitted before the stop has its message there.
        assert!(numbers.is_empty() || numbers == [0], "{numbers:?}");
        assert_eq!(model.table().commanded(), numbers.len() as u64);
    });
}

#[test]
fn two_threads_submit_while_a_third_closes_and_the_end_is_after_their_messages() {
    check(|| {
        let (model, submissions) = (Model::new(2), submissions());
        let threads = [submitting(&model, &submissions), submitting(&model, &submissions)];
        close(&model, &submissions);
        let submitted = threads.map(|thread| thread.join().unwrap());
        let mut numbers: Vec<u64> = submitted.into_iter().flatten().collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>());
        assert_eq!(model.table().end(), Some(numbers.len() as u64));
        for number in numbers {
            assert_eq!(deliver(&model), number);
        }
        assert!(model.next(true).is_none());
    });
}

#[test]
fn messages_of_two_threads_are_delivered_once_and_in_order() {
    check_large(|| {
        let (model, submissions) = (Model::new(2), submissions());
        let threads = [submitting(&model, &submissions), submitting(&model, &submissions)];
        let worker = start(&model, |model| {
            for _ in 0..2 {
                let claim = model.wait_for_message(FIRST).unwrap();
                model.produce(claim, FIRST);
            }
        });
        for sequence in 0..2 {
            assert_eq!(model.consume(model.next(true).unwrap()), sequence);
        }
        let [first, second] = threads.map(|thread| thread.join().unwrap().unwrap());
        assert_eq!(first + second, 1);
        worker.join().unwrap();
    });
}

#[test]
fn waiting_thread_gets_the_slot_that_a_release_frees() {
    check(|| {
        let (model, submissions) = (Model::new(1), submissions());
        submit(&model, &submissions).unwrap();
        let claim = model.claim_queued(FIRST).unwrap();
        model.produce(claim, FIRST);
        let batch = model.next(true).unwrap();
        let waiting = submitting(&model, &submissions);
        model.consume(batch);
        assert_eq!(waiting.join().unwrap(), Some(1));
        assert_eq!(deliver(&model), 1);
    });
}

#[test]
fn waiting_thread_ends_when_another_closes() {
    check(|| {
        let (model, submissions) = (Model::new(1), submissions());
        submit(&model, &submissions).unwrap();
        let waiting = submitting(&model, &submissions);
        close(&model, &submissions);
        assert_eq!(waiting.join().unwrap(), None);
        assert_eq!(deliver(&model), 0);
        assert!(model.next(true).is_none());
    });
}

/// A release is not worth a wake while messages are queued. The worker that claims the last one wakes
/// the threads that wait, also if one of them has taken a slot and queued another in between.
#[test]
fn waiting_threads_are_woken_once_the_queue_is_short() {
    check_large(|| {
        let (model, submissions) = (Model::new(3), submissions());
        (0..3).for_each(|sequence| assert_eq!(submit(&model, &submissions), Some(sequence)));
        let batches = [0, 1].map(|_| {
            let claim = model.claim_queued(FIRST).unwrap();
            model.produce(claim, FIRST);
            model.next(true).unwrap()
        });
        // Message 2 is queued.
        let threads = [submitting(&model, &submissions), submitting(&model, &submissions)];
        let worker = start(&model, |model| {
            for _ in 0..2 {
                let claim = model.wait_for_message(FIRST).unwrap();
                model.produce(claim, FIRST);
            }
        });
        for batch in batches {
            model.consume(batch);
        }
        worker.join().unwrap();
        let [first, second] = threads.map(|thread| thread.join().unwrap().unwrap());
        assert_eq!(first + second, 3 + 4);
    });
}
