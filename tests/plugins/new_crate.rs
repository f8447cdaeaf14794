//! `cobuf new` makes a plugin that works unedited, outside of this repository.
//!
//! `.ci/run` does the same with release builds, which share nothing with the builds of the tests.

use crate::common::packages::{profile_variables, target};
use crate::common::{cobuf, isolated, repository, succeed};
use crate::harness::plugins::library;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

fn cobuf_in(folder: &Path) -> Command {
    let mut command = cobuf();
    in_new_crate(&mut command, folder);
    command
}

fn cargo(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO"));
    in_new_crate(&mut command, folder);
    command
}

/// New crates are built in the repository's target folder with the repository's profile, so that
/// they share their dependencies with the other packages of tests.
fn in_new_crate(command: &mut Command, folder: &Path) {
    command.current_dir(folder).stdin(Stdio::null()).env_remove("RUST_LOG");
    command.env("CARGO_TARGET_DIR", target()).env("CARGO_NET_OFFLINE", "true");
    command.envs(profile_variables());
}

/// What a command said that must be refused: one line.
#[track_caller]
fn refused(command: &mut Command) -> String {
    let said = crate::common::refused(command);
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("new-crate-of-a-test-").tempdir().expect("a folder for new crates")
}

/// The last line on standard output of `cobuf run`, which is the report.
fn report(new_crate: &Path, pipeline: &str) -> Value {
    let said = succeed(cobuf_in(new_crate).args(["run", pipeline, "--json"]));
    let report: Value = serde_json::from_str(said.lines().last().expect("a report")).expect("JSON");
    assert_eq!((&report["batches"], &report["errors"]), (&Value::from(100), &Value::from(0)), "{report}");
    report
}

/// New crates are made, tested and run by the commands that a reader of their README types, with no
/// network; then the files that cargo builds of them are loaded. `packages` is the producer's and
/// the commander's name.
fn try_out(kind: &str, name: &str, tests: &[&str], packages: [&str; 2]) {
    let folder = folder();
    let said = succeed(cobuf_in(folder.path()).args(["new", kind, name]));
    for command in [&format!("cd {name}"), "cargo test", &format!("cobuf run {name}.toml")] {
        assert!(said.contains(command), "{said}");
    }
    let new_crate = folder.path().join(name);

    let said = succeed(cargo(&new_crate).arg("test"));
    for tests in tests {
        assert!(said.contains(tests), "{said}");
    }
    let digest = report(&new_crate, &format!("{name}.toml"))["content_digest"].clone();

    let pipeline = fs::read_to_string(new_crate.join(format!("{name}.toml"))).unwrap();
    succeed(cargo(&new_crate).args(["build", "--workspace"]));
    let library = |package: &str| format!("plugin = {:?}", target().join("debug").join(library(package)));
    let of_files = pipeline
        .replace("plugin = \".\"", &library(name))
        .replace("plugin = \"./producer\"", &library(packages[0]))
        .replace("plugin = \"./commander\"", &library(packages[1]));
    assert!(!of_files.contains("\"."), "{of_files}");
    fs::write(new_crate.join("of-files.toml"), of_files).unwrap();
    assert_eq!(report(&new_crate, "of-files.toml")["content_digest"], digest);
}

#[test]
fn new_producer_works_unedited() {
    let _leaks = isolated!();
    let packages = ["noise-producer", "noise-commander"];
    try_out("producer", "noise-producer", &["test result: ok. 4 passed"], packages);
}

#[test]
fn new_commander_works_unedited() {
    let _leaks = isolated!();
    try_out("commander", "plan", &["test result: ok. 4 passed"], ["plan-producer", "plan"]);
}

#[test]
fn new_pipeline_works_unedited() {
    let _leaks = isolated!();
    // The tests share a target folder, so no other package may have these names. Those of both
    // plugins are made.
    let tests = ["negative_noise_is_refused", "data_set_without_items_is_refused"];
    try_out("pipeline", "wave", &tests, ["wave-producer", "wave-commander"]);
}

/// Both plugins of a pipeline are in one workspace, so that their dependencies are compiled once.
#[test]
fn new_pipeline_has_one_target_folder() {
    let _leaks = isolated!();
    let folder = folder();
    succeed(cobuf_in(folder.path()).args(["new", "pipeline", "slides"]));
    let new = folder.path().join("slides");
    let metadata = succeed(cargo(&new).env_remove("CARGO_TARGET_DIR").args(["metadata", "--no-deps"]));
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let packages = metadata["packages"].as_array().unwrap().iter().map(|package| &package["name"]);
    assert_eq!(packages.collect::<Vec<_>>(), ["slides-producer", "slides-commander"]);
    assert_eq!(metadata["target_directory"].as_str().unwrap(), new.join("target").to_str().unwrap());
}

/// Whatever a README of a new crate names is there.
#[test]
fn readme_of_a_new_crate_names_what_is_there() {
    let _leaks = isolated!();
    for kind in ["producer", "commander", "pipeline"] {
        let folder = folder();
        succeed(cobuf_in(folder.path()).args(["new", kind, "noise"]));
        let new = folder.path().join("noise");
        let readme = fs::read_to_string(new.join("README.md")).unwrap();
        assert!(!readme.contains("{{") && !readme.contains("://"), "{readme}");
        let names = readme
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|name| name.contains(['/', '.']) && !name.contains(char::is_whitespace));
        let links = readme.split("](").skip(1).map(|rest| rest.split(')').next().unwrap());
        for name in names.chain(links).map(|name| name.trim_matches(['<', '>'])) {
            assert!(new.join(name).exists(), "{name} in {readme}");
        }
    }
}

#[test]
fn new_crate_depends_on_the_plugin_api_that_was_named() {
    let _leaks = isolated!();
    let folder = folder();
    let api = folder.path().join("vendor/api");
    fs::create_dir_all(&api).unwrap();
    fs::write(api.join("Cargo.toml"), "[package]\nname = \"cobuf-plugin-api\"\n").unwrap();
    let named = ["new", "producer", "noise", "elsewhere", "--plugin-api", "vendor/api"];
    succeed(cobuf_in(folder.path()).args(named));
    let manifest = fs::read_to_string(folder.path().join("elsewhere/Cargo.toml")).unwrap();
    let path = api.canonicalize().unwrap();
    assert!(manifest.contains(&format!("\ncobuf-plugin-api = {{ path = {path:?} }}\n")), "{manifest}");
    // It has no lock file to go with it.
    assert!(!folder.path().join("elsewhere/Cargo.lock").exists());
}

#[test]
fn existing_files_are_left_alone() {
    let _leaks = isolated!();
    let folder = folder();
    fs::create_dir(folder.path().join("noise")).unwrap();
    fs::write(folder.path().join("file"), "mine").unwrap();
    std::os::unix::fs::symlink("nowhere", folder.path().join("link")).unwrap();
    for place in ["noise", "file", "link"] {
        let said = refused(cobuf_in(folder.path()).args(["new", "producer", "noise", place]));
        let expected = format!(
            "error: cannot make {place}: it is there already; remove it, or give another folder after the name\n"
        );
        assert_eq!(said, expected);
    }
    assert_eq!(fs::read_to_string(folder.path().join("file")).unwrap(), "mine");
    assert_eq!(fs::read_dir(folder.path().join("noise")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
}

#[test]
fn impossible_request_is_refused_with_the_expected_values() {
    let _leaks = isolated!();
    let folder = folder();
    let refused = |arguments: &[&str]| refused(cobuf_in(folder.path()).arg("new").args(arguments));
    let said = refused(&["producer", "1st"]);
    assert!(said.contains("\"1st\" cannot be a package's name, expected a letter"), "{said}");
    let said = refused(&["commander", "match"]);
    assert!(said.contains("\"match\" cannot be a package's name"), "{said}");
    let said = refused(&["producer", "noise", "nowhere/noise"]);
    assert!(said.contains("cannot make nowhere/noise: there is no folder nowhere; make it first"), "{said}");
    let wrong = "is wrong, expected the folder of cobuf-plugin-api";
    let said = refused(&["producer", "noise", "--plugin-api", "nowhere"]);
    assert!(said.contains(&format!("--plugin-api nowhere {wrong}: No such file")), "{said}");
    let host = repository().join("host").display().to_string();
    let host = host.as_str();
    let said = refused(&["producer", "noise", "--plugin-api", host]);
    assert!(said.contains(&format!("--plugin-api {host} {wrong}: it has the package cobuf-host")), "{said}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// The limit of a file's size is met in the middle of the work, as the end of a disk would be.
#[test]
fn full_disk_leaves_nothing_half_made() {
    let _leaks = isolated!();
    let folder = folder();
    let limited = "trap '' XFSZ; ulimit -f 1; exec \"$0\" new producer noise";
    let mut command = Command::new("sh");
    command.current_dir(folder.path()).args(["-c", limited, crate::common::COBUF]);
    let said = refused(&mut command);
    assert!(said.starts_with("error: cannot make noise: cannot write "), "{said}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
