//! The `cobuf` command, as people and scripts use it.

mod common;

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use common::{Leaks, Process, plugin, repository, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

fn cobuf() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cobuf"));
    command.stdin(Stdio::null()).env_remove("RUST_LOG");
    command
}

fn output(command: &mut Command) -> Output {
    command.output().expect("the command can be run")
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).expect("it prints text")
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).expect("it prints text")
}

/// A pipeline file in a folder of its own: endless small messages, unless `commander` and `producer` say otherwise.
struct PipelineFile {
    folder: TempDir,
}

impl PipelineFile {
    fn new(commander: &str, producer: &str) -> Self {
        Self::with("index-commander", commander, producer)
    }

    /// With the list-commander, configured so.
    fn of_list(commander: &str) -> Self {
        Self::with("list-commander", commander, "")
    }

    fn with(commander_plugin: &str, commander: &str, producer: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "[commander]\nplugin = {:?}\n[commander.config]\n{commander}\n[producer]\nplugin = {:?}\n[producer.config]\n\
             arrays = [{{ name = \"x\", dtype = \"f32\", shape = [4, 3] }}, {{ name = \"y\", dtype = \"u8\", shape = [4] }}]\n\
             {producer}\n",
            plugin(commander_plugin).path(),
            plugin("fill-producer").path(),
        );
        std::fs::write(folder.path().join("pipeline.toml"), text).unwrap();
        Self { folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("pipeline.toml")
    }

    fn run(&self, arguments: &[&str]) -> Output {
        output(cobuf().arg("run").arg(self.path()).args(arguments))
    }

    /// The last line on standard output, which is the report.
    fn report(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--report", "json"]].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        serde_json::from_str(stdout(&output).lines().last().expect("a report")).expect("JSON")
    }
}

#[test]
fn does_the_main_job_run() {
    let _leaks = Leaks::watch();
    let pipeline = repository().join("examples/digits.toml");
    let output = output(cobuf().arg("run").arg(pipeline).args(["--report", "json"]));
    assert!(output.status.success(), "{}", stderr(&output));
    let report: Value = serde_json::from_str(stdout(&output).trim_end()).unwrap();
    assert_eq!((report["batches"].as_u64(), report["rows"].as_u64()), (Some(290), Some(17_970)));
    assert_eq!(report["bytes"].as_u64(), Some(17_970 * (64 * 4 + 8)));
}

#[test]
fn do_the_images_of_the_examples_run() {
    let _leaks = Leaks::watch();
    let pipeline = repository().join("examples/images.toml");
    let output = output(cobuf().arg("run").arg(pipeline).args(["--batches", "8", "--report", "json"]));
    assert!(output.status.success(), "{}", stderr(&output));
    let report: Value = serde_json::from_str(stdout(&output).trim_end()).unwrap();
    assert_eq!((report["batches"].as_u64(), report["errors"].as_u64()), (Some(8), Some(0)));
}

#[test]
fn is_the_digest_the_same_however_it_is_run() {
    let _leaks = Leaks::watch();
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
fn what_is_in_the_report() {
    let _leaks = Leaks::watch();
    let report =
        PipelineFile::new("length = 7", "").report(&["--batches", "5", "--workers", "3", "--any-order"]);
    let keys = "batches rows bytes seconds first_batch_seconds content_digest errors retries worker_restarts workers \
                slots deterministic consumer_wait_seconds worker_wait_seconds limited_by";
    for key in keys.split_whitespace() {
        assert!(!report[key].is_null(), "{key} in {report}");
    }
    assert_eq!(report["batches"], 5);
    assert_eq!(report["rows"], 20);
    assert_eq!(report["bytes"], 5 * (4 * 3 * 4 + 4));
    assert_eq!((&report["workers"], &report["slots"]), (&3.into(), &12.into()));
    assert_eq!(report["deterministic"], false);
}

#[test]
fn is_the_summary_for_people_on_standard_error_only() {
    let _leaks = Leaks::watch();
    let output = PipelineFile::new("length = 7", "").run(&["--batches", "5"]);
    assert!(output.status.success());
    assert_eq!(stdout(&output), "");
    for part in ["5 batches, 20 rows", "limited by", "content digest", "0 errors, 0 skipped, 0 retries"] {
        assert!(stderr(&output).contains(part), "{part} in {}", stderr(&output));
    }
}

#[test]
fn do_failed_batches_show_in_the_exit_code() {
    let _leaks = Leaks::watch();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipeline.toml");
    let text = format!(
        "[commander]\nplugin = {:?}\n[commander.config]\nmessages = [{{ value = 1 }}, {{ error = \"no such scan\" }}, {{ value = 2 }}]\n\
         [producer]\nplugin = {:?}\n[producer.config]\narrays = [{{ name = \"x\", dtype = \"f32\", shape = [1] }}]\n",
        plugin("list-commander").path(),
        plugin("fill-producer").path(),
    );
    std::fs::write(&path, text).unwrap();
    let output = output(cobuf().arg("run").arg(&path).args(["--report", "json"]));
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_str(stdout(&output).trim_end()).unwrap();
    assert_eq!((&report["batches"], &report["errors"]), (&2.into(), &1.into()));
    let shown = stderr(&output);
    assert!(shown.contains("error: batch 1 failed in worker") && shown.contains("no such scan"), "{shown}");
}

#[test]
fn does_wrong_input_say_what_to_do() {
    let _leaks = Leaks::watch();
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
    refused(&["--workers", "0"], "the number of workers is 0, expected 1 to 1024");
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

/// A run that goes on for ever, once it is under way.
fn start_endless(pipeline: &PipelineFile) -> Child {
    let mut child = cobuf()
        .arg("run")
        .arg(pipeline.path())
        .args(["--workers", "2", "--report", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The producer says this when a message tells it to; the first one has come so far.
    let mut line = String::new();
    BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
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
fn does_ctrl_c_end_a_run_with_its_summary() {
    let _leaks = Leaks::watch();
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
fn is_nothing_left_of_a_run_that_is_killed() {
    let leaks = Leaks::watch();
    let pipeline = endless();
    let child = start_endless(&pipeline);
    let server = Process::children_of(child.id() as i32).into_iter().next().expect("a fork server");
    wait_until("both workers are up", || Process::living_workers(server.pid as u32).len() == 2);
    signal(&child, Signal::KILL);
    let (status, ..) = finish(child);
    assert!(!status.success());
    leaks.bury_orphans();
}

#[test]
fn what_does_inspect_show() {
    let _leaks = Leaks::watch();
    let digits = plugin("digits-producer");
    let text = output(cobuf().arg("inspect").arg(digits.path()).args(["--set", "batch_size=12"]));
    assert!(text.status.success(), "{}", stderr(&text));
    for part in ["producer digits-producer 0.1.0", "plugin-api   0.1.0", "batch_size", "image f32 (12, 8, 8)"]
    {
        assert!(stdout(&text).contains(part), "{part} in {}", stdout(&text));
    }
    let json = output(cobuf().arg("inspect").arg(digits.path()).args(["--set", "batch_size=12", "--json"]));
    let shown: Value = serde_json::from_str(stdout(&json).trim_end()).unwrap();
    assert_eq!(shown["manifest"]["kind"], "producer");
    assert_eq!(shown["arrays"][0]["shape"], serde_json::json!([12, 8, 8]));
    assert!(shown["config_schema"]["properties"]["batch_size"].is_object());
    let wrong = output(cobuf().arg("inspect").arg(digits.path()).args(["--set", "batch_size=0"]));
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn is_a_packages_folder_built_where_a_plugin_is_named_by_it() {
    let _leaks = Leaks::watch();
    let folder: &Path = &repository().join("plugins/index-commander");
    let shown = output(cobuf().arg("inspect").arg(folder).arg("--json"));
    assert!(shown.status.success(), "{}", stderr(&shown));
    let shown: Value = serde_json::from_str(stdout(&shown).trim_end()).unwrap();
    assert_eq!((&shown["manifest"]["name"], &shown["arrays"]), (&"index-commander".into(), &Value::Null));
}

#[test]
fn are_there_completions_and_examples() {
    let _leaks = Leaks::watch();
    for shell in ["bash", "zsh", "fish"] {
        let completions = output(cobuf().args(["completions", shell]));
        assert!(completions.status.success() && stdout(&completions).contains("any-order"), "{shell}");
    }
    let help = output(cobuf().arg("--help"));
    assert!(
        stdout(&help).contains("cobuf run examples/digits.toml") && stdout(&help).contains("Exit codes:")
    );
}

#[test]
fn are_failures_skipped_recorded_and_replayed() {
    let _leaks = Leaks::watch();
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
    let output = pipeline.run(&["--replay", letters, "--max-attempts", "1", "--report", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains("error: batch 1 failed in worker"), "{said}");
    assert!(said.contains("error: batch 2 failed in worker"), "{said}");
    assert!(said.contains("attempt 1: worker"), "{said}");
    assert!(said.contains("was ended by signal 6 (SIGABRT)\n    log: so far"), "{said}");
    assert!(!said.contains("batch 0"), "{said}");
}

#[test]
fn is_a_run_that_was_stopped_resumed() {
    let _leaks = Leaks::watch();
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
    assert!(stderr(&other).contains("another run's: the seed is 8, it was 0"), "{}", stderr(&other));
}

#[test]
fn are_wrong_options_refused_with_what_was_expected() {
    let _leaks = Leaks::watch();
    let pipeline = PipelineFile::new("length = 7", "");
    for (arguments, expected) in [
        (
            &["--on-failure", "crash"][..],
            "expected KIND=CHOICE with a kind of error, panic, crash, timeout or all",
        ),
        (&["--on-failure", "death=skip"][..], "expected KIND=CHOICE"),
        (&["--on-failure", "crash=retry"][..], "a choice of raise, skip or stop"),
        (&["--workers", "many"][..], "\"many\" is wrong, expected a number or \"auto\""),
        (&["--max-attempts", "0"][..], "the number of attempts is 0, expected 1 to 16383"),
        (&["--message-timeout", "0.001"][..], "a deadline in milliseconds is 1, expected 20 to"),
        (&["--replay", "none.jsonl"][..], "cannot read the dead letters none.jsonl: No such file"),
        (&["--resume", "none.json"][..], "cannot read the checkpoint none.json: No such file"),
        (&["--checkpoint-every", "0"][..], "0 is not in 1.."),
    ] {
        let output = pipeline.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains(expected), "{expected} in {}", stderr(&output));
    }
}

#[test]
fn does_a_run_go_on_where_standard_error_takes_nothing() {
    let _leaks = Leaks::watch();
    let pipeline = PipelineFile::of_list(
        "messages = [{ log = \"to nobody\", abort = true, on_attempt = 1 }]\nrepeat = 3",
    );
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = output(cobuf().arg("run").arg(pipeline.path()).args(["--report", "json"]).stderr(full));
    assert!(output.status.success());
    let report: Value = serde_json::from_str(stdout(&output).trim_end()).unwrap();
    assert_eq!((&report["batches"], &report["retries"]), (&3.into(), &3.into()));
}
