//! Traces: what an interpreter in a process says of its threads, when the fork server asks, and at
//! a crash. A stack that is captured from outside shows only the interpreter's own functions.
//!
//! ```text
//!   fork server                      process with an interpreter (see `ForkHooks`)
//!   one pipe a process ── fork ────► SIGNAL has our handler, which writes the end mark;
//!                                    the interpreter's is put before it, and writes the text
//!   ask: SIGNAL ───────────────────► text, end mark ──► pipe ──► text, within the limit; the
//!                                    process waits to be killed
//!   crash:                           text, end mark (`crash`) ──► pipe, before `Event::Crashed`
//! ```
//!
//! The pipe never blocks its writer: what it has no room for is lost, such as a crash of a program
//! that the process has forked and that shares the pipe.
#![expect(unsafe_code, reason = "a signal handler, and a signal that has no safe name")]

use std::os::fd::{AsFd, IntoRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;

use super::system;
use crate::limits::{MAX_TRACE_BYTES, TRACE_LIMIT};
use crate::protocol::channel::wait;

/// How long a process that was asked waits to be killed, and one that aborts for its interpreter, in
/// seconds.
const PATIENCE_SECONDS: libc::time_t = 1;
/// Behind a text, in which it does not occur.
static END: u8 = 0;

/// The pipe's end in this process; -1 if it has none.
static OUTPUT: AtomicI32 = AtomicI32::new(-1);

/// The signal that asks for a text. Programs and libraries count theirs from the other end.
fn signal() -> i32 {
    libc::SIGRTMAX() - 1
}

/// A pipe for a new process's traces: the fork server's end, and the process's. `None` if this
/// process has no interpreter, or no descriptor is left.
pub(super) fn pipe() -> Option<(OwnedFd, OwnedFd)> {
    system::fork_hooks()?;
    pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()
}

/// In a new process: has its interpreter answer from now on. The descriptor stays open until the
/// process ends.
pub(super) fn answer(output: OwnedFd) {
    let Some(hooks) = system::fork_hooks() else { return };
    OUTPUT.store(output.into_raw_fd(), Ordering::Release);
    let handler: extern "C" fn(i32) = on_signal;
    // SAFETY: all zeros is a valid `sigaction`.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as usize;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: the handler only writes a byte; the old action is not read.
    unsafe { libc::sigaction(signal(), &raw const action, ptr::null_mut()) };
    (hooks.trace_at_signal)(OUTPUT.load(Ordering::Acquire), signal());
}

/// Has the interpreter write a text at a crash, before the handlers that are there by now run.
pub(super) fn answer_at_crash() {
    let output = OUTPUT.load(Ordering::Acquire);
    if let Some(hooks) = system::fork_hooks().filter(|_| output >= 0) {
        (hooks.trace_at_crash)(output);
    }
}

/// Runs after the interpreter's handler, and keeps the process where it is until it is killed: a
/// system call that the signal has interrupted would fail, and the process go on.
extern "C" fn on_signal(_: i32) {
    end();
    let patience = libc::timespec { tv_sec: PATIENCE_SECONDS, tv_nsec: 0 };
    // SAFETY: the time is this function's own; the remaining time is not asked for. nanosleep(2) is
    // safe in a handler.
    unsafe { libc::nanosleep(&raw const patience, ptr::null_mut()) };
}

/// At an abort(3) of this process: has an interpreter that has said nothing say it now.
pub(super) fn say_at_abort() {
    let output = OUTPUT.load(Ordering::Acquire);
    let Some(hooks) = system::fork_hooks().filter(|_| output >= 0) else { return };
    let mut said: libc::c_int = 0;
    // SAFETY: the place for the answer is this function's own.
    let known = unsafe { libc::ioctl(output, libc::FIONREAD, &raw mut said) } == 0;
    if known && said == 0 {
        // It calls more than is safe in a handler. If it hangs, the process ends all the same.
        // SAFETY: neither call has preconditions.
        unsafe { libc::signal(libc::SIGALRM, libc::SIG_DFL) };
        // SAFETY: as above.
        unsafe { libc::alarm(PATIENCE_SECONDS as libc::c_uint) };
        (hooks.trace_now)(output);
        // SAFETY: as above.
        unsafe { libc::alarm(0) };
    }
}

/// Marks the end of a text. May run in a signal handler.
pub(super) fn end() {
    let output: RawFd = OUTPUT.load(Ordering::Acquire);
    if output >= 0 {
        // SAFETY: the byte is a static. write(2) is safe in a handler.
        unsafe { libc::write(output, (&raw const END).cast(), 1) };
    }
}

/// Asks a process, which has to be a child that is not reaped yet.
pub(super) fn ask(process: Pid) {
    // SAFETY: kill(2) has no preconditions.
    unsafe { libc::kill(process.as_raw_nonzero().get(), signal()) };
}

/// The texts of a process, as the fork server reads them.
pub(super) struct Text<'a> {
    pipe: &'a OwnedFd,
    bytes: Vec<u8>,
    ended: bool,
}

impl<'a> Text<'a> {
    /// The text that it has written by itself, at a crash.
    pub(super) fn of(pipe: &'a OwnedFd) -> Self {
        let mut text = Self { pipe, bytes: Vec::new(), ended: false };
        text.read();
        if !text.ended {
            // Of another process, which it has forked.
            text.bytes.clear();
        }
        text
    }

    /// Whether there is nothing to ask for.
    pub(super) fn is_complete(&self) -> bool {
        self.ended
    }

    /// The whole text of a process that was asked, if it answers in time; none if it says nothing.
    pub(super) fn wait(mut self) -> Option<String> {
        let deadline = Instant::now() + TRACE_LIMIT;
        let pipe = self.pipe.as_fd();
        while !self.ended
            && let Ok(1..) = wait(&mut [PollFd::from_borrowed_fd(pipe, PollFlags::IN)], Some(deadline))
            && self.read()
        {}
        self.bytes.truncate(MAX_TRACE_BYTES);
        Some(String::from_utf8_lossy(&self.bytes).trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// Reads what is in the pipe; whether there may be more. A dead process has closed its end.
    fn read(&mut self) -> bool {
        let mut part = [0; 4096];
        while !self.ended {
            match rustix::io::read(self.pipe, &mut part) {
                Ok(0) => return false,
                Ok(length) => {
                    let part = &part[..length];
                    let end = part.iter().position(|&byte| byte == END);
                    self.ended = end.is_some();
                    if self.bytes.len() < MAX_TRACE_BYTES {
                        self.bytes.extend(&part[..end.unwrap_or(length)]);
                    }
                }
                Err(error) => return error == rustix::io::Errno::AGAIN,
            }
        }
        true
    }
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;

    fn ends() -> (OwnedFd, OwnedFd) {
        pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap()
    }

    #[test]
    fn text_is_complete_with_its_end_mark_and_what_follows_is_left_out() {
        let (ours, theirs) = ends();
        rustix::io::write(&theirs, b"of another process\n").unwrap();
        let text = Text::of(&ours);
        assert!(!text.is_complete());
        rustix::io::write(&theirs, b"thread\n  f\n\0other").unwrap();
        assert_eq!(text.wait().unwrap(), "thread\n  f");
    }

    #[test]
    fn text_of_a_crash_is_there_already() {
        let (ours, theirs) = ends();
        rustix::io::write(&theirs, b"thread\n\0").unwrap();
        let text = Text::of(&ours);
        assert!(text.is_complete());
        assert_eq!(text.wait().unwrap(), "thread");
    }

    #[test]
    fn process_that_ends_or_does_not_answer_ends_the_wait() {
        let (ours, theirs) = ends();
        rustix::io::write(&theirs, b"half").unwrap();
        assert_eq!(Text { pipe: &ours, bytes: Vec::new(), ended: false }.wait().unwrap(), "half");
        drop(theirs);
        assert_eq!(Text::of(&ours).wait(), None);
    }
}
