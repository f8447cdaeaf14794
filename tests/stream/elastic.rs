//! The number of workers changes in a running stream: nothing is lost or done twice, and the tuner
//! finds the right one.

use crate::common::{
    Delivered, Gate, Logs, Process, all_items, filling, gated, index, isolated, list, next_batch,
    random_stream, small, wait_until,
};
use cobuf_host::{Host, ProcessRole, Workers, limits};

fn living_workers(host: &Host) -> usize {
    let workers = host.processes().into_iter();
    workers.filter(|process| matches!(process.role, ProcessRole::Worker(_))).count()
}

fn wait_for_workers(host: &Host, number: usize) {
    wait_until(&format!("there are {number} workers"), || living_workers(host) == number);
}

#[test]
fn changing_the_workers_loses_and_repeats_nothing() {
    let _leaks = isolated!();
    let undisturbed = Delivered::of(&random_stream(400).slots(8).workers(2).start().unwrap().batches());
    for deterministic in [true, false] {
        let host = random_stream(400).slots(8).workers(1).ordered(deterministic).start().unwrap();
        let batches = host.batches();
        let mut delivered = Delivered::default();
        for workers in [4, 2, 7, 1, 3] {
            host.set_workers(workers).unwrap();
            assert_eq!(host.workers(), workers);
            (0..40).for_each(|_| delivered.add(&next_batch(&batches)));
            wait_for_workers(&host, workers);
        }
        // Up and down at once, with no time to settle.
        for workers in [9, 1, 5, 1, 2].into_iter().cycle().take(20) {
            host.set_workers(workers).unwrap();
            delivered.add(&next_batch(&batches));
        }
        all_items(&batches).for_each(|item| delivered.add(&item.unwrap()));
        assert_eq!(delivered.sorted(), undisturbed);
        wait_for_workers(&host, 2);
        let statistics = host.statistics();
        assert_eq!((statistics.worker_restarts, statistics.retries), (0, 0), "{statistics:?}");
    }
}

#[test]
fn more_workers_than_the_sockets_hold_can_be_started() {
    let _leaks = isolated!();
    let host = random_stream(900).slots(8).workers(300).start().unwrap();
    let batches = host.batches();
    (0..10).for_each(|_| drop(next_batch(&batches)));
    host.set_workers(620).unwrap();
    wait_for_workers(&host, 620);
    assert_eq!(all_items(&batches).map(Result::unwrap).count(), 890);
}

#[test]
fn surplus_worker_finishes_its_message_first() {
    let _leaks = isolated!();
    let logs = Logs::collect();
    logs.clear();
    let gate = Gate::new();
    let messages = [gated(0, "held by one that retires", &gate), gated(1, "held by one that retires", &gate)];
    let host = filling(messages, &small()).workers(2).start().unwrap();
    logs.wait_for_many("held by one that retires", 2);
    host.set_workers(1).unwrap();
    logs.wait_for("the number of workers changes");
    assert_eq!(living_workers(&host), 2);
    gate.open();
    let delivered = Delivered::of(&host.batches());
    assert_eq!(delivered.sequences, [0, 1]);
    wait_for_workers(&host, 1);
    assert_eq!(host.statistics().retries, 0);
}

#[test]
fn retiring_worker_is_started_again_if_wanted() {
    let _leaks = isolated!();
    let logs = Logs::collect();
    logs.clear();
    let gate = Gate::new();
    let messages = (0..2).map(|number| gated(number, "held before it is wanted again", &gate));
    let host = filling(messages.chain((2..9).map(index)), &small()).workers(2).start().unwrap();
    logs.wait_for_many("held before it is wanted again", 2);
    host.set_workers(1).unwrap();
    host.set_workers(2).unwrap();
    gate.open();
    assert_eq!(Delivered::of(&host.batches()).sequences.len(), 9);
    logs.wait_for("a worker has retired");
    wait_for_workers(&host, 2);
    // One that was just forked has its name a moment later.
    wait_until("both are there", || Process::living_workers(host.fork_server_pid()).len() == 2);
}

#[test]
fn impossible_number_of_workers_is_refused() {
    let _leaks = isolated!();
    let host = random_stream(1).slots(8).workers(1).start().unwrap();
    for number in [0, limits::MAX_WORKERS + 1] {
        let error = host.set_workers(number).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("the number of workers is {number}, expected 1 to {}", limits::MAX_WORKERS)
        );
    }
    let refused = random_stream(1).slots(8).workers(Workers::Auto { from: 1, up_to: 0 }).start().unwrap_err();
    assert!(refused.to_string().starts_with("the most workers to try is 0"), "{refused}");
    // Nothing of this touches the run.
    assert_eq!(Delivered::of(&host.batches()).sequences, [0]);
}

#[test]
fn tuner_adds_workers_for_sleeping_producers() {
    let _leaks = isolated!();
    let logs = Logs::collect();
    logs.clear();
    // A worker that sleeps needs no processor: eight of them do eight times as much, on any
    // machine.
    let config = list([index(0).with("sleep_seconds", 0.02)]).with("repeat", 0);
    let host = filling([], &small())
        .commander_config(config)
        .workers(Workers::Auto { from: 1, up_to: 8 })
        .slots(32)
        .start()
        .unwrap();
    assert_eq!(host.workers(), 1);
    let batches = host.batches();
    let settled = || logs.contains("more workers bring nothing");
    let delivered = all_items(&batches).take_while(|item| item.is_ok() && !settled()).count();
    // How many exactly is for the tuner's own tests: here the machine may be busy.
    assert!((3..=8).contains(&host.workers()), "{} workers after {delivered} batches", host.workers());
    wait_for_workers(&host, host.workers());
}
