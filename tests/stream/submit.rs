//! The application as commander: what it submits from its threads is delivered once and in order, and
//! it waits if there is no room.

use crate::common::{
    Delivered, Gate, LONG, Leaks, Logs, all_items, gated, index, isolated, next_batch, next_item, random,
    random_stream, small, submitting, submitting_random, wait_for_ready, wait_until,
};
use cobuf_host::{
    Batch, Batches, Host, LimitedBy, Next, OnFailure, ProcessRole, ReportKind, SubmitError, Submitter,
    WaitingFor,
};
use std::collections::BTreeMap;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

const THREADS: u64 = 8;
const MESSAGES: u64 = 40;

/// Submits messages from eight threads; gives which message got which number.
fn submit_from_threads(host: &Host) -> BTreeMap<u64, u64> {
    let submit = |thread: u64| {
        let submitter = host.submitter();
        let mine = (0..MESSAGES).map(move |nth| thread * MESSAGES + nth);
        let numbers: Vec<(u64, u64)> =
            mine.map(|message| (submitter.submit(&index(message)).unwrap(), message)).collect();
        assert!(numbers.is_sorted(), "a thread's messages are in its order");
        numbers
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || submit(thread))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

/// The number and the message of each batch that is left.
fn read(batches: &Batches) -> Vec<(u64, u64)> {
    let batches = all_items(batches).map(Result::unwrap);
    let read = |batch: Batch| (batch.sequence(), batch.message::<BTreeMap<String, u64>>().unwrap()["index"]);
    batches.map(read).collect()
}

#[test]
fn messages_of_eight_threads_come_once_and_in_order_while_others_iterate() {
    let _leaks = isolated!();
    for (ordered, slots) in [(true, 4), (false, 4), (true, 64), (false, 1)] {
        let host = submitting(&small()).ordered(ordered).slots(slots).start().unwrap();
        let (submitted, mut delivered) = thread::scope(|scope| {
            let readers = [host.batches(), host.batches()];
            let readers = readers.map(|batches| scope.spawn(move || read(&batches)));
            let submitted = submit_from_threads(&host);
            host.submitter().close().unwrap();
            let shares = readers.map(|reader| reader.join().unwrap());
            assert!(!ordered || shares.iter().all(|share| share.is_sorted()));
            (submitted, shares.concat())
        });
        delivered.sort_unstable();
        assert_eq!(delivered, submitted.into_iter().collect::<Vec<_>>());
        assert!(delivered.iter().map(|(number, _)| *number).eq(0..THREADS * MESSAGES));
        assert_eq!(host.total(), Some(THREADS * MESSAGES));
    }
}

#[test]
fn content_is_that_of_the_same_messages_from_a_commander() {
    let _leaks = isolated!();
    let expected = Delivered::of(&random_stream(60).seed(7).start().unwrap().batches());
    for ordered in [true, false] {
        let host = submitting_random().seed(7).ordered(ordered).slots(5).start().unwrap();
        let submitter = host.submitter();
        let submit = thread::spawn(move || {
            (0..60).for_each(|number| assert_eq!(submitter.submit(&random()).unwrap(), number));
            submitter.close().unwrap();
        });
        let delivered = Delivered::of(&host.batches());
        submit.join().unwrap();
        assert!(!ordered || delivered.sequences.is_sorted());
        assert_eq!(delivered.sorted(), expected);
    }
}

#[test]
fn batch_decides_the_next_message() {
    let _leaks = isolated!();
    let host = submitting(&small()).workers(1).slots(1).start().unwrap();
    let (submitter, batches) = (host.submitter(), host.batches());
    let mut value = 1_u32;
    for number in 0..20 {
        assert_eq!(submitter.submit(&index(value.into())).unwrap(), number);
        let batch = next_batch(&batches);
        let filled = batch.array::<u32, cobuf_host::ndarray::Ix1>("x").unwrap()[0];
        assert_eq!(filled, value);
        value = filled.wrapping_mul(3).wrapping_add(1) % 1000;
    }
    submitter.close().unwrap();
    assert!(next_item(&batches).is_none());
}

#[test]
fn there_is_no_commander_and_no_message_is_waited_for() {
    let _leaks = isolated!();
    let host = submitting(&small()).workers(2).start().unwrap();
    let roles: Vec<_> = host.processes().iter().map(|process| process.role).collect();
    assert_eq!(roles, [ProcessRole::ForkServer, ProcessRole::Worker(0), ProcessRole::Worker(1)]);
    let (batches, waited) = (host.batches(), Duration::from_millis(50));
    assert!(matches!(batches.next_timeout(waited), Next::Pending(WaitingFor::Submissions)));
    let report = batches.stall_report();
    assert_eq!(report.waiting_for, WaitingFor::Submissions);
    let text = report.to_string();
    assert!(text.contains("the application submits no message") && !text.contains("commander"), "{text}");
    assert_eq!((batches.total(), host.statistics().application_commands), (None, true));
}

#[test]
fn run_whose_application_submits_too_little_is_limited_by_that() {
    let _leaks = isolated!();
    let host = submitting(&small()).workers(1).start().unwrap();
    let (submitter, batches) = (host.submitter(), host.batches());
    // A wait counts once it is over.
    wait_until("nearly all of the time nothing was submitted", || {
        assert!(matches!(batches.next_timeout(Duration::from_millis(20)), Next::Pending(_)));
        submitter.submit(&index(0)).unwrap();
        drop(next_batch(&batches));
        host.statistics().limited_by() == LimitedBy::Submissions
    });
    assert_eq!(LimitedBy::Submissions.to_string(), "submissions");
}

/// What happens while a thread waits to submit.
type Event = fn(&Host);
type Submitted = Result<u64, SubmitError>;

/// Submits in another thread; the result comes by the channel.
fn submit_elsewhere(submitter: &Submitter) -> (JoinHandle<()>, mpsc::Receiver<Submitted>) {
    let (submitter, (sender, receiver)) = (submitter.clone(), mpsc::channel());
    (thread::spawn(move || sender.send(submitter.submit(&index(9))).unwrap()), receiver)
}

/// A host of three slots, all of which hold a batch that was not taken; and a thread that waits to
/// submit another message, as it has said.
fn with_waiting_thread(
    logs: &Logs,
    on_error: OnFailure,
) -> (Host, JoinHandle<()>, mpsc::Receiver<Submitted>) {
    let builder = submitting(&small()).slots(3).on_failure(ReportKind::Error, on_error);
    let host = builder.start().unwrap();
    let submitter = host.submitter();
    submitter.submit(&index(0).with("error", "no")).unwrap();
    (1..3).for_each(|number| assert_eq!(submitter.submit(&index(number)).unwrap(), number));
    wait_for_ready(&host, 3);
    logs.clear();
    let (thread, result) = submit_elsewhere(&submitter);
    let warning = logs.wait_for("waiting to submit a message while every slot has a batch");
    assert_eq!(warning.level, "WARN");
    assert!(result.try_recv().is_err(), "there is no room");
    (host, thread, result)
}

#[test]
fn waiting_thread_goes_on_or_ends_with_what_happens() {
    let _leaks = isolated!();
    let logs = Logs::collect();
    let ends: [(OnFailure, Event, &str); 4] = [
        (OnFailure::Skip, |host| drop(next_batch(&host.batches())), "Ok(3)"),
        (OnFailure::Raise, Host::stop, "Err(Stopped)"),
        (OnFailure::Raise, |host| host.submitter().close().unwrap(), "Err(Closed)"),
        (OnFailure::Stop, |host| assert!(next_item(&host.batches()).unwrap().is_err()), "Err(Failed)"),
    ];
    for (on_error, event, expected) in ends {
        let _leaks = Leaks::watch();
        let (host, thread, result) = with_waiting_thread(logs, on_error);
        event(&host);
        let result = result.recv_timeout(LONG).expect("the wait has an end");
        assert_eq!(format!("{result:?}"), expected);
        thread.join().unwrap();
    }
}

#[test]
fn thread_that_waits_for_held_slots_says_so() {
    let _leaks = isolated!();
    let logs = Logs::collect();
    let host = submitting(&small()).slots(2).start().unwrap();
    let (submitter, batches) = (host.submitter(), host.batches());
    let mut held: Vec<Batch> = (0..2)
        .map(|number| {
            submitter.submit(&index(number)).unwrap();
            next_batch(&batches)
        })
        .collect();
    let (thread, result) = submit_elsewhere(&submitter);
    let warning = logs.wait_for("waiting to submit a message while all slots are held by batches");
    assert_eq!(warning.level, "WARN");
    held.pop();
    assert_eq!(result.recv_timeout(LONG).unwrap().unwrap(), 2);
    thread.join().unwrap();
    assert_eq!(next_batch(&batches).sequence(), 2);
}

#[test]
fn message_that_finds_no_slot_in_time_has_no_number() {
    let _leaks = isolated!();
    let gate = Gate::new();
    let host = submitting(&small()).slots(2).start().unwrap();
    let (submitter, batches) = (host.submitter(), host.batches());
    (0..2).for_each(|number| assert!(submitter.submit(&gated(number, "", &gate)).is_ok()));
    let full = submitter.try_submit(&index(2)).unwrap_err();
    assert!(matches!(full, SubmitError::Full { slots: 2, waiting_for: WaitingFor::Producers, .. }));
    let expected = "no slot is free for the message: all 2 are in use; take batches and drop them, wait longer, or use more slots";
    assert_eq!(full.to_string(), expected);
    gate.open();
    let held = [next_batch(&batches), next_batch(&batches)];
    let full = submitter.submit_timeout(&index(2), Duration::from_millis(20)).unwrap_err();
    let expected = "no slot is free for the message after 0.02 s: all 2 are held by batches of this application; drop one, \
                    or use more slots";
    assert_eq!(full.to_string(), expected);
    drop(held);
    // The next one has the number that these did not get.
    assert_eq!(submitter.try_submit(&index(2)).unwrap(), 2);
    assert_eq!(submitter.submit_timeout(&index(3), LONG).unwrap(), 3);
    submitter.close().unwrap();
    assert_eq!(read(&batches), [(2, 2), (3, 3)]);
}
