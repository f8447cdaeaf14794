//! A fork server that dies or hangs: it is replaced with all its processes, or the stream ends.

use crate::common::{
    Delivered, Gate, LONG, Logs, Process, all_items, assert_undisturbed, filling, gated, index, isolated,
    list, next_batch, next_item, random_stream, small, wait_for_ready, wait_until,
};
use cobuf_host::{ProcessRole, ProcessSetup, StartMethod, StreamError};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;

#[test]
fn run_goes_on_after_its_fork_server_was_killed() {
    let leaks = isolated!();
    assert_undisturbed(3, |host, take_six, round| {
        let before = host.processes();
        assert_eq!(before.len(), 4, "{before:?}");
        let server = Process::get(before[0].pid as i32).unwrap();
        assert!(server.kill() && server.wait_for_end(LONG));
        take_six();
        wait_until("there are as many other processes", || {
            let now = host.processes();
            now.len() == before.len() && now.iter().all(|process| !before.contains(process))
        });
        assert_eq!(host.statistics().fork_server_restarts, round);
    });
    leaks.bury_orphans();
}

#[test]
fn death_of_the_fork_server_is_no_attempt_at_a_message() {
    let leaks = isolated!();
    let logs = Logs::collect();
    logs.clear();
    let gate = Gate::new();
    let host = filling([gated(0, "at the gate of the server", &gate)], &small()).max_attempts(1).workers(1);
    let host = host.start().unwrap();
    for round in 1..=2 {
        logs.wait_for_many("at the gate of the server", round);
        assert!(Process::get(host.fork_server_pid() as i32).unwrap().kill());
    }
    logs.wait_for_many("at the gate of the server", 3);
    gate.open();
    let batch = next_batch(&host.batches());
    assert_eq!((batch.sequence(), batch.retries()), (0, 0));
    drop(batch);
    assert!(next_item(&host.batches()).is_none());
    host.stop();
    leaks.bury_orphans();
}

#[test]
fn fork_servers_that_keep_dying_end_the_stream() {
    let leaks = isolated!();
    let gate = Gate::new();
    let host = filling([gated(0, "", &gate)], &small()).workers(1).start().unwrap();
    let killer = std::thread::scope(|scope| {
        let host = &host;
        let consumer = scope.spawn(|| next_item(&host.batches()));
        let mut killed = 0;
        while !consumer.is_finished() {
            if let Some(server) = Process::get(host.fork_server_pid() as i32) {
                killed += u32::from(!server.zombie && server.kill());
            }
        }
        assert!(killed >= 3, "{killed}");
        consumer.join().unwrap()
    });
    let Some(Err(StreamError::ForkServerDied { reason })) = killer else { panic!("{killer:?}") };
    assert!(reason.contains("with no batch in between"), "{reason}");
    host.stop();
    leaks.bury_orphans();
}

#[test]
fn application_is_not_forked_again_in_the_middle_of_a_run() {
    let leaks = isolated!();
    let host = random_stream(60).workers(2).slots(6).start_method(StartMethod::Fork).start().unwrap();
    wait_for_ready(&host, 6);
    assert!(Process::get(host.fork_server_pid() as i32).unwrap().kill());
    let mut items: Vec<_> = all_items(&host.batches()).collect();
    let error = items.pop().unwrap().unwrap_err();
    let StreamError::ForkServerDied { reason } = &error else { panic!("{error:?}") };
    assert!(reason.contains("use StartMethod::ForkServer"), "{reason}");
    // What was ready is delivered.
    assert!(items.len() >= 6);
    host.stop();
    leaks.bury_orphans();
}

#[test]
fn unresponsive_fork_server_is_replaced() {
    let leaks = isolated!();
    let logs = Logs::collect();
    logs.clear();
    let gate = Gate::new();
    let host = filling([gated(0, "held while the server is frozen", &gate), index(1)], &small()).workers(1);
    let host = host.message_timeout(LONG).start().unwrap();
    logs.wait_for("held while the server is frozen");
    Process::get(host.fork_server_pid() as i32).unwrap().freeze();
    // It is asked for a worker more, and does not answer.
    host.set_workers(2).unwrap();
    wait_until("it is replaced", || host.statistics().fork_server_restarts == 1);
    gate.open();
    assert_eq!(Delivered::of(&host.batches()).sequences, [0, 1]);
    host.stop();
    leaks.bury_orphans();
}

#[test]
fn processes_of_a_run_are_known_by_their_roles() {
    let _leaks = isolated!();
    let gate = Gate::new();
    let messages = list([gated(0, "", &gate)]).with("repeat", 0);
    let host = filling([], &small()).commander_config(messages).workers(2).start().unwrap();
    // As soon as the host has started.
    let processes = host.processes();
    let roles: Vec<ProcessRole> = processes.iter().map(|process| process.role).collect();
    let worker = ProcessRole::Worker;
    assert_eq!(roles, [ProcessRole::ForkServer, ProcessRole::Commander, worker(0), worker(1)]);
    let names: Vec<String> =
        processes.iter().map(|process| Process::get(process.pid as i32).unwrap().name).collect();
    assert_eq!(names, ["cobuf-fork", "cobuf-command", "cobuf-work-0", "cobuf-work-1"]);
    gate.open();
}

#[test]
fn processes_keep_the_descriptors_of_the_application_only_if_they_are_to() {
    let _leaks = isolated!();
    // Not marked close-on-exec.
    let (reader, _writer) = rustix::pipe::pipe().unwrap();
    let target = |pid: u32, fd: &str| std::fs::read_link(format!("/proc/{pid}/fd/{fd}"));
    let number = reader.as_raw_fd().to_string();
    let pipe = target(std::process::id(), &number).unwrap();
    for (method, keep) in [
        (StartMethod::ForkServer, false),
        (StartMethod::Fork, false),
        (StartMethod::ForkServer, true),
        (StartMethod::Fork, true),
    ] {
        let setup = ProcessSetup { keep_descriptors: keep, ..ProcessSetup::default() };
        let host = random_stream(60).workers(2).start_method(method).process_setup(setup).start().unwrap();
        let (server, others): (Vec<_>, Vec<_>) =
            host.processes().into_iter().partition(|process| process.role == ProcessRole::ForkServer);
        assert_eq!((server.len(), others.len()), (1, 3));
        for process in others {
            let kept = target(process.pid, &number).is_ok_and(|found| found == pipe);
            assert_eq!(kept, keep, "{method:?}, {:?}", process.role);
            // None of the fork server's own is kept, such as that by which it hears of deaths.
            let open = std::fs::read_dir(format!("/proc/{}/fd", process.pid)).unwrap();
            let targets: Vec<PathBuf> =
                open.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok()).collect();
            let of_server =
                |name: &str| targets.iter().filter(|path| path.to_string_lossy().contains(name)).count();
            assert_eq!(of_server("[signalfd]"), 0, "{targets:?}");
        }
        assert_eq!(all_items(&host.batches()).filter(Result::is_ok).count(), 60);
        host.stop();
    }
}

/// A fork server's executable that can be taken away, so that there is no other one after the
/// first.
struct Removable(tempfile::TempDir);

impl Removable {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("server-of-a-test-").tempdir().unwrap();
        std::os::unix::fs::symlink(crate::common::COBUF, folder.path().join("cobuf")).unwrap();
        Self(folder)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("cobuf")
    }
}

#[test]
fn ready_batches_are_delivered_after_the_fork_server_died() {
    let leaks = isolated!();
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
fn waiting_consumers_learn_of_the_death_of_the_fork_server() {
    let leaks = isolated!();
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
