//! `cobuf watch`: plugins whose sources change are built and swapped under a running stream.

use crate::common::packages::{Package, target};
use crate::common::refusals::{bytes_of, text};
use crate::common::{LONG, Process, cobuf, isolated, plugin};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use std::{fs, thread};

/// A producer whose batches hold a number.
const SOURCE: &str = r#"
#![forbid(unsafe_code)]
use cobuf_plugin_api::prelude::*;

pub struct Watched;

impl Producer for Watched {
    type Config = Dictionary;
    type Message = Dictionary;

    fn schema(_: &Dictionary) -> Result<Schema> {
        Ok(Schema::new([ArraySpec::new("x", DType::U8, [1])])?)
    }

    fn new(_: Dictionary, _: &WorkerContext) -> Result<Self> {
        Ok(Self)
    }

    fn produce(&mut self, _: Dictionary, slot: &mut Slot<'_>, _: &mut ProduceContext<'_>) -> Result<()> {
        slot.array::<u8, Ix1>("x")?.fill(NUMBER);
        Ok(())
    }
}

cobuf_plugin_api::export_producer!(Watched);
"#;

/// A run of `cobuf watch`, whose standard error is read line by line.
struct Watch {
    command: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Watch {
    fn start(producer: &Path, folder: &Path) -> Self {
        let commander = plugin("list-commander");
        let pipeline = folder.join("pipeline.toml");
        let lines = format!(
            "[commander]\nplugin = {:?}\nconfig = {{ messages = [{{}}], repeat = 0 }}\n[producer]\nplugin = {:?}\n",
            text(commander.path()),
            text(producer)
        );
        fs::write(&pipeline, lines).unwrap();
        let mut command = cobuf();
        command.args(["watch", "--json"]).arg(&pipeline);
        command.env("CARGO_TARGET_DIR", target()).env("CARGO", env!("CARGO"));
        let mut command = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let stderr = BufReader::new(command.stderr.take().unwrap());
        // It ends with the command.
        thread::spawn(move || {
            stderr.lines().map_while(Result::ok).take_while(|line| sender.send(line.clone()).is_ok()).count()
        });
        Self { command, lines, seen: Vec::new() }
    }

    /// Waits for a line with this in it.
    fn wait_for(&mut self, part: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(LONG);
            let line = line.unwrap_or_else(|_| panic!("no {part:?} among {:#?}", self.seen));
            self.seen.push(line.clone());
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Ends it as Ctrl-C does; gives its report.
    fn end(mut self) -> Value {
        Process::get(self.command.id() as i32).unwrap().interrupt();
        let mut report = String::new();
        self.command.stdout.take().unwrap().read_to_string(&mut report).unwrap();
        assert_eq!(self.command.wait().unwrap().code(), Some(130), "{:#?}", self.seen);
        serde_json::from_str(&report).unwrap()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Only if the test fails: nothing else ends an endless stream.
        let _ = self.command.kill();
        let _ = self.command.wait();
    }
}

/// Writes the package's sources with this in the place of the number.
fn write(number: &str) -> PathBuf {
    let source = SOURCE.replace("NUMBER", number);
    Package::new("watched-producer", &source).write()
}

#[test]
fn changed_package_is_built_and_swapped_if_it_compiles() {
    let leaks = isolated!();
    let folder = crate::common::refusals::folder();
    let package = write("1");
    let mut watch = Watch::start(&package, folder.path());
    watch.wait_for("watching");
    write("2");
    watch.wait_for("the producer has changed");
    watch.wait_for("the producer was swapped: from batch ");
    write("a number");
    watch.wait_for("error: expected one of");
    watch.wait_for("the old producer goes on");
    write("2");
    watch.wait_for("the producer is the same as the one that runs");
    write("3");
    watch.wait_for("the producer was swapped: from batch ");
    let report = watch.end();
    assert_eq!((&report["swaps"], &report["errors"], &report["retries"]), (&2.into(), &0.into(), &0.into()));
    leaks.bury_orphans();
}

#[test]
fn replaced_file_is_swapped_if_it_is_a_plugin() {
    let leaks = isolated!();
    let folder = crate::common::refusals::folder();
    let builds = [1, 2].map(|number| {
        let source = SOURCE.replace("NUMBER", &number.to_string());
        bytes_of(&Package::new(&format!("watched-file-{number}"), &source).build())
    });
    let built = folder.path().join("built");
    fs::create_dir(&built).unwrap();
    let file = built.join("libwatched.so");
    fs::write(&file, &builds[0]).unwrap();
    let mut watch = Watch::start(&file, folder.path());
    watch.wait_for("watching");
    // Written over in place.
    fs::write(&file, b"no plugin").unwrap();
    watch.wait_for("error: the plugin");
    watch.wait_for("the old producer goes on");
    // Replaced by another file, as linkers do.
    fs::write(built.join("new.so"), &builds[1]).unwrap();
    fs::rename(built.join("new.so"), &file).unwrap();
    watch.wait_for("the producer was swapped: from batch ");
    fs::write(&file, &builds[0]).unwrap();
    watch.wait_for("the producer was swapped: from batch ");
    // The folder is made anew, as by `cargo clean`; and others write beside the file meanwhile.
    fs::remove_dir_all(&built).unwrap();
    fs::create_dir(&built).unwrap();
    let mut others = fs::File::create(built.join("other.log")).unwrap();
    fs::write(&file, &builds[1]).unwrap();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                others.write_all(b"line\n").unwrap();
                thread::sleep(Duration::from_millis(20));
            }
        });
        watch.wait_for("the producer was swapped: from batch ");
        over.store(true, Ordering::Relaxed);
    });
    // What was refused is tried again when it is asked for again.
    for _ in 0..2 {
        fs::write(&file, b"no plugin").unwrap();
        watch.wait_for("the old producer goes on");
    }
    let report = watch.end();
    assert_eq!((&report["swaps"], &report["errors"]), (&3.into(), &0.into()));
    leaks.bury_orphans();
}
