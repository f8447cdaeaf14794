//! The benchmark of the buffer itself measures its cases, and says so. No test asks for speed.

#[path = "../common/figures.rs"]
mod figures;
#[path = "../harness/mod.rs"]
mod harness;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Output, Stdio};

use figures::{figures, report};
use harness::{Process, command, isolated, plugins, repository, wait_until};
use rustix::process::{Pid, Signal, kill_process};

/// The executable of this build.
const BENCH: &str = env!("CARGO_BIN_EXE_cobuf-bench");

/// In this folder; a checkout's has the plugins of the cases.
fn bench(folder: &Path, arguments: &[&str]) -> Output {
    command(BENCH).current_dir(folder).args(arguments).output().expect("the command can be run")
}

#[test]
fn cases_are_measured_beside_their_baselines() {
    let _leaks = isolated!();
    let cases = ["tiny", "uneven", "latency", "memory", "cpu", "submit", "cores"];
    let arguments = ["--runs", "2", "--seconds", "0.4", "--json"];
    let report = report(&bench(repository(), &[&cases[..], &arguments].concat()));
    let found = report["cases"].as_array().unwrap();
    assert_eq!(found.iter().map(|case| &case["name"]).collect::<Vec<_>>(), cases);
    for case in found {
        let figures = figures(case, 2);
        assert!(figures.iter().any(|figure| figure["baselines"][0].is_object()), "{case}");
        assert!(figures.iter().any(|figure| figure["goal"].is_object()), "{case}");
    }
}

#[test]
fn report_for_people_names_baselines_ratios_and_goals() {
    let _leaks = isolated!();
    let output = bench(repository(), &["tiny", "--runs", "1", "--seconds", "0.1"]);
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(output.status.success(), "{stderr}");
    for part in ["cores", "tiny: ", "in order", "µs a batch", "beside ", "ratio ", "goal at most 1: "] {
        assert!(stdout.contains(part), "{part:?} in {stdout}");
    }
    assert!(stderr.contains("measuring tiny, for about 0.1 s"), "{stderr}");
}

#[test]
fn signal_ends_a_measurement_and_leaves_nothing() {
    let _leaks = isolated!();
    let mut command = command(BENCH);
    command.current_dir(repository()).args(["tiny", "--runs", "1000", "--seconds", "100", "--json"]);
    let mut bench = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(bench.stderr.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().starts_with("measuring tiny")));
    kill_process(Pid::from_child(&bench), Signal::INT).unwrap();
    let output = bench.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(output.stdout.is_empty(), "{output:?}");
}

#[test]
fn measurement_ends_if_its_partner_is_killed() {
    let _leaks = isolated!();
    for case in ["tiny", "latency"] {
        let mut command = command(BENCH);
        command.current_dir(repository()).args([case, "--runs", "1000", "--seconds", "100"]);
        let mut bench = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let is_partner = |process: &Process| {
            let command = std::fs::read_to_string(format!("/proc/{}/cmdline", process.pid));
            command.is_ok_and(|command| command.contains("\0partner\0"))
        };
        // One that was killed when it had been measured anyway ends nothing: then there is a next
        // one.
        wait_until("it ends", || {
            let partners = Process::children_of(bench.id() as i32).into_iter().filter(is_partner);
            for partner in partners {
                partner.kill();
            }
            bench.try_wait().unwrap().is_some()
        });
        let output = bench.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains("a process that this one measures with has ended: signal: 9"), "{stderr}");
    }
}

#[test]
fn each_case_is_listed_in_a_line() {
    let _leaks = isolated!();
    let output = bench(repository(), &["--list"]);
    assert!(output.status.success());
    let list = String::from_utf8(output.stdout).unwrap();
    let names: Vec<_> = list.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let expected =
        "tiny large first-batch latency scaling cpu uneven idle memory slots images messages submit cores";
    assert_eq!(names.join(" "), expected);
}

#[test]
fn plugins_are_found_by_name_outside_a_checkout() {
    let _leaks = isolated!();
    let folder = tempfile::tempdir().unwrap();
    let mut command = command(BENCH);
    command.current_dir(folder.path()).env("COBUF_PLUGIN_PATH", plugins::folder());
    command.args(["tiny", "--runs", "1", "--seconds", "0.1", "--json"]);
    figures(&report(&command.output().unwrap())["cases"][0], 1);
}

#[test]
fn impossible_measurements_are_refused() {
    let _leaks = isolated!();
    let folder = tempfile::tempdir().unwrap();
    let refusal = |arguments: &[&str]| {
        let output = bench(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    let error = refusal(&["tiny"]);
    for part in ["need the plugin fill-producer", "in a checkout of cobuf", "COBUF_PLUGIN_PATH"] {
        assert!(error.contains(part), "{part:?} in {error}");
    }
    assert!(refusal(&["huge"]).contains("there is no case \"huge\""));
    assert!(
        refusal(&["tiny", "--seconds", "0"]).contains("--seconds is 0, expected a number of seconds above 0")
    );
    assert!(refusal(&["tiny", "--runs", "0"]).contains("--runs is 0, expected 1 or more"));
}
