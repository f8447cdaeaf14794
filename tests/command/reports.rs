//! Where reports go: a reader that has seen enough is no error, a report that is lost is one.

use super::pipeline::{PipelineFile, output, stderr, stdout};
use crate::common::{cobuf, isolated, plugin};
use serde_json::Value;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};

/// Each verb with a report on standard output, in short.
fn reporting(pipeline: &PipelineFile) -> Vec<(&'static str, Command)> {
    let with = |arguments: &[&str]| {
        let mut command = cobuf();
        command.args(arguments).current_dir(pipeline.folder.path());
        command
    };
    let producer = plugin("digits-producer").path().display().to_string();
    let plugins = plugin("digits-producer").path().parent().unwrap().display().to_string();
    let quick = ["--seconds", "0.05", "--batches", "20"];
    vec![
        ("completions", with(&["completions", "bash"])),
        ("help", with(&["--help"])),
        ("help of a verb", with(&["run", "--help"])),
        ("version", with(&["--version"])),
        ("list", with(&["list", &plugins])),
        ("list --json", with(&["list", "--json", &plugins])),
        ("inspect", with(&["inspect", &producer])),
        ("inspect --json", with(&["inspect", "--json", &producer])),
        ("check", with(&["check", &producer, "--soak", "0.01"])),
        ("run --json", with(&["run", "pipeline.toml", "--batches", "3", "--json"])),
        ("bench", with(&[&["bench", "pipeline.toml", "--runs", "1"], &quick[..]].concat())),
        ("chaos --json", with(&[&["chaos", "pipeline.toml", "--json"], &quick[..]].concat())),
        ("new", with(&["new", "producer", "noise"])),
    ]
}

#[test]
fn report_that_cannot_be_written_is_an_error() {
    let _leaks = isolated!();
    let pipeline = PipelineFile::new("length = 7", "");
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let read_only = || File::open("/dev/null").unwrap();
    for (what, mut command) in reporting(&pipeline) {
        let output = output(command.stdout(full()));
        assert_eq!(output.status.code(), Some(1), "{what}: {}", stderr(&output));
        let expected = "error: cannot write the report: No space left on device (os error 28)\n";
        assert!(stderr(&output).ends_with(expected), "{what}: {}", stderr(&output));
        let _ = std::fs::remove_dir_all(pipeline.folder.path().join("noise"));
    }
    let output = output(cobuf().arg("--version").stdout(read_only()));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("cannot write the report: Bad file descriptor"), "{}", stderr(&output));
}

#[test]
fn reader_that_has_seen_enough_is_no_error() {
    let _leaks = isolated!();
    let pipeline = PipelineFile::new("length = 7", "");
    for (what, mut command) in reporting(&pipeline) {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{what}: {}", stderr(&output));
        for trouble in ["error", "panicked", "roken pipe"] {
            assert!(!stderr(&output).contains(trouble), "{what}: {}", stderr(&output));
        }
    }
}

#[test]
fn plugin_at_a_path_that_is_not_utf_8_is_listed() {
    let _leaks = isolated!();
    let folder = tempfile::tempdir().unwrap();
    let odd = folder.path().join(OsStr::from_bytes(b"caf\xe9"));
    std::fs::create_dir(&odd).unwrap();
    std::fs::copy(plugin("index-commander").path(), odd.join("libindex_commander.so")).unwrap();
    let json = output(cobuf().args(["list", "--json"]).arg(&odd));
    assert!(json.status.success(), "{}", stderr(&json));
    let listed: Value = serde_json::from_str(stdout(&json).trim_end()).unwrap();
    assert_eq!(listed[0]["name"], "index-commander");
    assert!(listed[0]["path"].as_str().unwrap().ends_with("caf\u{fffd}/libindex_commander.so"), "{listed}");
    let table = output(cobuf().arg("list").arg(&odd));
    assert!(stdout(&table).contains("caf\u{fffd}/libindex_commander.so"), "{}", stdout(&table));
}

#[test]
fn every_report_is_asked_for_by_the_same_option() {
    let _leaks = isolated!();
    let pipeline = PipelineFile::new("length = 7", "");
    for (what, mut command) in reporting(&pipeline) {
        if what.ends_with("--json") {
            let output = output(&mut command);
            assert!(output.status.success(), "{what}: {}", stderr(&output));
            assert_eq!(stdout(&output).lines().count(), 1, "{what}");
            serde_json::from_str::<Value>(stdout(&output)).unwrap();
        }
    }
    // The old spelling is understood, and not shown.
    let report = |option: &[&str]| {
        let output = pipeline.run(&[&["--batches", "3"], option].concat());
        serde_json::from_str::<Value>(stdout(&output)).unwrap()["content_digest"].clone()
    };
    assert_eq!(report(&["--report", "json"]), report(&["--json"]));
    let help = output(cobuf().args(["run", "--help"]));
    assert!(!stdout(&help).contains("--report"), "{}", stdout(&help));
}

#[test]
fn version_is_the_commands() {
    let _leaks = isolated!();
    let expected = format!("cobuf {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(stdout(&output(cobuf().arg("--version"))), expected);
}

#[test]
fn completions_offer_what_the_help_shows() {
    let _leaks = isolated!();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let completions = output(cobuf().args(["completions", shell]));
        let shown = stdout(&completions);
        for offered in ["any-order", "kills-per-second", "checkpoint-every", "watch"] {
            assert!(shown.contains(offered), "{offered} for {shell}");
        }
        for hidden in ["--report", "-l report", "deterministic", "bench-partner"] {
            assert!(!shown.contains(hidden), "{hidden} for {shell}");
        }
    }
}
