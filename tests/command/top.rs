//! `cobuf top`: a look at a run from outside.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, Stdio};

use cobuf_host::Host;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::pipeline::{output, stderr, stdout};
use crate::common::terminal::{CTRL_C, Terminal};
use crate::common::{Gate, array, cobuf, filling, gated, index, isolated, next_batch, small, wait_until};

/// `cobuf top` on this process, which hosts a run.
fn top(arguments: &[&str]) -> Command {
    let mut command = cobuf();
    command.arg("top").arg(std::process::id().to_string()).args(arguments).args(["--interval", "0.05"]);
    command.env("TERM", "xterm-256color").env_remove("NO_COLOR");
    command
}

/// A run that nobody takes a batch from.
fn idle() -> Host {
    filling([index(0)], &small()).workers(1).start().unwrap()
}

/// What it prints as JSON.
fn seen() -> Value {
    let output = output(&mut top(&["--once", "--json"]));
    assert!(output.status.success(), "{}", stderr(&output));
    serde_json::from_str(stdout(&output)).expect("a line of JSON")
}

/// The error of a `cobuf top` that cannot look.
fn refused(arguments: &[&str]) -> String {
    let output = output(cobuf().arg("top").args(arguments).arg("--once"));
    assert_eq!(output.status.code(), Some(2), "{}", stdout(&output));
    stderr(&output).trim().to_owned()
}

#[test]
fn run_that_was_not_started_for_it_is_seen() {
    let _leaks = isolated!();
    let gate = Gate::new();
    let messages = [index(0), index(1), gated(2, "here", &gate)];
    let host = filling(messages, &small()).workers(1).slots(4).start().unwrap();
    let batches = host.batches();
    let held = [next_batch(&batches), next_batch(&batches)];
    let before = host.statistics();
    wait_until("the worker has its message", || seen()["workers"][0]["message"] == 2);
    let top = seen();
    assert_eq!(top["pid"], std::process::id());
    assert_eq!((&top["producer"], &top["commander"]), (&"fill-producer".into(), &"list-commander".into()));
    assert_eq!(
        (&top["state"], &top["batches"], &top["ordered"]),
        (&"running".into(), &2.into(), &true.into())
    );
    assert_eq!(top["slots"], serde_json::json!({ "free": 1, "writing": 1, "ready": 0, "reading": 2 }));
    assert_eq!(top["workers"][0]["batches"], 2);
    assert!(host.processes().iter().any(|process| top["workers"][0]["pid"] == process.pid), "{top}");
    assert_eq!(top["oldest"][2]["holder"]["worker"], 0, "{top}");
    assert!(top["checkpoint_age_seconds"].is_null());
    let counted: u64 =
        top["produce_seconds"].as_array().unwrap().iter().map(|class| class["count"].as_u64().unwrap()).sum();
    assert_eq!(counted, 2);
    // Nothing has changed by the looks.
    assert_eq!(host.statistics().delivered, before.delivered);
    host.checkpoint();
    assert!(seen()["checkpoint_age_seconds"].as_f64().unwrap() < 60.0);
    gate.open();
    drop(held);
    assert_eq!(batches.count(), 1);
}

#[test]
fn failures_deaths_and_swaps_are_told() {
    let _leaks = isolated!();
    let messages =
        [index(0), index(1).with("error", "torn"), index(2).with("exit", 3).with("on_attempt", 1), index(3)];
    let host = filling(messages, &small()).workers(1).start().unwrap();
    assert_eq!(host.batches().filter(Result::is_err).count(), 1);
    let top = seen();
    let events: Vec<(&str, &str)> = top["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| (event["kind"].as_str().unwrap(), event["text"].as_str().unwrap()))
        .collect();
    assert!(events.iter().any(|(kind, text)| *kind == "failure" && text.contains("torn")), "{events:?}");
    assert!(
        events.iter().any(|(kind, text)| *kind == "death" && text.starts_with("worker 0: ")),
        "{events:?}"
    );
    assert_eq!(
        (&top["errors"], &top["worker_restarts"], &top["workers"][0]["restarts"]),
        (&1.into(), &1.into(), &1.into())
    );
}

#[test]
fn memory_of_the_run_is_mapped_to_read_only() {
    let _leaks = isolated!();
    let host = idle();
    let mut watching = start(&["--json"]);
    let mut line = String::new();
    BufReader::new(watching.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let maps = fs::read_to_string(format!("/proc/{}/maps", watching.id())).unwrap();
    let segments: Vec<&str> = maps.lines().filter(|line| line.contains("/dev/shm/cobuf-run-")).collect();
    assert!(!segments.is_empty() && segments.iter().all(|line| line.contains(" r--s ")), "{segments:?}");
    end(watching);
    drop(host);
}

/// A `cobuf top` whose standard output is a pipe.
fn start(arguments: &[&str]) -> Child {
    top(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn end(mut child: Child) {
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn run_that_ends_while_it_is_watched_ends_the_watch() {
    let leaks = isolated!();
    for dies in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let mut run = endless(&folder);
        let mut command = cobuf();
        command.args(["top", &run.id().to_string(), "--json", "--interval", "0.05"]).stdout(Stdio::piped());
        let mut watching = command.spawn().unwrap();
        let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
        let first: Value = serde_json::from_str(&lines.next().expect("a line").unwrap()).unwrap();
        assert_eq!(first["state"], "running");
        let signal = if dies { Signal::KILL } else { Signal::INT };
        kill_process(Pid::from_child(&run), signal).unwrap();
        run.wait().unwrap();
        let last: Value = serde_json::from_str(&lines.last().expect("a last line").unwrap()).unwrap();
        assert!(last["state"] == "ended" || !dies && last["state"] == "stopped", "{last}");
        assert!(watching.wait().unwrap().success());
    }
    leaks.bury_orphans();
}

/// A run of the command that goes on until it is ended, and has delivered batches.
fn endless(folder: &tempfile::TempDir) -> Child {
    let file = super::pipeline::PipelineFile::new("length = 1000000", "sleep_seconds = 0.01");
    let text = fs::read_to_string(file.path()).unwrap();
    let path = folder.path().join("endless.toml");
    fs::write(&path, text).unwrap();
    let mut command = cobuf();
    command.arg("run").arg(&path).args(["--workers", "1"]).stdout(Stdio::null()).stderr(Stdio::null());
    let run = command.spawn().unwrap();
    wait_until("the run is found", || {
        let output =
            output(cobuf().args(["top", &run.id().to_string(), "--once", "--json", "--interval", "0.05"]));
        output.status.success() && !stdout(&output).contains("\"batches\":0,")
    });
    run
}

#[test]
fn process_or_name_without_a_run_is_refused_with_the_reason() {
    let _leaks = isolated!();
    let own = std::process::id().to_string();
    assert!(refused(&[&own]).ends_with("runs no host of cobuf; `cobuf top` lists the runs of this user"));
    // Above the kernel's largest number.
    assert_eq!(
        refused(&["4194305"]),
        "error: there is no process 4194305; `cobuf top` lists the runs of this user"
    );
    assert!(
        refused(&["no-such-plugin"])
            .starts_with("error: no run of this user is called \"no-such-plugin\"; give ")
    );
}

#[test]
fn names_that_fit_several_runs_are_refused_with_the_runs() {
    let _leaks = isolated!();
    let hosts = [idle(), idle()];
    let error = refused(&[&std::process::id().to_string()]);
    assert!(error.contains("2 runs fit ") && error.matches("cobuf-run-").count() == 2, "{error}");
    let name = &error[error.find("cobuf-run-").unwrap()..][..16];
    let output = output(cobuf().args(["top", name, "--once", "--interval", "0.05"]));
    assert!(output.status.success() && stdout(&output).contains(name), "{}", stderr(&output));
    drop(hosts);
}

/// Bytes that look like a segment to those that search for one, until it is dropped.
struct Foreign {
    file: File,
}

impl Foreign {
    fn new(bytes: &[u8]) -> Self {
        let path = format!("/dev/shm/cobuf-run-test-{}", std::process::id());
        let mut file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        fs::remove_file(&path).unwrap();
        file.write_all(bytes).unwrap();
        Self { file }
    }
}

#[test]
fn segment_of_another_version_or_that_was_written_over_is_refused() {
    let _leaks = isolated!();
    let own = std::process::id().to_string();
    // A dictionary of MessagePack: {"version": "0.0.7"}.
    let about = b"\x81\xa7version\xa50.0.7";
    let header = [u64::from_le_bytes(*b"cobufseg"), 7, 4096, about.len() as u64];
    let mut bytes = header.map(u64::to_ne_bytes).concat();
    bytes.resize(4096, 0);
    bytes.extend(about);
    let foreign = Foreign::new(&bytes);
    let error = refused(&[&own]);
    assert!(
        error.contains("runs cobuf 0.0.7, whose shared memory cobuf ") && error.contains("does not know"),
        "{error}"
    );
    drop(foreign);
    for (offset, word) in [(0, 0), (16, u64::MAX), (16, 5000), (24, u64::MAX), (24, 1 << 40), (24, 3)] {
        let foreign = Foreign::new(&bytes);
        foreign.file.write_at(&u64::to_ne_bytes(word), offset).unwrap();
        let error = refused(&[&own]);
        assert!(error.contains("does not begin as a run of cobuf does"), "{offset} {word}: {error}");
    }
    let _short = Foreign::new(b"cobufseg");
    assert!(refused(&[&own]).contains("does not begin as a run of cobuf does"));
}

#[test]
fn picture_fits_terminals_of_any_width_and_q_quits() {
    let _leaks = isolated!();
    let gate = Gate::new();
    let host =
        filling([index(0), gated(1, "here", &gate)], &[array("x", "u8", &[3])]).workers(2).start().unwrap();
    let batches = host.batches();
    drop(next_batch(&batches));
    for (width, key) in [(20, b'q'), (40, CTRL_C), (80, b'q'), (160, b'\x1b')] {
        let mut terminal = Terminal::start(width, top(&[]));
        let picture = terminal.wait_for("the picture", |picture| picture.shows("fill-producer"));
        assert!(picture.coloured, "{picture:#?}");
        if width >= 80 {
            let picture = terminal.wait_for("the workers", |picture| picture.shows("produces"));
            assert!(picture.shows("limited by ") && picture.shows("slots: "), "{picture:#?}");
        }
        // Another order of the workers.
        terminal.type_key(b'b');
        terminal.type_key(key);
        let (code, pictures) = terminal.end();
        assert_eq!(code, Some(0), "{pictures:#?}");
        assert_eq!(pictures.last().unwrap().lines, [""; 0], "the terminal is as it was");
    }
    gate.open();
    assert_eq!(batches.count(), 1);
}

#[test]
fn terminal_without_colours_gets_none_and_one_without_a_cursor_one_picture() {
    let _leaks = isolated!();
    let host = idle();
    let mut terminal = Terminal::start(80, {
        let mut top = top(&[]);
        top.env("NO_COLOR", "1");
        top
    });
    let picture = terminal.wait_for("the picture", |picture| picture.shows("WORKER"));
    assert!(!picture.coloured, "{picture:#?}");
    terminal.type_key(b'q');
    assert_eq!(terminal.end().0, Some(0));
    let terminal = Terminal::start(80, {
        let mut top = top(&[]);
        top.env("TERM", "dumb");
        top
    });
    let (code, pictures) = terminal.end();
    assert_eq!(code, Some(0));
    assert!(pictures.last().unwrap().shows("WORKER"), "{pictures:#?}");
    drop(host);
}

#[test]
fn last_picture_stays_if_the_run_ends() {
    let leaks = isolated!();
    let folder = tempfile::tempdir().unwrap();
    let mut run = endless(&folder);
    let mut command = cobuf();
    command.args(["top", &run.id().to_string(), "--interval", "0.05"]).env("TERM", "xterm-256color");
    let terminal = Terminal::start(100, command);
    terminal.wait_for("the picture", |picture| picture.shows("fill-producer"));
    kill_process(Pid::from_child(&run), Signal::KILL).unwrap();
    run.wait().unwrap();
    let (code, pictures) = terminal.end();
    assert_eq!(code, Some(0));
    let last = pictures.last().unwrap();
    assert!(last.shows("the host has ended") && last.shows("slots: "), "{last:#?}");
    leaks.bury_orphans();
}
