//! A message that cannot be produced: its attempts, and the policy for its failure.

use crate::common::{
    Gate, Logs, Process, all_items, batch_error, filling, gated, index, isolated, next_batch, next_item,
    outline, small, wait_until,
};
use cobuf_host::{
    Death, Dictionary, Exit, HostBuilder, OnFailure, OutOfRange, ReportKind, StartError, StreamError, limits,
};
use rustix::process::Signal;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

/// Longer than a message takes that is done at once, also on a busy machine.
const DEADLINE: Duration = Duration::from_secs(1);

/// A message that fails in this way, at every attempt.
fn failing(number: u64, kind: ReportKind) -> Dictionary {
    let message = index(number);
    match kind {
        ReportKind::Error => message.with("error", "no pixels"),
        ReportKind::Panic => message.with("panic", "ouch"),
        ReportKind::Crash => message.with("abort", true),
        ReportKind::Timeout => message.with("loop_forever", true),
    }
}

/// Eight messages: the third fails in this way, the sixth in another one, for which there is no
/// policy.
fn with_failure(kind: ReportKind) -> HostBuilder {
    let other = if kind == ReportKind::Error { ReportKind::Panic } else { ReportKind::Error };
    let messages = (0..8).map(|number| match number {
        2 => failing(2, kind),
        5 => failing(5, other),
        _ => index(number),
    });
    let builder = filling(messages, &small()).workers(2).slots(4).max_attempts(1);
    // Otherwise no deadline: a busy machine is no failure.
    if kind == ReportKind::Timeout { builder.message_timeout(DEADLINE) } else { builder }
}

fn sorted(outline: &str) -> Vec<&str> {
    let mut items: Vec<&str> = outline.split(' ').collect();
    items.sort_unstable_by_key(|item| item.trim_start_matches('!').parse::<u64>().unwrap());
    items
}

#[test]
fn each_attempt_says_how_it_ended() {
    let _leaks = isolated!();
    let logs = Logs::collect();
    logs.clear();
    let gate = Gate::new();
    let poison = gated(0, "poison at the gate", &gate).with("exit", 7);
    let host = filling([poison, index(1)], &small()).workers(1).start().unwrap();
    for (attempt, signal) in [(1, Signal::KILL), (2, Signal::USR1)] {
        logs.wait_for_many("poison at the gate", attempt);
        assert!(Process::worker(host.fork_server_pid(), 0).send(signal));
    }
    logs.wait_for_many("poison at the gate", 3);
    gate.open();

    let batches = host.batches();
    let error = batch_error(next_item(&batches));
    assert_eq!((error.sequence(), error.kind(), error.worker()), (0, ReportKind::Crash, 0));
    let deaths: Vec<Death> = error.attempts().iter().map(|attempt| attempt.death).collect();
    assert_eq!(deaths, [Exit::Signal(9), Exit::Signal(10), Exit::Code(7)].map(Death::Exit));
    for attempt in error.attempts() {
        assert_eq!((attempt.worker, &attempt.log[..]), (0, &["poison at the gate".to_owned()][..]));
        // No stack was captured: it ended by itself.
        assert!(attempt.stack.is_none());
    }
    assert_eq!(
        error.attempts()[1].to_string(),
        "worker 0 was ended by signal 10 (SIGUSR1)\n  log: poison at the gate"
    );
    assert_eq!(
        error.chain(),
        [
            "the worker was ended at each of 3 attempts, by signal 9 (SIGKILL), signal 10 (SIGUSR1) and exit code 7; \
          its last log line: poison at the gate"
        ]
    );
    assert_eq!(next_batch(&batches).sequence(), 1);
}

#[test]
fn message_is_tried_as_often_as_asked() {
    let _leaks = isolated!();
    for attempts in [1, 5] {
        let messages = [index(0), failing(1, ReportKind::Crash), index(2)];
        let host = filling(messages, &small()).workers(1).max_attempts(attempts).start().unwrap();
        let batches = host.batches();
        assert_eq!(next_batch(&batches).sequence(), 0);
        let error = batch_error(next_item(&batches));
        assert_eq!(error.attempts().len(), attempts as usize);
        let how = "signal 6 (SIGABRT)";
        assert_eq!(
            error.chain(),
            [match attempts {
                1 => format!("the worker was ended by {how}"),
                _ => format!("the worker was ended at each of {attempts} attempts by {how}"),
            }]
        );
        assert_eq!(next_batch(&batches).sequence(), 2);
        assert!(next_item(&batches).is_none());
        wait_until("each death is made good", || host.statistics().worker_restarts == u64::from(attempts));
        assert_eq!(host.statistics().retries, u64::from(attempts - 1));
    }
}

#[test]
fn impossible_number_of_attempts_is_refused() {
    let _leaks = isolated!();
    for attempts in [0, limits::MAX_ATTEMPTS + 1] {
        let error = filling([], &small()).max_attempts(attempts).start().unwrap_err();
        assert!(matches!(error, StartError::OutOfRange(OutOfRange { .. })), "{error:?}");
    }
}

#[test]
fn attempt_keeps_the_last_lines_of_the_log() {
    let _leaks = isolated!();
    // So that plugins are asked for their records.
    Logs::collect();
    let line = |number: u64| format!("line {number} {}", "é".repeat(limits::KEPT_LOG_LINE_BYTES));
    let messages = (0..=12).map(|number| match number {
        12 => failing(number, ReportKind::Crash),
        _ => index(number).with("log", line(number)),
    });
    let host = filling(messages, &small()).workers(1).max_attempts(1).start().unwrap();
    let error = batch_error(all_items(&host.batches()).find(Result::is_err));
    let log = &error.attempts()[0].log;
    assert_eq!(log.len(), limits::KEPT_LOG_LINES);
    for (number, kept) in (2..).zip(log) {
        assert!(line(number).starts_with(kept.as_str()), "{kept}");
        assert!((490..=limits::KEPT_LOG_LINE_BYTES).contains(&kept.len()));
    }
}

#[test]
fn error_after_a_crash_names_the_crash() {
    let _leaks = isolated!();
    let logs = Logs::collect();
    logs.clear();
    let gate = Gate::new();
    let messages = [gated(0, "before the error", &gate).with("error", "no pixels")];
    let host = filling(messages, &small()).workers(1).start().unwrap();
    logs.wait_for("before the error");
    assert!(Process::worker(host.fork_server_pid(), 0).kill());
    gate.open();
    let error = batch_error(next_item(&host.batches()));
    assert_eq!(
        (error.kind(), error.chain().join(": ").as_str()),
        (ReportKind::Error, "asked to fail: no pixels")
    );
    assert_eq!(error.attempts().len(), 1);
    assert_eq!(error.attempts()[0].death, Death::Exit(Exit::Signal(9)));
}

#[test]
fn failure_of_each_kind_is_raised_by_default() {
    let _leaks = isolated!();
    for kind in ReportKind::ALL {
        let host = with_failure(kind).start().unwrap();
        assert_eq!(outline(&host.batches()), "0 1 !2 3 4 !5 6 7");
        assert_eq!((host.statistics().errors, host.statistics().skipped), (2, 0));
    }
}

#[test]
fn failure_of_each_kind_is_skipped_on_request() {
    let _leaks = isolated!();
    for kind in ReportKind::ALL {
        for deterministic in [true, false] {
            let builder = with_failure(kind).on_failure(kind, OnFailure::Skip);
            let host = builder.ordered(deterministic).start().unwrap();
            let outline = outline(&host.batches());
            let expected = "0 1 3 4 !5 6 7";
            if deterministic {
                assert_eq!(outline, expected, "{kind:?}");
            }
            assert_eq!(sorted(&outline), sorted(expected), "{kind:?}");
            let statistics = host.statistics();
            assert_eq!((statistics.delivered, statistics.errors, statistics.skipped), (6, 1, 1), "{kind:?}");
            // It is done as the others are: a run that goes on from here does not try it again.
            assert_eq!(host.checkpoint().delivered(), 8);
        }
    }
}

#[test]
fn stream_ends_if_every_message_is_skipped() {
    let _leaks = isolated!();
    for deterministic in [true, false] {
        let messages = (0..20).map(|number| failing(number, ReportKind::Error));
        let builder = filling(messages, &small()).workers(2).slots(2).ordered(deterministic);
        let host = builder.on_failure(ReportKind::Error, OnFailure::Skip).start().unwrap();
        assert!(next_item(&host.batches()).is_none());
        assert_eq!(host.statistics().skipped, 20);
    }
}

#[test]
fn failure_of_each_kind_stops_the_stream_on_request() {
    let _leaks = isolated!();
    for kind in ReportKind::ALL {
        for deterministic in [true, false] {
            let builder = with_failure(kind).on_failure(kind, OnFailure::Stop);
            let host = builder.ordered(deterministic).start().unwrap();
            let (batches, others) = (host.batches(), host.batches());
            let mut items: Vec<_> = all_items(&batches).collect();
            // In any order the error of message 5 may have been before it.
            let error = batch_error(items.pop());
            assert_eq!((error.sequence(), error.kind()), (2, kind));
            if deterministic {
                assert!(items.into_iter().map(|item| item.unwrap().sequence()).eq(0..2));
            }
            assert!(next_item(&others).is_none() && next_item(&host.batches()).is_none());
        }
    }
}

#[test]
fn failure_that_stops_is_the_last_item_of_all_consumers() {
    let _leaks = isolated!();
    for round in 0..10 {
        let messages = (0..60).map(|number| match number {
            20.. => failing(number, ReportKind::Error),
            _ => index(number),
        });
        let builder = filling(messages, &small()).workers(2).slots(16);
        let host = builder.on_failure(ReportKind::Error, OnFailure::Stop).start().unwrap();
        let start = Arc::new(Barrier::new(4));
        let consumers = [(); 4].map(|()| {
            let (batches, start) = (host.batches(), start.clone());
            thread::spawn(move || {
                start.wait();
                all_items(&batches).map(|item| item.map(|batch| batch.sequence())).collect::<Vec<_>>()
            })
        });
        let items = consumers.map(|consumer| consumer.join().unwrap());
        let (mut delivered, mut errors) = (Vec::new(), Vec::new());
        for item in items.into_iter().flatten() {
            match item {
                Ok(sequence) => delivered.push(sequence),
                Err(StreamError::Batch(error)) => errors.push(error.sequence()),
                Err(other) => panic!("{other:?}"),
            }
        }
        delivered.sort_unstable();
        assert!(delivered.iter().copied().eq(0..20), "round {round}: {delivered:?}");
        assert_eq!(errors, [20], "round {round}");
    }
}
