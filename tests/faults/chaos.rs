//! Runs under random faults: a short variant of `cobuf chaos`, and runs that are killed and resumed.
//!
//! The seed of a failed run is in its output. `.ci/run` does more of both.

use crate::common::dice::Dice;
use crate::common::{Process, cobuf, compiled, isolated, refusals, repository, wait_until};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

fn json(output: &Output) -> Value {
    let last = output.stdout.rsplit(|&byte| byte == b'\n').find(|line| !line.is_empty());
    let text = String::from_utf8_lossy(last.unwrap_or_default()).into_owned();
    serde_json::from_str(&text)
        .unwrap_or_else(|_| panic!("{text}\n{}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn random_faults_change_nothing_in_the_stream() {
    let leaks = isolated!();
    let seed = std::process::id();
    println!("seed {seed}");
    let chaos = cobuf()
        .args([
            "chaos",
            "--json",
            "--kills-per-second",
            "20",
            "--seconds",
            "3",
            "--set",
            "commander.repeat=300",
        ])
        .args(["--seed", &seed.to_string()])
        .arg(repository().join("examples/chaos.toml"))
        .output()
        .unwrap();
    let report = json(&chaos);
    assert!(report["passed"].as_bool().unwrap(), "{report:#}\n{}", String::from_utf8_lossy(&chaos.stderr));
    assert!(chaos.status.success());
    assert!(report["kills"].as_u64().unwrap() > 0, "{report:#}");
    leaks.bury_orphans();
}

#[test]
fn forks_standstills_and_an_unread_standard_error_change_nothing_in_the_stream() {
    let leaks = isolated!();
    let folder = refusals::folder();
    let source = repository().join("tests/common/sources/c/loud.c");
    let plugin = compiled::build(&folder, "cc", &source, &[]);
    let pipeline = format!(
        "[commander]\nplugin = {:?}\nconfig = {{ messages = [{{ index = 0 }}], repeat = 500 }}\n\
         [producer]\nplugin = {:?}\n",
        repository().join("plugins/list-commander"),
        plugin.path(),
    );
    let path = folder.path().join("pipeline.toml");
    std::fs::write(&path, pipeline).unwrap();
    // The first four faults of this seed have one of each of these kinds.
    let chaos = cobuf()
        .args(["chaos", "--json", "--seed", "7641", "--kills-per-second", "20", "--seconds", "0.1"])
        .args(["--workers", "2"])
        .arg(&path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&chaos.stderr);
    let report = json(&chaos);
    assert!(report["passed"].as_bool().unwrap() && chaos.status.success(), "{report:#}\n{said}");
    for fault in
        ["fork of the application", "standstill of the whole run", "standard error that nobody reads"]
    {
        assert!(
            report["faults"][fault].as_u64().is_some_and(|times| times > 0),
            "{fault}: {report:#}\n{said}"
        );
    }
    // What the workers wrote arrives later, and what filled the pipe does not.
    assert!(said.contains("message 499 is loud") && !said.contains('\0'), "{said}");
    leaks.bury_orphans();
}

#[test]
fn pipeline_that_fails_by_itself_is_refused() {
    let leaks = isolated!();
    let folder = tempfile::tempdir().unwrap();
    let pipeline = write_pipeline(folder.path(), "[{ error = \"ouch\" }]", 20);
    let chaos = cobuf().args(["chaos", "--json", "--seconds", "1"]).arg(&pipeline).output().unwrap();
    assert_eq!(chaos.status.code(), Some(2));
    let said = String::from_utf8_lossy(&chaos.stderr);
    assert!(said.contains("the pipeline fails without any chaos: batch 0 failed"), "{said}");
    leaks.bury_orphans();
}

/// A pipeline file of so many messages that take a worker a millisecond each.
fn write_pipeline(folder: &Path, messages: &str, repeat: u64) -> PathBuf {
    let plugins = repository().join("plugins");
    let path = folder.join("pipeline.toml");
    let text = format!(
        "[commander]\nplugin = {:?}\nconfig = {{ messages = {messages}, repeat = {repeat} }}\n\
         [producer]\nplugin = {:?}\n[producer.config]\nburn_seconds = 0.001\n\
         arrays = [{{ name = \"x\", dtype = \"f32\", shape = [8, 3] }}]\n",
        plugins.join("list-commander"),
        plugins.join("fill-producer"),
    );
    std::fs::write(&path, text).unwrap();
    path
}

/// `cobuf run` of a pipeline, with its report as JSON.
fn run(pipeline: &Path, arguments: &[&str]) -> Command {
    let mut command = cobuf();
    command.args(["run", "--report", "json"]).arg(pipeline).args(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// How many batches a checkpoint says were delivered.
fn delivered(checkpoint: &Path) -> u64 {
    let text = std::fs::read(checkpoint).expect("a checkpoint is there as long as the run");
    let checkpoint: Value = serde_json::from_slice(&text).expect("a checkpoint is whole at every moment");
    checkpoint["application"]["batches"].as_u64().unwrap()
}

/// Waits until a run has delivered some more batches, or has ended.
fn wait_for_progress(run: &mut Child, checkpoint: &Path, from: u64, more: u64) {
    wait_until("the run goes on", || {
        run.try_wait().unwrap().is_some() || (checkpoint.exists() && delivered(checkpoint) >= from + more)
    });
}

/// How often the runs of one stream are killed, if not 8 times.
const KILLS: &str = "COBUF_TEST_KILLS";

#[test]
fn killed_and_resumed_runs_deliver_the_whole_stream() {
    let leaks = isolated!();
    let folder = tempfile::tempdir().unwrap();
    let most: u64 = std::env::var(KILLS).map_or(8, |kills| kills.parse().expect("a number of kills"));
    let messages = 60 * most + 300;
    let pipeline = write_pipeline(folder.path(), "[{ random = true }]", messages);
    let undisturbed = json(&run(&pipeline, &[]).output().unwrap());
    let path = folder.path().join("run.json");
    let file = path.to_str().unwrap();
    let mut dice = Dice::of_process();
    let (mut kills, mut from) = (0, 0);
    let report = loop {
        let resume = if path.exists() { "--resume" } else { "--checkpoint" };
        let workers = (1 + kills % 3).to_string();
        let order = if kills % 2 == 0 { "--any-order" } else { "--deterministic" };
        let arguments = [resume, file, "--checkpoint-every", "1", "--workers", &workers, order];
        let mut child = run(&pipeline, &arguments).spawn().unwrap();
        if kills == most {
            break json(&child.wait_with_output().unwrap());
        }
        wait_for_progress(&mut child, &path, from, dice.throw(32));
        // On a busy machine this test may look so seldom that a run comes to its end.
        if child.try_wait().unwrap().is_some() {
            break json(&child.wait_with_output().unwrap());
        }
        let processes = Process::descendants_of(child.id() as i32);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(processes.iter().all(|process| process.wait_for_end(crate::common::LONG)));
        leaks.bury_orphans();
        (kills, from) = (kills + 1, delivered(&path));
    };
    println!("{kills} kills");
    assert!(kills > 0);
    for field in ["batches", "rows", "bytes", "content_digest"] {
        assert_eq!(report[field], undisturbed[field], "{field}: {report:#}");
    }
    assert_eq!(report["errors"], 0);
    assert!(report["resumed_batches"].as_u64().unwrap() < messages);
    // At most the file that a dying host was writing, under its one name, is beside them.
    let files = std::fs::read_dir(folder.path()).unwrap().filter_map(Result::ok);
    let names = files.map(|entry| entry.file_name().into_string().unwrap());
    let expected = ["pipeline.toml", "run.json", "run.json.tmp"];
    assert!(names.into_iter().all(|name| expected.contains(&name.as_str())));
    // What a host that was killed at its start has left is swept by the next.
    drop(crate::common::filling([], &crate::common::small()).start().unwrap());
}

#[test]
fn existing_checkpoint_is_not_overwritten() {
    let _leaks = isolated!();
    let folder = tempfile::tempdir().unwrap();
    let pipeline = write_pipeline(folder.path(), "[{ random = true }]", 5);
    let path = folder.path().join("run.json");
    let file = path.to_str().unwrap();
    assert!(run(&pipeline, &["--checkpoint", file]).status().unwrap().success());
    let again = run(&pipeline, &["--checkpoint", file]).output().unwrap();
    assert_eq!(again.status.code(), Some(2));
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(said.contains("is there already; go on from it with --resume"), "{said}");
    // A run that was at its end says again what it delivered.
    let report = json(&run(&pipeline, &["--resume", file]).output().unwrap());
    assert_eq!((&report["batches"], &report["resumed_batches"]), (&5.into(), &5.into()));
}
