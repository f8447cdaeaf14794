//! `cobuf watch`: plugins whose sources change are built and swapped under a running stream.

use crate::common::compiled::compile;
use crate::common::packages::{Package, target};
use crate::common::refusals::{bytes_of, text};
use crate::common::{LONG, Process, cobuf, isolated, plugin};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
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
        Self::start_with(producer, folder, "repeat = 0", |_| ())
    }

    /// With this many messages, and a command that is prepared so.
    fn start_with(producer: &Path, folder: &Path, repeat: &str, prepare: impl Fn(&mut Command)) -> Self {
        let commander = plugin("list-commander");
        let pipeline = folder.join("pipeline.toml");
        let lines = format!(
            "[commander]\nplugin = {:?}\nconfig = {{ messages = [{{}}], {repeat} }}\n[producer]\nplugin = {:?}\n",
            text(commander.path()),
            text(producer)
        );
        fs::write(&pipeline, lines).unwrap();
        let mut command = cobuf();
        command.args(["watch", "--json"]).arg(&pipeline);
        command.env("CARGO_TARGET_DIR", target()).env("CARGO", env!("CARGO"));
        prepare(&mut command);
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

/// The bytes of two plugins that differ.
fn builds() -> [Vec<u8>; 2] {
    [1, 2].map(|number| {
        let source = SOURCE.replace("NUMBER", &number.to_string());
        bytes_of(&Package::new(&format!("watched-file-{number}"), &source).build())
    })
}

/// `rel/v1/lib/libx.so` and `rel/v2/lib/libx.so`; the plugin is `rel/current/lib/libx.so`, and
/// `current` leads to `latest`, which leads to v1.
fn releases(folder: &Path) -> PathBuf {
    let releases = folder.join("rel");
    for (version, build) in ["v1", "v2"].iter().zip(builds()) {
        let lib = releases.join(version).join("lib");
        fs::create_dir_all(&lib).unwrap();
        fs::write(lib.join("libx.so"), build).unwrap();
    }
    symlink("v1", releases.join("latest")).unwrap();
    symlink("latest", releases.join("current")).unwrap();
    releases
}

/// Replaces a link at once, as deployments do.
fn flip(releases: &Path, link: &str, to: &str) {
    symlink(to, releases.join("new-link")).unwrap();
    fs::rename(releases.join("new-link"), releases.join(link)).unwrap();
}

#[test]
fn flipped_link_on_the_way_swaps() {
    let leaks = isolated!();
    let folder = crate::common::refusals::folder();
    let releases = releases(folder.path());
    let mut watch = Watch::start(&releases.join("current/lib/libx.so"), folder.path());
    watch.wait_for("watching");
    for (link, to) in [("latest", "v2"), ("current", "v1"), ("current", "latest")] {
        flip(&releases, link, to);
        watch.wait_for("the producer was swapped: from batch ");
    }
    // The file at the end of the links is watched as well.
    fs::copy(releases.join("v1/lib/libx.so"), releases.join("v2/lib/libx.so")).unwrap();
    watch.wait_for("the producer was swapped: from batch ");
    assert_eq!(watch.end()["swaps"], 4);
    leaks.bury_orphans();
}

#[test]
fn changes_are_looked_for_without_inotify() {
    let leaks = isolated!();
    let folder = crate::common::refusals::folder();
    let source = folder.path().join("no-inotify.c");
    fs::write(&source, NO_INOTIFY).unwrap();
    for (call, error, says) in [
        ("INIT", "EMFILE", "the sysctl fs.inotify.max_user_instances is "),
        ("ADD_WATCH", "ENOSPC", "the sysctl fs.inotify.max_user_watches is "),
        ("INIT", "ENOSYS", "no inotify (Function not implemented"),
    ] {
        let library = folder.path().join(format!("lib{call}-{error}.so"));
        let define = format!("-DNO_{call}={error}");
        compile("cc", &source, &["-std=c99", "-shared", "-fPIC", &define, "-o", text(&library)]);
        let run = folder.path().join(format!("{call}-{error}"));
        fs::create_dir(&run).unwrap();
        let releases = releases(&run);
        let file = releases.join("current/lib/libx.so");
        let mut watch = Watch::start_with(&file, &run, "repeat = 0", |command| {
            command.env("LD_PRELOAD", &library);
        });
        let said = watch.wait_for("no inotify (");
        assert!(said.contains(says) && said.contains("looked for every 1 s instead"), "{said}");
        watch.wait_for("watching");
        flip(&releases, "latest", "v2");
        watch.wait_for("the producer was swapped: from batch ");
        fs::copy(releases.join("v1/lib/libx.so"), releases.join("v2/lib/libx.so")).unwrap();
        watch.wait_for("the producer was swapped: from batch ");
        let times = watch.seen.iter().filter(|line| line.contains("no inotify")).count();
        assert_eq!(times, 1, "{:#?}", watch.seen);
        assert_eq!(watch.end()["swaps"], 2);
    }
    leaks.bury_orphans();
}

/// The system's calls, refused as at its limits.
const NO_INOTIFY: &str = "
#include <errno.h>
#include <stdint.h>
#ifdef NO_INIT
int inotify_init1(int flags) { (void)flags; errno = NO_INIT; return -1; }
#else
int inotify_add_watch(int fd, const char *path, uint32_t mask)
{ (void)fd; (void)path; (void)mask; errno = NO_ADD_WATCH; return -1; }
#endif
";

/// A stream that ends takes the watching with it, and that is said.
#[test]
fn end_of_the_stream_is_announced() {
    let leaks = isolated!();
    let folder = crate::common::refusals::folder();
    let releases = releases(folder.path());
    let file = releases.join("current/lib/libx.so");
    let mut watch = Watch::start_with(&file, folder.path(), "repeat = 3", |_| ());
    let said = watch.wait_for("watching");
    assert!(said.ends_with("; the run ends with its stream, after 3 messages"), "{said}");
    assert_eq!(watch.command.wait().unwrap().code(), Some(0), "{:#?}", watch.seen);
    leaks.bury_orphans();
}

#[test]
fn refusal_of_other_arrays_is_an_error_and_the_old_code_goes_on() {
    let leaks = isolated!();
    let folder = crate::common::refusals::folder();
    let releases = releases(folder.path());
    let file = releases.join("v1/lib/libx.so");
    let mut watch = Watch::start(&file, folder.path());
    watch.wait_for("watching");
    let other = "fn schema(_: &Dictionary) -> Result<Schema> {\n        Ok(Schema::new([ArraySpec::new(\"y\", DType::U8, [1])])?)";
    let same = "fn schema(_: &Dictionary) -> Result<Schema> {\n        Ok(Schema::new([ArraySpec::new(\"x\", DType::U8, [1])])?)";
    let source = SOURCE
        .replace(same, other)
        .replace("NUMBER", "1")
        .replace("array::<u8, Ix1>(\"x\")", "array::<u8, Ix1>(\"y\")");
    fs::write(&file, bytes_of(&Package::new("watched-other-arrays", &source).build())).unwrap();
    watch.wait_for("error: ");
    watch.wait_for("the old producer goes on");
    fs::write(&file, &builds()[1]).unwrap();
    watch.wait_for("the producer was swapped: from batch ");
    let said = |line: &&String| line.starts_with("error: ") && line.contains("array");
    let about: Vec<&String> = watch.seen.iter().filter(said).collect();
    assert_eq!(about.len(), 1, "{:#?}", watch.seen);
    assert_eq!(watch.end()["swaps"], 1);
    leaks.bury_orphans();
}

#[test]
fn replaced_file_is_swapped_if_it_is_a_plugin() {
    let leaks = isolated!();
    let folder = crate::common::refusals::folder();
    let builds = builds();
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
