//! Errors, panics and exits of a commander come after the batches of its messages.

use crate::common::packages::odd_commander;
use crate::common::refusals::{assert_says, said};
use crate::common::{Gate, Process, filling, gated, index, isolated, list, next_batch, next_item, small};
use cobuf_host::{Death, Dictionary, Exit, Next, ReportKind, StreamError, limits};
use std::collections::BTreeSet;

/// The error that ends a stream of these many batches; nothing comes after it.
#[track_caller]
fn error_after(count: u64, misbehaviour: &str, deterministic: bool) -> StreamError {
    let config = list((0..9).map(index)).with(misbehaviour, count);
    let builder = filling([], &small()).commander_config(config).workers(2).slots(2);
    let host = builder.ordered(deterministic).start().unwrap();
    let mut batches = host.batches();
    let sequences: BTreeSet<u64> = (0..count).map(|_| next_batch(&batches).sequence()).collect();
    assert_eq!(sequences, BTreeSet::from_iter(0..count));
    let Some(Err(error)) = next_item(&batches) else { panic!("an error comes after {count} batches") };
    assert!(matches!(batches.try_next(), Next::Ended));
    assert!(batches.next().is_none());
    error
}

#[test]
fn error_of_the_commander_comes_after_its_batches() {
    let _leaks = isolated!();
    for (count, deterministic) in [(0, true), (5, true), (5, false), (9, true)] {
        let error = error_after(count, "fail_at", deterministic);
        assert!(
            matches!(&error, StreamError::Commander { commanded, source, .. } if *commanded == count && source.kind == ReportKind::Error),
            "{error:?}"
        );
        assert_eq!(
            said(&error),
            format!(
                "the commander list-commander failed after {count} messages: asked to fail at message {count}"
            )
        );
    }
}

#[test]
fn panic_of_the_commander_comes_after_its_batches() {
    let _leaks = isolated!();
    for (count, deterministic) in [(0, true), (5, true), (5, false)] {
        let error = error_after(count, "panic_at", deterministic);
        assert!(
            matches!(&error, StreamError::Commander { commanded, source, .. } if *commanded == count && source.kind == ReportKind::Panic),
            "{error:?}"
        );
        let asked = format!("asked to panic at message {count}");
        assert_says(&error, &["panicked at ", "list-commander/src/lib.rs:", &asked]);
    }
}

#[test]
fn exit_of_the_commander_comes_after_its_batches() {
    let _leaks = isolated!();
    for (count, deterministic) in [(0, true), (5, true), (5, false)] {
        let error = error_after(count, "exit_at", deterministic);
        assert!(
            matches!(&error, StreamError::CommanderDied { commanded, death: Death::Exit(Exit::Code(3)), attempts: 3, .. } if *commanded == count),
            "{error:?}"
        );
        assert_eq!(
            said(&error),
            format!(
                "the commander list-commander was ended after {count} messages by exit code 3, at each of 3 attempts"
            )
        );
    }
}

#[test]
fn error_of_the_commander_waits_for_a_slow_batch() {
    let _leaks = isolated!();
    let gate = Gate::new();
    let config = list([gated(0, "the only one waits", &gate)]).with("fail_at", 1);
    let host = filling([], &small()).commander_config(config).workers(1).start().unwrap();
    let batches = host.batches();
    let children = Process::children_of(host.fork_server_pid() as i32);
    if let Some(commander) = children.iter().find(|process| process.name == "cobuf-command") {
        assert!(commander.wait_for_end(crate::common::LONG));
    }
    assert!(matches!(batches.try_next(), Next::Pending(_)));
    gate.open();
    assert_eq!(next_batch(&batches).sequence(), 0);
    let Some(Err(error)) = next_item(&batches) else { panic!("the error comes after the batch") };
    assert_says(&error, &["failed after 1 messages: asked to fail at message 1"]);
    assert!(next_item(&batches).is_none());
}

#[test]
fn message_that_is_no_dictionary_is_an_error_of_the_commander() {
    let _leaks = isolated!();
    let builder = filling([], &small()).commander(odd_commander()).commander_config(Dictionary::new());
    let host = builder.workers(1).start().unwrap();
    let batches = host.batches();
    let Some(Err(error)) = next_item(&batches) else { panic!("the commander cannot send a list") };
    assert_says(
        &error,
        &[
            "the commander odd-commander failed after 0 messages: a message must be a dictionary",
            "this is a list",
        ],
    );
    assert!(next_item(&batches).is_none());
}

#[test]
fn too_large_message_is_refused_after_earlier_batches() {
    let _leaks = isolated!();
    let large = index(2).with("note", "x".repeat(200));
    let builder = filling([index(0), index(1), large, index(3)], &small());
    let host = builder.workers(2).message_capacity(limits::MIN_MESSAGE_CAPACITY).start().unwrap();
    let batches = host.batches();
    assert_eq!([next_batch(&batches).sequence(), next_batch(&batches).sequence()], [0, 1]);
    let Some(Err(error)) = next_item(&batches) else {
        panic!("the commander's error comes after its batches")
    };
    assert!(
        matches!(&error, StreamError::Commander { plugin, commanded: 2, .. } if plugin == "list-commander"),
        "{error:?}"
    );
    assert_says(
        &error,
        &[
            "the commander list-commander failed after 2 messages: message 2 has 215 bytes, a slot has room for 64; \
             send less (such as a path instead of data), or give the host a message capacity of 215 or more",
        ],
    );
    assert!(next_item(&batches).is_none());

    // What the sentence advises is enough.
    let large = index(2).with("note", "x".repeat(200));
    let host = filling([large], &small()).workers(1).message_capacity(215).start().unwrap();
    assert_eq!(next_batch(&host.batches()).sequence(), 0);
}
