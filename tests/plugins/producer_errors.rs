//! Errors and panics of producers: each comes in the place of its batch, with its causes.

use crate::common::packages::odd_host;
use crate::common::refusals::{assert_says, said};
use crate::common::{
    all_items, array, arrays_config, batch_error, filling, index, isolated, list, next_batch, next_item,
    outline, small,
};
use cobuf_host::{BatchError, Dictionary, HostBuilder, ReportKind, StartError, StreamError, Value, limits};
use std::collections::BTreeSet;

/// The only error of a stream of this message alone.
#[track_caller]
fn error_of(message: Dictionary) -> BatchError {
    error_in(filling([message], &small()))
}

#[track_caller]
fn error_in(builder: HostBuilder) -> BatchError {
    let host = builder.workers(1).start().unwrap();
    let batches = host.batches();
    let error = batch_error(next_item(&batches));
    assert!(next_item(&batches).is_none());
    assert_eq!((host.statistics().errors, host.statistics().delivered), (1, 0));
    error
}

/// Every third of these messages fails.
fn every_third_fails(count: u64) -> Vec<Dictionary> {
    let message = |n| if n % 3 == 2 { index(n).with("error", "no pixels") } else { index(n) };
    (0..count).map(message).collect()
}

#[test]
fn error_of_a_producer_comes_with_message_worker_and_causes() {
    let _leaks = isolated!();
    let failing = Dictionary::new().with("index", 1).with("error", "no pixels");
    let host = filling([index(0), failing.clone(), index(2)], &small()).workers(2).start().unwrap();
    let batches = host.batches();
    assert_eq!(next_batch(&batches).sequence(), 0);
    let item = next_item(&batches);
    let whole = match &item {
        Some(Err(error)) => said(error),
        other => panic!("expected an error, got {other:?}"),
    };
    let error = batch_error(item);
    assert_eq!((error.sequence(), error.kind()), (1, ReportKind::Error));
    assert!(error.worker() < 2);
    assert_eq!(*error.message(), failing);
    assert_eq!(error.chain(), ["asked to fail", "no pixels"]);
    // By itself it is one sentence, with its sources all of it; both for the stream's error and for
    // the batch's.
    let sentence = format!("batch 1 failed in worker {}", error.worker());
    assert_eq!(error.to_string(), sentence);
    assert_eq!(said(&error), format!("{sentence}: asked to fail: no pixels"));
    assert_eq!(whole, said(&error));
    // The stream goes on.
    assert_eq!(next_batch(&batches).sequence(), 2);
    assert!(next_item(&batches).is_none());
    let statistics = host.statistics();
    assert_eq!((statistics.delivered, statistics.errors, statistics.worker_restarts), (2, 1, 0));
}

#[test]
fn panic_of_a_producer_comes_with_its_place() {
    let _leaks = isolated!();
    let host = filling([index(0).with("panic", "ouch"), index(1)], &small()).workers(1).start().unwrap();
    let batches = host.batches();
    let error = batch_error(next_item(&batches));
    assert_eq!((error.sequence(), error.kind(), error.chain().len()), (0, ReportKind::Panic, 1));
    assert_says(
        &error,
        &["batch 0 failed in worker 0", "panicked at ", "fill-producer/src/misbehave.rs:", ": ouch"],
    );
    // The same worker goes on, with a new producer.
    assert_eq!(next_batch(&batches).sequence(), 1);
    assert_eq!(host.statistics().worker_restarts, 0);
}

/// As with a library's handle that refuses every call after one damaged input.
#[test]
fn marked_error_has_the_worker_make_a_new_producer() {
    let _leaks = isolated!();
    let broken = || Dictionary::new().with("break", true);
    for (first, later_fails) in [(broken(), true), (broken().with("renew", true), false)] {
        let messages = [first, Dictionary::new()];
        let host = odd_host().commander_config(list(messages)).workers(1).start().unwrap();
        let batches = host.batches();
        let error = batch_error(next_item(&batches));
        assert_eq!((error.sequence(), error.kind()), (0, ReportKind::Error));
        assert_eq!(error.chain(), ["cannot read the tile", "the handle is broken"]);
        assert_eq!(next_item(&batches).unwrap().is_err(), later_fails);
        assert_eq!(host.statistics().worker_restarts, 0);
    }
}

#[test]
fn error_of_a_deadly_message_names_the_exit() {
    let _leaks = isolated!();
    for (fatal, how) in [("exit", "exit code 7"), ("abort", "signal 6 (SIGABRT)")] {
        let value = if fatal == "exit" { Value::from(7) } else { Value::from(true) };
        let host = filling([index(0).with(fatal, value), index(1)], &small()).workers(1).start().unwrap();
        let batches = host.batches();
        let error = batch_error(next_item(&batches));
        assert_eq!((error.sequence(), error.kind()), (0, ReportKind::Crash));
        let chain =
            format!("the worker was ended at each of {} attempts by {how}", limits::DEFAULT_MAX_ATTEMPTS);
        assert_eq!(error.chain(), [chain]);
        assert_eq!(next_batch(&batches).sequence(), 1);
    }
}

/// All four workers fail; the first of them is told, and nothing is left of the others.
#[test]
fn failing_constructors_end_the_start_with_one_error() {
    let _leaks = isolated!();
    let failing = |field: &str| arrays_config(&small()).with(field, "no licence");
    let dying = Dictionary::new().with("exit_in_new", 5);
    let cases = [
        (filling([], &small()).producer_config(failing("fail_new")), "asked to fail: no licence"),
        (filling([], &small()).producer_config(failing("panic_new")), "panicked at "),
        (
            odd_host().commander_config(list([Dictionary::new()])).producer_config(dying),
            "ended its process while it was set up: exit code 5",
        ),
    ];
    for (builder, reason) in cases {
        let error = builder.workers(4).start().unwrap_err();
        assert!(matches!(error, StartError::Plugin(_)), "{error:?}");
        assert_says(&error, &[reason]);
        assert_eq!(said(&error).matches(reason).count(), 1, "{}", said(&error));
    }
}

#[test]
fn wrong_use_of_an_array_is_refused_with_its_declaration() {
    let _leaks = isolated!();
    let cases = [
        ("wrong_dtype", "array \"x\" has elements of type u32, not u8: the schema declares x u32 (4,)"),
        (
            "wrong_shape",
            "values of shape (5,) do not fit array \"x\", which has shape (4,) in this batch: \
             the schema declares x u32 (4,)",
        ),
    ];
    for (wrong, chain) in cases {
        let error = error_of(index(0).with(wrong, true));
        assert_eq!((error.kind(), error.chain().join(": ").as_str()), (ReportKind::Error, chain));
    }
}

#[test]
fn unusable_message_is_refused_by_its_field() {
    let _leaks = isolated!();
    let cases = [
        (
            index(0).with("rows", "many"),
            "the message is wrong at \"rows\": invalid type: string \"many\", expected usize",
        ),
        (index(0).with("rows", 5), "a batch of 5 rows does not fit: the arrays have 4"),
        (Dictionary::new().with("value", -1), "the value -1 does not fit array \"x\", whose dtype u32 holds"),
    ];
    for (message, reason) in cases {
        assert_says(&error_of(message), &["batch 0 failed in worker 0", reason]);
    }
}

#[test]
fn errors_hold_their_place_in_the_order() {
    let _leaks = isolated!();
    let host = filling(every_third_fails(30), &small()).workers(3).slots(4).start().unwrap();
    let expected = (0..30).map(|n| if n % 3 == 2 { format!("!{n}") } else { n.to_string() });
    assert_eq!(outline(&host.batches()), expected.collect::<Vec<_>>().join(" "));
    assert_eq!((host.statistics().delivered, host.statistics().errors), (20, 10));
}

#[test]
fn no_error_is_lost_in_any_order() {
    let _leaks = isolated!();
    let host = filling(every_third_fails(30), &small()).workers(3).slots(4).ordered(false).start().unwrap();
    let outline = outline(&host.batches());
    let outline: Vec<&str> = outline.split(' ').collect();
    let expected: BTreeSet<String> =
        (0..30).map(|n| if n % 3 == 2 { format!("!{n}") } else { n.to_string() }).collect();
    assert_eq!((outline.len(), outline.into_iter().map(str::to_owned).collect()), (30, expected));
}

#[test]
fn errors_give_their_slot_back_without_being_dropped() {
    let _leaks = isolated!();
    let failing = (0..20).map(|n| index(n).with("error", "no pixels"));
    let host = filling(failing, &small()).workers(1).slots(1).start().unwrap();
    let kept: Vec<StreamError> = all_items(&host.batches()).map(|item| item.unwrap_err()).collect();
    assert_eq!(kept.len(), 20);
}

#[test]
fn too_large_metadata_is_the_error_of_its_batch() {
    let _leaks = isolated!();
    let with_metadata = |bytes| {
        let metadata = Dictionary::new().with("note", "x".repeat(bytes));
        filling([index(0).with("metadata", metadata)], &small()).message_capacity(1 << 20)
    };
    let room = limits::DEFAULT_METADATA_CAPACITY;
    let error = error_in(with_metadata(room));
    assert_says(&error, &["the metadata has ", &format!("a slot has room for {room}; attach less")]);
    // The message is not in the error's text, however long it is.
    assert!(error.to_string().len() < 100, "{error}");

    for (bytes, capacity) in [(room - 100, None), (3 * room, Some(4 * room))] {
        let builder = with_metadata(bytes).workers(1);
        let host = match capacity {
            Some(capacity) => builder.metadata_capacity(capacity),
            None => builder,
        };
        let host = host.start().unwrap();
        let metadata: Dictionary = next_batch(&host.batches()).metadata().unwrap();
        let Some(Value::String(note)) = metadata.get("note") else { panic!("the note is text") };
        assert_eq!(note.len(), bytes);
    }
}

#[test]
fn overlong_errors_and_panics_are_cut() {
    let _leaks = isolated!();
    for (field, kind) in [("error", ReportKind::Error), ("panic", ReportKind::Panic)] {
        let (text, room) = ("é".repeat(limits::DEFAULT_METADATA_CAPACITY), limits::MIN_METADATA_CAPACITY);
        let builder = filling([index(0).with(field, text)], &small()).message_capacity(1 << 20);
        let error = error_in(builder.metadata_capacity(room));
        assert_eq!(error.kind(), kind);
        let first = &error.chain()[0];
        assert!(first.starts_with("asked to fail") || first.starts_with("panicked at"), "{first:.100}");
        assert!(first.len() < room);
    }
}

#[test]
fn wrong_array_of_a_reader_is_refused_with_the_schema() {
    let _leaks = isolated!();
    let arrays = [array("flag", "bool", &[3]), array("x", "u8", &[3])];
    let builder = filling([index(1)], &small()).producer_config(arrays_config(&arrays));
    let host = builder.workers(1).start().unwrap();
    let batch = next_batch(&host.batches());
    let error = batch.array::<u8, cobuf_host::ndarray::Ix1>("flag").unwrap_err();
    assert_says(
        &error,
        &["array \"flag\" has elements of type bool, not u8: the schema declares flag bool (3,)"],
    );
    let error = batch.array::<bool, cobuf_host::ndarray::Ix2>("flag").unwrap_err();
    assert_says(&error, &["array \"flag\" has 1 dimensions, not 2"]);
    let error = batch.array::<u8, cobuf_host::ndarray::Ix1>("y").unwrap_err();
    assert_says(&error, &["the batch has no array called \"y\"; it has: flag, x"]);
    assert!(batch.message::<Vec<u8>>().is_err());
}
