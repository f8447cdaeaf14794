//! A host can be stopped at any moment, from any thread, whatever its plugins do, as often as one
//! likes.

use crate::common::{
    Delivered, Gate, LONG, Logs, Process, array, filling, gated, host, index, isolated, list, next_batch,
    next_item, plugin, small, wait_for_ready,
};
use cobuf_host::{Dictionary, Host, HostBuilder, Next, StartMethod};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// A grace that no process uses up if it stops when asked.
const GENEROUS: Duration = LONG;

/// An endless stream of messages.
fn endless(message: Dictionary) -> HostBuilder {
    filling([], &small()).commander_config(list([message]).with("repeat", 0)).workers(2).stop_grace(GENEROUS)
}

/// Stops a host none of whose processes has to be killed for it.
fn stop_gently(host: &Host) {
    let start = Instant::now();
    host.stop();
    assert!(start.elapsed() < GENEROUS, "it took {:?}", start.elapsed());
}

fn assert_stopped(host: &Host) {
    assert!(matches!(host.batches().try_next(), Next::Ended));
    assert!(matches!(host.batches().next_timeout(LONG), Next::Ended));
    assert!(host.batches().next().is_none());
}

#[test]
fn host_can_be_stopped_before_the_first_batch() {
    let _leaks = isolated!();
    let gate = Gate::new();
    let host = endless(gated(0, "", &gate)).start().unwrap();
    stop_gently(&host);
    assert_stopped(&host);
    assert_eq!(host.statistics().delivered, 0);
}

#[test]
fn host_can_be_stopped_twice_and_queried_afterwards() {
    let _leaks = isolated!();
    let host = endless(index(7)).start().unwrap();
    drop(next_batch(&host.batches()));
    stop_gently(&host);
    host.stop();
    assert_stopped(&host);
    assert_eq!((host.workers(), host.statistics().delivered, host.schema().names()), (2, 1, "x".to_owned()));
}

#[test]
fn host_can_be_stopped_while_its_workers_produce() {
    let _leaks = isolated!();
    let logs = Logs::collect();
    for wait in ["burn_seconds", "sleep_seconds"] {
        logs.clear();
        let host = endless(index(0).with("log", "at it").with(wait, 3600)).start().unwrap();
        logs.wait_for_many("at it", 2);
        stop_gently(&host);
    }
}

#[test]
fn host_can_be_dropped_with_full_slots_and_held_batches() {
    let _leaks = isolated!();
    let host = endless(index(5)).slots(4).start().unwrap();
    let held = [next_batch(&host.batches()), next_batch(&host.batches())];
    wait_for_ready(&host, 2);
    drop(host);
    assert!(held.iter().all(|batch| batch.array_at::<u32, cobuf_host::ndarray::Ix1>(0).unwrap()[3] == 5));
}

#[test]
fn host_can_be_stopped_while_its_commander_is_slow() {
    let _leaks = isolated!();
    let host = endless(index(0)).commander_config(list([index(0)]).with("sleep_seconds", 3600));
    stop_gently(&host.start().unwrap());
}

#[test]
fn worker_that_never_ends_is_killed_after_the_grace() {
    let _leaks = isolated!();
    let logs = Logs::collect();
    logs.clear();
    let grace = Duration::from_millis(100);
    let looping = index(0).with("log", "for ever").with("loop_forever", true);
    let host = endless(looping).stop_grace(grace).start().unwrap();
    logs.wait_for_many("for ever", 2);
    let start = Instant::now();
    host.stop();
    assert!((grace..LONG).contains(&start.elapsed()), "{:?}", start.elapsed());
    assert_stopped(&host);
}

#[test]
fn second_stop_shortens_the_grace_of_the_first() {
    let _leaks = isolated!();
    let logs = Logs::collect();
    logs.clear();
    let looping = index(0).with("log", "for ever").with("loop_forever", true);
    let host = endless(looping).start().unwrap();
    logs.wait_for_many("for ever", 2);
    let start = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| host.stop());
        // Then the first one is under way.
        while !matches!(host.batches().try_next(), Next::Ended) {
            thread::yield_now();
        }
        host.stop_within(Duration::ZERO);
    });
    assert!(start.elapsed() < GENEROUS, "{:?}", start.elapsed());
    assert_stopped(&host);
}

#[test]
fn frozen_processes_are_killed_after_the_grace() {
    let leaks = isolated!();
    for freeze_fork_server in [false, true] {
        let host = endless(index(0)).stop_grace(Duration::from_millis(50)).start().unwrap();
        let server = host.fork_server_pid();
        if freeze_fork_server {
            Process::get(server as i32).unwrap().freeze();
        } else {
            Process::worker(server, 1).freeze();
            Process::commander(server).freeze();
        }
        host.stop();
        assert!(Process::get(server as i32).is_none());
        if freeze_fork_server {
            // Killed in the end, and its children with it, which no process could reap.
            leaks.bury_orphans();
        }
    }
}

#[test]
fn waiting_consumers_end_when_another_thread_stops_the_host() {
    let _leaks = isolated!();
    let gate = Gate::new();
    for deterministic in [true, false] {
        let host = endless(gated(0, "", &gate)).ordered(deterministic).start().unwrap();
        let (sender, receiver) = mpsc::channel();
        for _ in 0..3 {
            let (mut batches, sender) = (host.batches(), sender.clone());
            thread::spawn(move || {
                sender.send(Err(Process::own_thread())).unwrap();
                sender.send(Ok(batches.next().is_none())).unwrap();
            });
        }
        for _ in 0..3 {
            let consumer = receiver.recv_timeout(LONG).unwrap().unwrap_err();
            consumer.wait_until_asleep();
        }
        stop_gently(&host);
        assert!((0..3).all(|_| receiver.recv_timeout(LONG).unwrap().unwrap()));
    }
}

#[test]
fn host_can_be_stopped_by_another_thread_than_its_starter() {
    let _leaks = isolated!();
    for method in [StartMethod::ForkServer, StartMethod::Fork] {
        // The starting thread ends before: the fork server must not die with it.
        let host =
            thread::spawn(move || endless(index(3)).start_method(method).start().unwrap()).join().unwrap();
        let batches = host.batches();
        assert!((0..50).all(|_| next_batch(&batches).rows() == Some(4)));
        thread::spawn(move || drop(host)).join().unwrap();
        assert!(next_item(&batches).is_none());
    }
}

#[test]
fn many_hosts_can_be_started_in_turn() {
    let _leaks = isolated!();
    for number in 0..20 {
        let host = endless(index(number)).start().unwrap();
        let batch = next_batch(&host.batches());
        assert_eq!(batch.message::<Dictionary>().unwrap(), index(number));
    }
}

#[test]
fn two_hosts_run_side_by_side() {
    let _leaks = isolated!();
    let run = |seed: u64, shape: &[usize]| {
        let messages = (0..50).map(|number| index(number).with("random", true));
        filling(messages, &[array("x", "f64", shape)]).workers(2).slots(3).seed(seed).start().unwrap()
    };
    let alone = [Delivered::of(&run(1, &[8]).batches()), Delivered::of(&run(2, &[4, 4]).batches())];
    assert_ne!(alone[0].digest, alone[1].digest);
    let hosts = [run(1, &[8]), run(2, &[4, 4])];
    let mut together = [Delivered::default(), Delivered::default()];
    for _ in 0..50 {
        for (host, delivered) in hosts.iter().zip(&mut together) {
            delivered.add(&next_batch(&host.batches()));
        }
    }
    assert_eq!(together, alone);
    // The end of one is not the other's.
    let [one, other] = hosts;
    drop(one);
    assert!(next_item(&other.batches()).is_none());
}

#[test]
fn refused_start_leaves_nothing() {
    let _leaks = isolated!();
    let refused = |builder: HostBuilder| builder.start().expect_err("the start must be refused");
    refused(host());
    refused(endless(index(0)).producer_config(Dictionary::new()));
    refused(endless(index(0)).commander_config(list([]).with("fail_new", "no")));
    let arrays = crate::common::arrays_config(&small());
    refused(endless(index(0)).producer_config(arrays.with("panic_new", "no")));
    refused(endless(index(0)).producer_config(crate::common::arrays_config(&[array("x", "u8", &[1 << 38])])));
    refused(endless(index(0)).fork_server("/bin/true"));
    refused(endless(index(0)).fork_server("/nowhere/cobuf"));
    refused(endless(index(0)).producer(plugin("list-commander")));
    refused(endless(index(0)).start_timeout(Duration::ZERO));
}
