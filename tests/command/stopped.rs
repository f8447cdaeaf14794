//! Commands other than `run` that are stopped by a signal: they tell what they have so far.

use std::collections::BTreeSet;

use rustix::process::Signal;

use super::signals::{Place, Running};
use crate::common::{Process, cobuf, isolated, wait_until};

const SIGNALS: [(Signal, i32); 3] = [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)];

/// Starts a verb with the place's pipeline.
fn start(place: &Place, arguments: &[&str]) -> Running {
    let mut command = cobuf();
    command.current_dir(place.folder.path()).args(arguments);
    Running::start(command)
}

/// Waits until the command has begun so many runs, one after the other.
fn wait_for_runs(running: &Running, runs: usize) {
    let mut servers = BTreeSet::new();
    wait_until("it has begun its runs", || {
        let all = Process::descendants_of(running.process().pid).into_iter();
        // A process that it has just forked has its name, too.
        let is_server = |process: &Process| {
            process.name == "cobuf-fork" && Process::get(process.parent).is_some_and(|it| it.name == "cobuf")
        };
        servers.extend(all.filter(is_server).map(|process| process.pid));
        servers.len() >= runs
    });
}

#[test]
fn stopped_measurement_tells_its_complete_runs() {
    let leaks = isolated!();
    let place = Place::of("burn", "");
    for (signal, code) in SIGNALS {
        let running = start(
            &place,
            &["bench", "run.toml", "--json", "--batches", "20", "--runs", "1000", "--seconds", "1000"],
        );
        wait_for_runs(&running, 3);
        running.send(signal, false);
        let (ended, report, said, _) = running.end();
        assert_eq!(ended, Some(code), "{said}");
        let runs = report.expect("there were complete runs")["batches"].as_array().unwrap().len();
        assert!((2..1000).contains(&runs), "{runs}");
        assert!(said.contains(&format!("stopped by a signal after {runs} of 1000 rounds")), "{said}");
        leaks.bury_orphans();
    }
}

#[test]
fn measurement_that_is_stopped_in_its_first_run_has_no_report() {
    let leaks = isolated!();
    let place = Place::of("hang", "");
    let running = start(&place, &["bench", "run.toml", "--json"]);
    wait_until("a worker runs", || running.has_process("cobuf-work-0"));
    running.send(Signal::TERM, false);
    let (ended, report, said, _) = running.end();
    assert_eq!((ended, report), (Some(143), None), "{said}");
    assert!(said.contains("stopped by a signal"), "{said}");
    leaks.bury_orphans();
}

#[test]
fn stopped_chaos_tells_its_complete_rounds() {
    let leaks = isolated!();
    let place = Place::of("burn", "");
    for (signal, code) in SIGNALS {
        for to_group in [false, true] {
            let running =
                start(&place, &["chaos", "run.toml", "--json", "--batches", "50", "--seconds", "1000"]);
            // One to learn the number of workers, one undisturbed.
            wait_for_runs(&running, 3);
            running.send(signal, to_group);
            let (ended, report, said, _) = running.end();
            assert_eq!(ended, Some(code), "{said}");
            assert_eq!(report.expect("the undisturbed round is complete")["passed"], true, "{said}");
            assert!(said.contains("stopped by a signal"), "{said}");
            leaks.bury_orphans();
        }
    }
}

#[test]
fn check_is_stopped_at_once() {
    let leaks = isolated!();
    let place = Place::of("hang", "");
    let opening = place.path("opening");
    for (signal, code) in SIGNALS {
        let _ = std::fs::remove_file(&opening);
        let running =
            start(&place, &["check", "libplugin.so", "--json", "--config", "{\"mode\": \"hang-new\"}"]);
        // Not between two of its processes, when the next start removes what it leaves.
        wait_until("the producer is constructed", || opening.exists());
        running.send(signal, false);
        let (ended, report, said, _) = running.end();
        assert_eq!((ended, report), (Some(code), None), "{said}");
        leaks.bury_orphans();
    }
}
