//! `cobuf check` finds each fault of a plugin, and none in a plugin without a fault.

use crate::common::compiled::{documented, ramp};
use crate::common::packages::Package;
use crate::common::refusals::folder;
use crate::common::{array, arrays_config, cobuf, index, isolated, list, plugin, repository};
use cobuf_host::conformance::{Examination, Outcome, Report};
use cobuf_host::{Dictionary, Plugin, Value};
use std::path::Path;
use std::process::Output;
use std::time::Duration;

/// Long enough that everything is done many times.
const SOAK: Duration = Duration::from_millis(20);
/// What is waited for a plugin that hangs.
const HANG_LIMIT: Duration = Duration::from_secs(5);

fn examination(plugin: Plugin) -> Examination {
    Examination::of(plugin).fork_server(crate::common::COBUF).soak(SOAK)
}

/// The tests that ended so.
fn tests(report: &Report, outcome: Outcome) -> Vec<&'static str> {
    let those = report.findings.iter().filter(|finding| finding.outcome == outcome);
    those.map(|finding| finding.test).collect()
}

fn detail<'a>(report: &'a Report, test: &str) -> &'a str {
    &report.finding(test).expect("the test was made").detail
}

#[track_caller]
fn assert_passes(examination: &Examination) -> Report {
    let report = examination.run().expect("it can be examined");
    let bad = [Outcome::Failed, Outcome::Warned].map(|outcome| tests(&report, outcome));
    assert_eq!(bad, [Vec::<&str>::new(), Vec::new()], "{report:#?}");
    report
}

/// Whether just this test fails, and says so.
#[track_caller]
fn assert_finds(report: &Report, test: &str, says: &str) {
    assert_eq!(tests(report, Outcome::Failed), [test], "{report:#?}");
    assert!(detail(report, test).contains(says), "{:?}", detail(report, test));
}

fn faulty_producer(fault: &str) -> Report {
    with_fault(fault).run().expect("it can be examined")
}

fn with_fault(fault: &str) -> Examination {
    let built = Package::new("faulty-producer", include_str!("../common/sources/faulty_producer.rs")).build();
    let config = Dictionary::new().with("fault", fault).with("level", 3);
    let messages = (0..3).map(index);
    examination(built).config(config).messages(messages)
}

fn faulty_commander(fault: &str) -> Report {
    let built =
        Package::new("faulty-commander", include_str!("../common/sources/faulty_commander.rs")).build();
    examination(built).config(Dictionary::new().with("fault", fault)).run().expect("it can be examined")
}

#[test]
fn producers_of_this_repository_pass() {
    let _leaks = isolated!();
    let arrays = [array("x", "f32", &[4, 3]), array("b", "bool", &[5]), array("one", "f64", &[])];
    let fill = examination(plugin("fill-producer")).config(arrays_config(&arrays));
    assert_passes(&fill.messages([index(1), Dictionary::new().with("random", true)]));
    let digits = examination(plugin("digits-producer")).config(Dictionary::new().with("batch_size", 4));
    let items = Dictionary::new().with("length", 1797).with("batch_size", 4).with("shuffle", true);
    assert_passes(&digits.messages_of(plugin("index-commander"), items));
    let size = Dictionary::new().with("batch_size", 2).with("height", 16).with("width", 16);
    let images = examination(plugin("image-producer")).config(size.with("crop", "random"));
    let folder = Dictionary::new().with("folder", "images").with("batch_size", 2);
    let images = images.messages_of(plugin("image-commander"), folder);
    assert_passes(&images.working_directory(repository().join("examples")));
}

#[test]
fn commanders_of_this_repository_pass() {
    let _leaks = isolated!();
    let length = Dictionary::new().with("length", 50).with("shuffle", true).with("epochs", 3);
    assert_passes(&examination(plugin("index-commander")).config(length));
    assert_passes(&examination(plugin("list-commander")).config(list((0..5).map(index))));
    let folder = Dictionary::new().with("folder", "images").with("batch_size", 2);
    let images = examination(plugin("image-commander")).config(folder);
    assert_passes(&images.working_directory(repository().join("examples")));
}

#[test]
fn models_in_c_and_cpp_pass() {
    let _leaks = isolated!();
    let folder = folder();
    let size = Dictionary::new().with("batch_size", 4).with("width", 8).with("noise", 0.5);
    let items = Dictionary::new().with("length", 10).with("batch_size", 4).with("shuffle", true);
    let ramps = examination(ramp(&folder, &[])).config(size).messages_of(plugin("index-commander"), items);
    let report = assert_passes(&ramps);
    let manifest = detail(&report, "manifest");
    assert!(manifest.starts_with("producer ramp-producer-c 0.1.0, cobuf.h C/1, "), "{manifest}");
    let frequencies = [0.25, 0.5].map(|frequency| Dictionary::new().with("frequency", frequency));
    let sines = examination(documented(&folder)).config(Dictionary::new().with("gain", 2));
    assert_passes(&sines.messages(frequencies));
}

#[test]
fn producer_without_a_fault_passes() {
    let _leaks = isolated!();
    let report = faulty_producer("");
    assert!(report.passed() && report.count(Outcome::Warned) == 0, "{report:#?}");
}

#[test]
fn plain_loop_measures_a_producer_alone() {
    let _leaks = isolated!();
    let rate = with_fault("").plain_loop(2, SOAK).expect("it does the messages");
    assert!(rate.is_finite() && rate > 0.0, "{rate}");
    let error = with_fault("crash").plain_loop(2, SOAK).unwrap_err().to_string();
    assert!(
        error.contains("in a plain loop cannot be started: its process was ended by signal 6"),
        "{error}"
    );
    let commander = examination(plugin("list-commander")).config(list([index(1)]));
    assert!(commander.plain_loop(1, SOAK).unwrap_err().to_string().contains("commander"));
    let without_messages =
        examination(plugin("fill-producer")).config(arrays_config(&[array("x", "u8", &[1])]));
    let error = without_messages.plain_loop(1, SOAK).unwrap_err().to_string();
    assert!(error.contains("there is no message"), "{error}");
}

#[test]
fn varying_bytes_are_found() {
    let _leaks = isolated!();
    assert_finds(&faulty_producer("time"), "repeat", "array \"x\" differs first at element 7");
    assert_finds(&faulty_producer("pid"), "other-process", "array \"y\" differs first in elements 6 to 8");
    for fault in ["worker", "attempt"] {
        assert_finds(&faulty_producer(fault), "other-process", "array \"x\" differs first at element 7");
    }
    // The guide recommends how long a part took as metadata.
    let timed = faulty_producer("metadata-time");
    assert_eq!(tests(&timed, Outcome::Failed), Vec::<&str>::new(), "{timed:#?}");
    for test in ["repeat", "other-process", "workers", "every-element"] {
        assert_eq!(timed.finding(test).unwrap().outcome, Outcome::Warned, "{test}");
        assert!(detail(&timed, test).contains("differ: if that is a time"), "{}", detail(&timed, test));
    }
    assert_finds(&faulty_producer("unwritten"), "every-element", "array \"x\" differs first at element 42");
    assert_finds(&faulty_producer("schema"), "configuration", "another time x u8");
}

#[test]
fn writes_beside_the_arrays_are_found() {
    let _leaks = isolated!();
    assert_finds(&faulty_producer("past-end"), "bounds", "behind array \"x\", 2 bytes from it");
    let far = faulty_producer("far-past-end");
    assert_finds(&far, "bounds", "with a guard page behind array \"x\": its process was ended by signal 11");
    let before = faulty_producer("before-start");
    assert_finds(
        &before,
        "bounds",
        "with a guard page before array \"x\": its process was ended by signal 11",
    );
}

#[test]
fn leaks_are_found() {
    let _leaks = isolated!();
    assert_finds(&faulty_producer("leak"), "leaks", "bytes of memory behind");
    assert_finds(&faulty_producer("leak-on-opening"), "openings", "each opening leaves");
    let descriptors = faulty_producer("descriptors");
    assert_eq!(tests(&descriptors, Outcome::Failed), ["leaks"], "{descriptors:#?}");
}

#[test]
fn wrong_message_that_ends_the_process_is_found() {
    let _leaks = isolated!();
    let aborted = faulty_producer("abort");
    assert_finds(
        &aborted,
        "wrong-messages",
        "the message \"index\" as text: its process was ended by signal 6",
    );
    let hung = with_fault("hang").time_limit(HANG_LIMIT).run().expect("it can be examined");
    assert_finds(&hung, "wrong-messages", "the message \"index\" as text: it did not come back in 5 s");
    assert_finds(&faulty_producer("crash"), "produce", "at the message {\"index\":1}: its process was ended");
    let panicked = faulty_producer("panic");
    assert!(panicked.passed(), "{panicked:#?}");
    assert_eq!(tests(&panicked, Outcome::Warned), ["wrong-messages"]);
    assert!(detail(&panicked, "panics").contains("panics contained"));
    assert_finds(&faulty_producer("panic-for-good"), "panics", "it was made again after a panic");
    assert_finds(&faulty_producer("panic-in-drop"), "close", "asked to panic when dropped");
}

#[test]
fn accepted_wrong_configuration_is_found() {
    let _leaks = isolated!();
    let aborted = faulty_producer("abort-on-config");
    assert_finds(&aborted, "config-errors", "\"level\" as text: its process was ended by signal 6");
    assert_finds(&faulty_producer("any-type"), "config-errors", "\"level\" as text: is taken as if nothing");
    for (fault, says) in
        [("any-field", "is taken as if nothing"), ("nameless-error", "does not name the field: no")]
    {
        let report = faulty_producer(fault);
        assert!(report.passed(), "{report:#?}");
        assert_eq!(tests(&report, Outcome::Warned), ["config-errors"], "{report:#?}");
        assert!(detail(&report, "config-errors").contains(says), "{report:#?}");
    }
}

#[test]
fn lying_commander_is_found() {
    let _leaks = isolated!();
    let honest = faulty_commander("");
    assert!(honest.passed() && honest.count(Outcome::Skipped) == 0, "{honest:#?}");
    assert_finds(&faulty_commander("pid"), "repeat", "in another process: message 0 is another one");
    assert_finds(&faulty_commander("skip"), "skip", "after a skip from 0 to 20: message 20 is another one");
    assert_finds(
        &faulty_commander("restore"),
        "resume",
        "the state before message 20: message 20 is another",
    );
    assert_finds(&faulty_commander("total"), "total", "it says 41 messages, and gives 40");
    assert_finds(&faulty_commander("any-version"), "state-version", "is taken as if nothing were wrong");
    assert_finds(&faulty_commander("large"), "commands", "a slot has room for 65536");
    assert_finds(&faulty_commander("panic"), "commands", "panic: panicked at");
    assert_finds(&faulty_commander("leak"), "leaks", "bytes of memory behind");
}

#[test]
fn producer_without_a_message_is_examined_as_far_as_possible() {
    let _leaks = isolated!();
    let digits = || examination(plugin("digits-producer"));
    let report = digits().config(Dictionary::new().with("batch_size", 4)).run().unwrap();
    assert!(report.passed(), "{report:#?}");
    assert!(detail(&report, "produce").contains("give one that it can do with --message"), "{report:#?}");
    assert_eq!(report.finding("repeat").unwrap().outcome, Outcome::Skipped);
    let report = examination(plugin("fill-producer")).run().unwrap();
    assert!(report.passed(), "{report:#?}");
    assert!(detail(&report, "configuration").contains("give one with --config"), "{report:#?}");
    let wrong = digits().config(Dictionary::new().with("batch_size", Value::from("many"))).run().unwrap();
    assert_eq!(tests(&wrong, Outcome::Failed), ["configuration"]);
}

fn check(plugin: &Path, arguments: &[&str]) -> Output {
    let mut command = cobuf();
    command.arg("check").arg(plugin).args(["--soak", "0.02"]).args(arguments);
    command.output().expect("the command can be run")
}

#[test]
fn check_command_prints_its_findings() {
    let _leaks = isolated!();
    let pipeline = repository().join("examples/digits.toml");
    let pipeline = ["--pipeline", pipeline.to_str().unwrap()];
    let producer = plugin("digits-producer");
    let table = check(producer.path(), &pipeline);
    let text = String::from_utf8(table.stdout).unwrap();
    assert_eq!(table.status.code(), Some(0), "{text}");
    assert!(text.contains("  passed   every-element ") && !text.contains('\x1b'), "{text}");
    let config = r#"{"batch_size": 4}"#;
    let failed = check(producer.path(), &["--config", config, "--message", r#"{"items": "no"}"#, "--json"]);
    assert_eq!(failed.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&failed.stdout).expect("one JSON object");
    assert_eq!(report["passed"], false);
    assert_eq!(report["manifest"]["name"], "digits-producer");
    let findings = report["findings"].as_array().unwrap();
    let produce = findings.iter().find(|finding| finding["test"] == "produce").unwrap();
    assert_eq!(produce["outcome"], "failed");
    let no_plugin = check(&repository().join("README.md"), &[]);
    assert_eq!(no_plugin.status.code(), Some(1));
    assert!(String::from_utf8(no_plugin.stdout).unwrap().contains("it is not an ELF file"));
    for nothing in [check(Path::new("/nowhere.so"), &[]), check(producer.path(), &["--config", "4"])] {
        assert_eq!(nothing.status.code(), Some(2), "{nothing:?}");
    }
}
