//! Each test in a process of its own.
//!
//! ```text
//!   cargo test ─► test binary, run by libtest, as many tests at a time as there are CPUs
//!                   │ isolated!()   starts this binary again, for this one test, and waits
//!                   ├─► test binary --exact NAME      TMPDIR and output of its own
//!                   │     isolated!() gives the check `Leaks`, and the test goes on
//!                   ├─► test binary --exact OTHER …
//! ```
//!
//! A test that starts processes begins with `let _leaks = isolated!();`. The check that it leaves
//! nothing behind looks at a whole process: its children, descriptors and mappings. With a process
//! for each test, tests of one binary run side by side, and each check still sees its own test only.
//!
//! - **Output**: what the test's process prints, and its time, are shown if the test fails, or with
//!   `--show-output`.
//! - **Temporary files** are in a folder of the test, so runs of other tests are in other folders:
//!   a host sweeps what dead runs left, and must find only its own test's.
//! - **Orphans** of a test become children of its process, which the check sees.
//! - **A test that hangs** is ended after [`limit`], and its processes are listed.
//! - **Ctrl-C** reaches all processes, which are in one group. If the first process is killed alone,
//!   the kernel kills the tests' processes, and each host's processes end with their host.
//! - **Plugins** are built once by the first process; its tests are told the folder, see [`plugins`].
//!
//! A test may need one more process: an application with another environment, or one that is killed.
//! [`application`] runs the same test once more for that.

#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(unused_imports, reason = "as above")]

mod application;
mod leaks;
pub(crate) mod plugins;
mod processes;

pub(crate) use application::{application, run_as_application, start_as_application};
pub(crate) use leaks::Leaks;
pub(crate) use processes::{Effort, Process};

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};
use std::{env, thread};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag::register_conditional_default;

/// For waits that end with an event: only a test that fails ever waits so long.
pub(crate) const LONG: Duration = Duration::from_secs(120);

/// Begins a test that runs in a process of its own; gives the check that it leaves nothing behind.
macro_rules! isolated {
    () => {
        match $crate::harness::enter(&$crate::harness::test_name!()) {
            Some(leaks) => leaks,
            None => return,
        }
    };
}
pub(crate) use isolated;

/// The name by which libtest knows the test that this is written in.
macro_rules! test_name {
    () => {{
        fn here() {}
        $crate::harness::name_of(here)
    }};
}
pub(crate) use test_name;

/// `module::test`, of the function `here` inside it.
pub(crate) fn name_of<F>(_here: F) -> String {
    let path = std::any::type_name::<F>();
    let inside = path.split_once("::").map_or(path, |(_, inside)| inside);
    // It may be written in a closure of the test.
    let test = inside.split("::{{").next().unwrap_or(inside);
    test.trim_end_matches("::here").to_owned()
}

/// In the test's own process, its name.
const TEST: &str = "COBUF_TEST";
/// How many seconds a test may take, if not the default.
const LIMIT: &str = "COBUF_TEST_LIMIT";

/// Variables of each test's own process, which no list of a sandbox names by itself.
pub(crate) const VARIABLES: [&str; 2] = ["TEST_OF_COBUF_FIRST", "TEST_OF_COBUF_SECOND"];

/// In the test's own process the check; elsewhere runs the test in such a process, and gives `None`.
pub(crate) fn enter(test: &str) -> Option<Leaks> {
    if env::var_os(TEST).is_some() {
        die_with_parent();
        return Some(Leaks::watch());
    }
    run(test);
    None
}

/// How long a test may take before it counts as hung.
fn limit() -> Duration {
    let seconds = env::var(LIMIT).ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(15 * 60))
}

/// Runs one test in a process of its own; panics with its output if it fails.
fn run(test: &str) {
    plugins::build_all();
    let folder = tempfile::Builder::new().prefix("test-of-cobuf-").tempdir();
    let folder = folder.expect("a folder for the test");
    let (output, temporary) = (folder.path().join("output"), folder.path().join("tmp"));
    fs::create_dir(&temporary).expect("the folder is new");
    let file = File::create(&output).expect("the folder is new");
    let mut command = Command::new(env::current_exe().expect("a test has an executable"));
    command.args(["--exact", test, "--nocapture", "--include-ignored"]);
    command.env(TEST, test).env("TMPDIR", &temporary).stdin(Stdio::null());
    command.envs(VARIABLES.map(|name| (name, "set")));
    plugins::tell(&mut command);
    command.stdout(file.try_clone().expect("a descriptor more")).stderr(file);
    let started = Instant::now();
    let mut child = command.spawn().expect("the executable can be run again");
    let ended = wait(&mut child, limit());
    // For `--show-output`.
    println!("{test} took {:.1} s", started.elapsed().as_secs_f64());
    let said = String::from_utf8_lossy(&fs::read(&output).unwrap_or_default()).into_owned();
    print!("{said}");
    match ended {
        // Were there no test of this name, libtest would have run none.
        Some(status) if status.success() && said.contains("test result: ok. 1 passed") => {}
        Some(status) => panic!("{test} failed in its own process ({status}); its output is above"),
        None => {
            println!("{}", processes::describe_and_kill(&mut child));
            panic!("{test} was ended after {:?}; its output and its processes are above", limit());
        }
    }
}

/// Waits for the end of a child; `None` if it did not come in time.
fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let process = Process::get(child.id() as i32).expect("a child that was not waited for is there");
    process.wait_for_end(limit).then(|| child.wait().expect("a child can be waited for"))
}

/// Has the kernel kill this process when the thread that started it ends.
fn die_with_parent() {
    let signal = Some(rustix::process::Signal::KILL);
    rustix::process::set_parent_process_death_signal(signal).expect("this can always be asked for");
}

/// The root of the repository.
pub(crate) fn repository() -> &'static Path {
    // `host/cli` and `host/bench` are two folders down.
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("a package has a folder")
}

/// A command that asks nothing, and whose log is the default one. It heeds signals even if the tests
/// were started with them ignored, as jobs in the background of a script are.
pub(crate) fn command(executable: &str) -> Command {
    heed_signals();
    let mut command = Command::new(executable);
    command.stdin(Stdio::null()).env_remove("RUST_LOG").env_remove("COBUF_PLUGIN_PATH");
    command
}

/// Gives this process's signals their default effects by handlers, which its children do not inherit:
/// an ignored signal would stay ignored there.
fn heed_signals() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for signal in [SIGHUP, SIGINT, SIGTERM] {
            let always = Arc::new(AtomicBool::new(true));
            register_conditional_default(signal, always).expect("these signals can be handled");
        }
    });
}

/// What a command printed, which must succeed.
#[track_caller]
pub(crate) fn succeed(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().expect("the command can be run");
    assert!(status.success(), "{command:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).expect("it prints text")
}

/// What a command said, which must refuse to start anything.
#[track_caller]
pub(crate) fn refused(command: &mut Command) -> String {
    let Output { status, stderr, .. } = command.output().expect("the command can be run");
    let said = String::from_utf8(stderr).expect("it prints text");
    assert_eq!(status.code(), Some(2), "{said}");
    said
}

/// Waits for a state that no event reports; looks every millisecond, for at most [`LONG`].
#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < LONG, "in {LONG:?} it did not come to this: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}
