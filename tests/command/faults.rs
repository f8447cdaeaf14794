//! `cobuf run` of pipelines that fail, are stopped, killed or resumed.

use super::pipeline::{PipelineFile, output, stderr, stdout};
use crate::common::{Process, cobuf, isolated, plugin, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::Read;
use std::process::{Child, ExitStatus, Stdio};

#[test]
fn failures_are_skipped_recorded_and_replayed() {
    let _leaks = isolated!();
    let pipeline = PipelineFile::of_list(
        "messages = [{ random = true }, { error = \"torn\", on_attempt = 1, random = true }, { abort = true, log = \"so far\" }]",
    );
    let letters = pipeline.folder.path().join("bad.jsonl");
    let letters = letters.to_str().unwrap();
    let report =
        pipeline.report(&["--on-failure", "all=skip", "--dead-letters", letters, "--max-attempts", "2"]);
    assert_eq!(
        (&report["batches"], &report["skipped"], &report["errors"]),
        (&1.into(), &2.into(), &0.into())
    );
    assert_eq!(report["retries"], 1);
    let lines: Vec<Value> = std::fs::read_to_string(letters)
        .unwrap()
        .lines()
        .skip(1)
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!((&lines[0]["sequence"], &lines[0]["kind"]), (&1.into(), &"error".into()));
    assert_eq!((&lines[1]["sequence"], &lines[1]["kind"]), (&2.into(), &"crash".into()));
    assert_eq!(lines[1]["attempts"].as_array().unwrap().len(), 2);

    // Just those two again, in which they fail again; what there is to say is said.
    let output = pipeline.run(&["--replay", letters, "--max-attempts", "1", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains("error: batch 1 failed in worker"), "{said}");
    assert!(said.contains("error: batch 2 failed in worker"), "{said}");
    assert!(said.contains("attempt 1: worker"), "{said}");
    assert!(said.contains("was ended by signal 6 (SIGABRT)\n    log: so far"), "{said}");
    assert!(!said.contains("batch 0"), "{said}");
}

#[test]
fn stopped_run_is_resumed() {
    let _leaks = isolated!();
    let pipeline = PipelineFile::new("length = 7", "");
    let whole = pipeline.report(&["--batches", "30"]);
    let file = pipeline.folder.path().join("run.json");
    let file = file.to_str().unwrap();
    let first = pipeline.report(&["--batches", "11", "--checkpoint", file, "--checkpoint-every", "4"]);
    assert_eq!((&first["batches"], &first["resumed_batches"]), (&11.into(), &0.into()));
    let second = pipeline.report(&["--batches", "30", "--resume", file, "--any-order", "--workers", "1"]);
    assert_eq!((&second["batches"], &second["resumed_batches"]), (&30.into(), &11.into()));
    assert_eq!(second["content_digest"], whole["content_digest"]);
    let other = pipeline.run(&["--batches", "30", "--resume", file, "--seed", "8"]);
    assert_eq!(other.status.code(), Some(2));
    assert!(
        stderr(&other).contains("belongs to a different run: the seed is 8, it was 0"),
        "{}",
        stderr(&other)
    );
}

#[test]
fn failed_batches_show_in_the_exit_code() {
    let _leaks = isolated!();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipeline.toml");
    let text = format!(
        "[commander]\nplugin = {:?}\n[commander.config]\nmessages = [{{ value = 1 }}, {{ error = \"no such scan\" }}, {{ value = 2 }}]\n\
         [producer]\nplugin = {:?}\n[producer.config]\narrays = [{{ name = \"x\", dtype = \"f32\", shape = [1] }}]\n",
        plugin("list-commander").path(),
        plugin("fill-producer").path(),
    );
    std::fs::write(&path, text).unwrap();
    let output = output(cobuf().arg("run").arg(&path).args(["--json"]));
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_str(stdout(&output).trim_end()).unwrap();
    assert_eq!((&report["batches"], &report["errors"]), (&2.into(), &1.into()));
    let shown = stderr(&output);
    assert!(shown.contains("error: batch 1 failed in worker") && shown.contains("no such scan"), "{shown}");
}

#[test]
fn ctrl_c_ends_a_run_with_its_summary() {
    let _leaks = isolated!();
    for (sent, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let pipeline = endless();
        let child = start_endless(&pipeline);
        signal(&child, sent);
        let (status, report, errors) = finish(child);
        assert_eq!(status.code(), Some(code), "{errors}");
        let report: Value = serde_json::from_str(report.trim_end()).unwrap();
        assert_eq!(report["interrupted"], true);
    }
}

#[test]
fn killed_run_leaves_nothing() {
    let leaks = isolated!();
    let pipeline = endless();
    let child = start_endless(&pipeline);
    let server = Process::children_of(child.id() as i32).into_iter().next().expect("a fork server");
    wait_until("both workers are up", || Process::living_workers(server.pid as u32).len() == 2);
    signal(&child, Signal::KILL);
    let (status, ..) = finish(child);
    assert!(!status.success());
    leaks.bury_orphans();
}

/// A run that goes on for ever, once it is under way.
fn start_endless(pipeline: &PipelineFile) -> Child {
    let checkpoint = pipeline.folder.path().join("checkpoint");
    let child = cobuf()
        .arg("run")
        .arg(pipeline.path())
        .args(["--workers", "2", "--json", "--checkpoint"])
        .arg(&checkpoint)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The command writes the first checkpoint once there is a host.
    wait_until("there is a host", || checkpoint.exists());
    child
}

/// Endless messages, each of which says so in the log.
fn endless() -> PipelineFile {
    let pipeline = PipelineFile::new("length = 1", "");
    let text = std::fs::read_to_string(pipeline.path()).unwrap();
    let commander = |name: &str| format!("{:?}", plugin(name).path());
    let text = text
        .replace(&commander("index-commander"), &commander("list-commander"))
        .replace("length = 1", "repeat = 0\nmessages = [{ log = \"under way\", sleep_seconds = 0.01 }]");
    std::fs::write(pipeline.path(), text).unwrap();
    pipeline
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Its exit status, the report on standard output, and what else it said.
fn finish(mut child: Child) -> (ExitStatus, String, String) {
    // Read at the same time: neither pipe may fill.
    let mut stderr = child.stderr.take().unwrap();
    let errors = std::thread::spawn(move || {
        let mut text = String::new();
        stderr.read_to_string(&mut text).map(|_| text)
    });
    let mut report = String::new();
    child.stdout.take().unwrap().read_to_string(&mut report).unwrap();
    let errors = errors.join().unwrap().unwrap();
    (child.wait().unwrap(), report, errors)
}

#[test]
fn run_goes_on_if_standard_error_is_full() {
    let _leaks = isolated!();
    let pipeline = PipelineFile::of_list(
        "messages = [{ log = \"to nobody\", abort = true, on_attempt = 1 }]\nrepeat = 3",
    );
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = output(cobuf().arg("run").arg(pipeline.path()).args(["--json"]).stderr(full));
    assert!(output.status.success());
    let report: Value = serde_json::from_str(stdout(&output).trim_end()).unwrap();
    assert_eq!((&report["batches"], &report["retries"]), (&3.into(), &3.into()));
}
