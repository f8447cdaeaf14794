//! The host's end: starts a fork server and talks to it.
//!
//! - By exec, it is a new, clean process: the executable calls [`serve_if_asked`] first in its
//!   `main`.
//! - By plain fork, it is a copy of the calling thread.
//!
//! Either way it gets two sockets, and is the only child of the application for a run. It is waited
//! for by its own process number, and no signal handler is changed.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpid, getppid, kill_process_group, pidfd_open, pidfd_send_signal,
    waitpid,
};

use super::fork_server;
use super::system::{self, Forked};
use crate::protocol::channel::{
    self, EventReceiver, EventSender, event_channel, send_descriptor, send_request,
};
use crate::protocol::message::Request;
use crate::segment::memory::Segment;

/// The argument that tells an executable to become a fork server.
const ARGUMENT: &str = "--cobuf-fork-server";

/// How the processes of a run are started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StartMethod {
    /// A new process is started from an executable and forks the others: safe in applications with
    /// threads. The default.
    #[default]
    ForkServer,
    /// The calling thread's process is forked, and its copy forks the others, which inherit its
    /// memory. If the application has other threads, a forked process may wait for ever for a lock
    /// that one of them held at the fork.
    Fork,
}

static INITIALISED: AtomicBool = AtomicBool::new(false);

/// If this process was started as a fork server, becomes it and ends with it. Otherwise remembers
/// that this executable can become one.
pub(crate) fn serve_if_asked() {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next() != Some(OsString::from(ARGUMENT)) {
        INITIALISED.store(true, Ordering::Relaxed);
        return;
    }
    let host = arguments.next().and_then(|pid| pid.to_str()?.parse().ok()).and_then(Pid::from_raw);
    let served = match host {
        Some(host) => serve_on_standard_streams(host),
        None => Err(io::Error::other(format!("{ARGUMENT} is for cobuf's own use"))),
    };
    match served {
        Ok(()) => std::process::exit(0),
        Err(error) => {
            eprintln!("cobuf: the fork server failed: {error}");
            std::process::exit(1)
        }
    }
}

/// The sockets come as standard input and output, so that no descriptor numbers need to be agreed
/// upon. Both streams then get their usual meaning: a plugin's `println!` goes to the application's
/// standard error.
fn serve_on_standard_streams(host: Pid) -> io::Result<()> {
    let above_standard = 3;
    let control = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), above_standard)?;
    let events = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), above_standard)?;
    use_plain_standard_streams()?;
    if getppid() != Some(host) {
        return Ok(()); // The host died before this process could watch it.
    }
    fork_server::serve(UnixStream::from(control), EventSender::from(events), host)
}

fn use_plain_standard_streams() -> io::Result<()> {
    let null = std::fs::File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
    Ok(())
}

/// A running fork server. Dropping it kills it and all processes that it started.
#[derive(Debug)]
pub(crate) struct ForkServer {
    control: UnixStream,
    pid: Pid,
    /// Readable once it is dead.
    alive: OwnedFd,
}

impl ForkServer {
    /// Starts a fork server from the given executable, or from one that can be found.
    pub(crate) fn launch(
        method: StartMethod,
        executable: Option<&Path>,
    ) -> Result<(Self, EventReceiver), LaunchError> {
        let (control, theirs) = UnixStream::pair().map_err(LaunchError::Sockets)?;
        let (sender, receiver) = event_channel().map_err(LaunchError::Sockets)?;
        let pid = match method {
            StartMethod::ForkServer => exec(&find(executable)?, theirs, sender)?,
            StartMethod::Fork => fork(theirs, sender).map_err(LaunchError::Fork)?,
        };
        let alive = pidfd_open(pid, PidfdFlags::empty()).map_err(|error| {
            // Shutting our end down closes its control socket, so it ends by itself.
            drop(control.shutdown(std::net::Shutdown::Both));
            reap(pid);
            LaunchError::Watch(error.into())
        })?;
        Ok((Self { control, pid, alive }, receiver))
    }

    pub(crate) fn request(&self, request: &Request) -> io::Result<()> {
        send_request(&self.control, request)
    }

    /// Has the fork server map the segment.
    pub(crate) fn attach(&self, segment: &Segment) -> io::Result<()> {
        self.request(&Request::Attach { sizes: segment.layout().sizes.clone() })?;
        send_descriptor(&self.control, segment.file())
    }

    /// The number of the process that forks the workers.
    pub(crate) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// A descriptor that is readable once the fork server is dead.
    pub(crate) fn alive(&self) -> BorrowedFd<'_> {
        self.alive.as_fd()
    }

    /// Waits until it has ended, at most for `limit`.
    pub(crate) fn wait(&self, limit: Duration) {
        // If waiting fails, it is only killed earlier.
        let _ = channel::wait(&mut [PollFd::new(&self.alive, PollFlags::IN)], Some(Instant::now() + limit));
    }

    /// Kills it and all processes that it started.
    pub(crate) fn kill(&self) {
        let _ = pidfd_send_signal(&self.alive, Signal::KILL);
        // Processes that plugins have started are in its group and would be left otherwise. It is
        // not reaped yet, so the number is still its own.
        let _ = kill_process_group(self.pid, Signal::KILL);
    }
}

impl Drop for ForkServer {
    fn drop(&mut self) {
        self.kill();
        reap(self.pid);
    }
}

/// Waits for a process that has ended or is about to.
fn reap(pid: Pid) {
    // Fails if the application ignores SIGCHLD or waits for all children: then it is reaped
    // already.
    while let Err(rustix::io::Errno::INTR) = waitpid(Some(pid), WaitOptions::empty()) {}
}

fn exec(executable: &Path, control: UnixStream, events: EventSender) -> Result<Pid, LaunchError> {
    let child = Command::new(executable)
        .arg(ARGUMENT)
        .arg(getpid().as_raw_nonzero().to_string())
        .stdin(Stdio::from(OwnedFd::from(control)))
        .stdout(Stdio::from(OwnedFd::from(events)))
        // A group of its own: Ctrl-C in a terminal goes to the application only, which stops the
        // run in order.
        .process_group(0)
        .spawn()
        .map_err(|source| LaunchError::Exec { executable: executable.to_owned(), source })?;
    // The handle is dropped: the process is waited for by its number.
    Pid::from_raw(child.id() as i32)
        .ok_or_else(|| LaunchError::Fork(io::Error::other("a child has no number")))
}

fn fork(control: UnixStream, events: EventSender) -> io::Result<Pid> {
    let host = getpid();
    match system::fork()? {
        Forked::Parent(pid) => Ok(pid),
        Forked::Child => {
            system::close_others([control.as_fd(), events.as_fd()]);
            let _ = rustix::process::setpgid(None, None);
            let served = use_plain_standard_streams().and_then(|()| {
                if getppid() == Some(host) { fork_server::serve(control, events, host) } else { Ok(()) }
            });
            system::leave(served.is_err().into())
        }
    }
}

/// The fork server's executable: the given one, this application, or a `cobuf` beside it or on the
/// PATH.
fn find(given: Option<&Path>) -> Result<PathBuf, LaunchError> {
    if let Some(path) = given {
        return Ok(path.to_owned());
    }
    if INITIALISED.load(Ordering::Relaxed) {
        return Ok(PathBuf::from("/proc/self/exe"));
    }
    let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join("cobuf")));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join("cobuf"));
    beside.into_iter().chain(on_path).find(|path| path.is_file()).ok_or(LaunchError::NotFound)
}

/// Why no fork server could be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// No executable for it was found.
    #[error(
        "there is no executable for the fork server; call cobuf_host::init() first in main, \
         or install the cobuf command, or give its path to the builder"
    )]
    NotFound,
    /// The executable cannot be run.
    #[error("cannot execute {} as the fork server", executable.display())]
    Exec {
        /// The executable.
        executable: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The process cannot be forked.
    #[error("cannot fork this process")]
    Fork(#[source] io::Error),
    /// The started process cannot be watched.
    #[error("cannot watch the fork server; cobuf needs pidfd_open, Linux 5.14 or newer")]
    Watch(#[source] io::Error),
    /// The sockets cannot be made.
    #[error("cannot make the sockets to the fork server")]
    Sockets(#[source] io::Error),
    /// It does not answer as a fork server of this version.
    #[error("the fork server {executable} does not answer as cobuf-host {}: {reason}", env!("CARGO_PKG_VERSION"))]
    Handshake {
        /// Its executable, or a description of it.
        executable: String,
        /// Its answer, or why there is none.
        reason: String,
    },
}
