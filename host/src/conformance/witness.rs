//! The host's end of a watched examiner: a thread that sees its system calls, and lets each be made.

use std::io::{self, PipeWriter};
use std::os::fd::{AsFd, RawFd};
use std::path::PathBuf;
use std::thread::{self, JoinHandle};

use rustix::process::Pid;

use crate::jail::watched::Listener;
use crate::jail::{Ground, SandboxNeeds};

/// Sees the calls until it is ended, or no process is left that makes them.
pub(super) struct Witness {
    thread: JoinHandle<SandboxNeeds>,
    /// The thread ends once this is closed.
    end: PipeWriter,
}

impl Witness {
    /// Begins to see the calls of a process that waits for it, and whose plugin has these parts.
    pub(super) fn begin(process: i32, listener: RawFd, parts: &[PathBuf]) -> io::Result<Self> {
        let pid = Pid::from_raw(process).ok_or(io::ErrorKind::InvalidInput)?;
        let listener = Listener::of(pid, listener)?;
        let ground = Ground::new(process.unsigned_abs(), parts);
        let (ended, end) = io::pipe()?;
        let thread = thread::Builder::new().name("cobuf-witness".to_owned()).spawn(move || {
            let mut needs = SandboxNeeds::default();
            while let Some(call) = listener.next(ended.as_fd()) {
                needs.note(&call, &ground);
                listener.allow(&call);
            }
            needs
        })?;
        Ok(Self { thread, end })
    }

    /// What the process asked for up to now. From now on its calls fail.
    pub(super) fn end(self) -> SandboxNeeds {
        drop(self.end);
        self.thread.join().unwrap_or_default()
    }
}
