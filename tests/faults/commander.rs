//! A commander that dies or fails: it is restarted at its message, or the stream ends there.

use crate::common::{
    Delivered, Gate, LONG, Logs, Process, all_items, assert_undisturbed, filling, gated, index, isolated,
    list, random_stream, small, wait_for_ready, wait_until,
};
use cobuf_host::{
    Death, Dictionary, Exit, Failpoint, Fault, Holder, Host, HostBuilder, Next, OnCommanderFailure,
    ReportKind, StreamError, WaitingFor,
};
use std::collections::BTreeSet;
use std::thread;

const KILLED: Death = Death::Exit(Exit::Signal(9));

/// A host whose stream ends with its commander.
fn with_one_commander(config: Dictionary) -> HostBuilder {
    let builder = filling([], &small()).commander_config(config);
    builder.on_commander_failure(ReportKind::Crash, OnCommanderFailure::End)
}

/// How many slots the commander has claimed.
fn held_by_commander(host: &Host) -> usize {
    host.stall_report().slots.iter().filter(|slot| slot.holder == Holder::Commander).count()
}

fn commander_died(error: StreamError) -> (u64, Death) {
    match error {
        StreamError::CommanderDied { plugin, commanded, death, attempts: 1, .. }
            if plugin == "list-commander" =>
        {
            (commanded, death)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn killed_commander_goes_on_at_its_message() {
    let _leaks = isolated!();
    assert_undisturbed(5, |host, take_six, round| {
        // All slots are full, so that it waits for one.
        let commander = Process::commander(host.fork_server_pid());
        assert!(commander.kill() && commander.wait_for_end(LONG));
        take_six();
        wait_until("the commander is replaced", || host.statistics().commander_restarts == round);
    });
}

#[test]
fn commander_death_at_any_step_loses_nothing() {
    let _leaks = isolated!();
    let expected = Delivered::of(&random_stream(40).workers(2).slots(6).start().unwrap().batches());
    let points = [
        Failpoint::CommandClaimed,
        Failpoint::CommandHalfWritten,
        Failpoint::CommandCounted,
        Failpoint::CommandQueued,
    ];
    for (point, fault) in points.into_iter().flat_map(|point| [(point, Fault::Kill), (point, Fault::Crash)]) {
        let host = random_stream(40).workers(2).slots(6).start().unwrap();
        wait_for_ready(&host, 6);
        host.arm(point, fault);
        assert_eq!(Delivered::of(&host.batches()), expected, "{point} {fault}");
        assert!(!host.is_armed(), "{point}");
        assert_eq!(host.statistics().commander_restarts, 1, "{point}");
    }
}

#[test]
fn commander_that_keeps_dying_at_one_message_ends_the_stream() {
    let _leaks = isolated!();
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
fn failed_commander_is_restarted_if_the_policy_says_so() {
    let _leaks = isolated!();
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
fn messages_of_a_killed_commander_are_delivered() {
    let _leaks = isolated!();
    for deterministic in [true, false] {
        let endless = list([index(0)]).with("repeat", 0);
        let host = with_one_commander(endless).workers(2).slots(5).ordered(deterministic).start().unwrap();
        wait_for_ready(&host, 5);
        let commander = Process::commander(host.fork_server_pid());
        assert!(commander.kill() && commander.wait_for_end(LONG));
        let mut items: Vec<_> =
            all_items(&host.batches()).map(|item| item.map(|batch| batch.sequence())).collect();
        let (commanded, how) = commander_died(items.pop().unwrap().unwrap_err());
        assert_eq!(how, KILLED);
        // It may have had the time to command one more, into the slot of the first batch, before
        // the host knew.
        assert!((5..=6).contains(&commanded), "{commanded}");
        let delivered: BTreeSet<u64> = items.into_iter().map(Result::unwrap).collect();
        assert!(delivered.into_iter().eq(0..commanded));
    }
}

#[test]
fn messages_of_a_killed_commander_are_still_produced() {
    let _leaks = isolated!();
    let logs = Logs::collect();
    for deterministic in [true, false] {
        logs.clear();
        let gate = Gate::new();
        let messages = list([gated(0, "at the gate", &gate)]).with("repeat", 0).with("sleep_seconds", 0.05);
        let host = with_one_commander(messages).workers(1).slots(5).ordered(deterministic);
        let host = host.start().unwrap();
        logs.wait_for("at the gate");
        let commander = Process::commander(host.fork_server_pid());
        commander.freeze();
        // Asleep before its next message, it has claimed a slot, unless it was frozen between two, or
        // all slots have messages already. That is given back once the host knows of its death.
        let (free, held) = (host.statistics().slots.free, held_by_commander(&host));
        assert!(commander.kill() && commander.wait_for_end(LONG));
        wait_until("its slot is free again", || {
            host.statistics().slots.free == free + held && held_by_commander(&host) == 0
        });
        assert!(matches!(host.batches().try_next(), Next::Pending(WaitingFor::Producers)));
        gate.open();
        let mut items: Vec<_> =
            all_items(&host.batches()).map(|item| item.map(|batch| batch.sequence())).collect();
        let (commanded, _) = commander_died(items.pop().unwrap().unwrap_err());
        assert!(commanded > 0 && items.into_iter().map(Result::unwrap).eq(0..commanded));
    }
}

#[test]
fn waiting_consumer_learns_of_the_death_of_a_busy_commander() {
    let _leaks = isolated!();
    let host = with_one_commander(list([index(0)]).with("sleep_seconds", 3600));
    let host = host.workers(1).slots(2).start().unwrap();
    // It has claimed a slot, and is asked for the message.
    wait_until("the commander has a slot", || host.statistics().slots.writing == 1);
    thread::scope(|scope| {
        let consumer = scope.spawn(|| all_items(&host.batches()).collect::<Vec<_>>());
        assert!(Process::commander(host.fork_server_pid()).kill());
        let mut items = consumer.join().unwrap();
        assert_eq!(items.len(), 1, "{items:?}");
        assert_eq!(commander_died(items.remove(0).unwrap_err()), (0, KILLED));
    });
    wait_until("its slot is free again", || host.statistics().slots.free == 2);
}
