//! Plugins that fork, start programs, close descriptors, and are ended from outside.

use std::fs;

use crate::common::{
    LONG, Logs, Process, all_items, compiled, host, index, isolated, list, next_batch, next_item, plugin,
    refusals, repository, wait_until,
};
use cobuf_host::{Batches, Dictionary, HostBuilder, Next, StartError, StartMethod, StreamError};
use rustix::process::Signal;
use tempfile::TempDir;

/// A stream of so many messages for a producer that does what `mode` says at message 3.
fn borrowed(folder: &TempDir, mode: &str, messages: u64) -> HostBuilder {
    let source = repository().join("tests/common/sources/c/borrowed_library.c");
    host()
        .commander(plugin("list-commander"))
        .commander_config(list([index(0)]).with("repeat", messages))
        .producer(compiled::build(folder, "cc", &source, &[]))
        .producer_config(config(mode))
}

fn config(mode: &str) -> Dictionary {
    Dictionary::new().with("mode", mode).with("at", 3).with("sleeps", sleeps(mode))
}

/// The argument of the programs that this test's plugin starts.
fn sleeps(mode: &str) -> String {
    // A number that is no other test's: sleep adds up its arguments' digits behind the point.
    format!("1000.{}{}", std::process::id(), mode.len())
}

/// The programs that the plugin has started and that are alive.
fn programs(mode: &str) -> Vec<Process> {
    let command = format!("sleep\0{}\0", sleeps(mode));
    let is_ours = |process: &Process| {
        fs::read(format!("/proc/{}/cmdline", process.pid)).is_ok_and(|line| line == command.as_bytes())
    };
    Process::all().into_iter().filter(is_ours).collect()
}

/// Takes batches until the plugin's program runs.
fn wait_for_program(batches: &Batches, mode: &str) {
    wait_until("the program runs", || {
        drop(next_batch(batches));
        programs(mode).len() == 1
    });
}

#[test]
fn copy_of_a_worker_that_returns_from_the_plugin_is_ended() {
    let _leaks = isolated!();
    let (folder, logs) = (refusals::folder(), Logs::collect());
    for mode in ["fork-ok", "fork-fail"] {
        let host = borrowed(&folder, mode, 50).start().unwrap();
        let sequences: Vec<u64> = all_items(&host.batches()).map(|item| item.unwrap().sequence()).collect();
        assert!(sequences.into_iter().eq(0..50), "{mode}");
        logs.wait_for("returned from the plugin's call and is ended");
        assert_eq!(host.statistics().worker_restarts, 0, "{mode}");
    }
}

#[test]
fn plugin_that_closes_all_descriptors_in_new_is_told_at_once() {
    let _leaks = isolated!();
    let folder = refusals::folder();
    let error = borrowed(&folder, "close-in-new", 9).start_timeout(LONG * 10).start().unwrap_err();
    let StartError::Plugin(error) = error else { panic!("{error:?}") };
    let text = error.to_string();
    assert!(text.contains("could not reach the host any more; does the plugin close descriptors"), "{text}");
}

#[test]
fn plugin_that_closes_all_descriptors_later_goes_on() {
    let _leaks = isolated!();
    let folder = refusals::folder();
    let host = borrowed(&folder, "close-in-produce", 50).start().unwrap();
    assert_eq!(all_items(&host.batches()).map(Result::unwrap).count(), 50);
}

#[test]
fn programs_of_a_dead_worker_are_ended() {
    let _leaks = isolated!();
    for mode in ["program", "session"] {
        let folder = refusals::folder();
        let host = borrowed(&folder, mode, 0).workers(1).start().unwrap();
        let batches = host.batches();
        wait_for_program(&batches, mode);
        let program = programs(mode).remove(0);
        assert!(Process::worker(host.fork_server_pid(), 0).kill());
        assert!(program.wait_for_end(LONG), "{mode}");
        wait_until("the program is reaped", || Process::get(program.pid) != Some(program.clone()));
        host.stop();
    }
}

#[test]
fn daemon_of_a_living_worker_stays_until_that_worker_ends() {
    let _leaks = isolated!();
    let (folder, mode) = (refusals::folder(), "daemon");
    let host = borrowed(&folder, mode, 0).start().unwrap();
    let batches = host.batches();
    wait_until("the daemon is the fork server's", || {
        drop(next_batch(&batches));
        programs(mode).iter().any(|daemon| daemon.parent == host.fork_server_pid() as i32)
    });
    let daemon = programs(mode).remove(0);
    let environment = fs::read(format!("/proc/{}/environ", daemon.pid)).unwrap();
    let starter =
        [0, 1].map(|number| Process::worker(host.fork_server_pid(), number)).into_iter().position(|worker| {
            let marker = format!("COBUF_PROCESS={}", worker.pid);
            environment.split(|&byte| byte == 0).any(|entry| entry == marker.as_bytes())
        });
    let starter = starter.expect("a worker has started it") as u32;
    let other = Process::worker(host.fork_server_pid(), 1 - starter);
    assert!(other.kill());
    wait_until("another worker takes its place", || {
        let workers = Process::living_workers(host.fork_server_pid());
        workers.len() == 2 && !workers.contains(&other)
    });
    assert!(programs(mode).contains(&daemon), "its worker lives");
    assert!(Process::worker(host.fork_server_pid(), starter).kill());
    assert!(daemon.wait_for_end(LONG));
}

#[test]
fn nothing_that_a_plugin_started_outlives_the_run() {
    let _leaks = isolated!();
    for mode in ["program", "session", "daemon"] {
        let folder = refusals::folder();
        let host = borrowed(&folder, mode, 0).start().unwrap();
        let batches = host.batches();
        wait_for_program(&batches, mode);
        host.stop();
        assert_eq!(programs(mode), [], "{mode}");
    }
}

#[test]
fn nothing_that_a_plugin_started_outlives_a_fork_server_that_was_killed() {
    let leaks = isolated!();
    for method in [StartMethod::ForkServer, StartMethod::Fork] {
        for mode in ["program", "session", "daemon"] {
            let folder = refusals::folder();
            let host = borrowed(&folder, mode, 0).start_method(method).start().unwrap();
            let batches = host.batches();
            wait_for_program(&batches, mode);
            let program = programs(mode).remove(0);
            assert!(Process::get(host.fork_server_pid() as i32).unwrap().kill());
            assert!(program.wait_for_end(LONG), "{method:?}, {mode}");
            host.stop();
            leaks.bury_orphans();
        }
    }
}

#[test]
fn end_from_outside_is_no_attempt_at_the_message() {
    let _leaks = isolated!();
    let folder = refusals::folder();
    let host = borrowed(&folder, "burn", 8).producer_config(config("burn").with("seconds", 0.2));
    let host = host.max_attempts(1).start().unwrap();
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let workers = || Process::living_workers(host.fork_server_pid());
        wait_until("there are workers again", || !workers().is_empty());
        let workers = workers();
        assert!(workers.iter().all(|worker| worker.send(signal)), "{signal:?}");
        // Those that end would be found by the next look.
        assert!(workers.iter().all(|worker| worker.wait_for_end(LONG)), "{signal:?}");
    }
    let sequences: Vec<u64> = all_items(&host.batches()).map(|item| item.unwrap().sequence()).collect();
    assert!(sequences.into_iter().eq(0..8));
}

#[test]
fn copy_of_a_plugin_that_was_removed_is_put_back_for_the_next_process() {
    let leaks = isolated!();
    let folder = refusals::folder();
    for kill_server in [false, true] {
        let host = borrowed(&folder, "fill", 0).workers(1).start().unwrap();
        let batches = host.batches();
        drop(next_batch(&batches));
        let runs = fs::read_dir(std::env::temp_dir()).unwrap().map(|entry| entry.unwrap().path());
        let run = runs.filter(|path| path.to_string_lossy().contains("cobuf-run-")).last().unwrap();
        fs::remove_dir_all(&run).unwrap();
        let server = Process::get(host.fork_server_pid() as i32).unwrap();
        assert!(if kill_server { server.kill() } else { Process::worker(server.pid as u32, 0).kill() });
        let restarts = || {
            let statistics = host.statistics();
            statistics.worker_restarts + statistics.fork_server_restarts
        };
        wait_until("a process was replaced", || restarts() == 1);
        // More than there are slots.
        (0..20).for_each(|_| drop(next_batch(&batches)));
        host.stop();
        assert!(!run.exists());
        leaks.bury_orphans();
    }
}

#[test]
fn lost_workers_end_a_stream_whose_commander_has_failed() {
    let _leaks = isolated!();
    let folder = refusals::folder();
    let host = borrowed(&folder, "no-second-open", 9).workers(1).slots(8);
    let config = list([index(0)]).with("repeat", 20).with("fail_at", 6);
    let host = host.commander_config(config).start().unwrap();
    let batches = host.batches();
    (0..3).for_each(|sequence| assert_eq!(next_batch(&batches).sequence(), sequence));
    let Some(Err(StreamError::Twice { error, earlier })) = next_item(&batches) else {
        panic!("both are told")
    };
    assert!(matches!(*error, StreamError::WorkersLost { .. }), "{error:?}");
    assert!(matches!(*earlier, StreamError::Commander { commanded: 6, .. }), "{earlier:?}");
    assert!(matches!(batches.try_next(), Next::Ended));
}
