//! What becomes of a run whose commander or fork server dies, where they may be replaced: the consumer sees nothing but a counter.

mod common;

use cobuf_host::{
    Dictionary, Failpoint, Fault, HostBuilder, OnCommanderFailure, ProcessRole, ReportKind, StartMethod,
    StreamError,
};
use common::{
    Delivered, Gate, LONG, Leaks, Logs, Process, all_items, array, filling, gated, index, list, next_batch,
    next_item, small, wait_for_ready, wait_until,
};

/// A stream of random batches.
fn random(messages: u64) -> HostBuilder {
    let config = list([Dictionary::new().with("random", true)]).with("repeat", messages);
    filling([], &[array("x", "f32", &[16, 3])]).commander_config(config).workers(2).slots(6)
}

fn undisturbed(messages: u64) -> Delivered {
    Delivered::of(&random(messages).start().unwrap().batches())
}

/// The same, whatever order it came in.
fn sorted(mut delivered: Delivered) -> Delivered {
    delivered.sequences.sort_unstable();
    delivered
}

#[test]
fn does_a_killed_commander_go_on_at_its_message() {
    let _leaks = Leaks::watch();
    let expected = undisturbed(60);
    for deterministic in [true, false] {
        let host = random(60).ordered(deterministic).start().unwrap();
        let batches = host.batches();
        let mut delivered = Delivered::default();
        for round in 0..5 {
            // All slots are full, so that it waits for one.
            wait_for_ready(&host, 6);
            let commander = Process::commander(host.fork_server_pid());
            assert!(commander.kill() && commander.wait_for_end(LONG));
            (0..6).for_each(|_| delivered.add(&next_batch(&batches)));
            wait_until("the commander is replaced", || host.statistics().commander_restarts == round + 1);
        }
        all_items(&batches).for_each(|item| delivered.add(&item.unwrap()));
        if deterministic {
            assert!(delivered.sequences.is_sorted());
        }
        assert_eq!(sorted(delivered), expected);
    }
}

#[test]
fn is_nothing_lost_wherever_the_commander_dies() {
    let _leaks = Leaks::watch();
    let expected = undisturbed(40);
    let points = [
        Failpoint::CommandClaimed,
        Failpoint::CommandHalfWritten,
        Failpoint::CommandCounted,
        Failpoint::CommandQueued,
    ];
    for (point, fault) in points.into_iter().flat_map(|point| [(point, Fault::Kill), (point, Fault::Crash)]) {
        let host = random(40).start().unwrap();
        wait_for_ready(&host, 6);
        host.arm(point, fault);
        assert_eq!(Delivered::of(&host.batches()), expected, "{point} {fault}");
        assert!(!host.is_armed(), "{point}");
        assert_eq!(host.statistics().commander_restarts, 1, "{point}");
    }
}

#[test]
fn is_nothing_lost_wherever_a_worker_dies() {
    let _leaks = Leaks::watch();
    let expected = undisturbed(40);
    let points =
        [Failpoint::WorkClaimed, Failpoint::WorkFilled, Failpoint::CommitHalfWritten, Failpoint::CommitReady];
    for (point, fault) in points.into_iter().flat_map(|point| [(point, Fault::Kill), (point, Fault::Crash)]) {
        let host = random(40).start().unwrap();
        wait_for_ready(&host, 6);
        host.arm(point, fault);
        assert_eq!(Delivered::of(&host.batches()), expected, "{point} {fault}");
        assert!(!host.is_armed(), "{point}");
        wait_until("the worker is replaced", || host.statistics().worker_restarts == 1);
        // One that died behind the commit leaves nothing to be done again.
        let retries = u64::from(point != Failpoint::CommitReady);
        assert_eq!(host.statistics().retries, retries, "{point}");
    }
}

#[test]
fn does_a_commander_that_dies_at_one_message_again_and_again_end_the_stream() {
    let _leaks = Leaks::watch();
    for attempts in [1, 4] {
        let config = list([index(0)]).with("repeat", 9).with("exit_at", 5);
        let host = filling([], &small()).commander_config(config).max_attempts(attempts).start().unwrap();
        let mut items: Vec<_> = all_items(&host.batches()).collect();
        let error = items.pop().unwrap().unwrap_err();
        let StreamError::CommanderDied { commanded: 5, attempts: tried, .. } = &error else {
            panic!("{error:?}")
        };
        assert_eq!(*tried, attempts);
        assert!(items.into_iter().map(|item| item.unwrap().sequence()).eq(0..5));
        assert_eq!(host.statistics().commander_restarts, u64::from(attempts) - 1);
    }
}

#[test]
fn is_a_commander_that_failed_tried_again_where_the_policy_says_so() {
    let _leaks = Leaks::watch();
    for (kind, field) in [(ReportKind::Error, "fail_at"), (ReportKind::Panic, "panic_at")] {
        let config = list([index(0)]).with("repeat", 9).with(field, 5);
        let host = filling([], &small()).commander_config(config);
        let host = host.on_commander_failure(kind, OnCommanderFailure::Restart).start().unwrap();
        let mut items: Vec<_> = all_items(&host.batches()).collect();
        let error = items.pop().unwrap().unwrap_err();
        assert!(
            matches!(&error, StreamError::Commander { commanded: 5, source, .. } if source.kind == kind),
            "{error:?}"
        );
        assert_eq!(items.len(), 5);
        assert_eq!(host.statistics().commander_restarts, 2);
    }
}

#[test]
fn does_a_run_go_on_after_its_fork_server_was_killed() {
    let leaks = Leaks::watch();
    let expected = undisturbed(60);
    for deterministic in [true, false] {
        let host = random(60).ordered(deterministic).start().unwrap();
        let batches = host.batches();
        let mut delivered = Delivered::default();
        for round in 0..3 {
            wait_for_ready(&host, 6);
            let before = host.processes();
            let server = Process::get(before[0].pid as i32).unwrap();
            assert!(server.kill() && server.wait_for_end(LONG));
            (0..6).for_each(|_| delivered.add(&next_batch(&batches)));
            wait_until("there are as many other processes", || {
                let now = host.processes();
                now.len() == before.len() && now.iter().all(|process| !before.contains(process))
            });
            assert_eq!(host.statistics().fork_server_restarts, round + 1);
        }
        all_items(&batches).for_each(|item| delivered.add(&item.unwrap()));
        assert_eq!(sorted(delivered), expected);
        host.stop();
        leaks.bury_orphans();
    }
}

#[test]
fn is_the_death_of_the_fork_server_no_attempt_at_a_message() {
    let leaks = Leaks::watch();
    let logs = Logs::collect();
    logs.clear();
    let gate = Gate::new();
    let host = filling([gated(0, "at the gate of the server", &gate)], &small()).max_attempts(1).workers(1);
    let host = host.start().unwrap();
    for round in 1..=2 {
        logs.wait_for_many("at the gate of the server", round);
        assert!(Process::get(host.fork_server_pid() as i32).unwrap().kill());
    }
    logs.wait_for_many("at the gate of the server", 3);
    gate.open();
    let batch = next_batch(&host.batches());
    assert_eq!((batch.sequence(), batch.retries()), (0, 0));
    drop(batch);
    assert!(next_item(&host.batches()).is_none());
    host.stop();
    leaks.bury_orphans();
}

#[test]
fn do_fork_servers_that_die_again_and_again_end_the_stream() {
    let leaks = Leaks::watch();
    let gate = Gate::new();
    let host = filling([gated(0, "", &gate)], &small()).workers(1).start().unwrap();
    let killer = std::thread::scope(|scope| {
        let host = &host;
        let consumer = scope.spawn(|| next_item(&host.batches()));
        let mut killed = 0;
        while !consumer.is_finished() {
            if let Some(server) = Process::get(host.fork_server_pid() as i32) {
                killed += u32::from(!server.zombie && server.kill());
            }
        }
        assert!(killed >= 3, "{killed}");
        consumer.join().unwrap()
    });
    let Some(Err(StreamError::ForkServerDied { reason })) = killer else { panic!("{killer:?}") };
    assert!(reason.contains("with no batch in between"), "{reason}");
    host.stop();
    leaks.bury_orphans();
}

#[test]
fn is_an_application_not_forked_again_in_the_middle_of_a_run() {
    let leaks = Leaks::watch();
    let host = random(60).start_method(StartMethod::Fork).start().unwrap();
    wait_for_ready(&host, 6);
    assert!(Process::get(host.fork_server_pid() as i32).unwrap().kill());
    let mut items: Vec<_> = all_items(&host.batches()).collect();
    let error = items.pop().unwrap().unwrap_err();
    let StreamError::ForkServerDied { reason } = &error else { panic!("{error:?}") };
    assert!(reason.contains("use StartMethod::ForkServer"), "{reason}");
    // What was ready is delivered.
    assert!(items.len() >= 6);
    host.stop();
    leaks.bury_orphans();
}

#[test]
fn is_a_fork_server_that_does_not_answer_replaced() {
    let leaks = Leaks::watch();
    let logs = Logs::collect();
    logs.clear();
    let gate = Gate::new();
    let host = filling([gated(0, "held while the server is frozen", &gate), index(1)], &small()).workers(1);
    let host = host.message_timeout(LONG).start().unwrap();
    logs.wait_for("held while the server is frozen");
    Process::get(host.fork_server_pid() as i32).unwrap().freeze();
    // It is asked for a worker more, and does not answer.
    host.set_workers(2).unwrap();
    wait_until("it is replaced", || host.statistics().fork_server_restarts == 1);
    gate.open();
    assert_eq!(Delivered::of(&host.batches()).sequences, [0, 1]);
    host.stop();
    leaks.bury_orphans();
}

#[test]
fn are_the_processes_of_a_run_known_by_their_roles() {
    let _leaks = Leaks::watch();
    let gate = Gate::new();
    let messages = list([gated(0, "", &gate)]).with("repeat", 0);
    let host = filling([], &small()).commander_config(messages).workers(2).start().unwrap();
    let processes = host.processes();
    let roles: Vec<ProcessRole> = processes.iter().map(|process| process.role).collect();
    let worker = ProcessRole::Worker;
    assert_eq!(roles, [ProcessRole::ForkServer, ProcessRole::Commander, worker(0), worker(1)]);
    let names: Vec<String> =
        processes.iter().map(|process| Process::get(process.pid as i32).unwrap().name).collect();
    assert_eq!(names, ["cobuf-fork", "cobuf-command", "cobuf-work-0", "cobuf-work-1"]);
    gate.open();
}
