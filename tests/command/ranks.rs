//! Several processes of `cobuf run`, each with a rank, and a folder of their checkpoints: together
//! they deliver what one run does, whichever of them are killed, and however many go on.

use super::pipeline::{PipelineFile, output, stderr, stdout};
use crate::common::dice::Dice;
use crate::common::{LONG, Leaks, Process, cobuf, isolated, repository, wait_until};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// The variables by which a launcher of this test's own process would be found.
const LAUNCHED: [&str; 6] =
    ["COBUF_RANK", "RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID", "JOB_COMPLETION_INDEX"];

/// A job of ranks: a pipeline of so many random batches, and a folder.
struct Job {
    pipeline: PipelineFile,
    messages: u64,
}

impl Job {
    fn new(messages: u64) -> Self {
        let commander = format!("messages = [{{ random = true }}]\nrepeat = {messages}");
        Self { pipeline: PipelineFile::of_list(&commander), messages }
    }

    /// The third message is never produced, so that rank 0 of 2 delivers one and does not end.
    fn endless() -> Self {
        let commander = "messages = [{ index = 0 }, { index = 1 }, { until_file = \"/no/such/file\" }]";
        Self { pipeline: PipelineFile::of_list(commander), messages: 3 }
    }

    fn folder(&self) -> PathBuf {
        self.pipeline.folder.path().join("ckpt")
    }

    /// `cobuf run` with these options beside the folder, which it begins or resumes.
    fn run(&self, rank: &str, more: &[&str]) -> Command {
        let begun = fs::read_dir(self.folder()).is_ok_and(|entries| {
            entries
                .filter_map(Result::ok)
                .any(|entry| entry.file_name().to_string_lossy().starts_with("generation-"))
        });
        let mut command = cobuf();
        for name in LAUNCHED {
            command.env_remove(name);
        }
        command.arg("run").arg(self.pipeline.path()).args([
            "--json",
            "--workers",
            "1",
            "--checkpoint-every",
            "1",
        ]);
        command.arg(if begun { "--resume" } else { "--checkpoint" }).arg(self.folder());
        command.args(["--rank", rank]).args(more).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn start(&self, rank: u32, of: u32) -> Child {
        self.run(&format!("{rank}/{of}"), &[]).spawn().unwrap()
    }

    /// How much a rank has delivered, as its part says; `None` before its first part.
    fn delivered(&self, rank: u32, of: u32) -> Option<u64> {
        let text = fs::read(self.folder().join(format!("rank-{rank}-of-{of}.json"))).ok()?;
        let part: Value = serde_json::from_slice(&text).expect("a part is whole at every moment");
        part["part"]["application"]["batches"].as_u64()
    }

    fn show(&self) -> Value {
        let output = output(cobuf().args(["checkpoint", "show", "--json"]).arg(self.folder()));
        assert!(output.status.success(), "{}", stderr(&output));
        serde_json::from_str(stdout(&output)).unwrap()
    }

    /// The report of a run without ranks that delivers all.
    fn undisturbed(&self) -> Value {
        self.pipeline.report(&["--workers", "2"])
    }

    /// Goes on alone, to the end, and compares with the undisturbed run.
    fn finish(&self, undisturbed: &Value) {
        let report = json(&self.run("none", &[]).output().unwrap());
        for field in ["batches", "rows", "bytes", "content_digest", "errors"] {
            assert_eq!(report[field], undisturbed[field], "{field}: {report:#}");
        }
        let shown = self.show();
        assert_eq!(shown["content_digest"], undisturbed["content_digest"]);
        assert_eq!(
            (&shown["delivered"], &shown["first_missing"]),
            (&self.messages.into(), &self.messages.into())
        );
    }
}

/// The report of a run, which must have succeeded.
fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", stderr(output));
    serde_json::from_str(stdout(output).lines().last().expect("a report")).expect("JSON")
}

/// Kills a process, and waits for all that it had started. They are buried once no other rank runs,
/// since that takes whatever has ended.
fn kill(mut child: Child) {
    let processes = Process::descendants_of(child.id() as i32);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(processes.iter().all(|process| process.wait_for_end(LONG)));
}

/// Waits until a rank has delivered so much, or has ended.
fn wait_for(job: &Job, child: &mut Child, rank: u32, of: u32, delivered: u64) {
    wait_until("a rank goes on", || {
        child.try_wait().unwrap().is_some() || job.delivered(rank, of).is_some_and(|n| n >= delivered)
    });
}

#[test]
fn ranks_together_deliver_what_one_run_does() {
    let _leaks = isolated!();
    let pipeline = repository().join("examples/digits.toml");
    let alone = json(&output(cobuf().arg("run").arg(&pipeline).args(["--json", "--rank", "none"])));
    assert_eq!((&alone["rank"], &alone["world_size"]), (&Value::Null, &1.into()));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ckpt");
    let ranks: Vec<Child> = (0..3)
        .map(|rank| {
            let mut command = cobuf();
            command.arg("run").arg(&pipeline).args(["--json", "--rank", "auto", "--checkpoint"]).arg(&path);
            command.env("OMPI_COMM_WORLD_RANK", rank.to_string()).env("OMPI_COMM_WORLD_SIZE", "3");
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let reports = ranks.into_iter().map(|rank| json(&rank.wait_with_output().unwrap()));
    let batches: Vec<u64> = reports.map(|report| report["batches"].as_u64().unwrap()).collect();
    assert_eq!(batches, [97, 97, 96]);
    let shown = output(cobuf().args(["checkpoint", "show", "--json"]).arg(&path));
    let shown: Value = serde_json::from_str(stdout(&shown)).unwrap();
    assert_eq!(shown["content_digest"], alone["content_digest"]);
    assert_eq!(shown["content_digest"], "85fc8eea6c2ecf7d9ab1cb0875a027dd");
    assert_eq!((&shown["delivered"], &shown["world_size"]), (&290.into(), &3.into()));
    let text = output(cobuf().args(["checkpoint", "show"]).arg(&path));
    assert!(
        stdout(&text).starts_with("290 messages delivered, all below 290\n  290 batches, 17970 rows"),
        "{text:?}"
    );
    assert!(stdout(&text).contains("rank 2 of 3: 96 delivered, the next is 290"), "{text:?}");
}

#[test]
fn chain_of_four_then_three_then_one_delivers_each_batch_once() {
    let leaks = isolated!();
    let job = Job::new(240);
    let undisturbed = job.undisturbed();
    for (of, killed) in [(4, [(1, 3), (2, 9)].as_slice()), (3, &[(2, 7)])] {
        let mut ranks: Vec<Option<Child>> = (0..of).map(|rank| Some(job.start(rank, of))).collect();
        for &(rank, after) in killed {
            let mut child = ranks[rank as usize].take().unwrap();
            wait_for(&job, &mut child, rank, of, after);
            kill(child);
        }
        for child in ranks.into_iter().flatten() {
            json(&child.wait_with_output().unwrap());
        }
        leaks.bury_orphans();
        let shown = job.show();
        assert_eq!(shown["world_size"], of);
        assert!(shown["delivered"].as_u64().unwrap() <= job.messages);
    }
    job.finish(&undisturbed);
}

/// How many random schedules of kills are played, if not 3.
const SCHEDULES: &str = "COBUF_TEST_SCHEDULES";
/// The seed of the first of them, if not this process's number.
const SEED: &str = "COBUF_TEST_SEED";

#[test]
fn ranks_killed_at_random_deliver_each_batch_once() {
    let leaks = isolated!();
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let first = number(SEED).unwrap_or_else(|| u64::from(std::process::id()));
    let undisturbed = Job::new(60).undisturbed();
    for seed in first..first + number(SCHEDULES).unwrap_or(3) {
        play(&mut Dice::seeded(seed), &undisturbed, &leaks);
    }
}

/// Generations of one to nine ranks. Of each, some never come, some are killed at once, or after some
/// deliveries, and some run to their end.
fn play(dice: &mut Dice, undisturbed: &Value, leaks: &Leaks) {
    let job = Job::new(60);
    for _ in 0..=dice.throw(3) {
        let of = 1 + dice.throw(9) as u32;
        let (mut children, mut told) = (Vec::new(), format!("{of} ranks:"));
        for rank in 0..of {
            let fate = dice.throw(6);
            if fate > 0 {
                children.push((rank, fate, job.start(rank, of)));
            }
        }
        for (rank, fate, mut child) in children {
            match fate {
                1 => kill(child),
                2..5 => {
                    let more = job.delivered(rank, of).unwrap_or(0) + dice.throw(5);
                    wait_for(&job, &mut child, rank, of, more);
                    kill(child);
                }
                _ => drop(json(&child.wait_with_output().unwrap())),
            }
            told += &format!(" {rank}:{fate}:{:?}", job.delivered(rank, of));
        }
        leaks.bury_orphans();
        println!("  {told}");
    }
    job.finish(undisturbed);
}

#[test]
fn last_messages_are_dropped_or_repeated() {
    let _leaks = isolated!();
    let job = Job::new(10);
    let undisturbed = job.undisturbed();
    for (remainder, batches, repeated, order) in [
        ("drop", [2, 2, 2, 2], [0, 0, 0, 0], "--ordered"),
        ("repeat", [3, 3, 2, 2], [0, 0, 1, 1], "--ordered"),
        ("repeat", [3, 3, 2, 2], [0, 0, 1, 1], "--any-order"),
    ] {
        for rank in 0..4 {
            let output = job.run(&format!("{rank}/4"), &["--remainder", remainder, order]).output().unwrap();
            let report = json(&output);
            assert_eq!(report["batches"], batches[rank], "{remainder} {rank}");
            assert_eq!(report["repeated"], repeated[rank], "{remainder} {rank}");
        }
        let shown = job.show();
        if remainder == "drop" {
            assert_eq!((&shown["delivered"], &shown["first_missing"]), (&8.into(), &8.into()));
        } else {
            assert_eq!(shown["content_digest"], undisturbed["content_digest"]);
        }
        // What was dropped is there for a run that goes on.
        job.finish(&undisturbed);
        fs::remove_dir_all(job.folder()).unwrap();
    }
}

fn refusal(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    stderr(&output).to_owned()
}

#[test]
fn launcher_of_several_ranks_needs_a_choice() {
    let _leaks = isolated!();
    let pipeline = PipelineFile::of_list("messages = [{ index = 1 }]");
    let run = |variables: &[(&str, &str)], more: &[&str]| {
        let mut command = cobuf();
        for name in LAUNCHED {
            command.env_remove(name);
        }
        command.arg("run").arg(pipeline.path()).args(more).envs(variables.iter().copied());
        command
    };
    let torchrun = [("RANK", "1"), ("WORLD_SIZE", "4")];
    let said = refusal(&mut run(&torchrun, &[]));
    assert!(said.contains("torchrun has started this process as rank 1 of 4"), "{said}");
    assert!(said.contains("choose the rank auto for a part of them, or none"), "{said}");
    for (more, batches) in [("none", 1), ("auto", 0), ("0/1", 1)] {
        let report = json(&run(&torchrun, &["--rank", more, "--json"]).output().unwrap());
        assert_eq!(report["batches"], batches, "{more}");
    }
    let script = [("SLURM_JOB_ID", "17"), ("SLURM_PROCID", "0"), ("SLURM_NTASKS", "4")];
    let said = refusal(&mut run(&script, &["--rank", "auto"]));
    assert!(said.contains("SLURM job 17 of 4 tasks and in none of its steps"), "{said}");
    assert!(said.contains("start it by srun"), "{said}");
    assert!(run(&script, &[]).status().unwrap().success());
    for (rank, expected) in [
        ("4/4", "rank 4 of 4 is out of range, expected 0 to 3"),
        ("0/0", "the number of ranks is 0, expected 1 to 1048576"),
        ("one", "\"one\" is no rank, expected auto, none, or I/W"),
    ] {
        let said = refusal(&mut run(&[], &["--rank", rank]));
        assert!(said.contains(expected), "{said}");
    }
    let said = refusal(&mut run(&[("JOB_COMPLETION_INDEX", "2")], &["--rank", "auto"]));
    assert!(said.contains("set COBUF_WORLD_SIZE to the number of ranks"), "{said}");
    let text =
        fs::read_to_string(pipeline.path()).unwrap() + "[run]\nrank = \"auto\"\nremainder = \"drop\"\n";
    fs::write(pipeline.path(), text).unwrap();
    let report = json(&run(&torchrun, &["--json"]).output().unwrap());
    assert_eq!((&report["rank"], &report["world_size"]), (&1.into(), &4.into()));
}

#[test]
fn wrong_folders_are_refused_with_the_reason() {
    let leaks = isolated!();
    let job = Job::endless();
    let mut zero = job.start(0, 2);
    wait_for(&job, &mut zero, 0, 2, 1);
    let said = refusal(&mut job.run("0/2", &[]));
    assert!(said.contains("another process is rank 0 of 2 and writes "), "{said}");
    let said = refusal(&mut job.run("1/2", &["--seed", "7"]));
    assert!(said.contains("this checkpoint belongs to a different run: the seed is 7, it was 0"), "{said}");
    kill(zero);
    leaks.bury_orphans();
    let folder = job.folder();
    let mut again = cobuf();
    again.arg("run").arg(job.pipeline.path()).args(["--rank", "0/2", "--checkpoint"]).arg(&folder);
    let said = refusal(&mut again);
    assert!(said.contains("has a checkpoint already; go on from it (--resume)"), "{said}");
    let mut file = cobuf();
    let generation = folder.join("generation-1.json");
    file.arg("run").arg(job.pipeline.path()).args(["--rank", "0/2", "--resume"]).arg(&generation);
    let said = refusal(&mut file);
    assert!(said.contains("is a file, and ranks write their checkpoints to a folder"), "{said}");
    let part = folder.join("rank-0-of-2.json");
    let text = fs::read(&part).unwrap();
    fs::write(&part, &text[..text.len() / 2]).unwrap();
    let said = refusal(cobuf().args(["checkpoint", "show"]).arg(&folder));
    assert!(said.contains("rank-0-of-2.json is damaged or half-written"), "{said}");
}

#[test]
fn checkpoints_are_merged_and_split() {
    let _leaks = isolated!();
    let job = Job::new(30);
    let undisturbed = job.undisturbed();
    let limited = |rank: &str| json(&job.run(rank, &["--batches", "20"]).output().unwrap());
    for rank in ["0/2", "1/2"] {
        assert_eq!(limited(rank)["batches"], 10);
    }
    let at = |name: &str| job.pipeline.folder.path().join(name);
    let verb = |verb: &str, from: &Path, more: &[&str], to: &Path| {
        let mut command = cobuf();
        command.args(["checkpoint", verb]).arg(from).args(more).arg("-o").arg(to);
        command
    };
    let merged = at("all.json");
    assert!(verb("merge", &job.folder(), &[], &merged).status().unwrap().success());
    let said = refusal(&mut verb("merge", &job.folder(), &[], &merged));
    assert!(said.contains("all.json is there already"), "{said}");
    // A file goes on as that of a run without ranks, or as the beginning of ranks.
    let alone = at("alone.json");
    let (merged, alone) = (merged.to_str().unwrap(), alone.to_str().unwrap());
    let report = job.pipeline.report(&["--resume", merged, "--checkpoint", alone]);
    assert_eq!(report["content_digest"], undisturbed["content_digest"]);
    assert!(verb("split", merged.as_ref(), &["--ranks", "3"], &at("three")).status().unwrap().success());
    let three = at("three");
    for rank in 0..3 {
        let rank = format!("{rank}/3");
        job.pipeline.report(&["--rank", &rank, "--resume", three.to_str().unwrap()]);
    }
    let shown = output(cobuf().args(["checkpoint", "show", "--json"]).arg(&three));
    let shown: Value = serde_json::from_str(stdout(&shown)).unwrap();
    assert_eq!(shown["content_digest"], undisturbed["content_digest"]);
    assert_eq!(shown["ranks"][2]["delivered"], 3);
}
