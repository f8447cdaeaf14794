//! The command at a terminal: what a person sees, and what the terminal's keys do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use rustix::termios::LocalModes;
use serde_json::Value;

use super::pipeline::PipelineFile;
use crate::common::packages::odd_producer;
use crate::common::terminal::{CTRL_C, CTRL_Q, CTRL_S, CTRL_Z, Picture, Terminal};
use crate::common::{Leaks, cobuf, compiled, isolated, plugin, refusals, repository, wait_until};

/// The widths of terminals that people have.
const WIDTHS: [u16; 4] = [40, 80, 100, 160];

/// How the lines of a summary begin.
const SUMMARY: [&str; 6] = [
    "  first batch    after ",
    "  ran with       ",
    "  waited         ",
    "  limited by     ",
    "  trouble        ",
    "  content digest ",
];

/// A run of so many messages, the last of which waits for the file `go` in the pipeline's folder.
struct Held {
    pipeline: PipelineFile,
    go: PathBuf,
}

impl Held {
    /// With these messages before the last one.
    fn with(messages: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The name alone is used; the folder goes.
        let go = folder.path().to_owned();
        drop(folder);
        let messages = format!("messages = [{messages}, {{ until_file = {go:?} }}]");
        Self { pipeline: PipelineFile::of_list(&messages), go }
    }

    fn run(&self) -> Command {
        run(&self.pipeline)
    }

    /// Lets the last message go.
    fn release(&self) {
        fs::write(&self.go, "").unwrap();
    }
}

fn run(pipeline: &PipelineFile) -> Command {
    run_file(&pipeline.path())
}

/// A run in the folder of its file, as a terminal's shell would start it.
fn run_file(file: &Path) -> Command {
    let mut command = cobuf();
    command.arg("run").arg(file).current_dir(file.parent().unwrap());
    command.env("TERM", "xterm-256color").env_remove("NO_COLOR");
    command
}

/// Whether the bar, which is the last line, shows this.
fn bar_shows(picture: &Picture, text: &str) -> bool {
    picture.bars().len() == 1 && picture.lines.last().is_some_and(|last| last.contains(text))
}

/// The number of decimals of the rate in a bar.
fn decimals(bar: &str) -> Option<usize> {
    let rate = bar.split_whitespace().find_map(|word| word.strip_suffix("/s"))?;
    Some(rate.split_once('.').map_or(0, |(_, decimals)| decimals.len()))
}

/// Asserts that the last lines are a summary that begins so, and returns the lines above it.
#[track_caller]
fn above_summary(picture: &Picture, first: &str) -> Vec<String> {
    let above = picture.lines.len().saturating_sub(SUMMARY.len() + 1);
    let (above, summary) = picture.lines.split_at(above);
    let expected = [first].into_iter().chain(SUMMARY);
    assert!(
        summary.len() > SUMMARY.len()
            && summary.iter().zip(expected).all(|(line, start)| line.starts_with(start)),
        "{picture:#?}"
    );
    above.to_vec()
}

#[test]
fn bar_has_one_row_and_gives_way_to_the_summary() {
    let _leaks = isolated!();
    for width in WIDTHS {
        let held = Held::with("{ index = 0 }, { index = 1 }");
        let terminal = Terminal::start(width, held.run());
        let picture = terminal.wait_for("the bar shows two batches", |it| bar_shows(it, " 2/3 batches"));
        let [bar] = picture.lines.as_slice() else { panic!("{width}: {picture:#?}") };
        assert!(width < 80 || decimals(bar) == Some(1), "{bar}");
        assert!(width < 80 || bar.contains("slots: 0 ready"), "{width}: {bar}");
        held.release();
        let (code, pictures) = terminal.end();
        assert_eq!(code, Some(0), "{pictures:#?}");
        let (last, before) = pictures.split_last().unwrap();
        for picture in before.iter().filter(|picture| !picture.bars().is_empty()) {
            assert!(!picture.wrapped && picture.lines.len() == 1, "{width}: {picture:#?}");
        }
        assert_eq!(above_summary(last, "3 batches, 12 rows"), [""; 0], "{width}");
    }
}

#[test]
fn errors_and_logs_stand_on_lines_of_their_own() {
    let _leaks = isolated!();
    for width in WIDTHS {
        let held = Held::with(
            "{ index = 0 }, { error = \"torn\" }, { exit = 3, on_attempt = 1 }, { log = \"so far\" }",
        );
        let terminal = Terminal::start(width, held.run());
        let picture = terminal.wait_for("the bar shows four batches", |it| bar_shows(it, " 4/5 batches"));
        let (_, above) = picture.lines.split_last().unwrap();
        let expected =
            ["error: batch 1 failed in worker ", "  message: {", " WARN a worker died", " INFO so far"];
        for start in expected {
            assert_eq!(
                above.iter().filter(|line| line.starts_with(start)).count(),
                1,
                "{start}: {picture:#?}"
            );
        }
        for line in above {
            assert!(
                expected.iter().any(|start| line.starts_with(start)),
                "{width}: {line:?} in {picture:#?}"
            );
        }
        held.release();
        let (code, pictures) = terminal.end();
        assert_eq!(code, Some(1));
        assert_eq!(above_summary(pictures.last().unwrap(), "4 batches, "), above, "{width}");
    }
}

#[test]
fn ctrl_c_ends_the_run_with_a_summary_and_no_bar() {
    let _leaks = isolated!();
    for width in WIDTHS {
        for (repeat, shown) in [(1_000_000, "/1000000"), (0, " batches  ")] {
            let messages = format!("messages = [{{ sleep_seconds = 0.001 }}]\nrepeat = {repeat}");
            let pipeline = PipelineFile::of_list(&messages);
            let mut terminal = Terminal::start(width, run(&pipeline));
            let picture = terminal.wait_for("some batches are counted", |it| {
                it.shows(shown) && !it.shows(" 0 batches") && !it.shows(" 0/")
            });
            let [bar] = picture.lines.as_slice() else { panic!("{width}: {picture:#?}") };
            assert!(!picture.wrapped && (width < 80 || decimals(bar) == Some(1)), "{picture:#?}");
            terminal.type_key(CTRL_C);
            let (code, pictures) = terminal.end();
            assert_eq!(code, Some(130));
            let last = pictures.last().unwrap();
            assert_eq!(last.lines.len(), 1 + SUMMARY.len(), "{width}, {repeat}: {last:#?}");
            let (count, rest) = last.lines[0].split_once(" batches (stopped early), ").expect("a summary");
            assert!(count.parse::<u64>().is_ok() && rest.ends_with(" MB/s"), "{width}: {last:#?}");
        }
    }
}

#[test]
fn bar_moves_while_lines_come_without_a_pause() {
    let _leaks = isolated!();
    let pipeline =
        PipelineFile::of_list("messages = [{ log = \"so far\", sleep_seconds = 0.01 }]\nrepeat = 1000");
    let mut terminal = Terminal::start(100, run(&pipeline));
    let moved = |picture: &Picture| picture.bars().len() == 1 && !picture.shows(" 0/1000 batches");
    terminal.wait_for("the bar has moved", moved);
    terminal.type_key(CTRL_C);
    assert_eq!(terminal.end().0, Some(130));
}

#[test]
fn stopped_and_continued_run_shows_one_bar() {
    let _leaks = isolated!();
    let held = Held::with("{ index = 0 }, { index = 1 }");
    let mut terminal = Terminal::start(80, held.run());
    terminal.wait_for("the bar shows two batches", |it| bar_shows(it, " 2/3 batches"));
    terminal.type_key(CTRL_Z);
    // A session's leader without a shell above it is an orphan, which Ctrl-Z does not stop.
    terminal.process().freeze();
    let changes = terminal.changes();
    terminal.process().thaw();
    wait_until("the bar is drawn again", || terminal.changes() > changes);
    held.release();
    let (code, pictures) = terminal.end();
    assert_eq!(code, Some(0));
    assert_eq!(above_summary(pictures.last().unwrap(), "3 batches, 12 rows"), [""; 0]);
}

#[test]
fn paused_terminal_delays_neither_batches_nor_the_end() {
    let _leaks = isolated!();
    let pipeline =
        PipelineFile::of_list("messages = [{ log = \"so far\", sleep_seconds = 0.005 }]\nrepeat = 0");
    let checkpoint = pipeline.folder.path().join("checkpoint");
    let delivered = || -> u64 {
        let text = fs::read_to_string(&checkpoint).unwrap_or_default();
        let checkpoint: Value = serde_json::from_str(&text).unwrap_or_default();
        let ranges = checkpoint["done"].as_array().into_iter().flatten();
        ranges.map(|range| range[1].as_u64().unwrap() - range[0].as_u64().unwrap()).sum()
    };
    let more = |batches: u64| {
        let before = delivered();
        wait_until("more batches came", || delivered() >= before + batches);
    };
    let mut command = run(&pipeline);
    command.args(["--checkpoint", "checkpoint", "--checkpoint-every", "1"]);
    let mut terminal = Terminal::start(80, command);
    terminal.wait_for("a line and the counter", |it| it.shows("so far") && it.shows("slots: "));
    terminal.type_key(CTRL_S);
    // What is under way to the screen arrives.
    more(20);
    let changes = terminal.changes();
    more(100);
    assert_eq!(terminal.changes(), changes, "the terminal is not paused");
    terminal.type_key(CTRL_Q);
    wait_until("the lines come", || terminal.changes() > changes + 1);
    terminal.type_key(CTRL_S);
    more(100);
    terminal.process().send(Signal::TERM);
    let (code, _) = terminal.end();
    assert_eq!(code, Some(143));
}

#[test]
fn lines_that_a_plugin_prints_stand_above_the_bar() {
    let _leaks = isolated!();
    for width in WIDTHS {
        let folder = refusals::folder();
        let go = folder.path().join("go");
        let print = |text: &str| format!("{{ print = {text:?}, until_file = {go:?} }}");
        let text = format!(
            "[commander]\nplugin = {:?}\nconfig = {{ messages = [{{}}, {}, {}] }}\n\
             [producer]\nplugin = {:?}\n[run]\nworkers = 1\n",
            plugin("list-commander").path(),
            print("one\ntwo"),
            print("10 %\r100 %"),
            odd_producer().path()
        );
        fs::write(folder.path().join("run.toml"), text).unwrap();
        let terminal = Terminal::start(width, run_file(&folder.path().join("run.toml")));
        terminal.wait_for("the bar shows a batch", |it| bar_shows(it, " 1/3 batches"));
        fs::write(go, "").unwrap();
        let (code, pictures) = terminal.end();
        let last = pictures.last().unwrap();
        assert_eq!(code, Some(0), "{last:#?}");
        assert_eq!(above_summary(last, "3 batches, "), ["one", "two", "100 %"], "{width}");
    }
}

#[test]
fn plugin_that_prints_goes_on_where_the_terminal_stops_background_output() {
    let _leaks = isolated!();
    let folder = refusals::folder();
    let text = format!(
        "[commander]\nplugin = {:?}\nconfig = {{ messages = [{{ print = \"printed\" }}], repeat = 20 }}\n\
         [producer]\nplugin = {:?}\n",
        plugin("list-commander").path(),
        odd_producer().path()
    );
    fs::write(folder.path().join("run.toml"), text).unwrap();
    let command = run_file(&folder.path().join("run.toml"));
    let terminal = Terminal::start_with(100, command, LocalModes::TOSTOP);
    let (code, pictures) = terminal.end();
    let last = pictures.last().unwrap();
    assert_eq!(code, Some(0), "{last:#?}");
    assert!(last.shows("printed") && last.shows("20 batches"), "{last:#?}");
}

#[test]
fn plugin_that_asks_at_the_terminal_gets_an_error() {
    let _leaks = isolated!();
    let folder = refusals::folder();
    let text = format!(
        "[commander]\nplugin = {:?}\nconfig = {{ messages = [{{ ask = true }}, {{}}] }}\n\
         [producer]\nplugin = {:?}\n",
        plugin("list-commander").path(),
        odd_producer().path()
    );
    fs::write(folder.path().join("run.toml"), text).unwrap();
    let (code, pictures) = Terminal::start(100, run_file(&folder.path().join("run.toml"))).end();
    let last = pictures.last().unwrap();
    assert_eq!(code, Some(1), "{last:#?}");
    assert!(last.shows("nobody answers") && last.shows("os error 5"), "{last:#?}");
    assert!(last.shows("1 batches,"), "the other message is produced: {last:#?}");
}

#[test]
fn logs_are_coloured_unless_that_is_unwanted() {
    let _leaks = isolated!();
    let pipeline = PipelineFile::of_list("messages = [{ log = \"so far\" }]");
    for (name, value, expected) in [("NO_COLOR", "", true), ("NO_COLOR", "1", false), ("TERM", "dumb", false)]
    {
        let mut command = run(&pipeline);
        command.env(name, value);
        let (code, pictures) = Terminal::start(80, command).end();
        assert_eq!(code, Some(0));
        let last = pictures.last().unwrap();
        assert!(last.shows(" INFO so far"), "{last:#?}");
        assert_eq!(last.coloured, expected, "{name}={value}: {last:#?}");
    }
}

/// A pipeline whose producer is a package that is built for ever.
fn with_endless_build() -> PipelineFile {
    let pipeline = PipelineFile::new("length = 7", "");
    let package = pipeline.folder.path().join("slow");
    let manifest = "[package]\nname = \"slow\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[lib]\ncrate-type = [\"cdylib\"]\n[workspace]\n";
    fs::create_dir_all(package.join("src")).unwrap();
    fs::write(package.join("Cargo.toml"), manifest).unwrap();
    fs::write(package.join("src/lib.rs"), "").unwrap();
    fs::write(package.join("build.rs"), "fn main() { loop { std::thread::park() } }").unwrap();
    let text = fs::read_to_string(pipeline.path()).unwrap();
    let producer = plugin("fill-producer").path().display().to_string();
    fs::write(pipeline.path(), text.replace(&producer, "slow")).unwrap();
    pipeline
}

/// Ends a build, and asserts that this is told on a line of its own.
fn assert_build_ends(leaks: &Leaks, end: impl Fn(&mut Terminal), expected: i32) {
    let pipeline = with_endless_build();
    for width in WIDTHS {
        let mut terminal = Terminal::start(width, run(&pipeline));
        terminal.wait_for("the build is told", |it| it.shows("Compiling slow v0.1.0"));
        end(&mut terminal);
        let (code, pictures) = terminal.end();
        let last = pictures.last().unwrap();
        assert_eq!(code, Some(expected), "{last:#?}");
        assert!(last.lines.last().unwrap().starts_with("stopped before the first batch"), "{last:#?}");
        // Cargo's own children, which it does not wait for when it is ended.
        leaks.bury_orphans();
        fs::remove_dir_all(pipeline.folder.path().join("slow/target")).unwrap();
    }
}

#[test]
fn build_shows_progress_and_is_ended_by_a_signal() {
    let leaks = isolated!();
    assert_build_ends(&leaks, |terminal| assert!(terminal.process().send(Signal::TERM)), 143);
}

#[test]
fn build_is_ended_by_ctrl_c() {
    let leaks = isolated!();
    assert_build_ends(&leaks, |terminal| terminal.type_key(CTRL_C), 130);
}

#[test]
fn start_that_takes_long_says_what_it_waits_for() {
    let _leaks = isolated!();
    let folder = refusals::folder();
    let source = repository().join("tests/common/sources/c/borrowed_library.c");
    let producer = compiled::build(&folder, "cc", &source, &[]);
    let text = format!(
        "[commander]\nplugin = {:?}\nconfig = {{ messages = [{{ index = 0 }}] }}\n\
         [producer]\nplugin = {:?}\nconfig = {{ mode = \"hang-new\" }}\n[run]\nworkers = 2\nstop_grace_seconds = 0.5\n",
        plugin("list-commander").path(),
        producer.path()
    );
    fs::write(folder.path().join("run.toml"), text).unwrap();
    let command = run_file(&folder.path().join("run.toml"));
    let mut terminal = Terminal::start(80, command);
    let picture = terminal.wait_for("it says what it waits for", |it| it.shows("waiting for "));
    assert!(picture.shows(" INFO waiting for ") && picture.shows(" plugin processes"), "{picture:#?}");
    terminal.type_key(CTRL_C);
    let (code, pictures) = terminal.end();
    let last = pictures.last().unwrap();
    assert_eq!(code, Some(130), "{last:#?}");
    assert!(last.lines.last().unwrap().starts_with("stopped before the first batch"), "{last:#?}");
}
