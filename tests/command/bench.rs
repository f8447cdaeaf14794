//! `cobuf bench`: measures a pipeline, run by run.

use crate::common::{cobuf, isolated, refused, repository};
use crate::figures::{figures, report};
use std::path::Path;
use std::process::Output;

/// In this folder; a checkout's has the plugins of the cases.
fn bench(folder: &Path, arguments: &[&str]) -> Output {
    cobuf().current_dir(folder).arg("bench").args(arguments).output().expect("the command can be run")
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
}
