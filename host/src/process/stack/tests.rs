//! Tests against real processes: `sleep`, and copies of this executable.

use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process, pidfd_open, waitid, waitpid,
};

use super::capture::capture;
use super::error::StackError;
use super::threads::{Blocked, list_threads};
use super::unwind::Area;
use crate::limits::{
    MAX_EVENT_BYTES, MAX_STACK_FRAMES, MAX_STACK_NAME_BYTES, MAX_STACK_THREADS, MAX_TRACE_BYTES,
};
use crate::process::stack::names::{Stack, resolve};
use crate::protocol::channel;
use crate::record::raw_stack::{RawStack, RawThread};

const LIMIT: Duration = Duration::from_secs(60);
/// Tells a copy of this executable what to do, see `child_of_the_other_tests`.
const CHILD_DOES: &str = "COBUF_TEST_STACK_CHILD";

/// A child that is killed and reaped when it is dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Killed {
    fn spawn(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).spawn().unwrap())
    }

    /// Starts a copy of this executable, which does `what` in a thread that libtest's main thread
    /// waits for. Returns once the copy says that it does so.
    fn that(what: &str) -> (Self, BufReader<ChildStdout>) {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "process::stack::tests::child_of_the_other_tests", "--nocapture"]);
        command.env(CHILD_DOES, what).stdout(Stdio::piped());
        let mut child = Self(command.stdin(Stdio::piped()).spawn().unwrap());
        let mut output = BufReader::new(child.0.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("ready") {
            line.clear();
            assert!(output.read_line(&mut line).unwrap() > 0, "the child ended");
        }
        (child, output)
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }

    fn stack(&self) -> Stack {
        resolve(&capture(self.pid(), LIMIT, || {}).unwrap())
    }

    /// The main thread's state (`S` sleeping, `T` stopped by a signal, `t` stopped by a tracer, and
    /// so on), and its tracer.
    fn state(&self) -> (char, String) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let field = |name| {
            let line = status.lines().find_map(|line: &str| line.strip_prefix(name));
            line.unwrap().trim().to_owned()
        };
        (field("State:").chars().next().unwrap(), field("TracerPid:"))
    }

    /// Waits until the kernel has made this change of state, with no tracer left.
    fn comes_to(&self, state: char) {
        let deadline = Instant::now() + LIMIT;
        while self.state() != (state, "0".to_owned()) {
            assert!(Instant::now() < deadline, "it stays {:?}", self.state());
            thread::yield_now();
        }
    }
}

#[inline(never)]
fn hang_here() {
    // Ends with the parent.
    let _ = io::stdin().read(&mut [0]);
    std::hint::black_box(());
}

#[inline(never)]
fn recurse(depth: u32) -> u32 {
    if depth == 0 {
        hang_here();
        return 0;
    }
    // Not a tail call.
    std::hint::black_box(recurse(depth - 1) + 1)
}

/// Puts a thread into an uninterruptible wait: for a child of vfork that neither executes nor ends.
#[expect(unsafe_code, reason = "vfork without sharing memory, which has no wrapper")]
fn wait_uninterruptibly() {
    // SAFETY: without CLONE_VM it is a fork whose parent waits.
    let child = unsafe { libc::syscall(libc::SYS_clone, libc::CLONE_VFORK | libc::SIGCHLD, 0, 0, 0, 0) };
    if child == 0 {
        // The signal comes with the end of the parent's thread.
        if rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).is_err() {
            crate::process::system::leave(1);
        }
        loop {
            thread::park();
        }
    }
}

/// Not a test: what a copy of this executable does for the tests below.
#[test]
fn child_of_the_other_tests() {
    let Ok(what) = std::env::var(CHILD_DOES) else { return };
    let start = |name: &str, body: fn()| thread::Builder::new().name(name.to_owned()).spawn(body).unwrap();
    let park = || loop {
        thread::park();
    };
    match &*what {
        "threads" => {
            start("second", park);
            start("third", park);
        }
        "many" => (0..MAX_STACK_THREADS + 4).for_each(|_| drop(start("one of many", park))),
        "stuck" => drop(start("stuck", wait_uninterruptibly)),
        "spin" => {
            println!("ready");
            loop {
                std::hint::spin_loop();
            }
        }
        "recurse" => {
            println!("ready");
            recurse(1000);
        }
        _ => {}
    }
    println!("ready");
    hang_here();
}

/// Captures the stack repeatedly until `seen` accepts it: threads need time to get to their place.
fn until(child: &Killed, seen: impl Fn(&Stack) -> bool) -> Stack {
    let deadline = Instant::now() + LIMIT;
    loop {
        let stack = child.stack();
        if seen(&stack) {
            return stack;
        }
        assert!(Instant::now() < deadline, "{stack}");
    }
}

fn has(stack: &Stack, thread: usize, function: &str) -> bool {
    stack.threads.get(thread).is_some_and(|thread| thread.frames.iter().any(|frame| frame.contains(function)))
}

#[test]
fn a_sleeping_process_shows_the_libc_function_that_it_sleeps_in() {
    let child = Killed::spawn(Command::new("sleep").arg("1000"));
    let stack = until(&child, |stack| has(stack, 0, "nanosleep"));
    assert_eq!(stack.threads[0].name, "sleep");
    assert!(has(&stack, 0, "__libc_start_main"), "{stack}");
    child.comes_to('S');
}

#[test]
fn a_stopped_process_has_a_stack_and_stays_stopped() {
    let child = Killed::spawn(Command::new("sleep").arg("1000"));
    until(&child, |stack| has(stack, 0, "nanosleep"));
    kill_process(child.pid(), Signal::STOP).unwrap();
    waitpid(Some(child.pid()), WaitOptions::UNTRACED).unwrap().unwrap();
    for _ in 0..3 {
        assert!(has(&child.stack(), 0, "nanosleep"));
        child.comes_to('T');
    }
    kill_process(child.pid(), Signal::CONT).unwrap();
    child.comes_to('S');
}

#[test]
fn rust_functions_of_all_threads_are_shown() {
    let (child, _output) = Killed::that("threads");
    let stack =
        until(&child, |stack| has(stack, 1, "hang_here") && has(stack, 2, "park") && has(stack, 3, "park"));
    assert!(has(&stack, 0, "test::test_main"), "{stack}");
    assert!(has(&stack, 1, "cobuf_host::process::stack::tests::hang_here"), "{stack}");
    assert!(has(&stack, 1, "child_of_the_other_tests"), "{stack}");
    assert!(has(&stack, 1, "src/process/stack/tests.rs:"), "no lines: {stack}");
    assert_eq!((&*stack.threads[2].name, &*stack.threads[3].name), ("second", "third"));
    assert_eq!(stack.left_out, 0);
}

#[test]
fn a_deleted_file_is_walked_through_without_names() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("sleeps");
    fs::copy("/bin/sleep", &program).unwrap();
    let child = Killed::spawn(Command::new(&program).arg("1000"));
    fs::remove_file(&program).unwrap();
    let stack = until(&child, |stack| has(stack, 0, "nanosleep"));
    assert!(has(&stack, 0, "sleeps (deleted)+0x"), "{stack}");
    assert!(has(&stack, 0, "__libc_start_main"), "{stack}");
}

#[test]
fn a_limit_that_is_too_short_leaves_the_process_running() {
    let child = Killed::spawn(Command::new("sleep").arg("1000"));
    until(&child, |stack| has(stack, 0, "nanosleep"));
    let error = capture(child.pid(), Duration::ZERO, || {}).unwrap_err();
    assert!(matches!(error, StackError::TookTooLong { .. } | StackError::NotStopped { .. }), "{error:?}");
    child.comes_to('S');
}

#[test]
fn a_busy_process_stays_busy() {
    let (child, _output) = Killed::that("spin");
    until(&child, |stack| has(stack, 1, "child_of_the_other_tests"));
    child.comes_to('S');
    let deadline = Instant::now() + LIMIT;
    while !tasks_are(child.pid(), "RS") {
        assert!(Instant::now() < deadline);
        thread::yield_now();
    }
}

#[test]
fn threads_above_the_limit_are_counted() {
    let (child, _output) = Killed::that("many");
    let stack = child.stack();
    assert_eq!((stack.threads.len(), stack.left_out), (MAX_STACK_THREADS, 6));
}

#[test]
fn a_deep_stack_is_cut_at_its_outer_end_and_fits_an_event() {
    let (child, _output) = Killed::that("recurse");
    let stack = until(&child, |stack| has(stack, 1, "hang_here"));
    assert_eq!(stack.threads[1].frames.last().unwrap(), "and more");
    let raw = capture(child.pid(), LIMIT, || {}).unwrap();
    assert_eq!(raw.threads[1].frames.len(), MAX_STACK_FRAMES);
    let longest = RawThread { name: "x".repeat(15), frames: vec![(u32::MAX, u64::MAX); MAX_STACK_FRAMES] };
    let names = vec![PathBuf::from("x".repeat(MAX_STACK_NAME_BYTES / 1024)); 1024];
    let largest = RawStack {
        modules: names,
        threads: vec![longest; MAX_STACK_THREADS],
        left_out: u32::MAX,
        trace: "é".repeat(MAX_TRACE_BYTES / 2),
    };
    assert!(rmp_serde::to_vec(&largest).unwrap().len() < MAX_EVENT_BYTES / 4 * 3);
    let sent = rmp_serde::to_vec(&raw).unwrap();
    assert_eq!(rmp_serde::from_slice::<RawStack>(&sent).unwrap(), raw);
}

#[test]
fn a_thread_that_cannot_stop_shows_where_it_is_blocked_and_its_process_can_be_reaped() {
    let (child, _output) = Killed::that("stuck");
    let deadline = Instant::now() + LIMIT;
    // Wait until the thread is blocked in vfork.
    while !tasks_are(child.pid(), "DSS") {
        assert!(Instant::now() < deadline);
        thread::yield_now();
    }
    // The thread never stops, so it is the limit that ends the capture.
    let stack = resolve(&capture(child.pid(), Duration::from_millis(400), || {}).unwrap());
    assert!(has(&stack, 1, "hang_here"), "{stack}");
    assert_eq!((stack.threads.len(), stack.left_out), (3, 0));
    assert!(has(&stack, 2, "syscall in libc") && has(&stack, 2, "wait_uninterruptibly"), "{stack}");
    let alive = pidfd_open(child.pid(), PidfdFlags::empty()).unwrap();
    kill_process(child.pid(), Signal::KILL).unwrap();
    let dead =
        channel::wait(&mut [PollFd::new(&alive, PollFlags::IN)], Some(Instant::now() + LIMIT)).unwrap();
    assert_eq!(dead, 1, "a traced thread is left that no process waits for");
}

/// Whether the states of all tasks, sorted, are these.
fn tasks_are(pid: Pid, states: &str) -> bool {
    let pid = pid.as_raw_nonzero().get();
    let state = |tid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/task/{tid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next())
    };
    let mut found: Vec<char> = list_threads(pid).unwrap().into_iter().filter_map(state).collect();
    found.sort_unstable();
    found.into_iter().eq(states.chars())
}

#[test]
fn a_signal_that_comes_meanwhile_still_arrives() {
    for _ in 0..20 {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = Pid::from_child(&child);
        let sender = thread::spawn(move || kill_process(pid, Signal::TERM).unwrap());
        // It may die before, during or after the capture, but it dies of that signal.
        let _ = capture(pid, LIMIT, || {});
        sender.join().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(Signal::TERM.as_raw()));
    }
}

#[test]
fn a_process_that_does_not_exist_is_an_error_with_its_cause() {
    let mut child = Command::new("true").spawn().unwrap();
    let pid = Pid::from_child(&child);
    child.wait().unwrap();
    let error = capture(pid, LIMIT, || {}).unwrap_err();
    assert!(matches!(error, StackError::Threads { .. }), "{error:?}");
    assert!(std::error::Error::source(&error).is_some());
}

#[test]
fn an_unreaped_dead_process_is_an_error_and_can_still_be_reaped() {
    let mut child = Command::new("false").spawn().unwrap();
    let pid = Pid::from_child(&child);
    let exited = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    waitid(WaitId::Pid(pid), exited).unwrap();
    let error = capture(pid, LIMIT, || {}).unwrap_err();
    assert!(matches!(error, StackError::Trace { .. }), "{error:?}");
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn maps_lines_with_spaces_and_without_a_file_are_parsed() {
    let line =
        b"7f0c2a028000-7f0c2a1bd000 r-xp 00028000 fd:01 3932                       /a b/c.so (deleted)";
    let area = Area::parse(line).unwrap();
    assert_eq!(area.range, 0x7f0c_2a02_8000..0x7f0c_2a1b_d000);
    assert_eq!((area.offset, area.inode, area.path.as_bytes()), (0x28000, 3932, &b"/a b/c.so (deleted)"[..]));
    assert_eq!(Area::parse(b"7ff0-8000 rw-p 00000000 00:00 0 ").unwrap().path, "");
    assert_eq!(Area::parse(b"7ff0-8000 r-xp 0 00:00 7 /a\xff").unwrap().path.as_bytes(), b"/a\xff");
    assert!(Area::parse(b"nonsense").is_none());
}

#[test]
fn syscall_lines_of_blocked_and_running_threads_are_parsed() {
    let blocked = |line| Blocked::parse(line).map(|Blocked { ip, sp }| (ip, sp));
    assert_eq!(blocked("56 0x1 0x0 0x0 0x0 0x0 0x0 0x7ffd 0x7f0c\n"), Some((0x7f0c, 0x7ffd)));
    assert_eq!(blocked("-1 0x7ffd 0x7f0c\n"), Some((0x7f0c, 0x7ffd)));
    assert_eq!(blocked("running\n"), None);
}
