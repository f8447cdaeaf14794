//! A host that is killed: none of its processes outlives it, and nothing is left of it.

use crate::common::{
    LONG, Leaks, Process, application, array, filling, index, isolated, list, next_batch, small,
    start_as_application, test_name, wait_until,
};
use cobuf_host::{HostBuilder, StartMethod};
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Stdio};

/// An endless stream.
fn endless() -> HostBuilder {
    filling([], &small()).commander_config(list([index(0)]).with("repeat", 0))
}

/// A host's process that was started to be killed.
struct Victim {
    process: Child,
    says: BufReader<ChildStdout>,
}

impl Victim {
    /// Has the test of this name play a scene in a process of its own.
    fn start(test: &str, scene: &str) -> Self {
        let mut command = start_as_application(test, scene);
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let says = BufReader::new(process.stdout.take().unwrap());
        Self { process, says }
    }

    /// Reads what it says until this line.
    fn wait_for(&mut self, line: &str) {
        let mut lines = self.says.by_ref().lines().map(Result::unwrap);
        assert!(lines.any(|said| said == line), "the host ended before it said {line:?}");
    }

    /// Kills it, and waits until all of its processes have ended; there must have been at least so
    /// many.
    fn kill(mut self, at_least: usize, leaks: &Leaks) {
        let processes = Process::descendants_of(self.process.id() as i32);
        assert!(processes.len() >= at_least, "{processes:?}");
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        for process in &processes {
            assert!(process.wait_for_end(LONG), "{process:?} outlives its host");
        }
        leaks.bury_orphans();
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // Only if the test failed, and it still runs.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Says a line of its own: the test harness may have begun one.
fn say(line: &str) {
    println!("\n{line}");
}

/// In the process of a host that is to be killed, plays its scene; does nothing in the test itself.
fn play_if_told() {
    let Some(scene) = application() else { return };
    let host = match scene.as_str() {
        "stalled" => {
            let looping = index(0).with("loop_forever", true);
            filling([looping], &small()).workers(2)
        }
        "forked" => endless().workers(3).start_method(StartMethod::Fork),
        "large" => filling([], &[array("x", "u8", &[64 << 20])]).workers(1).slots(16),
        _ => endless().workers(3),
    };
    let host = host.start().unwrap();
    let mut held = vec![];
    say("started");
    loop {
        let batch = next_batch(&host.batches());
        if held.len() < 2 {
            held.push(batch);
            say(&format!("held {}", held.len()));
        }
    }
}

#[test]
fn nothing_outlives_a_host_killed_while_it_reads() {
    let leaks = isolated!();
    play_if_told();
    for scene in ["reading", "forked"] {
        let mut host = Victim::start(&test_name!(), scene);
        host.wait_for("held 2");
        // Fork server, commander, three workers.
        host.kill(5, &leaks);
    }
}

#[test]
fn nothing_outlives_a_host_killed_while_a_producer_hangs() {
    let leaks = isolated!();
    play_if_told();
    let mut host = Victim::start(&test_name!(), "stalled");
    host.wait_for("started");
    // Fork server, two workers; the commander is done.
    host.kill(3, &leaks);
}

#[test]
fn nothing_outlives_a_host_killed_while_it_reserves_memory() {
    let leaks = isolated!();
    play_if_told();
    let host = Victim::start(&test_name!(), "large");
    // Populating a GiB takes a while, in which the fork server has not mapped it.
    wait_until("the host makes its segment", || has_segment(host.process.id()));
    host.kill(1, &leaks);
}

/// Whether a process has mapped a segment.
fn has_segment(pid: u32) -> bool {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    maps.contains("/dev/shm/cobuf-")
}

#[test]
fn nothing_outlives_hosts_killed_at_any_stage_of_their_start() {
    let leaks = isolated!();
    play_if_told();
    // From one more process to the next, which is as far as a start can be seen from outside.
    for processes in 1..=5 {
        for _ in 0..3 {
            let host = Victim::start(&test_name!(), "reading");
            let pid = host.process.id() as i32;
            wait_until("the host has started more processes", || {
                Process::descendants_of(pid).len() >= processes
            });
            host.kill(1, &leaks);
        }
    }
    // The folder of a host that died before its fork server knew of it is left to the next start.
    drop(endless().start().unwrap());
}
