//! Programs that the host asks about plugins, such as cargo and an interpreter: each ends with this
//! process, and once it is given up.
#![expect(unsafe_code, reason = "what is done between fork and exec has no safe wrapper")]

use std::io::{self, PipeReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};

use crate::cancel::Cancel;
use crate::procfs::kill_tree;

/// A program that runs, and the thread that reads what it says.
pub(super) struct Tool<T> {
    program: Child,
    said: JoinHandle<T>,
    /// Readable once everything is read.
    done: PipeReader,
}

/// The end of a program.
pub(super) struct Finished<T> {
    pub(super) said: T,
    /// Unknown if the application ignores SIGCHLD, or waits for all children.
    pub(super) status: io::Result<ExitStatus>,
    /// Whether it was given up.
    pub(super) cancelled: bool,
}

impl<T: Default + Send + 'static> Tool<T> {
    /// Starts a program without input. `read` reads both of its streams to their ends.
    pub(super) fn start(
        command: &mut Command,
        read: impl FnOnce(ChildStdout, ChildStderr) -> T + Send + 'static,
    ) -> io::Result<Self> {
        end_with_this_process(command);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let (done, open_until_done) = io::pipe()?;
        let mut program = command.spawn()?;
        let streams = program.stdout.take().zip(program.stderr.take());
        let said = thread::Builder::new().spawn(move || {
            let _open_until_done = open_until_done;
            streams.map_or_else(T::default, |(stdout, stderr)| read(stdout, stderr))
        });
        let said = said.inspect_err(|_| drop(program.kill()))?;
        Ok(Self { program, said, done })
    }

    /// Waits until it has ended, or kills it with all its descendants once that is the wish.
    pub(super) fn finish(mut self, cancel: Option<&Cancel>) -> Finished<T> {
        let cancelled = cancel.is_some_and(|cancel| !is_readable_before(&self.done, cancel));
        if cancelled && let Some(pid) = Pid::from_raw(self.program.id().cast_signed()) {
            kill_tree(pid);
        }
        let said = self.said.join().unwrap_or_default();
        Finished { said, status: self.program.wait(), cancelled }
    }
}

/// Waits until everything is read. Returns whether that was before the wish.
fn is_readable_before(done: &PipeReader, cancel: &Cancel) -> bool {
    let mut fds = [PollFd::new(done, PollFlags::IN), PollFd::new(cancel, PollFlags::IN)];
    while poll(&mut fds, None) == Err(Errno::INTR) {}
    !fds[0].revents().is_empty()
}

fn end_with_this_process(command: &mut Command) {
    let application = getpid();
    let prepare = move || {
        // An ignored SIGCHLD would be the program's too, which could then not wait for children of
        // its own, such as a compiler.
        // SAFETY: setting a default disposition has no preconditions.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
        // An application that is killed takes the program with it. The thread that starts it waits
        // for it, so that this thread does not end earlier.
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // It was killed before.
        if getppid() == Some(application) { Ok(()) } else { Err(Errno::SRCH.into()) }
    };
    // SAFETY: the closure makes system calls only, which are async-signal-safe.
    unsafe { command.pre_exec(prepare) };
}
