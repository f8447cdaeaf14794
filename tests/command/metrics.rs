//! `--metrics`: a file or an address, until the command ends, however it ends.

use std::fs;

use rustix::process::Signal;

use super::pipeline::{PipelineFile, output, stderr};
use super::signals::Running;
use crate::common::{cobuf, isolated, wait_until};

#[test]
fn interrupted_run_leaves_its_last_counts_in_the_file() {
    let _leaks = isolated!();
    let pipeline = PipelineFile::new("length = 7", "");
    let file = pipeline.folder.path().join("run.prom");
    let mut command = cobuf();
    command.arg("run").arg(pipeline.path()).arg("--json").arg("--metrics").arg(&file);
    let running = Running::start(command);
    let text = || fs::read_to_string(&file).unwrap_or_default();
    wait_until("it writes the file", || text().contains("cobuf_running"));
    running.send(Signal::INT, false);
    let (code, report, said, _) = running.end();
    assert_eq!(code, Some(130), "{said}");
    let batches = report.unwrap()["batches"].as_u64().unwrap();
    let value = |name: &str| {
        let text = text();
        let line =
            text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name} in {text}"));
        line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()
    };
    assert_eq!((value("cobuf_batches_total{"), value("cobuf_running{")), (batches, 0));
    let names: Vec<_> =
        fs::read_dir(pipeline.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

#[test]
fn wrong_target_is_refused_before_anything_runs() {
    let _leaks = isolated!();
    let pipeline = PipelineFile::new("length = 7", "");
    for (target, expected) in [
        ("9400", "9400 may be a port or a file; write :9400 for the port, ./9400 for the file"),
        (":70000", "the port of :70000 is too large, expected 0 to 65535"),
        ("", "expected a file's path, or an address such as 127.0.0.1:9400"),
        ("/dev/full", "cannot write metrics to the file /dev/full: it is a pipe, a socket or a device"),
        (
            "no/such/folder.prom",
            "cannot write metrics to the file no/such/folder.prom: No such file or directory",
        ),
        ("203.0.113.7:9400", "cannot report metrics at 203.0.113.7:9400; give an address of this machine"),
    ] {
        let done = pipeline.run(&["--metrics", target]);
        assert_eq!(done.status.code(), Some(2), "{target}: {}", stderr(&done));
        assert!(stderr(&done).contains(expected), "{target}: {}", stderr(&done));
    }
}

#[test]
fn address_is_printed_and_the_key_of_the_pipeline_is_replaced() {
    let _leaks = isolated!();
    let pipeline = PipelineFile::new("length = 7", "");
    let text = fs::read_to_string(pipeline.path()).unwrap();
    fs::write(pipeline.path(), format!("{text}[run]\nmetrics = \"deep/run.prom\"\nbatches = 5\n")).unwrap();
    fs::create_dir(pipeline.folder.path().join("deep")).unwrap();
    let at =
        |options: &[&str]| output(cobuf().arg("run").arg(pipeline.path()).args(options).current_dir("/"));
    let done = at(&["--metrics", "[::1]:0"]);
    // A machine may have no IPv6.
    let done = if stderr(&done).contains("Cannot assign") { at(&["--metrics", "localhost:0"]) } else { done };
    assert!(done.status.success(), "{}", stderr(&done));
    assert_eq!(stderr(&done).matches("metrics at http://").count(), 1, "{}", stderr(&done));
    let file = pipeline.folder.path().join("deep/run.prom");
    assert!(!file.exists());
    assert!(at(&[]).status.success());
    assert!(fs::read_to_string(file).unwrap().contains("cobuf_running"));
}
