//! `cobuf run`: its reports, its options and its refusals.

use super::pipeline::{PipelineFile, output, stderr, stdout};
use crate::common::{cobuf, isolated, repository};
use serde_json::Value;

#[test]
fn main_job_runs() {
    let _leaks = isolated!();
    let pipeline = repository().join("examples/digits.toml");
    let output = output(cobuf().arg("run").arg(pipeline).args(["--json"]));
    assert!(output.status.success(), "{}", stderr(&output));
    let report: Value = serde_json::from_str(stdout(&output).trim_end()).unwrap();
    assert_eq!((report["batches"].as_u64(), report["rows"].as_u64()), (Some(290), Some(17_970)));
    assert_eq!(report["bytes"].as_u64(), Some(17_970 * (64 * 4 + 8)));
}

#[test]
fn images_of_the_examples_run() {
    let _leaks = isolated!();
    let pipeline = repository().join("examples/images.toml");
    let output = output(cobuf().arg("run").arg(pipeline).args(["--batches", "8", "--json"]));
    assert!(output.status.success(), "{}", stderr(&output));
    let report: Value = serde_json::from_str(stdout(&output).trim_end()).unwrap();
    assert_eq!((report["batches"].as_u64(), report["errors"].as_u64()), (Some(8), Some(0)));
    // 30 pictures, 8 a batch, twice: none is left out for want of a permission.
    assert_eq!(report["rows"].as_u64(), Some(60));
}

#[test]
fn digest_is_the_same_for_any_workers_slots_and_order() {
    let _leaks = isolated!();
    let pipeline = PipelineFile::new("length = 7", "");
    let report = |arguments: &str| {
        let always = ["--batches", "60", "--set", "producer.sleep_seconds=0.0005"];
        pipeline.report(&[&always[..], &arguments.split_whitespace().collect::<Vec<_>>()[..]].concat())
    };
    let first = report("--workers 1");
    for arguments in
        ["--workers 2", "--workers 7", "--workers 3 --any-order", "--workers 2 --slots 1", "--slots 31"]
    {
        let other = report(arguments);
        for key in ["content_digest", "batches", "rows", "bytes"] {
            assert_eq!(first[key], other[key], "{key} with {arguments}");
        }
    }
    assert_ne!(first["content_digest"], report("--set commander.length=6")["content_digest"]);
}

#[test]
fn report_has_its_fields() {
    let _leaks = isolated!();
    let report =
        PipelineFile::new("length = 7", "").report(&["--batches", "5", "--workers", "3", "--any-order"]);
    let keys = "batches rows bytes seconds first_batch_seconds content_digest errors retries worker_restarts workers \
                slots deterministic consumer_wait_seconds worker_wait_seconds exposed_wait_seconds limited_by verdict";
    for key in keys.split_whitespace() {
        assert!(!report[key].is_null(), "{key} in {report}");
    }
    assert_eq!(report["batches"], 5);
    assert_eq!(report["rows"], 20);
    assert_eq!(report["bytes"], 5 * (4 * 3 * 4 + 4));
    assert_eq!((&report["workers"], &report["slots"]), (&3.into(), &12.into()));
    assert_eq!(report["deterministic"], false);
    assert_eq!(report["verdict"]["limited_by"], report["limited_by"]);
    assert!(
        report["verdict"]["sentence"].as_str().is_some_and(|sentence| sentence.contains("the application"))
    );
}

#[test]
fn first_batches_are_delivered_again_and_again() {
    let _leaks = isolated!();
    let pipeline = PipelineFile::new("length = 7", "");
    let report = pipeline.report(&["--replay-ready", "3", "--batches", "100", "--slots", "4"]);
    assert_eq!((&report["batches"], &report["errors"]), (&100.into(), &0.into()));
    assert!(report["content_digest"].is_null());
    let sentence = report["verdict"]["sentence"].as_str().unwrap();
    assert!(sentence.starts_with("your application takes at most "), "{sentence}");
    let text = stderr(&pipeline.run(&["--replay-ready", "3", "--batches", "10"])).to_owned();
    assert!(text.contains("limited by     consumer: your application takes at most "), "{text}");
    assert!(text.contains("content digest none, since the same batches"), "{text}");
}

#[test]
fn replay_of_ready_batches_with_checkpoints_or_too_few_slots_is_refused() {
    let _leaks = isolated!();
    let pipeline = PipelineFile::new("length = 7", "");
    let refused = |arguments: &[&str], expected: &str| {
        let output = pipeline.run(arguments);
        assert_eq!((output.status.code(), stdout(&output)), (Some(2), ""), "{}", stderr(&output));
        assert!(stderr(&output).contains(expected), "{expected:?} in {}", stderr(&output));
    };
    for option in ["--checkpoint", "--resume", "--replay"] {
        refused(&["--replay-ready", "3", option, "x"], "cannot be used with");
    }
    let expected = "keep fewer than the 4 slots of this run, or use more slots";
    refused(&["--replay-ready", "4", "--slots", "4"], expected);
    let text = std::fs::read_to_string(pipeline.path()).unwrap() + "\n[run]\nreplay_ready = 2\nbatches = 6\n";
    std::fs::write(pipeline.path(), text).unwrap();
    assert_eq!(pipeline.report(&[])["batches"], 6);
    refused(&["--checkpoint", "x"], "so there is no checkpoint to write or resume, no dead letter to replay");
}

#[test]
fn summary_for_people_is_on_standard_error_only() {
    let _leaks = isolated!();
    let output = PipelineFile::new("length = 7", "").run(&["--batches", "5"]);
    assert!(output.status.success());
    assert_eq!(stdout(&output), "");
    for part in ["5 batches, 20 rows", "limited by", "content digest", "0 errors, 0 skipped, 0 retries"] {
        assert!(stderr(&output).contains(part), "{part} in {}", stderr(&output));
    }
}

#[test]
fn wrong_input_is_answered_with_a_remedy() {
    let _leaks = isolated!();
    let pipeline = PipelineFile::new("length = 7", "");
    let refused = |arguments: &[&str], expected: &str| {
        let output = pipeline.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert_eq!(stdout(&output), "");
        assert!(stderr(&output).contains(expected), "{expected:?} in {}", stderr(&output));
    };
    refused(&["--set", "producer.nothing=1"], "has a field \"nothing\" that is not known; known are: arrays");
    refused(&["--set", "commander.length=far"], "\"length\": invalid type: string \"far\", expected u64");
    refused(&["--set", "length=1"], "must begin with \"producer.\" or \"commander.\"");
    refused(&["--set", "producer.x"], "has no \"=\", expected KEY=VALUE");
    refused(
        &["--workers", "0"],
        "invalid value '0' for '--workers <N|auto>': expected 1 to 1024, or \"auto\"",
    );
    refused(&["--deterministic", "--any-order"], "cannot be used with");

    let refused_file = |text: &str, expected: &str| {
        let path = pipeline.folder.path().join("wrong.toml");
        std::fs::write(&path, text).unwrap();
        let output = output(cobuf().arg("run").arg(&path));
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(expected), "{expected:?} in {}", stderr(&output));
    };
    refused_file("", "missing field `commander`");
    refused_file(
        "[commander]\nplugin = \"no.so\"\n[producer]\nplugin = \"no.so\"\n",
        "cannot read the plugin",
    );
    refused_file("[runs]\n", "unknown field `runs`");
    let missing = output(cobuf().args(["run", "/no/such/file.toml"]));
    assert!(stderr(&missing).contains("cannot read the pipeline file /no/such/file.toml"));
}

#[test]
fn wrong_options_are_refused_with_the_expected_values() {
    let _leaks = isolated!();
    let pipeline = PipelineFile::new("length = 7", "");
    for (arguments, expected) in [
        (
            &["--on-failure", "crash"][..],
            "expected KIND=CHOICE with a kind of error, panic, crash, timeout or all",
        ),
        (&["--on-failure", "death=skip"][..], "expected KIND=CHOICE"),
        (&["--on-failure", "crash=retry"][..], "a choice of raise, skip or stop"),
        (&["--replay", "none.jsonl"][..], "cannot read the dead letters none.jsonl: No such file"),
        (&["--resume", "none.json"][..], "cannot read the checkpoint none.json: No such file"),
    ] {
        let output = pipeline.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains(expected), "{expected} in {}", stderr(&output));
    }
}
