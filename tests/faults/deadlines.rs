//! Deadlines: a process that misses one is killed and replaced; one that is only slow is left
//! alone.

use crate::common::packages::odd_host;
use crate::common::refusals::start_error;
use crate::common::{
    Delivered, Gate, Logs, Process, all_items, batch_error, filling, gated, index, isolated, list,
    next_batch, next_item, repeating, small, wait_for_ready, wait_until,
};
use cobuf_host::{
    Death, Dictionary, Failpoint, Fault, HostBuilder, OnCommanderFailure, OutOfRange, ReportKind, StartError,
    StreamError, limits,
};
use std::time::Duration;

/// Longer than what is done at once takes, also on a busy machine.
const DEADLINE: Duration = Duration::from_secs(1);

const TIMEOUT: Death = Death::Timeout { limit: DEADLINE };

/// What the supervisor says when it gives a worker up.
const KILLED: &str = "a worker does not come back and is killed";

fn random(number: u64) -> Dictionary {
    index(number).with("random", true)
}

fn looping(number: u64) -> Dictionary {
    random(number).with("loop_forever", true)
}

/// A run with a deadline for messages.
fn watched(messages: impl IntoIterator<Item = Dictionary>) -> HostBuilder {
    filling(messages, &small()).message_timeout(DEADLINE)
}

#[test]
fn hanging_producer_is_killed_and_its_message_retried() {
    let _leaks = isolated!();
    let message = |number| match number {
        1 => looping(1).with("on_attempt", 1),
        _ => random(number),
    };
    for deterministic in [true, false] {
        let undisturbed = Delivered::of(&watched((0..4).map(random)).start().unwrap().batches());
        let host = watched((0..4).map(message)).workers(2).ordered(deterministic).start().unwrap();
        let mut delivered = Delivered::default();
        for batch in all_items(&host.batches()).map(Result::unwrap) {
            assert_eq!(batch.retries(), u32::from(batch.sequence() == 1));
            delivered.add(&batch);
        }
        delivered.sequences.sort_unstable();
        assert_eq!(delivered, undisturbed);
        let statistics = host.statistics();
        assert_eq!((statistics.timeouts, statistics.retries, statistics.errors), (1, 1, 0));
    }
}

/// Nothing is queued any more that would be late, and the worker that froze holds nothing.
#[test]
fn last_batch_is_delivered_if_its_worker_froze_before_the_wake() {
    let _leaks = isolated!();
    for deterministic in [true, false] {
        let gate = Gate::new();
        let last = gated(0, "the last", &gate);
        let host = watched([last]).workers(1).ordered(deterministic).start().unwrap();
        host.arm(Failpoint::CommitReady, Fault::Freeze);
        gate.open();
        let batches = host.batches();
        assert_eq!(next_batch(&batches).sequence(), 0);
        assert!(next_item(&batches).is_none());
    }
}

#[test]
fn error_says_where_each_attempt_was() {
    let _leaks = isolated!();
    let host = watched([looping(0), random(1)]).workers(1).max_attempts(2).start().unwrap();
    let batches = host.batches();
    let error = batch_error(next_item(&batches));
    assert_eq!((error.sequence(), error.kind()), (0, ReportKind::Timeout));
    assert_eq!(error.chain(), ["the worker was ended at each of 2 attempts by its deadline of 1 s"]);
    assert_eq!(error.attempts().len(), 2);
    for attempt in error.attempts() {
        assert_eq!(attempt.death, TIMEOUT);
        let stack = attempt.stack.as_ref().unwrap();
        let frames = &stack.threads[0].frames;
        assert!(frames.iter().any(|frame| frame.contains("fill_producer::misbehave::misbehave")), "{stack}");
        assert!(attempt.to_string().contains("fill_producer::misbehave::misbehave"), "{attempt}");
    }
    assert_eq!(next_batch(&batches).sequence(), 1);
}

#[test]
fn worker_stopped_with_a_message_is_replaced() {
    let _leaks = isolated!();
    let logs = Logs::collect();
    logs.clear();
    let gate = Gate::new();
    let host = watched([gated(0, "stopped here", &gate), index(1)]).workers(1).start().unwrap();
    logs.wait_for("stopped here");
    Process::worker(host.fork_server_pid(), 0).freeze();
    gate.open();
    let batches = host.batches();
    let batch = next_batch(&batches);
    assert_eq!((batch.sequence(), batch.retries()), (0, 1));
    assert_eq!(next_batch(&batches).sequence(), 1);
    assert_eq!(host.statistics().timeouts, 1);
}

#[test]
fn stack_of_a_stopped_worker_is_captured() {
    let _leaks = isolated!();
    let logs = Logs::collect();
    logs.clear();
    let gate = Gate::new();
    let host = watched([gated(0, "stopped there", &gate)]).workers(1).max_attempts(1).start().unwrap();
    logs.wait_for("stopped there");
    Process::worker(host.fork_server_pid(), 0).freeze();
    let error = batch_error(next_item(&host.batches()));
    assert_eq!((error.kind(), error.attempts()[0].death), (ReportKind::Timeout, TIMEOUT));
    assert_eq!(error.attempts()[0].log, ["stopped there"]);
    let stack = error.attempts()[0].stack.as_ref().unwrap();
    // Somewhere below it: it may still have been on its way back from the log.
    assert!(stack.to_string().contains("fill_producer::FillProducer"), "{stack}");
}

/// They still sleep on the futex's word, and swallow the wakes.
#[test]
fn workers_stopped_while_they_wait_are_replaced() {
    let _leaks = isolated!();
    let logs = Logs::collect();
    logs.clear();
    // The commander gives nothing before all workers stand still.
    let messages = list((0..6).map(index));
    let builder = filling([], &small()).commander_config(messages).message_timeout(DEADLINE).workers(2);
    let host = builder.slots(1).start().unwrap();
    let batches = host.batches();
    // Its slot is the only one: while it is held, there is nothing to do.
    let first = next_batch(&batches);
    for worker in Process::living_workers(host.fork_server_pid()) {
        worker.wait_until_asleep();
        worker.freeze();
    }
    drop(first);
    assert!(Delivered::of(&batches).sequences.into_iter().eq(1..6));
    let statistics = host.statistics();
    // They held nothing: no message is blamed.
    assert_eq!((statistics.retries, statistics.errors), (0, 0));
    assert!((1..=2).contains(&statistics.timeouts), "{statistics:?}");
}

#[test]
fn slow_worker_within_its_deadline_is_left_alone() {
    let _leaks = isolated!();
    // Together far over the deadline, each far below.
    let messages = (0..8).map(|number| index(number).with("sleep_seconds", 0.3));
    let host = watched(messages).workers(1).start().unwrap();
    assert!(Delivered::of(&host.batches()).sequences.into_iter().eq(0..8));
    let statistics = host.statistics();
    assert_eq!((statistics.timeouts, statistics.worker_restarts), (0, 0));
}

#[test]
fn idle_worker_is_left_alone_beyond_its_deadline() {
    let _leaks = isolated!();
    let commander = list((0..3).map(index)).with("sleep_seconds", 1.5);
    let host = watched([]).commander_config(commander).workers(2).start().unwrap();
    assert!(Delivered::of(&host.batches()).sequences.into_iter().eq(0..3));
    assert_eq!((host.statistics().timeouts, host.statistics().worker_restarts), (0, 0));
}

/// Between the verdict and the kill the worker may have done the message and taken another one.
#[test]
fn later_message_of_the_same_worker_is_not_blamed() {
    let _leaks = isolated!();
    let logs = Logs::collect();
    logs.clear();
    let (late, later) = (Gate::new(), Gate::new());
    let messages = [gated(0, "late", &late), gated(1, "a later one", &later)];
    // Were the death an attempt, it would be the last one.
    let host = watched(messages).workers(1).max_attempts(1).start().unwrap();
    logs.wait_for("late");
    let server = Process::get(host.fork_server_pid() as i32).unwrap();
    server.freeze();
    // The fork server is told, and cannot do it yet.
    assert_eq!(logs.wait_for(KILLED).worker, Some(0));
    late.open();
    logs.wait_for("a later one");
    later.open();
    let batches = host.batches();
    assert_eq!(next_batch(&batches).sequence(), 0);
    // If the worker was faster than this, it had nothing at its death; either way no message is to
    // blame.
    server.thaw();
    let batch = next_batch(&batches);
    assert_eq!((batch.sequence(), batch.retries()), (1, 0));
    wait_until("the worker is replaced", || host.statistics().worker_restarts == 1);
    assert_eq!((host.statistics().timeouts, host.statistics().errors), (1, 0));
}

/// A host with one worker whose producer does this, of the odd producer's configuration.
fn odd(config: Dictionary) -> HostBuilder {
    odd_host().producer_config(config).commander_config(list((0..40).map(index)))
}

#[test]
fn hanging_constructor_of_a_restarted_worker_is_ended() {
    let _leaks = isolated!();
    let builder = odd(Dictionary::new().with("hang_in_incarnation", 1)).slots(2);
    // As long as every start of this test may take, so not too short.
    let host = builder.start_timeout(Duration::from_secs(6)).start().unwrap();
    let batches = host.batches();
    let first = next_batch(&batches);
    assert!(Process::worker(host.fork_server_pid(), 0).kill());
    drop(first);
    assert!(Delivered::of(&batches).sequences.into_iter().eq(1..40));
    let statistics = host.statistics();
    assert_eq!((statistics.timeouts, statistics.worker_restarts, statistics.errors), (1, 2, 0));
}

#[test]
fn hanging_constructor_after_a_panic_is_ended() {
    let _leaks = isolated!();
    let builder = odd(Dictionary::new().with("hang_after_panic", true)).slots(2);
    let messages = (0..6).map(|number| index(number).with("panic", number == 2));
    let builder = builder.commander_config(list(messages)).message_timeout(DEADLINE);
    let host = builder.start_timeout(Duration::from_secs(6)).start().unwrap();
    assert_eq!(crate::common::outline(&host.batches()), "0 1 !2 3 4 5");
    assert_eq!((host.statistics().timeouts, host.statistics().retries), (1, 0));
}

#[test]
fn impossible_deadline_is_refused() {
    let _leaks = isolated!();
    let short = limits::MIN_TIMEOUT - Duration::from_millis(1);
    let builders = [watched([]).message_timeout(short), repeating().commander_timeout(short)];
    for error in builders.map(start_error) {
        assert!(
            matches!(error, StartError::OutOfRange(OutOfRange { value: 19, least: 20, .. })),
            "{error:?}"
        );
    }
}

#[test]
fn longest_deadline_is_none() {
    let _leaks = isolated!();
    let logs = Logs::collect();
    logs.clear();
    let gate = Gate::new();
    let builder = filling([gated(0, "for ever", &gate)], &small()).workers(1);
    let builder = builder.message_timeout(Duration::MAX).commander_timeout(Duration::MAX);
    let builder = builder.start_timeout(Duration::MAX);
    let host = builder.start().unwrap();
    logs.wait_for("for ever");
    // Somebody is there to replace it.
    assert!(Process::worker(host.fork_server_pid(), 0).kill());
    logs.wait_for_many("for ever", 2);
    gate.open();
    assert_eq!(next_batch(&host.batches()).retries(), 1);
}

/// How often the supervisor's thread goes to sleep in a second in which nothing happens.
fn wakes_in_a_second(builder: HostBuilder) -> u64 {
    let host = builder.start().unwrap();
    crate::common::wait_for_ready(&host, 4);
    let tasks = || std::fs::read_dir("/proc/self/task").unwrap().map(|entry| entry.unwrap().file_name());
    let find = || {
        let mut threads = tasks().filter_map(|name| Process::get(name.to_str()?.parse().ok()?));
        threads.find(|thread| thread.name == "cobuf-supervise")
    };
    // A thread gives itself its name, once it runs.
    wait_until("the supervisor has its name", || find().is_some());
    let supervisor = find().unwrap();
    supervisor.wait_until_asleep();
    let before = supervisor.effort().sleeps;
    std::thread::sleep(Duration::from_secs(1));
    supervisor.effort().sleeps - before
}

#[test]
fn watchdog_wakes_once_a_deadline_and_never_without_one() {
    let _leaks = isolated!();
    let hour = Duration::from_secs(3600);
    assert!(wakes_in_a_second(repeating()) <= 1);
    assert!(wakes_in_a_second(repeating().message_timeout(hour).commander_timeout(hour)) <= 1);
    // Ten looks in the second, and what is left of the start.
    let tenth = Duration::from_millis(100);
    assert!(wakes_in_a_second(repeating().message_timeout(tenth)) <= 15);
}

#[test]
fn hanging_or_frozen_commander_is_replaced() {
    let _leaks = isolated!();
    for fault in [Fault::Hang, Fault::Freeze] {
        for point in [Failpoint::CommandClaimed, Failpoint::CommandHalfWritten] {
            let host = repeating().limit(40).commander_timeout(DEADLINE).start().unwrap();
            let batches = host.batches();
            assert_eq!(next_batch(&batches).sequence(), 0);
            host.arm(point, fault);
            assert!(Delivered::of(&batches).sequences.into_iter().eq(1..40), "{fault} at {point:?}");
            let statistics = host.statistics();
            assert_eq!((statistics.commander_restarts, statistics.timeouts), (1, 1), "{fault} at {point:?}");
            assert_eq!((statistics.retries, statistics.errors), (0, 0));
        }
    }
}

#[test]
fn commander_frozen_while_it_waits_is_replaced() {
    let _leaks = isolated!();
    let host = repeating().limit(20).commander_timeout(DEADLINE).start().unwrap();
    wait_for_ready(&host, 4);
    let commander = Process::commander(host.fork_server_pid());
    commander.wait_until_asleep();
    commander.freeze();
    assert!(Delivered::of(&host.batches()).sequences.into_iter().eq(0..20));
    assert_eq!((host.statistics().commander_restarts, host.statistics().timeouts), (1, 1));
}

#[test]
fn late_commander_ends_the_stream_if_the_policy_says_so() {
    let _leaks = isolated!();
    let builder = repeating().commander_timeout(DEADLINE);
    let builder = builder.on_commander_failure(ReportKind::Timeout, OnCommanderFailure::End);
    let host = builder.start().unwrap();
    let batches = host.batches();
    next_batch(&batches);
    host.arm(Failpoint::CommandClaimed, Fault::Hang);
    match all_items(&batches).find_map(Result::err) {
        Some(StreamError::CommanderDied { death, attempts: 1, .. }) => {
            assert_eq!(death, Death::Timeout { limit: DEADLINE });
        }
        other => panic!("{other:?}"),
    }
    assert!(next_item(&batches).is_none());
}

/// A new commander has the whole deadline for its first message.
#[test]
fn slow_commander_is_left_alone_even_after_a_late_one() {
    let _leaks = isolated!();
    // Asking again for the messages before takes as long each time, and is no message.
    let messages = list((0..3).map(index)).with("sleep_seconds", 0.6);
    let builder = filling([], &small()).commander_config(messages).workers(1).commander_timeout(DEADLINE);
    let host = builder.start().unwrap();
    let batches = host.batches();
    assert_eq!(next_batch(&batches).sequence(), 0);
    host.arm(Failpoint::CommandHalfWritten, Fault::Hang);
    assert!(Delivered::of(&batches).sequences.into_iter().eq(1..3));
    assert_eq!((host.statistics().commander_restarts, host.statistics().timeouts), (1, 1));
}
