//! Batches that are delivered again and again.

use std::thread;
use std::time::Duration;

use crate::common::{
    Delivered, all_items, filling, index, isolated, list, next_batch, next_item, outline, random_stream,
    small, submitting, wait_until,
};
use cobuf_host::{
    Batch, HostBuilder, LimitedBy, Next, OnFailure, ReportKind, Source, StartError, SubmitError, WaitingFor,
};

/// A run without end, of which so many batches are kept.
fn keeping(batches: usize) -> HostBuilder {
    let messages = list((0..3).map(index)).with("repeat", 0);
    filling([], &small()).commander_config(messages).replay_ready(batches)
}

#[test]
fn first_batches_come_again_with_their_numbers_and_content() {
    let _leaks = isolated!();
    for ordered in [true, false] {
        let expected = Delivered::of(&random_stream(5).limit(5).start().unwrap().batches()).sorted();
        let host = random_stream(100).ordered(ordered).replay_ready(5).limit(20).start().unwrap();
        let batches = host.batches();
        for _ in 0..4 {
            let mut round = Delivered::default();
            (0..5).for_each(|_| round.add(&next_batch(&batches)));
            assert_eq!(round.sorted(), expected, "ordered: {ordered}");
        }
        assert!(next_item(&batches).is_none(), "the limit is reached");
        let statistics = host.statistics();
        assert_eq!((statistics.delivered, statistics.slots.free), (20, 3));
    }
}

#[test]
fn dropped_batch_comes_after_those_that_were_dropped_before() {
    let _leaks = isolated!();
    let host = keeping(3).start().unwrap();
    let batches = host.batches();
    let [first, second, third] = [(); 3].map(|()| next_batch(&batches));
    // All are held, though slots are free.
    let pending = batches.next_timeout(Duration::from_millis(20));
    assert!(matches!(pending, Next::Pending(WaitingFor::HeldBatches { held: 3 })), "{pending:?}");
    assert!(batches.wait_timeout(Duration::from_millis(20)).is_err());
    drop((third, first));
    assert_eq!([next_batch(&batches), next_batch(&batches)].map(|batch| batch.sequence()), [2, 0]);
    drop(second);
    assert_eq!([(); 3].map(|()| next_batch(&batches).sequence()), [2, 0, 1]);
}

#[test]
fn waiting_thread_gets_the_batch_that_another_one_drops() {
    let _leaks = isolated!();
    let host = keeping(1).start().unwrap();
    let (batches, other) = (host.batches(), host.batches());
    let held = next_batch(&batches);
    let waiting = thread::spawn(move || next_batch(&other).sequence());
    wait_until("the other thread waits", || host.statistics().exposed_wait > Duration::ZERO);
    drop(held);
    assert_eq!(waiting.join().unwrap(), 0);
    host.stop();
    assert!(next_item(&batches).is_none());
}

#[test]
fn verdict_is_what_the_application_takes_at_most() {
    let _leaks = isolated!();
    let host = keeping(2).start().unwrap();
    let batches = host.batches();
    for _ in 0..40 {
        let batch = next_batch(&batches);
        thread::sleep(Duration::from_millis(5));
        drop(batch);
    }
    let verdict = host.statistics().verdict();
    assert_eq!(verdict.limited_by, LimitedBy::Consumer);
    let rate = verdict.sentence.strip_prefix("your application takes at most ").expect("the ceiling");
    let (rate, rest) = rate.split_once(' ').unwrap();
    assert_eq!(rest, "batches/s, whatever the loader does");
    let rate: f64 = rate.parse().unwrap();
    assert!(rate > 0.0 && rate <= 210.0, "{verdict}");
}

#[test]
fn error_comes_once_and_a_stream_of_errors_ends() {
    let _leaks = isolated!();
    let messages = [index(0), index(1).with("error", "no"), index(2)];
    let host = filling(messages, &small()).replay_ready(3).limit(8).start().unwrap();
    assert_eq!(outline(&host.batches()), "0 !1 2 0 2 0 2 0");
    for policy in [OnFailure::Raise, OnFailure::Skip, OnFailure::Stop] {
        let builder = filling([index(0).with("error", "no"), index(1).with("error", "no")], &small());
        let host = builder.on_failure(ReportKind::Error, policy).replay_ready(2).start().unwrap();
        let errors = all_items(&host.batches()).filter(Result::is_err).count();
        assert_eq!(errors, [2, 0, 1][policy as usize], "{policy:?}");
    }
    // The last item ends the stream, and nothing comes after it.
    let messages = [index(0), index(1).with("error", "no")];
    let builder = filling(messages, &small()).on_failure(ReportKind::Error, OnFailure::Stop);
    assert_eq!(outline(&builder.replay_ready(2).start().unwrap().batches()), "0 !1");
}

#[test]
fn shorter_stream_is_repeated_as_a_whole_and_an_empty_one_ends() {
    let _leaks = isolated!();
    let host = filling([index(0), index(1)], &small()).replay_ready(7).limit(5).start().unwrap();
    assert_eq!(outline(&host.batches()), "0 1 0 1 0");
    let host = filling([], &small()).replay_ready(7).start().unwrap();
    assert_eq!(outline(&host.batches()), "");
}

#[test]
fn application_submits_as_many_messages_as_are_kept() {
    let _leaks = isolated!();
    let host = submitting(&small()).replay_ready(2).start().unwrap();
    let (submitter, batches) = (host.submitter(), host.batches());
    (0..2).for_each(|number| assert_eq!(submitter.submit(&index(number)).unwrap(), number));
    assert!(matches!(submitter.submit(&index(2)), Err(SubmitError::Limit { .. })));
    assert_eq!([(); 5].map(|()| next_batch(&batches).sequence()), [0, 1, 0, 1, 0]);
}

#[test]
fn nothing_counts_as_delivered() {
    let _leaks = isolated!();
    let host = keeping(2).start().unwrap();
    let batches = host.batches();
    (0..9).for_each(|_| drop(next_batch(&batches)));
    let held: Vec<Batch> = (0..2).map(|_| next_batch(&batches)).collect();
    let checkpoint = host.checkpoint();
    assert_eq!(checkpoint.delivered(), 0);
    drop(host);
    drop(held);
    let resumed = keeping(2).source(Source::Resume(checkpoint));
    let error = resumed.check().unwrap_err().to_string();
    assert!(error.contains("such a run cannot go on from a checkpoint"), "{error}");
}

#[test]
fn numbers_and_sources_that_do_not_fit_are_refused() {
    for (batches, slots, expected) in [
        (0, 8, "expected at least 1"),
        (8, 8, "keep fewer than the 8 slots of this run, or use more slots"),
        (1, 1, "keep fewer than the one slot of this run"),
    ] {
        let refused = keeping(batches).slots(slots).start().unwrap_err();
        let text = refused.to_string();
        assert!(matches!(refused, StartError::ReplayReady { .. }) && text.contains(expected), "{text}");
        assert!(
            text.starts_with(&format!("the first {batches} batches cannot be delivered again")),
            "{text}"
        );
    }
    let letters = keeping(2).source(Source::Replay("bad.jsonl".into())).check().unwrap_err().to_string();
    assert!(letters.contains("cannot replay dead letters"), "{letters}");
}
