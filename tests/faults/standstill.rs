//! A run that is paused as a whole: a container, a terminal, a snapshot of a virtual machine.

use std::process::{Child, Stdio};
use std::time::Duration;
use std::{fs, thread};

use crate::common::{LONG, Process, cobuf, compiled, isolated, plugin, refusals, repository, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long a message may take, and how long the pause is.
const LIMIT: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_secs(4);

/// Starts a run in this folder, whose producer does this.
fn run(folder: &TempDir, producer: &str, settings: &str) -> Child {
    let library = repository().join("tests/common/sources/c/borrowed_library.c");
    let library = compiled::build(folder, "cc", &library, &[]);
    let pipeline = format!(
        "[commander]\nplugin = {:?}\nconfig = {{ messages = [{{ index = 0 }}], repeat = 4 }}\n\
         [producer]\nplugin = {:?}\nconfig = {{ {producer} }}\n[run]\nworkers = 1\n{settings}\n",
        plugin("list-commander").path(),
        library.path(),
    );
    fs::write(folder.path().join("run.toml"), pipeline).unwrap();
    let mut command = cobuf();
    command.current_dir(folder.path()).args(["run", "run.toml", "--json"]).stdout(Stdio::piped());
    command.spawn().unwrap()
}

/// Its processes, the host last.
fn all_of(run: &Child) -> Vec<Process> {
    let host = Process::get(run.id() as i32).expect("the child was not waited for");
    let all = Process::descendants_of(run.id() as i32).into_iter();
    all.filter(|process| !process.zombie).chain([host]).collect()
}

/// Has the whole run stand still for this long.
fn pause(run: &Child, lasts: Duration) {
    // The host last, so that it does not see the others stand still; first it goes on.
    let mut stopped = all_of(run);
    stopped.retain(Process::freeze_unless_it_ends);
    // Time itself is what is tested.
    thread::sleep(lasts);
    stopped.iter().rev().for_each(Process::thaw);
}

#[test]
fn time_in_which_the_whole_run_stood_still_counts_for_no_deadline() {
    let _leaks = isolated!();
    let folder = refusals::folder();
    let limit = format!("message_timeout_seconds = {}", LIMIT.as_secs());
    let child = run(&folder, "mode = \"burn\", seconds = 0.2", &limit);
    wait_until("the worker runs", || all_of(&child).iter().any(|process| process.name == "cobuf-work-0"));
    pause(&child, PAUSE);
    pause(&child, PAUSE);
    let output = child.wait_with_output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((report["batches"].as_u64(), report["timeouts"].as_u64()), (Some(4), Some(0)), "{report}");
    assert!(output.status.success());
}

#[test]
fn standstill_during_a_stop_takes_nothing_from_the_grace_of_plugins() {
    let _leaks = isolated!();
    let folder = refusals::folder();
    let child = run(&folder, "mode = \"finish\", seconds = 0.1", "stop_grace_seconds = 3");
    wait_until("the worker runs", || all_of(&child).iter().any(|process| process.name == "cobuf-work-0"));
    let host = all_of(&child).pop().unwrap();
    kill_process(Pid::from_raw(host.pid).unwrap(), Signal::TERM).unwrap();
    wait_until("the plugin finishes its work", || folder.path().join("finishing").exists());
    pause(&child, PAUSE);
    assert!(host.wait_for_end(LONG));
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(143));
    assert!(folder.path().join("finished").exists(), "the worker was killed before its producer was closed");
}
