//! `cobuf run --save`: batches as files. NumPy and safetensors read them in `tests/python/test_saved.py`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::common::dice::Dice;
use crate::common::{LONG, Process, cobuf, isolated, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::pipeline::{PipelineFile, output, stderr};

/// Random numbers, and a length that differs, with a message each.
fn pipeline(messages: u64) -> PipelineFile {
    PipelineFile::of_list(&format!(
        "messages = [{{ random = true }}, {{ random = true, rows = 2 }}]\nrepeat = {}\nsleep_seconds = 0.0005",
        messages / 2
    ))
}

fn run(pipeline: &PipelineFile, folder: &str, arguments: &str) -> Command {
    let mut command = cobuf();
    command.current_dir(pipeline.folder.path()).args(["run", "pipeline.toml", "--json", "--save", folder]);
    command.args(arguments.split_whitespace()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs it to its end: its code, its report, and what it said.
fn ended(pipeline: &PipelineFile, folder: &str, arguments: &str) -> (Option<i32>, Value, String) {
    let output = output(&mut run(pipeline, folder, arguments));
    let report = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code(), report, stderr(&output).to_owned())
}

/// The names and contents of the files in a folder.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let Ok(entries) = fs::read_dir(folder) else { return BTreeMap::new() };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter_map(|name| Some((name.clone(), fs::read(folder.join(name)).ok()?))).collect()
}

fn kill(child: &mut Child) {
    let processes = Process::descendants_of(child.id() as i32);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(processes.iter().all(|process| process.wait_for_end(LONG)));
}

#[test]
fn same_batches_give_the_same_files() {
    let _leaks = isolated!();
    let pipeline = pipeline(20);
    let path = |name: &str| pipeline.folder.path().join(name);
    for format in ["npz", "safetensors"] {
        let [one, other] = ["one", "other"].map(|run| format!("{format}-{run}"));
        let (code, report, said) = ended(&pipeline, &one, &format!("--format {format}"));
        assert_eq!(code, Some(0), "{said}");
        assert_eq!((&report["saved"]["files"], &report["saved"]["unsaved"]), (&20.into(), &0.into()));
        assert_eq!(report["saved"]["format"], format);
        ended(&pipeline, &other, &format!("--format {format} --any-order --workers 3"));
        let names: Vec<String> = (0..20).map(|number| format!("{number:09}.{format}")).collect();
        assert!(files(&path(&one)).keys().eq(names.iter()));
        assert!(files(&path(&one)) == files(&path(&other)));
    }
}

#[test]
fn ended_and_resumed_runs_leave_each_batch_as_one_whole_file() {
    let leaks = isolated!();
    let pipeline = pipeline(400);
    let path = |name: &str| pipeline.folder.path().join(name);
    assert_eq!(ended(&pipeline, "undisturbed", "").0, Some(0));
    let undisturbed = files(&path("undisturbed"));
    let mut dice = Dice::of_process();
    let mut kills = 0;
    loop {
        let checkpoint = if path("run.json").exists() { "--resume" } else { "--checkpoint" };
        let arguments = format!("{checkpoint} run.json --checkpoint-every 7");
        let mut child = run(&pipeline, "killed", &arguments).spawn().unwrap();
        let enough = files(&path("killed")).len() as u64 + 1 + dice.throw(60);
        wait_until("the run goes on", || {
            let found = fs::read_dir(path("killed")).map_or(0, |entries| entries.count() as u64);
            kills == 6 || found >= enough || child.try_wait().unwrap().is_some()
        });
        if kills == 6 || child.try_wait().unwrap().is_some() {
            let output = child.wait_with_output().unwrap();
            assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
            break;
        }
        // Both ends: at once, and in order by Ctrl-C.
        if kills % 2 == 0 {
            kill(&mut child);
        } else {
            kill_process(Pid::from_child(&child), Signal::INT).unwrap();
            assert!(Process::get(child.id() as i32).is_none_or(|process| process.wait_for_end(LONG)));
            child.wait().unwrap();
        }
        leaks.bury_orphans();
        kills += 1;
        let checkpoint: Value = serde_json::from_slice(&fs::read(path("run.json")).unwrap()).unwrap();
        let counted = checkpoint["application"]["batches"].as_u64().unwrap();
        let found = files(&path("killed"));
        // In order: what a checkpoint counts is there, and each file is whole.
        assert!((0..counted).all(|number| found.contains_key(&format!("{number:09}.npz"))), "{counted}");
        let whole = found.iter().filter(|(name, _)| *name != ".unfinished");
        whole.for_each(|(name, bytes)| assert!(undisturbed[name] == *bytes, "{name}"));
    }
    assert!(kills > 0);
    assert!(files(&path("killed")) == undisturbed, "no gap, and nothing else");
}

#[test]
fn batch_that_cannot_be_saved_is_in_no_checkpoint() {
    let _leaks = isolated!();
    let pipeline = pipeline(20);
    let path = |name: &str| pipeline.folder.path().join(name);
    // No file can take a folder's place.
    fs::create_dir_all(path("saved/000000012.npz")).unwrap();
    let (code, report, said) = ended(&pipeline, "saved", "--checkpoint run.json --checkpoint-every 5");
    assert_eq!(code, Some(1), "{said}");
    let expected = "error: batch 12 is not saved as saved/000000012.npz: Is a directory";
    assert!(said.contains(expected) && said.contains("the run goes on"), "{said}");
    assert_eq!(report["batches"], 20, "the run went on");
    assert_eq!((&report["saved"]["files"], &report["saved"]["unsaved"]), (&19.into(), &1.into()));
    fs::remove_dir(path("saved/000000012.npz")).unwrap();
    let (code, report, said) = ended(&pipeline, "saved", "--resume run.json");
    assert_eq!((code, &report["resumed_batches"]), (Some(0), &10.into()), "{said}");
    assert_eq!(ended(&pipeline, "undisturbed", "").0, Some(0));
    assert!(files(&path("saved")) == files(&path("undisturbed")));
}

#[test]
fn failed_batches_have_no_file_until_a_replay_adds_them() {
    let _leaks = isolated!();
    let messages = "messages = [{ random = true }, { error = \"ouch\", on_attempt = 1 }, { random = true }]";
    let pipeline = PipelineFile::of_list(messages);
    let path = |name: &str| pipeline.folder.path().join(name);
    let arguments = "--dead-letters bad.jsonl --on-failure error=skip";
    let (code, report, said) = ended(&pipeline, "saved", arguments);
    assert_eq!((code, &report["skipped"]), (Some(0), &1.into()), "{said}");
    assert!(files(&path("saved")).keys().eq(["000000000.npz", "000000002.npz"]));
    let letters = fs::read_to_string(path("bad.jsonl")).unwrap();
    let healed = letters.replace("\"error\"", "\"index\"");
    fs::write(path("bad.jsonl"), healed).unwrap();
    let (code, report, said) = ended(&pipeline, "saved", "--replay bad.jsonl");
    assert_eq!(code, Some(1), "the message fails again: {said} {report}");
    assert_eq!(files(&path("saved")).len(), 2);
}

#[test]
fn ranks_save_to_one_folder() {
    let _leaks = isolated!();
    let pipeline = pipeline(20);
    let path = |name: &str| pipeline.folder.path().join(name);
    for rank in ["2/3", "0/3", "1/3"] {
        let (code, _, said) = ended(&pipeline, "ranks", &format!("--rank {rank}"));
        assert_eq!(code, Some(0), "{said}");
    }
    assert_eq!(ended(&pipeline, "alone", "").0, Some(0));
    assert!(files(&path("ranks")) == files(&path("alone")));
    assert_eq!(ended(&pipeline, "ranks", "--rank 1/3").0, Some(2), "its files are there already");
}

#[test]
fn folders_and_arrays_that_cannot_be_used_are_refused() {
    let _leaks = isolated!();
    let pipeline = pipeline(4);
    assert_eq!(ended(&pipeline, "saved", "").0, Some(0));
    let refused = |folder: &str, arguments: &str, expected: &str| {
        let (code, _, said) = ended(&pipeline, folder, arguments);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(expected), "{said}");
    };
    refused("saved", "", "saved has batches of another run, such as 000000000.npz; name another folder");
    refused(
        "saved",
        "--format safetensors",
        "has files of the format npz; name another folder, or give --format npz",
    );
    refused("pipeline.toml", "", "the folder pipeline.toml cannot be used");
    let bf16 = "--set producer.arrays=[{name=\"x\",dtype=\"bf16\",shape=[4]}]";
    refused(
        "new",
        bf16,
        "\"x\" has elements of type bf16, which NumPy does not have; give --format safetensors",
    );
    assert_eq!(ended(&pipeline, "new", &format!("{bf16} --format safetensors")).0, Some(0));
    let (_, _, said) = ended(&pipeline, "elsewhere", "--checkpoint run.json --batches 3");
    assert_eq!(said, "");
    let (code, _, said) = ended(&pipeline, "third", "--resume run.json");
    assert_eq!(code, Some(0));
    assert!(
        said.contains("warning: 3 batches were delivered before the checkpoint, and third has 0 files"),
        "{said}"
    );
}
