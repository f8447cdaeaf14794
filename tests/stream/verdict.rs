//! The verdict on runs whose limit is set. `COBUF_TEST_VERDICTS` says how often each is run, once by
//! default.

use std::collections::VecDeque;
use std::thread;
use std::time::Duration;

use crate::common::{array, arrays_config, filling, index, isolated, list, next_item, small};
use cobuf_host::{Batch, Dictionary, Host, HostBuilder, LimitedBy, Verdict};

/// How often each run is repeated.
fn repetitions() -> usize {
    std::env::var("COBUF_TEST_VERDICTS").map_or(1, |number| number.parse().expect("a number"))
}

/// A run without end, of these messages.
fn endless(messages: impl IntoIterator<Item = Dictionary>) -> HostBuilder {
    filling([], &small()).commander_config(list(messages).with("repeat", 0))
}

/// The producer's configuration, with batches of a few bytes.
fn producer(seconds: f64) -> Dictionary {
    arrays_config(&small()).with("sleep_seconds", seconds)
}

/// Takes so many batches, of which the last ones are held; gives those.
fn take(host: &Host, number: usize, held: usize, each: impl Fn()) -> VecDeque<Batch> {
    let (batches, mut kept) = (host.batches(), VecDeque::<Batch>::new());
    for _ in 0..number {
        kept.push_back(next_item(&batches).expect("the run has no end").expect("there are no errors"));
        each();
        while kept.len() > held {
            kept.pop_front();
        }
    }
    kept
}

/// Runs each repetition to the verdict, which must be this one; the sentences are printed.
fn judged<Held>(
    expected: LimitedBy,
    worker: Option<usize>,
    builder: impl Fn() -> HostBuilder,
    consume: impl Fn(&Host) -> Held,
) -> Option<Verdict> {
    let mut last = None;
    for repetition in 0..repetitions() {
        let host = builder().start().unwrap();
        let _held = consume(&host);
        let statistics = host.statistics();
        let verdict = statistics.verdict();
        println!("{verdict}");
        assert_eq!(
            (verdict.limited_by, verdict.worker),
            (expected, worker),
            "{repetition}: {verdict} {statistics:#?}"
        );
        assert!(host.stall_report().to_string().contains("so far  limited by "));
        last = Some(verdict);
    }
    last
}

/// The application's work for a batch, which no other load changes.
fn works(milliseconds: u64) -> impl Fn() {
    move || thread::sleep(Duration::from_millis(milliseconds))
}

#[test]
fn slow_application_is_the_limit() {
    let _leaks = isolated!();
    judged(LimitedBy::Consumer, None, || endless([index(0)]), |host| take(host, 60, 0, works(4)));
}

#[test]
fn application_of_several_threads_is_the_limit_if_none_of_them_waits() {
    let _leaks = isolated!();
    let consume = |host: &Host| {
        thread::scope(|scope| {
            (0..3).for_each(|_| drop(scope.spawn(|| take(host, 25, 0, works(10)))));
        });
    };
    judged(LimitedBy::Consumer, None, || endless([index(0)]).slots(12), consume);
}

#[test]
fn slow_producer_is_the_limit() {
    let _leaks = isolated!();
    let builder = || endless([index(0)]).producer_config(producer(0.008));
    judged(LimitedBy::Producers, None, builder, |host| take(host, 60, 0, works(0)));
}

#[test]
fn slow_producer_is_the_limit_for_an_application_of_many_threads() {
    let _leaks = isolated!();
    let consume = |host: &Host| {
        // Each of them is busy for a part of the time.
        thread::scope(|scope| {
            (0..6).for_each(|_| drop(scope.spawn(|| take(host, 10, 0, works(12)))));
        });
    };
    judged(LimitedBy::Producers, None, || endless([index(0)]).producer_config(producer(0.012)), consume);
}

#[test]
fn slow_commander_is_the_limit() {
    let _leaks = isolated!();
    let builder = || {
        let messages = list([index(0)]).with("repeat", 0).with("sleep_seconds", 0.005);
        endless([]).commander_config(messages)
    };
    judged(LimitedBy::Commander, None, builder, |host| take(host, 60, 0, works(0)));
}

#[test]
fn one_slot_is_the_limit() {
    let _leaks = isolated!();
    let builder = || endless([index(0)]).producer_config(producer(0.004)).slots(1);
    judged(LimitedBy::Slots, None, builder, |host| take(host, 40, 0, works(4)));
}

#[test]
fn slots_that_the_application_holds_are_the_limit() {
    let _leaks = isolated!();
    let builder = || endless([index(0)]).producer_config(producer(0.005)).slots(4);
    let verdict = judged(LimitedBy::Slots, None, builder, |host| take(host, 40, 3, works(0)));
    let expected = "it held 3 of 4 slots: drop batches earlier, or use more slots";
    assert!(verdict.is_some_and(|verdict| verdict.sentence.ends_with(expected)));
}

#[test]
fn straggler_is_named_in_either_order() {
    let _leaks = isolated!();
    for ordered in [true, false] {
        let config = || producer(0.001).with("slow_worker", 1).with("slow_seconds", 0.03);
        let builder = || endless([index(0)]).producer_config(config()).ordered(ordered);
        judged(LimitedBy::Straggler, Some(1), builder, |host| take(host, 100, 0, works(0)));
    }
}

#[test]
fn memory_is_the_limit_of_producers_that_only_write() {
    let _leaks = isolated!();
    let builder = || {
        let arrays = arrays_config(&[array("x", "u8", &[32, 1 << 20])]);
        endless([index(0)]).producer_config(arrays).slots(6)
    };
    judged(LimitedBy::Memory, None, builder, |host| take(host, 60, 0, works(0)));
}

#[test]
fn deaths_are_the_limit_if_each_message_kills_a_worker() {
    let _leaks = isolated!();
    let builder =
        || endless([index(0).with("exit", 3).with("on_attempt", 1)]).producer_config(producer(0.001));
    judged(LimitedBy::Deaths, None, builder, |host| take(host, 20, 0, works(0)));
}

#[test]
fn hangs_are_the_limit_until_their_deadline() {
    let _leaks = isolated!();
    let builder = || {
        let hangs = index(0).with("loop_forever", true).with("on_attempt", 1);
        let messages = std::iter::once(hangs).chain((1..10).map(index));
        endless(messages).message_timeout(Duration::from_millis(100))
    };
    judged(LimitedBy::Deaths, None, builder, |host| take(host, 45, 0, works(0)));
}
