//! Traces: what an interpreter in a process says of its threads, when the fork server asks, and at
//! a crash. A stack that is captured from outside shows only the interpreter's own functions.
//!
//! ```text
//!   fork server                      process with an interpreter (see `ForkHooks`)
//!   one pipe a process ── fork ────► SIGNAL has our handler, which writes the end mark;
//!                                    the interpreter's is put before it, and writes the text
//!   ask: SIGNAL ───────────────────► text, end mark ──► pipe ──► text, within the limit
//!   crash:                           text, end mark (`crash`) ──► pipe, before `Event::Crashed`
//! ```
//!
//! The pipe never blocks its writer: what it has no room for is lost, such as a crash of a program
//! that the process has forked and that shares the pipe.
#![expect(unsafe_code, reason = "a signal handler, and a signal that has no safe name")]

use std::io;
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

extern "C" fn on_signal(_: i32) {
    end();
}

/// Marks the end of a text. May run in a signal handler.
pub(super) fn end() {
    let output: RawFd = OUTPUT.load(Ordering::Acquire);
    if output >= 0 {
        // SAFETY: the byte is a static. write(2) is safe in a handler.
        unsafe { libc::write(output, (&raw const END).cast(), 1) };
    }
}

/// The text of a process, which is about to be killed: that of its crash, or else one that it is
/// asked for now.
pub(super) fn ask(pipe: &OwnedFd, process: Pid) -> Option<String> {
    let mut text = Text::default();
    if !text.read(pipe) {
        // Without an end it is not this process's.
        text = Text::default();
        // SAFETY: kill(2) has no preconditions. A child that is not yet reaped cannot have been
        // replaced by another process.
        unsafe { libc::kill(process.as_raw_nonzero().get(), signal()) };
        let deadline = Instant::now() + TRACE_LIMIT;
        let more = |pipe: &OwnedFd| -> io::Result<bool> {
            Ok(wait(&mut [PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN)], Some(deadline))? > 0)
        };
        while more(pipe).unwrap_or(false) && !text.read(pipe) && Instant::now() < deadline {}
    }
    text.bytes.truncate(MAX_TRACE_BYTES);
    Some(String::from_utf8_lossy(&text.bytes).trim().to_owned()).filter(|text| !text.is_empty())
}

#[derive(Default)]
struct Text {
    bytes: Vec<u8>,
    ended: bool,
}

impl Text {
    /// Reads what is in the pipe; whether the text is complete.
    fn read(&mut self, pipe: &OwnedFd) -> bool {
        let mut part = [0; 4096];
        while !self.ended
            && let Ok(length @ 1..) = rustix::io::read(pipe, &mut part)
        {
            let part = &part[..length];
            let end = part.iter().position(|&byte| byte == END);
            self.ended = end.is_some();
            if self.bytes.len() < MAX_TRACE_BYTES {
                self.bytes.extend(&part[..end.unwrap_or(length)]);
            }
        }
        // A process that is dead has closed its end.
        self.ended
    }
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;

    #[test]
    fn text_is_complete_with_its_end_mark_and_what_follows_is_left_out() {
        let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
        let mut text = Text::default();
        assert!(!text.read(&ours));
        rustix::io::write(&theirs, b"thread\n").unwrap();
        assert!(!text.read(&ours));
        rustix::io::write(&theirs, b"  f\n\0other").unwrap();
        assert!(text.read(&ours));
        assert_eq!(text.bytes, b"thread\n  f\n");
    }

    #[test]
    fn process_that_has_ended_before_its_text_is_no_wait() {
        let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
        drop(theirs);
        assert!(!Text::default().read(&ours));
    }
}
