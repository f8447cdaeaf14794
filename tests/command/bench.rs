//! `cobuf bench`: measures a pipeline, run by run.

use crate::common::{cobuf, isolated, refused, repository};
use serde_json::Value;
use std::path::Path;
use std::process::Output;

/// In this folder; a checkout's has the plugins of the cases.
fn bench(folder: &Path, arguments: &[&str]) -> Output {
    cobuf().current_dir(folder).arg("bench").args(arguments).output().expect("the command can be run")
}

fn report(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    for key in ["cobuf", "date", "cpu", "kernel"] {
        assert!(report[key].as_str().is_some_and(|text| !text.is_empty()), "{key} in {report}");
    }
    assert!(report["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0));
    assert!(report["cores"].as_u64().is_some_and(|cores| cores > 0));
    report
}

/// Asserts that samples are of so many rounds, in bounds, and numbers that can be.
#[track_caller]
fn assert_samples(samples: &Value, rounds: usize) {
    let number = |value: &Value| value.as_f64().filter(|number| number.is_finite());
    let all: Option<Vec<f64>> = samples["rounds"].as_array().expect("a list").iter().map(number).collect();
    let all = all.unwrap_or_else(|| panic!("{samples}"));
    assert_eq!(all.len(), rounds, "{samples}");
    let [min, median, max] = ["min", "median", "max"].map(|key| number(&samples[key]).expect("a number"));
    assert!(min > 0.0 && min <= median && median <= max, "{samples}");
}

#[track_caller]
fn figures(of: &Value, rounds: usize) -> &[Value] {
    let figures = of["figures"].as_array().expect("a list");
    for figure in figures {
        assert!(figure["what"].is_string() && figure["unit"].is_string(), "{figure}");
        assert_samples(&figure["measured"], rounds);
        for baseline in figure["baselines"].as_array().expect("a list") {
            assert!(baseline["what"].is_string(), "{baseline}");
            assert_samples(&baseline["measured"], rounds);
            assert_samples(&baseline["ratio"], rounds);
        }
        let goal = &figure["goal"];
        let bounds = ["at_most", "at_least"].iter().filter(|key| goal[**key].is_number()).count();
        assert!(goal.is_null() || (bounds == 1 && goal["met"].is_boolean()), "{figure}");
    }
    figures
}

#[test]
fn pipeline_is_measured_run_by_run() {
    let _leaks = isolated!();
    let arguments =
        "examples/digits.toml --runs 3 --seconds 0.3 --batches 20 --workers 2 --slots 6 --any-order --json";
    let arguments: Vec<&str> = arguments.split(' ').collect();
    let set = ["--set", "producer.batch_size=32", "--set", "commander.batch_size=32"];
    let report = report(&bench(repository(), &[&arguments[..], &set].concat()));
    assert_eq!(report["pipeline"], "examples/digits.toml");
    assert_eq!((&report["workers"], &report["slots"]), (&2.into(), &6.into()));
    assert_eq!(report["deterministic"], false);
    assert_eq!(figures(&report, 3).len(), 4);
    for run in 0..3 {
        assert!((2..=20).contains(&report["batches"][run].as_u64().unwrap()), "{report}");
        assert_eq!(report["errors"][run], 0);
        assert!(report["limited_by"][run].is_string());
    }
}

#[test]
fn impossible_measurements_of_a_pipeline_are_refused() {
    let _leaks = isolated!();
    let refusal =
        |arguments: &[&str]| refused(cobuf().current_dir(repository()).arg("bench").args(arguments));
    assert!(refusal(&["missing.toml"]).contains("cannot read the pipeline file missing.toml"));
    let digits = "examples/digits.toml";
    assert!(refusal(&[digits, "--seconds", "0"]).contains("seconds is 0, expected more"));
    assert!(refusal(&[digits, "--runs", "0"]).contains("runs is 0, expected at least 1"));
}
