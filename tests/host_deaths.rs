//! What becomes of a run whose host, fork server or commander is killed: nothing hangs, and nothing is left of it.

mod common;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;

use cobuf_host::{
    Death, Dictionary, Exit, HostBuilder, Next, OnCommanderFailure, ReportKind, StartMethod, StreamError,
    WaitingFor,
};
use common::{
    Gate, LONG, Leaks, Logs, Process, all_items, array, filling, gated, index, list, next_batch, next_item,
    small, wait_for_ready, wait_until,
};

const KILLED: Death = Death::Exit(Exit::Signal(9));

/// An endless stream.
fn endless() -> HostBuilder {
    filling([], &small()).commander_config(list([index(0)]).with("repeat", 0))
}

/// A host whose stream ends with its commander.
fn with_one_commander(config: Dictionary) -> HostBuilder {
    let builder = filling([], &small()).commander_config(config);
    builder.on_commander_failure(ReportKind::Crash, OnCommanderFailure::End)
}

fn commander_died(error: StreamError) -> (u64, Death) {
    match error {
        StreamError::CommanderDied { plugin, commanded, death, attempts: 1 }
            if plugin == "list-commander" =>
        {
            (commanded, death)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn is_all_that_a_killed_commander_had_commanded_delivered() {
    let _leaks = Leaks::watch();
    for deterministic in [true, false] {
        let endless = list([index(0)]).with("repeat", 0);
        let host = with_one_commander(endless).workers(2).slots(5).ordered(deterministic).start().unwrap();
        wait_for_ready(&host, 5);
        let commander = Process::commander(host.fork_server_pid());
        assert!(commander.kill() && commander.wait_for_end(LONG));
        let mut items: Vec<_> =
            all_items(&host.batches()).map(|item| item.map(|batch| batch.sequence())).collect();
        let (commanded, how) = commander_died(items.pop().unwrap().unwrap_err());
        assert_eq!(how, KILLED);
        // It may have had the time to command one more, into the slot of the first batch, before the host knew.
        assert!((5..=6).contains(&commanded), "{commanded}");
        let delivered: BTreeSet<u64> = items.into_iter().map(Result::unwrap).collect();
        assert!(delivered.into_iter().eq(0..commanded));
    }
}

#[test]
fn is_what_a_killed_commander_had_commanded_still_produced() {
    let _leaks = Leaks::watch();
    let logs = Logs::collect();
    for deterministic in [true, false] {
        logs.clear();
        let gate = Gate::new();
        let messages = list([gated(0, "at the gate", &gate)]).with("repeat", 0).with("sleep_seconds", 0.05);
        let host = with_one_commander(messages).workers(1).slots(5).ordered(deterministic);
        let host = host.start().unwrap();
        logs.wait_for("at the gate");
        let commander = Process::commander(host.fork_server_pid());
        commander.freeze();
        // Asleep before its next message, it has claimed a slot; that is given back once the host knows of its death.
        let free = host.statistics().slots.free;
        assert!(commander.kill());
        wait_until("its slot is free again", || host.statistics().slots.free == free + 1);
        assert!(matches!(host.batches().try_next(), Next::Pending(WaitingFor::Producers)));
        gate.open();
        let mut items: Vec<_> =
            all_items(&host.batches()).map(|item| item.map(|batch| batch.sequence())).collect();
        let (commanded, _) = commander_died(items.pop().unwrap().unwrap_err());
        assert!(commanded > 0 && items.into_iter().map(Result::unwrap).eq(0..commanded));
    }
}

#[test]
fn does_a_waiting_consumer_learn_of_the_death_of_a_commander_at_work() {
    let _leaks = Leaks::watch();
    let host = with_one_commander(list([index(0)]).with("sleep_seconds", 3600));
    let host = host.workers(1).slots(2).start().unwrap();
    // It has claimed a slot, and is asked for the message.
    wait_until("the commander has a slot", || host.statistics().slots.writing == 1);
    thread::scope(|scope| {
        let consumer = scope.spawn(|| all_items(&host.batches()).collect::<Vec<_>>());
        assert!(Process::commander(host.fork_server_pid()).kill());
        let mut items = consumer.join().unwrap();
        assert_eq!(items.len(), 1, "{items:?}");
        assert_eq!(commander_died(items.remove(0).unwrap_err()), (0, KILLED));
    });
    wait_until("its slot is free again", || host.statistics().slots.free == 2);
}

/// A fork server's executable that can be taken away, so that there is no other one after the first.
struct Removable(tempfile::TempDir);

impl Removable {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("server-of-a-test-").tempdir().unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_cobuf"), folder.path().join("cobuf")).unwrap();
        Self(folder)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("cobuf")
    }
}

#[test]
fn is_what_was_ready_delivered_after_the_fork_server_was_killed() {
    let leaks = Leaks::watch();
    let gate = Gate::new();
    let messages = (0..6).map(|number| if number == 3 { gated(3, "", &gate) } else { index(number) });
    let executable = Removable::new();
    let host = filling(messages, &small()).fork_server(executable.path()).workers(1).slots(5);
    let host = host.start().unwrap();
    wait_for_ready(&host, 3);
    drop(executable);
    let server = Process::get(host.fork_server_pid() as i32).unwrap();
    assert!(server.kill() && server.wait_for_end(LONG));
    let batches = host.batches();
    let mut items: Vec<_> = all_items(&batches).map(|item| item.map(|batch| batch.sequence())).collect();
    let Some(Err(StreamError::ForkServerDied { reason })) = items.pop() else { panic!("{items:?}") };
    assert!(reason.contains("as the fork server: No such file"), "{reason}");
    assert!(items.into_iter().map(Result::unwrap).eq(0..3));
    assert!(next_item(&batches).is_none());
    // Its children die with it, without being asked to stop.
    leaks.bury_orphans();
    host.stop();
}

#[test]
fn do_waiting_consumers_learn_of_the_death_of_the_fork_server() {
    let leaks = Leaks::watch();
    let gate = Gate::new();
    for deterministic in [true, false] {
        let executable = Removable::new();
        let host = filling([gated(0, "", &gate)], &small()).fork_server(executable.path()).workers(2);
        let host = host.ordered(deterministic).start().unwrap();
        drop(executable);
        let (sender, receiver) = mpsc::channel();
        for _ in 0..3 {
            let (mut batches, sender) = (host.batches(), sender.clone());
            thread::spawn(move || sender.send(batches.next()));
        }
        assert!(Process::get(host.fork_server_pid() as i32).unwrap().kill());
        // One is told why, and for all of them it is the end.
        let told: Vec<_> = (0..3).map(|_| receiver.recv_timeout(LONG).unwrap()).collect();
        let whys: Vec<_> = told.into_iter().flatten().collect();
        assert!(matches!(whys[..], [Err(StreamError::ForkServerDied { .. })]), "{whys:?}");
        drop(host);
        leaks.bury_orphans();
    }
}

// SIGKILL of the host's process. It is this test binary again, running `the_host_that_is_killed` alone.

const SCENE: &str = "COBUF_TEST_SCENE";

/// A host's process that was started to be killed.
struct Victim {
    process: Child,
    says: BufReader<ChildStdout>,
}

impl Victim {
    fn start(scene: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "the_host_that_is_killed", "--ignored", "--nocapture"]).env(SCENE, scene);
        let mut process =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let says = BufReader::new(process.stdout.take().unwrap());
        Self { process, says }
    }

    /// Reads what it says until this line.
    fn wait_for(&mut self, line: &str) {
        let mut lines = self.says.by_ref().lines().map(Result::unwrap);
        assert!(lines.any(|said| said == line), "the host ended before it said {line:?}");
    }

    /// Kills it, and waits until all of its processes have ended; there must have been at least so many.
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
        // Only where the test failed, and it still runs.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Says a line of its own: the test harness may have begun one.
fn say(line: &str) {
    println!("\n{line}");
}

#[test]
#[ignore = "it is run by the tests of this file, in a process of its own, and is killed there"]
fn the_host_that_is_killed() {
    let Ok(scene) = std::env::var(SCENE) else { return };
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
fn does_nothing_outlive_a_host_that_is_killed_while_it_reads() {
    let leaks = Leaks::watch();
    for scene in ["reading", "forked"] {
        let mut host = Victim::start(scene);
        host.wait_for("held 2");
        // Fork server, commander, three workers.
        host.kill(5, &leaks);
    }
}

#[test]
fn does_nothing_outlive_a_host_that_is_killed_while_a_producer_hangs() {
    let leaks = Leaks::watch();
    let mut host = Victim::start("stalled");
    host.wait_for("started");
    // Fork server, two workers; the commander is done.
    host.kill(3, &leaks);
}

#[test]
fn does_nothing_outlive_a_host_that_is_killed_while_it_reserves_its_memory() {
    let leaks = Leaks::watch();
    let host = Victim::start("large");
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
fn does_nothing_outlive_hosts_that_are_killed_at_any_time_of_their_start() {
    let leaks = Leaks::watch();
    // From one more process to the next, which is as far as a start can be seen from outside.
    for processes in 1..=5 {
        for _ in 0..3 {
            let host = Victim::start("reading");
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
