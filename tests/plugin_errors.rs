//! What becomes of the errors of a plugin that runs: the producer's stand in the place of their batch, the commander's end
//! the stream after all that it had commanded. And of what a plugin logs, prints and starts.

mod common;
#[path = "common/refusals.rs"]
mod refusals;

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;

use cobuf_host::{
    BatchError, Death, Dictionary, Exit, Host, HostBuilder, Next, ReportKind, StartError, StartMethod,
    StreamError, Value, limits,
};
use common::{
    Gate, Leaks, Logs, Process, all_items, array, arrays_config, batch_error, filling, gated, host, index,
    list, next_batch, next_item, plugin, small,
};
use refusals::{application, assert_says, odd_commander, odd_producer, run_as_application, said};

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

/// `0 1 !2 3`: the sequence numbers of the batches, and with an exclamation mark of the errors in their place.
fn outline(host: &Host) -> Vec<String> {
    let batches = host.batches();
    let items = all_items(&batches).map(|item| match item {
        Ok(batch) => batch.sequence().to_string(),
        Err(error) => format!("!{}", batch_error(Some(Err(error))).sequence()),
    });
    items.collect()
}

/// Every third of these messages fails.
fn every_third_fails(count: u64) -> Vec<Dictionary> {
    let message = |n| if n % 3 == 2 { index(n).with("error", "no pixels") } else { index(n) };
    (0..count).map(message).collect()
}

#[test]
fn does_a_producer_s_error_come_with_all_that_belongs_to_it() {
    let _leaks = Leaks::watch();
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
    // By itself it is one sentence, with its sources all of it; both for the stream's error and for the batch's.
    let sentence = format!(
        "batch 1 failed in worker {} on the message {{\"index\":1,\"error\":\"no pixels\"}}",
        error.worker()
    );
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
fn does_a_producer_s_panic_come_with_its_place() {
    let _leaks = Leaks::watch();
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

#[test]
fn does_a_message_that_kills_every_worker_become_an_error_that_says_how() {
    let _leaks = Leaks::watch();
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
fn do_constructors_that_all_fail_end_the_start_with_one_error() {
    let _leaks = Leaks::watch();
    let failing = |field: &str| arrays_config(&small()).with(field, "no licence");
    let dying = Dictionary::new().with("exit_in_new", 5);
    let cases = [
        (filling([], &small()).producer_config(failing("fail_new")), "asked to fail: no licence"),
        (filling([], &small()).producer_config(failing("panic_new")), "panicked at "),
        (odd(Dictionary::new()).producer_config(dying), "ended its process while it was set up: exit code 5"),
    ];
    for (builder, reason) in cases {
        let error = builder.workers(4).start().unwrap_err();
        assert!(matches!(error, StartError::Plugin(_)), "{error:?}");
        assert_says(&error, &[reason]);
        assert_eq!(said(&error).matches(reason).count(), 1, "{}", said(&error));
    }
}

#[test]
fn is_an_array_taken_or_written_wrongly_refused_with_what_was_there() {
    let _leaks = Leaks::watch();
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
fn is_a_message_that_the_producer_cannot_use_refused_by_its_field() {
    let _leaks = Leaks::watch();
    let cases = [
        (
            index(0).with("rows", "many"),
            "the message is wrong at \"rows\": invalid type: string \"many\", expected usize",
        ),
        (index(0).with("rows", 5), "a batch of 5 rows does not fit: the arrays have 4"),
        (Dictionary::new().with("value", -1), "the value -1 does not fit array \"x\", whose dtype u32 holds"),
    ];
    for (message, reason) in cases {
        assert_says(&error_of(message), &["batch 0 failed in worker 0 on the message {", reason]);
    }
}

#[test]
fn do_errors_hold_their_place_in_the_order() {
    let _leaks = Leaks::watch();
    let host = filling(every_third_fails(30), &small()).workers(3).slots(4).start().unwrap();
    let expected = (0..30).map(|n| if n % 3 == 2 { format!("!{n}") } else { n.to_string() });
    assert_eq!(outline(&host), expected.collect::<Vec<_>>());
    assert_eq!((host.statistics().delivered, host.statistics().errors), (20, 10));
}

#[test]
fn does_no_error_get_lost_in_any_order() {
    let _leaks = Leaks::watch();
    let host = filling(every_third_fails(30), &small()).workers(3).slots(4).ordered(false).start().unwrap();
    let outline = outline(&host);
    let expected: BTreeSet<String> =
        (0..30).map(|n| if n % 3 == 2 { format!("!{n}") } else { n.to_string() }).collect();
    assert_eq!((outline.len(), BTreeSet::from_iter(outline)), (30, expected));
}

#[test]
fn do_errors_give_their_slot_back_without_being_dropped() {
    let _leaks = Leaks::watch();
    let failing = (0..20).map(|n| index(n).with("error", "no pixels"));
    let host = filling(failing, &small()).workers(1).slots(1).start().unwrap();
    let kept: Vec<StreamError> = all_items(&host.batches()).map(|item| item.unwrap_err()).collect();
    assert_eq!(kept.len(), 20);
}

#[test]
fn is_a_message_that_is_too_large_refused_after_what_came_before() {
    let _leaks = Leaks::watch();
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

#[test]
fn is_metadata_that_is_too_large_the_error_of_its_batch() {
    let _leaks = Leaks::watch();
    let with_metadata = |bytes| {
        let metadata = Dictionary::new().with("note", "x".repeat(bytes));
        filling([index(0).with("metadata", metadata)], &small()).message_capacity(1 << 20)
    };
    let error = error_in(with_metadata(limits::OUTCOME_CAPACITY));
    assert_says(
        &error,
        &["the metadata has ", &format!("a slot has room for {}; attach less", limits::OUTCOME_CAPACITY)],
    );
    // The message that is shown is cut.
    assert!(error.to_string().len() < 500 && error.to_string().ends_with('…'), "{error}");

    let host = with_metadata(limits::OUTCOME_CAPACITY - 100).workers(1).start().unwrap();
    let metadata: Dictionary = next_batch(&host.batches()).metadata().unwrap();
    let Some(Value::String(note)) = metadata.get("note") else { panic!("the note is text") };
    assert_eq!(note.len(), limits::OUTCOME_CAPACITY - 100);
}

#[test]
fn is_an_error_or_panic_longer_than_a_slot_holds_cut() {
    let _leaks = Leaks::watch();
    for (field, kind) in [("error", ReportKind::Error), ("panic", ReportKind::Panic)] {
        let text = "é".repeat(limits::OUTCOME_CAPACITY);
        let error = error_in(filling([index(0).with(field, text)], &small()).message_capacity(1 << 20));
        assert_eq!(error.kind(), kind);
        let first = &error.chain()[0];
        assert!(first.starts_with("asked to fail") || first.starts_with("panicked at"), "{first:.100}");
        assert!(first.len() < limits::OUTCOME_CAPACITY);
    }
}

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
fn does_a_commander_s_error_come_after_its_batches() {
    let _leaks = Leaks::watch();
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
fn does_a_commander_s_panic_come_after_its_batches() {
    let _leaks = Leaks::watch();
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
fn does_a_commander_s_end_come_after_its_batches() {
    let _leaks = Leaks::watch();
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
fn does_a_commander_s_error_wait_for_a_batch_that_takes_long() {
    let _leaks = Leaks::watch();
    let gate = Gate::new();
    let config = list([gated(0, "the only one waits", &gate)]).with("fail_at", 1);
    let host = filling([], &small()).commander_config(config).workers(1).start().unwrap();
    let batches = host.batches();
    let children = Process::children_of(host.fork_server_pid() as i32);
    if let Some(commander) = children.iter().find(|process| process.name == "cobuf-command") {
        assert!(commander.wait_for_end(common::LONG));
    }
    assert!(matches!(batches.try_next(), Next::Pending(_)));
    gate.open();
    assert_eq!(next_batch(&batches).sequence(), 0);
    let Some(Err(error)) = next_item(&batches) else { panic!("the error comes after the batch") };
    assert_says(&error, &["failed after 1 messages: asked to fail at message 1"]);
    assert!(next_item(&batches).is_none());
}

#[test]
fn is_a_message_that_is_no_dictionary_the_commander_s_error() {
    let _leaks = Leaks::watch();
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
fn do_a_plugin_s_logs_name_it_and_its_worker() {
    let _leaks = Leaks::watch();
    let logs = Logs::collect();
    let messages = ["one thing", "another thing"].map(|text| Dictionary::new().with("log", text));
    let host = filling(messages, &small()).workers(1).start().unwrap();
    for text in ["one thing", "another thing"] {
        let record = logs.wait_for(text);
        assert_eq!((record.message.as_str(), record.level.as_str()), (text, "INFO"));
        assert_eq!(
            (record.target.as_str(), record.plugin.as_deref()),
            ("cobuf::plugin", Some("fill-producer"))
        );
        assert_eq!(record.worker, Some(0));
    }
    assert_eq!(all_items(&host.batches()).count(), 2);
}

#[test]
fn is_a_log_record_of_any_length_delivered_if_only_in_part() {
    let _leaks = Leaks::watch();
    let logs = Logs::collect();
    let text = format!("a long story{}", "é".repeat(200_000));
    let builder = filling([Dictionary::new().with("log", text.as_str())], &small());
    let host = builder.workers(1).message_capacity(1 << 20).start().unwrap();
    let record = logs.wait_for("a long story");
    assert!(text.starts_with(&record.message) && record.message.len() > 10_000, "{}", record.message.len());
    assert_eq!(next_batch(&host.batches()).sequence(), 0);
}

/// A host with the odd producer and this message.
fn odd(message: Dictionary) -> HostBuilder {
    let builder = host().producer(odd_producer()).producer_config(Dictionary::new());
    builder.commander(plugin("list-commander")).commander_config(list([message])).workers(1)
}

#[test]
fn is_a_panic_in_a_thread_of_the_plugin_s_own_logged() {
    let _leaks = Leaks::watch();
    let logs = Logs::collect();
    let host = odd(Dictionary::new().with("panic_in_thread", "lost a thread")).start().unwrap();
    let record = logs.wait_for("lost a thread");
    assert_eq!(
        (record.level.as_str(), record.plugin.as_deref(), record.worker),
        ("ERROR", Some("odd-producer"), Some(0))
    );
    assert!(record.message.contains("panicked at ") && record.message.contains("src/lib.rs:"), "{record:?}");
    assert_eq!(next_batch(&host.batches()).sequence(), 0);
}

#[test]
fn does_a_producer_that_panics_when_dropped_do_no_harm() {
    let _leaks = Leaks::watch();
    let host = odd(Dictionary::new()).producer_config(Dictionary::new().with("panic_in_drop", true));
    let host = host.start().unwrap();
    assert_eq!(all_items(&host.batches()).count(), 1);
    host.stop();
    assert_eq!(host.statistics().worker_restarts, 0);
}

#[test]
fn does_a_program_that_a_plugin_started_end_with_the_run() {
    let leaks = Leaks::watch();
    for method in [StartMethod::ForkServer, StartMethod::Fork] {
        let host = odd(Dictionary::new().with("start_program", true)).start_method(method).start().unwrap();
        next_batch(&host.batches());
        drop(host);
        leaks.bury_orphans();
    }
}

#[test]
fn does_a_program_that_a_plugin_started_end_with_a_killed_host() {
    let leaks = Leaks::watch();
    if application().is_some() {
        let hosts = [StartMethod::ForkServer, StartMethod::Fork].map(|method| {
            let host =
                odd(Dictionary::new().with("start_program", true)).start_method(method).start().unwrap();
            next_batch(&host.batches());
            host
        });
        let programs = Process::descendants_of(Process::own_pid());
        let programs: Vec<_> = programs.into_iter().filter(|process| process.name == "sleep").collect();
        println!("{} programs", programs.len());
        Process::get(Process::own_pid()).unwrap().kill();
        drop(hosts);
    }
    let killed = run_as_application("does_a_program_that_a_plugin_started_end_with_a_killed_host", "", &[]);
    assert_eq!(killed.status.signal(), Some(9), "{killed:?}");
    assert!(String::from_utf8_lossy(&killed.stdout).contains("2 programs"), "{killed:?}");
    leaks.bury_orphans();
}

/// The standard output belongs to the application: what reads it is not to find a plugin's words in between.
#[test]
fn does_what_a_plugin_prints_stay_out_of_the_standard_output() {
    let _leaks = Leaks::watch();
    if application().is_some() {
        for method in [StartMethod::ForkServer, StartMethod::Fork] {
            let host = odd(Dictionary::new().with("print", format!("printed by {method:?}")));
            next_batch(&host.start_method(method).start().unwrap().batches());
        }
        return;
    }
    let ended = run_as_application("does_what_a_plugin_prints_stay_out_of_the_standard_output", "", &[]);
    let [out, err] = [&ended.stdout, &ended.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(ended.status.success() && out.contains("1 passed"), "{out}\n{err}");
    assert!(!out.contains("printed by"), "{out}");
    assert!(err.contains("printed by ForkServer") && err.contains("printed by Fork\n"), "{err}");
}

#[test]
fn is_a_reader_s_wrong_array_refused_with_what_is_there() {
    let _leaks = Leaks::watch();
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
