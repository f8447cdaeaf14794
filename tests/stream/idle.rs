//! An idle buffer uses no CPU: a process that waits sleeps until there is something to do.
//!
//! Each test looks at the processes before and after a second in which nothing happens. What is allowed is far from what
//! polling would take, and far above what a busy machine could add.

use crate::common::{
    Gate, Logs, Process, arrays_config, filling, gated, index, isolated, list, small, wait_for_ready,
    wait_until,
};
use cobuf_host::{Host, HostBuilder};
use std::thread;
use std::time::Duration;

/// How long nothing happens.
const PAUSE: Duration = Duration::from_secs(1);
/// The most CPU time of one process in the pause, in clock ticks of 10 ms: 5 %.
const MOST_TICKS: u64 = 5;
/// The most times that one process may go to sleep in the pause, that is wake before.
const MOST_SLEEPS: u64 = 10;

/// Those that compute or wake up over a pause, with what they did: a list that must be empty. To be
/// asserted once the consumer's thread has ended, for which a test that fails would wait.
fn busy(processes: &[Process]) -> Vec<String> {
    // Those that have just been left alone may be on their way to sleep.
    processes.iter().for_each(Process::wait_until_asleep);
    let before: Vec<_> = processes.iter().map(Process::effort).collect();
    thread::sleep(PAUSE);
    let mut busy = Vec::new();
    for (process, before) in processes.iter().zip(before) {
        let after = process.effort();
        let (ticks, sleeps) = (after.ticks - before.ticks, after.sleeps - before.sleeps);
        if ticks > MOST_TICKS || sleeps > MOST_SLEEPS {
            busy.push(format!("{} took {ticks} ticks and woke {sleeps} times in {PAUSE:?}", process.name));
        }
    }
    busy
}

/// Nobody.
const NOBODY: [String; 0] = [];

/// The fork server, the commander and the workers, in the order of their names.
fn processes(host: &Host, workers: usize) -> Vec<Process> {
    let mut found = Process::children_of(host.fork_server_pid() as i32);
    found.extend(Process::get(host.fork_server_pid() as i32));
    found.sort_by(|one, other| one.name.cmp(&other.name));
    assert_eq!(found.len(), workers + 2, "{found:?}");
    found
}

fn without_commander(mut processes: Vec<Process>) -> Vec<Process> {
    processes.retain(|process| process.name != "cobuf-command");
    processes
}

fn endless(workers: usize) -> HostBuilder {
    filling([], &small()).commander_config(list([index(0)]).with("repeat", 0)).workers(workers)
}

/// The threads of this process that belong to the buffer: the supervisor, and the consumer if
/// there is one.
fn threads(count: usize) -> Vec<Process> {
    // A thread gives itself its name, once it runs.
    wait_until("the threads have their names", || named_threads().len() == count);
    named_threads()
}

fn named_threads() -> Vec<Process> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|entry| entry.unwrap().file_name());
    let threads = tasks.filter_map(|name| Process::get(name.to_str()?.parse().ok()?));
    threads.filter(|thread| [SUPERVISOR, CONSUMER, WATCH].contains(&thread.name.as_str())).collect()
}

/// How the kernel calls the threads.
const SUPERVISOR: &str = "cobuf-supervise";
const CONSUMER: &str = "the-consumer";
const WATCH: &str = "cobuf-watch";

/// Runs a consumer on a thread of that name.
fn consume<'scope, T: Send + 'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    consumer: impl FnOnce() -> T + Send + 'scope,
) -> thread::ScopedJoinHandle<'scope, T> {
    thread::Builder::new().name(CONSUMER.to_owned()).spawn_scoped(scope, consumer).unwrap()
}

#[test]
fn buffer_uses_no_cpu_while_its_consumer_pauses() {
    let _leaks = isolated!();
    for deterministic in [true, false] {
        let host = endless(3).slots(5).ordered(deterministic).start().unwrap();
        wait_for_ready(&host, 5);
        let mut all = processes(&host, 3);
        all.extend(threads(1));
        assert_eq!(busy(&all), NOBODY);
    }
}

#[test]
fn buffer_uses_no_cpu_while_all_batches_are_held() {
    let _leaks = isolated!();
    let host = endless(2).slots(2).start().unwrap();
    let held: Vec<_> = host.batches().take(2).collect();
    let mut batches = host.batches();
    thread::scope(|scope| {
        let waiting = consume(scope, move || batches.next().is_some());
        let mut all = processes(&host, 2);
        all.extend(threads(2));
        let busy = busy(&all);
        drop(held);
        assert!(waiting.join().unwrap());
        assert_eq!(busy, NOBODY);
    });
}

#[test]
fn waiting_for_a_slow_commander_uses_no_cpu() {
    let _leaks = isolated!();
    let host = endless(3).commander_config(list([index(0)]).with("sleep_seconds", 3600)).start().unwrap();
    wait_until("the commander has a slot", || host.statistics().slots.writing == 1);
    let batches = host.batches();
    thread::scope(|scope| {
        let waiting = consume(scope, move || batches.count());
        // The commander's plugin looks every few milliseconds whether the host wants to stop.
        let mut all = without_commander(processes(&host, 3));
        all.extend(threads(2));
        let busy = busy(&all);
        drop(host);
        assert_eq!(waiting.join().unwrap(), 0);
        assert_eq!(busy, NOBODY);
    });
}

#[test]
fn waiting_for_a_slow_producer_uses_no_cpu() {
    let _leaks = isolated!();
    let logs = Logs::collect();
    let gate = Gate::new();
    // One worker waits for the gate, the other for messages; the commander has no slot left.
    let messages = list([gated(0, "at the gate", &gate), index(1), index(2)]);
    let host = endless(2)
        .producer_config(arrays_config(&small()))
        .commander_config(messages)
        .slots(3)
        .start()
        .unwrap();
    let holder = logs.wait_for("at the gate").worker.unwrap();
    wait_for_ready(&host, 2);
    let batches = host.batches();
    thread::scope(|scope| {
        let waiting = consume(scope, move || batches.count());
        let mut all = Process::children_of(host.fork_server_pid() as i32);
        all.extend(Process::get(host.fork_server_pid() as i32));
        // This one looks at the gate every millisecond.
        all.retain(|process| process.name != format!("cobuf-work-{holder}"));
        all.extend(threads(2));
        let busy = busy(&all);
        gate.open();
        assert_eq!(waiting.join().unwrap(), 3);
        assert_eq!(busy, NOBODY);
    });
}

#[test]
fn batches_that_an_event_loop_does_not_take_use_no_cpu() {
    let _leaks = isolated!();
    let host = endless(2).slots(4).start().unwrap();
    let readiness = host.batches().readiness().unwrap();
    wait_for_ready(&host, 4);
    let mut all = processes(&host, 2);
    all.extend(threads(2));
    assert_eq!(busy(&all), NOBODY);
    drop(readiness);
}
