//! A run that is paused as a whole: a container, a terminal, a snapshot of a virtual machine.

use std::process::Stdio;
use std::time::Duration;
use std::{fs, thread};

use crate::common::{Process, cobuf, compiled, isolated, plugin, refusals, repository, wait_until};

/// How long a message may take, and how long the pause is.
const LIMIT: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_secs(4);

#[test]
fn time_in_which_the_whole_run_stood_still_counts_for_no_deadline() {
    let _leaks = isolated!();
    let folder = refusals::folder();
    let library = repository().join("tests/common/sources/c/borrowed_library.c");
    let library = compiled::build(&folder, "cc", &library, &[]);
    let pipeline = format!(
        "[commander]\nplugin = {:?}\nconfig = {{ messages = [{{ index = 0 }}], repeat = 4 }}\n\
         [producer]\nplugin = {:?}\nconfig = {{ mode = \"burn\", seconds = 0.2 }}\n\
         [run]\nworkers = 1\nmessage_timeout_seconds = {}\n",
        plugin("list-commander").path(),
        library.path(),
        LIMIT.as_secs()
    );
    fs::write(folder.path().join("run.toml"), pipeline).unwrap();
    let mut command = cobuf();
    command.current_dir(folder.path()).args(["run", "run.toml", "--json"]).stdout(Stdio::piped());
    let child = command.spawn().unwrap();
    let all = || {
        let mut all = Process::descendants_of(child.id() as i32);
        all.push(Process::get(child.id() as i32).expect("the child was not waited for"));
        all
    };
    wait_until("the worker runs", || all().iter().any(|process| process.name == "cobuf-work-0"));
    for _ in 0..2 {
        // The host last, so that it does not see the others stand still; first it goes on.
        let stopped = all();
        stopped.iter().filter(|process| !process.zombie).for_each(Process::freeze);
        // Time itself is what is tested.
        thread::sleep(PAUSE);
        stopped.iter().rev().filter(|process| !process.zombie).for_each(Process::thaw);
    }
    let output = child.wait_with_output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((report["batches"].as_u64(), report["timeouts"].as_u64()), (Some(4), Some(0)), "{report}");
    assert!(output.status.success());
}
