//! Signals at each stage of a run's life: the command ends in order, with the code of its signal.

use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;

use crate::common::{
    LONG, Leaks, Process, cobuf, compiled, isolated, plugin, refusals, repository, wait_until,
};

/// Between two signals that are one wish.
const SAME_WISH: Duration = Duration::from_millis(5);

/// A command at a stage of its life.
pub(super) struct Running {
    child: Child,
    said: Arc<Mutex<String>>,
    reader: JoinHandle<()>,
    /// The file that its plugins wait for.
    released_by: Option<PathBuf>,
}

impl Running {
    /// Starts the command, in a group of its own as a shell does.
    pub(super) fn start(mut command: Command) -> Self {
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let kept = said.clone();
        let reader = thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = stderr.read(&mut bytes) {
                kept.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        });
        Self { child, said, reader, released_by: None }
    }

    pub(super) fn process(&self) -> Process {
        Process::get(self.child.id() as i32).expect("it was not waited for")
    }

    pub(super) fn has_process(&self, name: &str) -> bool {
        Process::descendants_of(self.child.id() as i32).iter().any(|process| process.name == name)
    }

    fn has_said(&self, text: &str) -> bool {
        self.said.lock().unwrap().contains(text)
    }

    /// Sends it a signal, or its whole group.
    pub(super) fn send(&self, signal: Signal, to_group: bool) {
        let pid = Pid::from_raw(self.child.id() as i32).unwrap();
        // It may have ended by the first of two signals.
        let _ = if to_group { kill_process_group(pid, signal) } else { kill_process(pid, signal) };
    }

    /// Its exit code, its report, what it said, and how long its end took.
    pub(super) fn end(mut self) -> (Option<i32>, Option<Value>, String, Duration) {
        let since = Instant::now();
        self.released_by.iter().for_each(|file| fs::write(file, "").unwrap());
        assert!(self.process().wait_for_end(LONG), "it hangs; it said: {}", self.said.lock().unwrap());
        let took = since.elapsed();
        let mut report = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut report).unwrap();
        let code = self.child.wait().unwrap().code();
        self.reader.join().unwrap();
        let said = self.said.lock().unwrap().clone();
        (code, serde_json::from_str(&report).ok(), said, took)
    }
}

/// A folder with a pipeline, and what a stage needs.
pub(super) struct Place {
    pub(super) folder: tempfile::TempDir,
}

impl Place {
    /// A pipeline whose producer does what `mode` says at message 3; 1000 messages.
    pub(super) fn of(mode: &str, commander: &str) -> Self {
        let place = Self { folder: refusals::folder() };
        place.build("");
        let pipeline = format!(
            "[commander]\nplugin = {:?}\nconfig = {{ messages = [{{ index = 0 }}], repeat = 1000{commander} }}\n\
             [producer]\nplugin = \"libplugin.so\"\nconfig = {{ mode = {mode:?}, at = 3, seconds = 0.002 }}\n\
             [run]\nworkers = 2\nslots = 8\nstop_grace_seconds = 0.5\n",
            plugin("list-commander").path()
        );
        fs::write(place.path("run.toml"), pipeline).unwrap();
        place
    }

    /// Builds the producer, and puts it in the old one's place in one step.
    fn build(&self, argument: &str) {
        let folder = refusals::folder();
        let source = repository().join("tests/common/sources/c/borrowed_library.c");
        let arguments: Vec<&str> = Some(argument).into_iter().filter(|it| !it.is_empty()).collect();
        let built = compiled::build(&folder, "cc", &source, &arguments);
        fs::copy(built.path(), self.path("new.so")).unwrap();
        fs::rename(self.path("new.so"), self.path("libplugin.so")).unwrap();
    }

    /// Makes the producer a package with this build script.
    fn add_package(&self, build_script: &str) {
        let manifest = "[package]\nname = \"slow\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\
                        [lib]\ncrate-type = [\"cdylib\"]\n[workspace]\n";
        fs::create_dir_all(self.path("slow/src")).unwrap();
        fs::write(self.path("slow/Cargo.toml"), manifest).unwrap();
        fs::write(self.path("slow/src/lib.rs"), "").unwrap();
        fs::write(self.path("slow/build.rs"), build_script).unwrap();
        self.set("libplugin.so", "slow");
    }

    /// Replaces a part of the pipeline's file.
    fn set(&self, old: &str, new: &str) {
        let pipeline = fs::read_to_string(self.path("run.toml")).unwrap();
        assert!(pipeline.contains(old));
        fs::write(self.path("run.toml"), pipeline.replace(old, new)).unwrap();
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Running {
        let mut command = cobuf();
        command.current_dir(self.folder.path()).args(["run", "run.toml", "--json"]).args(arguments);
        Running::start(command)
    }

    /// How many messages a checkpoint counts as delivered; 0 if there is none.
    fn delivered(&self) -> u64 {
        delivered(&self.path("checkpoint"))
    }
}

fn delivered(checkpoint: &Path) -> u64 {
    let read = || -> Option<u64> {
        let checkpoint: Value = serde_json::from_str(&fs::read_to_string(checkpoint).ok()?).ok()?;
        let ranges = checkpoint["done"].as_array()?.iter();
        ranges.map(|range| Some(range[1].as_u64()? - range[0].as_u64()?)).sum()
    };
    read().unwrap_or(0)
}

const CHECKPOINTS: [&str; 4] = ["--checkpoint", "checkpoint", "--checkpoint-every", "1"];

/// What a command has at a stage.
#[derive(Clone, Copy, PartialEq)]
enum Has {
    /// No host.
    Nothing,
    /// A host that may not have started.
    Either,
    /// A host that has given batches, and more to come.
    Batches,
    /// A host that has given all batches.
    All,
}

/// Sends every signal, once and twice, to the process and to its group, to a command that `begin` has
/// brought to a stage. If it has taken batches there, it must end with a summary and a checkpoint of
/// just these.
fn assert_ends(leaks: &Leaks, stage: &str, place: &Place, has: Has, begin: impl Fn() -> Running) {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        for (times, to_group) in [(1, false), (2, false), (1, true), (2, true)] {
            let what = format!("{stage}, {signal:?} {times} times, to its group: {to_group}");
            let _ = fs::remove_file(place.path("checkpoint"));
            let running = begin();
            for time in 0..times {
                // The pause is what is tested.
                thread::sleep(SAME_WISH * time);
                running.send(signal, to_group);
            }
            let (ended, report, said, took) = running.end();
            println!("{what}: code {ended:?} after {:.2} s", took.as_secs_f64());
            assert_eq!(ended, Some(code), "{what}: {said}");
            let expected = matches!(has, Has::Batches | Has::All) || has == Has::Either && report.is_some();
            assert_eq!(report.is_some(), expected, "{what}: {said}");
            if let Some(report) = report {
                assert_eq!(report["interrupted"], has != Has::All, "{what}: {report}");
                assert_eq!(report["errors"], 0, "{what}: {report}");
                assert_eq!(report["batches"], place.delivered(), "{what}");
            }
            leaks.bury_orphans();
        }
    }
    // Ctrl-Z, and `fg`.
    let _ = fs::remove_file(place.path("checkpoint"));
    let running = begin();
    running.send(Signal::TSTP, true);
    running.process().wait_until_stopped();
    running.send(Signal::CONT, true);
    running.send(Signal::TERM, false);
    let (ended, _, said, _) = running.end();
    assert_eq!(ended, Some(143), "{stage}, stopped and continued: {said}");
    leaks.bury_orphans();
}

#[test]
fn signal_while_a_pipe_is_read_ends_the_command() {
    let leaks = isolated!();
    let place = Place::of("fill", "");
    fs::remove_file(place.path("run.toml")).unwrap();
    assert!(Command::new("mkfifo").arg(place.path("run.toml")).status().unwrap().success());
    assert_ends(&leaks, "reading", &place, Has::Nothing, || {
        let running = place.run(&[]);
        wait_until("it waits for a writer", || running.process().is_asleep());
        running
    });
}

#[test]
fn signal_during_a_build_ends_the_command() {
    let leaks = isolated!();
    let place = Place::of("fill", "");
    place.add_package("fn main() { loop { std::thread::park() } }");
    assert_ends(&leaks, "building", &place, Has::Nothing, || {
        let running = place.run(&[]);
        wait_until("the build script runs", || running.has_process("build-script-bu"));
        running
    });
}

/// The build script ends once cargo has.
#[test]
fn build_ends_with_a_command_that_is_killed() {
    let leaks = isolated!();
    let place = Place::of("fill", "");
    let waits = "fn main() { let runs = || std::fs::read_to_string(\
                 format!(\"/proc/{}/comm\", std::os::unix::process::parent_id())); \
                 while runs().is_ok_and(|name| name.trim() == \"cargo\") { \
                 std::thread::sleep(std::time::Duration::from_millis(1)) } }";
    place.add_package(waits);
    let running = place.run(&[]);
    wait_until("the build script runs", || running.has_process("build-script-bu"));
    assert!(running.process().kill());
    running.end();
    leaks.bury_orphans();
}

#[test]
fn signal_while_memory_is_reserved_ends_the_command() {
    let leaks = isolated!();
    let place = Place::of("hang", "");
    // A GiB, which takes a while.
    place.set("slots = 8", "slots = 16\nmessage_capacity = 67108864");
    assert_ends(&leaks, "reserving", &place, Has::Either, || {
        let running = place.run(&CHECKPOINTS);
        let maps = format!("/proc/{}/maps", running.child.id());
        wait_until("the segment is made", || fs::read_to_string(&maps).unwrap().contains("/dev/shm/cobuf-"));
        running
    });
}

#[test]
fn signal_during_the_stop_gives_the_command_its_code() {
    let leaks = isolated!();
    let place = Place::of("slow-close", "");
    place.set("stop_grace_seconds = 0.5", "stop_grace_seconds = 1000");
    assert_ends(&leaks, "stopping", &place, Has::All, || {
        let (closing, close) = (place.path("closing"), place.path("close"));
        let _ = [&closing, &close].map(fs::remove_file);
        let mut running = place.run(&[&CHECKPOINTS[..], &["--batches", "5"]].concat());
        wait_until("a worker closes its producer", || closing.exists());
        running.released_by = Some(close);
        running
    });
}

#[test]
fn signal_while_a_plugin_is_constructed_ends_the_command() {
    let leaks = isolated!();
    let place = Place::of("hang-new", "");
    assert_ends(&leaks, "new", &place, Has::Nothing, || {
        let running = place.run(&[]);
        wait_until("a worker runs", || running.has_process("cobuf-work-0"));
        running
    });
}

#[test]
fn signal_while_a_commander_skips_ends_the_command_and_keeps_the_checkpoint() {
    let leaks = isolated!();
    let place = Place::of("fill", ", sleep_seconds = 0.2");
    let (ended, ..) = place.run(&["--checkpoint", "old", "--batches", "3"]).end();
    assert_eq!((ended, delivered(&place.path("old"))), (Some(0), 3));
    let before = fs::read(place.path("old")).unwrap();
    assert_ends(&leaks, "skipping", &place, Has::Nothing, || {
        let running = place.run(&["--resume", "old"]);
        wait_until("the commander runs", || running.has_process("cobuf-command"));
        running
    });
    assert_eq!(fs::read(place.path("old")).unwrap(), before);
}

#[test]
fn signal_during_a_run_ends_it_with_summary_and_checkpoint() {
    let leaks = isolated!();
    let place = Place::of("burn", "");
    assert_ends(&leaks, "running and checkpointing", &place, Has::Batches, || {
        let running = place.run(&CHECKPOINTS);
        wait_until("batches come", || place.delivered() > 0);
        running
    });
}

#[test]
fn signal_during_a_stall_ends_the_run_with_summary_and_checkpoint() {
    let leaks = isolated!();
    let place = Place::of("hang", "");
    assert_ends(&leaks, "stalled", &place, Has::Batches, || {
        let running = place.run(&CHECKPOINTS);
        wait_until("the batches before the stall have come", || place.delivered() == 3);
        running
    });
}

#[test]
fn signal_during_a_swap_ends_the_run_with_summary_and_checkpoint() {
    let leaks = isolated!();
    let place = Place::of("burn", "");
    assert_ends(&leaks, "swapping", &place, Has::Batches, || {
        place.build("");
        let running = place.run(&[&CHECKPOINTS[..], &["--watch"]].concat());
        wait_until("batches come", || place.delivered() > 0 && running.has_said("watching"));
        place.build("-DHANGS=1");
        wait_until("the new producer is rehearsed", || running.has_process("cobuf-probe"));
        running
    });
}

#[test]
fn later_signal_ends_a_command_at_once_that_waits_for_its_plugins() {
    let leaks = isolated!();
    let place = Place::of("hang", "");
    place.set("stop_grace_seconds = 0.5", "stop_grace_seconds = 1000");
    let running = place.run(&CHECKPOINTS);
    wait_until("the batches before the stall have come", || place.delivered() == 3);
    running.send(Signal::TERM, false);
    // Longer than the time in which another signal is the same wish.
    thread::sleep(Duration::from_millis(600));
    running.send(Signal::INT, false);
    let (ended, report, ..) = running.end();
    assert_eq!((ended, report), (Some(143), None), "the code is the first signal's");
    leaks.bury_orphans();
}

#[test]
fn signal_that_is_ignored_at_the_start_stays_ignored() {
    let _leaks = isolated!();
    let place = Place::of("burn", "");
    let mut command = Command::new("nohup");
    command
        .arg(crate::common::COBUF)
        .args(["run", "run.toml", "--json", "--batches", "100"])
        .args(CHECKPOINTS);
    command.current_dir(place.folder.path());
    let running = Running::start(command);
    wait_until("batches come", || place.delivered() > 0);
    running.send(Signal::HUP, false);
    let (ended, report, said, _) = running.end();
    assert_eq!(
        (ended, report.map(|report| report["batches"].clone())),
        (Some(0), Some(100.into())),
        "{said}"
    );
}
