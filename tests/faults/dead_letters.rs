//! The file of messages that were given up, and the run that produces them again.

use crate::common::refusals::{assert_says, folder, start_error};
use crate::common::{all_items, array, arrays_config, filling, index, isolated, list, next_item};
use cobuf_host::{Batches, Dictionary, HostBuilder, OnFailure, ReportKind, Source, StartError};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Twelve messages of random content. While `disturbed`, 3 and 7 kill their worker once; 9 is an
/// error each time.
fn messages(disturbed: bool) -> impl Iterator<Item = Dictionary> {
    (0..12).map(move |number| {
        let message = index(number).with("random", true);
        match number {
            3 | 7 if disturbed => message.with("abort", true).with("on_attempt", 1),
            9 if disturbed => message.with("error", "no pixels"),
            _ => message,
        }
    })
}

/// A run in which messages are given up at once.
fn run(disturbed: bool) -> HostBuilder {
    let arrays = [array("x", "f32", &[16, 3]), array("y", "u8", &[16])];
    filling(messages(disturbed), &arrays).workers(2).seed(5).max_attempts(1)
}

/// A folder with the letters of such a run, number 3, 7 and 9.
fn letters() -> (tempfile::TempDir, PathBuf) {
    let folder = folder();
    let path = folder.path().join("letters.jsonl");
    let host = run(true).dead_letters(&path).start().unwrap();
    assert_eq!(all_items(&host.batches()).filter(Result::is_err).count(), 3);
    (folder, path)
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.ends_with('\n'));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The bytes of all arrays by sequence number; there must be no error.
fn contents(batches: &Batches) -> BTreeMap<u64, Vec<u8>> {
    let content = |batch: &cobuf_host::Batch| {
        [0, 1].iter().flat_map(|&array| batch.bytes_at(array).unwrap().1.to_vec()).collect()
    };
    all_items(batches).map(Result::unwrap).map(|batch| (batch.sequence(), content(&batch))).collect()
}

#[test]
fn file_has_each_letter_with_its_attempts() {
    let _leaks = isolated!();
    let (_folder, path) = letters();
    let lines = lines(&path);
    assert_eq!(lines.len(), 4);
    let head = &lines[0];
    assert_eq!((&head["cobuf_dead_letters"], &head["identity"]["seed"]), (&json!(1), &json!(5)));
    assert_eq!(head["identity"]["producer"]["name"], "fill-producer");

    let crash = &lines[1];
    assert_eq!((&crash["sequence"], &crash["kind"]), (&json!(3), &json!("crash")));
    assert_eq!(crash["message"], json!({"index": 3, "random": true, "abort": true, "on_attempt": 1}));
    assert_eq!(crash["error"], json!(["the worker was ended by signal 6 (SIGABRT)"]));
    assert_eq!(crash["attempts"][0]["death"], json!({"exit": {"signal": 6}}));

    let error = &lines[3];
    assert_eq!((&error["sequence"], &error["kind"]), (&json!(9), &json!("error")));
    assert_eq!(error["error"], json!(["asked to fail", "no pixels"]));
    assert_eq!(error["attempts"], json!([]));
    // The same message as it was sent: a MessagePack map of three fields, the first of them
    // "index".
    assert!(error["encoded"].as_str().unwrap().starts_with("83a5696e64657809"), "{error}");
}

#[test]
fn raised_and_skipped_messages_are_in_the_file() {
    let _leaks = isolated!();
    for (choice, numbers) in [(OnFailure::Skip, &[3, 7, 9][..]), (OnFailure::Stop, &[3])] {
        let folder = folder();
        let path = folder.path().join("letters.jsonl");
        let builder = run(true).on_failure(ReportKind::Crash, choice).on_failure(ReportKind::Error, choice);
        let host = builder.dead_letters(&path).start().unwrap();
        all_items(&host.batches()).for_each(drop);
        let found: Vec<u64> =
            lines(&path)[1..].iter().map(|line| line["sequence"].as_u64().unwrap()).collect();
        assert_eq!(found, numbers, "{choice:?}");
    }
}

#[test]
fn second_run_adds_to_the_file() {
    let _leaks = isolated!();
    let (_folder, path) = letters();
    let host = run(true).dead_letters(&path).start().unwrap();
    all_items(&host.batches()).for_each(drop);
    let sequences: Vec<Value> = lines(&path).iter().map(|line| line["sequence"].clone()).collect();
    assert_eq!(sequences, [json!(null), json!(3), json!(7), json!(9), json!(3), json!(7), json!(9)]);
    // Each comes once all the same.
    let host = run(true).max_attempts(2).source(Source::Replay(path)).start().unwrap();
    assert_eq!(crate::common::outline(&host.batches()), "3 7 !9");
}

#[test]
fn replay_produces_just_the_given_up_messages() {
    let _leaks = isolated!();
    let mut expected = contents(&run(false).start().unwrap().batches());
    expected.retain(|sequence, _| [3, 7].contains(sequence));
    let (_folder, path) = letters();
    for deterministic in [true, false] {
        for workers in [1, 3] {
            // The second attempt at 3 and 7 succeeds; 9 fails again.
            let builder = run(true).max_attempts(2).workers(workers).ordered(deterministic);
            let builder = builder.on_failure(ReportKind::Error, OnFailure::Skip);
            let host = builder.source(Source::Replay(path.clone())).start().unwrap();
            assert_eq!(contents(&host.batches()), expected);
            let statistics = host.statistics();
            assert_eq!((statistics.delivered, statistics.skipped, statistics.retries), (2, 1, 2));
        }
    }
}

#[test]
fn replay_can_add_to_the_file_that_it_reads() {
    let _leaks = isolated!();
    let (_folder, path) = letters();
    let host =
        run(true).max_attempts(2).source(Source::Replay(path.clone())).dead_letters(&path).start().unwrap();
    assert_eq!(crate::common::outline(&host.batches()), "3 7 !9");
    assert_eq!(lines(&path).len(), 5);
}

#[test]
fn letters_beyond_the_limit_are_replayed() {
    let _leaks = isolated!();
    let (_folder, path) = letters();
    let host = run(true).max_attempts(2).limit(5).source(Source::Replay(path)).start().unwrap();
    assert_eq!(crate::common::outline(&host.batches()), "3 7 !9");
}

#[test]
fn empty_file_replays_nothing() {
    let _leaks = isolated!();
    let folder = folder();
    let path = folder.path().join("letters.jsonl");
    let host = run(false).dead_letters(&path).start().unwrap();
    assert_eq!(contents(&host.batches()).len(), 12);
    assert_eq!(lines(&path).len(), 1);
    for deterministic in [true, false] {
        let host = run(false).ordered(deterministic).source(Source::Replay(path.clone())).start().unwrap();
        assert!(next_item(&host.batches()).is_none());
    }
}

#[test]
fn file_of_another_run_is_refused_by_the_difference() {
    let _leaks = isolated!();
    let (_folder, path) = letters();
    let other_list = list(messages(true)).with("repeat", 2);
    let others = [
        (run(true).seed(6), "the seed is 6, it was 5"),
        (run(true).commander_config(other_list), "commander.repeat is 2, it was not set"),
        (run(false), "commander.messages is "),
        (run(true).producer_config(arrays_config(&[array("x", "u8", &[2])])), "producer.arrays is "),
    ];
    let before = fs::read(&path).unwrap();
    for (builder, difference) in others {
        let error = start_error(builder.dead_letters(&path));
        assert!(matches!(error, StartError::DeadLetters(_)), "{error:?}");
        let named = format!("the dead letters {} belong to a different run: {difference}", path.display());
        assert_says(&error, &[&named, "; restore that setting, or use another file"]);
    }
    assert_says(
        &start_error(run(true).seed(6).source(Source::Replay(path.clone()))),
        &["the seed is 6, it was 5"],
    );
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn inaccessible_file_fails_the_start() {
    let _leaks = isolated!();
    let folder = folder();
    let path = folder.path().join("nowhere/letters.jsonl");
    let error = start_error(run(true).dead_letters(&path));
    let reason = format!("cannot write the dead letters {}: No such file or directory", path.display());
    assert_says(&error, &[&reason]);
    let error = start_error(run(true).source(Source::Replay(path)));
    assert_says(&error, &[&reason.replace("write", "read")]);
    assert_says(
        &start_error(run(true).source(Source::Replay(folder.path().into()))),
        &["cannot read the dead letters "],
    );
}

#[test]
fn file_of_another_kind_is_refused_by_its_line() {
    let _leaks = isolated!();
    let (folder, letters) = letters();
    let text = fs::read_to_string(&letters).unwrap();
    let head = text.lines().next().unwrap();
    let newer = head.replacen("\"cobuf_dead_letters\":1", "\"cobuf_dead_letters\":2", 1);
    let cases = [
        ("a poem\n".to_owned(), "line 1 of "),
        (format!("{newer}\n"), ": its format is 2, expected 1"),
        (format!("{head}\n{{}}\n"), "line 2 of "),
        (
            format!("{head}\n{{\"sequence\":1,\"encoded\":\"8x\"}}\n"),
            "\"encoded\" is not in hexadecimal digits",
        ),
        (
            format!("{head}\n{{\"sequence\":1,\"encoded\":\"+1\"}}\n"),
            "\"encoded\" is not in hexadecimal digits",
        ),
    ];
    for (content, reason) in cases {
        let path = folder.path().join("other.jsonl");
        fs::write(&path, &content).unwrap();
        let error = start_error(run(true).source(Source::Replay(path.clone())));
        assert!(matches!(error, StartError::DeadLetters(_)), "{error:?}");
        assert_says(&error, &["is no dead letter of cobuf", reason]);
        // A file that is not understood is not written to either.
        start_error(run(true).dead_letters(&path));
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
    }
}

#[test]
fn half_written_letter_is_left_out() {
    let _leaks = isolated!();
    let (_folder, path) = letters();
    let whole = fs::read_to_string(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 20]).unwrap();
    let host = run(true).max_attempts(2).source(Source::Replay(path.clone())).start().unwrap();
    assert_eq!(crate::common::outline(&host.batches()), "3 7");
    // The next run's letters begin on a line of their own.
    let host = run(true).dead_letters(&path).start().unwrap();
    all_items(&host.batches()).for_each(drop);
    let sequences: Vec<Value> = lines(&path).iter().map(|line| line["sequence"].clone()).collect();
    assert_eq!(sequences, [json!(null), json!(3), json!(7), json!(3), json!(7), json!(9)]);
}

#[test]
fn commander_that_dies_in_a_replay_is_replaced() {
    let _leaks = isolated!();
    let (_folder, path) = letters();
    // One slot: the commander waits for the consumer after each message.
    let host = run(true).max_attempts(2).workers(1).slots(1).source(Source::Replay(path)).start().unwrap();
    let batches = host.batches();
    let first = crate::common::next_batch(&batches);
    assert!(crate::common::Process::commander(host.fork_server_pid()).kill());
    crate::common::wait_until("the commander is replaced", || host.statistics().commander_restarts == 1);
    drop(first);
    assert_eq!(crate::common::outline(&batches), "7 !9");
}
