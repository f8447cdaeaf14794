//! `cobuf run --trace`: the file, what the summary says of it, and what happens if it cannot be
//! written.

use super::pipeline::{PipelineFile, stderr, stdout};
use super::signals::Running;
use crate::common::traces::Trace;
use crate::common::{cobuf, isolated, wait_until};
use rustix::process::Signal;

#[test]
fn trace_of_a_whole_run_is_written_and_said() {
    let _leaks = isolated!();
    let pipeline = PipelineFile::new("length = 7", "");
    let file = pipeline.folder.path().join("run.json");
    let trace = file.to_str().unwrap();
    let output = pipeline.run(&["--batches", "20", "--trace", trace]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("\n  trace          20 batches\n"), "{}", stderr(&output));
    assert!(Trace::read(&file).sequences("produce").into_iter().eq(0..20));
    let report = pipeline.report(&["--batches", "20", "--trace", trace, "--trace-batches", "5"]);
    assert_eq!(report["trace"], serde_json::json!({ "batches": 5, "left_out": 15 }));
    assert!(Trace::read(&file).sequences("hold").into_iter().eq(15..20));
    assert!(pipeline.report(&["--batches", "1"])["trace"].is_null());
}

#[test]
fn trace_is_written_after_a_signal() {
    let _leaks = isolated!();
    let pipeline = PipelineFile::new("length = 7", "");
    let file = pipeline.folder.path().join("run.json");
    let mut command = cobuf();
    command.args(["-v", "run", "--json"]).arg(pipeline.path()).arg("--trace").arg(&file);
    let checkpoint = pipeline.folder.path().join("checkpoint");
    let running = {
        command.arg("--checkpoint").arg(&checkpoint);
        Running::start(command)
    };
    wait_until("it runs", || checkpoint.exists());
    running.send(Signal::INT, false);
    let (code, report, said, _) = running.end();
    assert_eq!(code, Some(130), "{said}");
    let trace = Trace::read(&file);
    assert_eq!(report.unwrap()["trace"]["batches"], trace.batches);
    assert!(!trace.moments("checkpoint").is_empty());
}

#[test]
fn run_whose_trace_cannot_be_written_keeps_its_result() {
    let _leaks = isolated!();
    let pipeline = PipelineFile::new("length = 7", "");
    let output = pipeline.run(&["--batches", "500", "--trace", "/dev/full", "--json"]);
    assert!(output.status.success());
    let said = "the trace of the run cannot be written";
    assert_eq!(stderr(&output).matches(said).count(), 1, "{}", stderr(&output));
    let report: serde_json::Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!(report["batches"], 500);
    let reason = report["trace"]["error"].as_str().unwrap();
    assert!(reason.contains("/dev/full: No space left on device"), "{reason}");
}

#[test]
fn trace_in_no_folder_is_refused_before_anything_runs() {
    let _leaks = isolated!();
    let output = PipelineFile::new("length = 7", "").run(&["--trace", "/no/such/folder/run.json"]);
    assert_eq!(output.status.code(), Some(2));
    let expected =
        "cannot write the trace /no/such/folder/run.json: its folder /no/such/folder cannot be written to";
    assert!(stderr(&output).contains(expected), "{}", stderr(&output));
}
