//! The order in which batches are delivered, the threads that get them, and what a waiting consumer
//! is told.

use crate::common::{
    Gate, LONG, Logs, all_items, filling, gated, host, index, isolated, list, next_batch, next_item, plugin,
    small, wait_for_ready,
};
use cobuf_host::ndarray::Ix1;
use cobuf_host::{Batch, Dictionary, Holder, Next, WaitingFor};
use std::collections::BTreeSet;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Four messages, of which the first waits for the gate.
fn first_waits_for(gate: &Gate) -> [Dictionary; 4] {
    [gated(0, "the first waits", gate), index(1), index(2), index(3)]
}

fn value(batch: &Batch) -> u64 {
    let values = batch.array::<u32, Ix1>("x").unwrap();
    assert!(values.iter().all(|value| *value == values[0]));
    values[0].into()
}

fn assert_waiting(next: &Next, expected: WaitingFor) {
    assert!(matches!(next, Next::Pending(waiting_for) if *waiting_for == expected), "{next:?}");
}

#[test]
fn first_message_comes_first_although_later_ones_are_ready() {
    let _leaks = isolated!();
    let gate = Gate::new();
    let host = filling(first_waits_for(&gate), &small()).workers(2).slots(4).start().unwrap();
    let batches = host.batches();
    wait_for_ready(&host, 3);
    assert_waiting(&batches.try_next(), WaitingFor::Producers);
    gate.open();
    let order: Vec<u64> = all_items(&batches).map(|item| item.unwrap().sequence()).collect();
    assert_eq!(order, [0, 1, 2, 3]);
}

#[test]
fn ready_batches_come_in_any_order_while_the_first_is_not_ready() {
    let _leaks = isolated!();
    let gate = Gate::new();
    let host = filling(first_waits_for(&gate), &small()).workers(2).slots(4).ordered(false).start().unwrap();
    let batches = host.batches();
    let early: BTreeSet<u64> = (0..3).map(|_| next_batch(&batches).sequence()).collect();
    assert_eq!(early, BTreeSet::from([1, 2, 3]));
    assert_waiting(&batches.try_next(), WaitingFor::Producers);
    gate.open();
    assert_eq!(next_batch(&batches).sequence(), 0);
    assert!(next_item(&batches).is_none());
}

#[test]
fn ended_stream_stays_ended() {
    let _leaks = isolated!();
    for messages in [0, 3] {
        let host = filling((0..messages).map(index), &small()).workers(2).start().unwrap();
        let (batches, mut other) = (host.batches(), host.batches());
        assert_eq!(batches.total(), Some(messages));
        assert_eq!(all_items(&batches).count() as u64, messages);
        assert!(matches!(batches.try_next(), Next::Ended));
        assert!(matches!(batches.next_timeout(LONG), Next::Ended));
        assert!(other.next().is_none());
    }
}

#[test]
fn each_batch_goes_to_one_of_several_threads() {
    const MESSAGES: u64 = 300;
    let _leaks = isolated!();
    for deterministic in [true, false] {
        let host = filling((0..MESSAGES).map(index), &small()).workers(2).ordered(deterministic);
        let host = host.start().unwrap();
        let read = |batches: cobuf_host::Batches| {
            let batches = all_items(&batches).map(Result::unwrap);
            batches.map(|batch| (batch.sequence(), value(&batch))).collect::<Vec<_>>()
        };
        let shares: Vec<Vec<(u64, u64)>> = thread::scope(|scope| {
            let threads: Vec<_> =
                (0..4).map(|_| host.batches()).map(|b| scope.spawn(move || read(b))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        // In order, what one thread gets after another batch is a later one.
        assert!(!deterministic || shares.iter().all(|share| share.is_sorted()));
        let mut all = shares.concat();
        all.sort_unstable();
        assert!(all.into_iter().eq((0..MESSAGES).map(|number| (number, number))));
        assert_eq!(host.statistics().delivered, MESSAGES);
    }
}

#[test]
fn wait_ends_with_its_timeout() {
    let _leaks = isolated!();
    let gate = Gate::new();
    let host = filling(first_waits_for(&gate), &small()).workers(2).start().unwrap();
    let (start, timeout) = (Instant::now(), Duration::from_millis(30));
    assert_waiting(&host.batches().next_timeout(timeout), WaitingFor::Producers);
    assert!(start.elapsed() >= timeout);
    assert!(host.statistics().consumer_wait >= timeout / 2, "waiting is counted");
}

#[test]
fn wait_that_takes_nothing_ends_once_there_is_something_to_take() {
    let _leaks = isolated!();
    for ordered in [true, false] {
        let gate = Gate::new();
        let host = filling([gated(0, "it waits", &gate)], &small()).workers(1).ordered(ordered);
        let host = host.start().unwrap();
        let batches = host.batches();
        assert_eq!(batches.wait_timeout(Duration::from_millis(30)), Err(WaitingFor::Producers));
        thread::scope(|scope| {
            // A wake may reach one that takes and two that do not: none may sleep on.
            let waiting: Vec<_> = (0..2).map(|_| scope.spawn(|| host.batches().wait_timeout(LONG))).collect();
            let taking = scope.spawn(|| host.batches().next_timeout(LONG));
            gate.open();
            assert!(matches!(taking.join().unwrap(), Next::Item(Ok(batch)) if batch.sequence() == 0));
            // The end is there to take too.
            assert!(waiting.into_iter().all(|thread| thread.join().unwrap() == Ok(())));
        });
        assert_eq!(batches.wait_timeout(LONG), Ok(()));
        assert!(matches!(batches.try_next(), Next::Ended));
        assert_eq!(batches.wait_timeout(LONG), Ok(()));
    }
}

#[test]
fn wait_that_takes_nothing_leaves_batches_and_errors_there() {
    let _leaks = isolated!();
    let failing = index(1).with("error", "this one");
    let host = filling([index(0), failing], &small()).workers(1).start().unwrap();
    let batches = host.batches();
    for _ in 0..3 {
        assert_eq!(batches.wait_timeout(LONG), Ok(()));
    }
    assert_eq!(next_batch(&batches).sequence(), 0);
    for _ in 0..3 {
        assert_eq!(batches.wait_timeout(LONG), Ok(()));
    }
    assert!(matches!(batches.try_next(), Next::Item(Err(_))));
}

#[test]
fn wait_for_the_commander_is_named() {
    let _leaks = isolated!();
    let host = host()
        .commander(plugin("list-commander"))
        .commander_config(list([index(0)]).with("sleep_seconds", 3600))
        .producer(plugin("fill-producer"))
        .producer_config(crate::common::arrays_config(&small()));
    let host = host.workers(1).start().unwrap();
    assert_waiting(&host.batches().try_next(), WaitingFor::Commander);
}

#[test]
fn dropping_a_batch_continues_a_stream_with_all_slots_held() {
    let _leaks = isolated!();
    let logs = Logs::collect();
    let host = filling((0..5).map(index), &small()).workers(1).slots(3).start().unwrap();
    let batches = host.batches();
    let mut held: Vec<Batch> = (0..3).map(|_| next_batch(&batches)).collect();
    assert_waiting(&batches.try_next(), WaitingFor::HeldBatches { held: 3 });
    assert_eq!(host.statistics().slots.reading, 3);

    // A wait without an end says so after a second, and goes on once another thread drops one.
    let (sender, receiver) = mpsc::channel();
    let mut waiting = host.batches();
    let consumer = thread::spawn(move || sender.send(waiting.next().unwrap().unwrap().sequence()));
    let warning = logs.wait_for("all slots are held by batches of this application");
    assert_eq!(warning.level, "WARN");
    assert!(receiver.try_recv().is_err(), "nothing can have come");
    held.pop();
    assert_eq!(receiver.recv_timeout(LONG).unwrap(), 3);
    consumer.join().unwrap().unwrap();
    assert_eq!(held.iter().map(value).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn batches_can_be_held_and_dropped_in_any_order() {
    let _leaks = isolated!();
    let host = filling((0..40).map(index), &small()).workers(2).slots(5).start().unwrap();
    let batches = host.batches();
    let mut held: Vec<Batch> = (0..4).map(|_| next_batch(&batches)).collect();
    for (round, sequence) in (4..40).enumerate() {
        // Always another place: the oldest is held for long, the newest is dropped at once, and
        // everything between.
        held.remove(round * 7 % 4);
        held.push(next_batch(&batches));
        assert_eq!(held[3].sequence(), sequence);
        // What is held is never written to.
        assert!(held.iter().all(|batch| value(batch) == batch.sequence()));
    }
    assert!(next_item(&batches).is_none());
}

#[test]
fn one_slot_is_enough() {
    let _leaks = isolated!();
    for deterministic in [true, false] {
        let host = filling((0..100).map(index), &small()).workers(3).slots(1).ordered(deterministic);
        let host = host.start().unwrap();
        assert!(all_items(&host.batches()).map(|item| value(&item.unwrap())).eq(0..100));
    }
}

#[test]
fn batch_outlives_its_host_on_another_thread() {
    let _leaks = isolated!();
    let host = filling((0..100).map(index), &small()).workers(2).slots(4).start().unwrap();
    let batches = host.batches();
    let (first, second) = (next_batch(&batches), next_batch(&batches));
    host.stop();
    assert_eq!(value(&first), 0);
    drop(host);
    assert!(next_item(&batches).is_none());
    drop(batches);
    assert_eq!(thread::spawn(move || (value(&second), value(&first))).join().unwrap(), (1, 0));
}

#[test]
fn stall_report_names_holders_and_durations() {
    let _leaks = isolated!();
    let logs = Logs::collect();
    logs.clear();
    let gate = Gate::new();
    let host = filling(first_waits_for(&gate), &small()).workers(2).slots(6).start().unwrap();
    let worker = logs.wait_for("the first waits").worker.unwrap() as u32;
    wait_for_ready(&host, 3);
    let batches = host.batches();
    let waited = Duration::from_millis(30);
    assert!(matches!(batches.next_timeout(waited), Next::Pending(_)));
    let report = batches.stall_report();
    assert_eq!((report.waiting_for, report.wanted), (WaitingFor::Producers, Some(0)));
    let oldest = report.oldest().unwrap();
    assert_eq!((oldest.holder, oldest.sequence, oldest.attempts), (Holder::Worker(worker), Some(0), 0));
    // The clock moves in steps of at most 10 ms.
    assert!(oldest.lasts >= waited - Duration::from_millis(10), "{report}");
    let holders = |wanted: Holder| report.slots.iter().filter(|slot| slot.holder == wanted).count();
    assert_eq!((holders(Holder::Ready), holders(Holder::Free), report.slots.len()), (3, 2, 6));
    let text = report.to_string();
    assert!(
        text.starts_with(
            "waiting for batch 0: workers are producing, or about to\n  oldest  batch 0, with worker"
        ),
        "{text}"
    );
    let slots = "2 free, 0 with the commander, 0 queued, 1 with workers, 3 ready, 0 with the application";
    // The verdict is the last line.
    assert!(text.lines().rev().nth(1).is_some_and(|line| line.ends_with(slots)), "{text}");
    assert!(text.contains(&format!("\n  so far  limited by worker {worker}: ")), "{text}");

    gate.open();
    let first = next_batch(&batches);
    let held = host.stall_report().slots.into_iter().find(|slot| slot.holder == Holder::Application).unwrap();
    assert_eq!(held.sequence, Some(first.sequence()));
}
