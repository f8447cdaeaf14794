//! The commander's deadline: one that does not come back is replaced, one that is only slow is left alone.

mod common;

use std::time::Duration;

use cobuf_host::{Death, Failpoint, Fault, OnCommanderFailure, ReportKind, StreamError};
use common::{
    Delivered, Leaks, Process, all_items, filling, index, list, next_batch, next_item, repeating, small,
    wait_for_ready,
};

/// Longer than what is done at once takes, also on a busy machine.
const DEADLINE: Duration = Duration::from_secs(1);

#[test]
fn is_a_commander_that_hangs_or_stands_still_replaced() {
    let _leaks = Leaks::watch();
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
fn is_a_commander_that_stands_still_while_it_waits_replaced() {
    let _leaks = Leaks::watch();
    let host = repeating().limit(20).commander_timeout(DEADLINE).start().unwrap();
    wait_for_ready(&host, 4);
    let commander = Process::commander(host.fork_server_pid());
    commander.wait_until_asleep();
    commander.freeze();
    assert!(Delivered::of(&host.batches()).sequences.into_iter().eq(0..20));
    assert_eq!((host.statistics().commander_restarts, host.statistics().timeouts), (1, 1));
}

#[test]
fn does_the_stream_end_where_a_late_commander_is_not_to_be_replaced() {
    let _leaks = Leaks::watch();
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
fn is_a_slow_commander_left_alone_also_in_the_place_of_a_late_one() {
    let _leaks = Leaks::watch();
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
