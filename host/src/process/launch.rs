//! The host's end: starts a fork server and talks to it.
//!
//! - By exec, it is a new, clean process of this executable: [`TAKE_OVER`] runs before `main`, and
//!   becomes the fork server in a process that was started for that.
//! - By plain fork, it is a copy of the calling thread.
//!
//! Either way it gets two sockets, and is the only child of the application for a run. It is waited
//! for by its own process number, and no signal handler is changed.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitOptions, getpid, getppid, kill_process_group,
    pidfd_open, pidfd_send_signal, waitid, waitpid,
};

#[cfg(feature = "sandbox")]
use super::relay::Relay;
use super::system::{self, ForkHooks, Forked};
use super::{fork_server, strays};
use crate::protocol::channel::{
    self, EventReceiver, EventSender, event_channel, send_descriptor, send_request,
};
use crate::protocol::message::Request;
use crate::segment::memory::Segment;
use crate::ulimit;

/// The argument that tells an executable to become a fork server.
const ARGUMENT: &str = "--cobuf-fork-server";

/// How long a fork server that has closed its sockets takes to end.
const ENDING: Duration = Duration::from_millis(20);

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

/// Called before `main` of every executable that contains this library, so that an application,
/// a test or an example is its own fork server and needs no line for that.
///
/// The standard library's arguments are there by then: on Linux with glibc it takes them in the
/// same way, in a section that comes before this one.
#[used]
#[expect(unsafe_code, reason = "a function that the loader calls")]
// SAFETY: the section holds pointers to functions with the C calling convention, which this is.
#[unsafe(link_section = ".init_array")]
static TAKE_OVER: extern "C" fn() = serve_if_asked;

/// If this process was started as a fork server, becomes it and ends with it.
extern "C" fn serve_if_asked() {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next() != Some(OsString::from(ARGUMENT)) {
        return;
    }
    let host = arguments.next().and_then(|pid| pid.to_str()?.parse().ok()).and_then(Pid::from_raw);
    let served = match host {
        Some(host) => serve_on_standard_streams(host),
        None => Err(io::Error::other(format!("{ARGUMENT} is for cobuf's own use"))),
    };
    if let Err(error) = &served {
        eprintln!("cobuf: the fork server failed: {error}");
    }
    // The application's `main` and what it would run at its exit are none of this process's.
    system::leave(served.is_err().into())
}

/// Becomes the fork server of a host, which has started this process with
/// [`HostBuilder::fork_server_command`](crate::HostBuilder::fork_server_command), and returns once
/// the run is over. Then the process has to leave by `_exit`.
///
/// It is for a process that is more than this library: an interpreter, whose libraries the run's
/// processes share with it. `host` is the last argument of this process. The calling thread must be
/// the only one, because the run's processes are forks of it.
///
/// # Errors
/// If this process was not started by a host, or is no longer of use to it.
pub fn serve_fork_server(host: u32, hooks: ForkHooks) -> io::Result<()> {
    let host = i32::try_from(host).ok().and_then(Pid::from_raw);
    let host = host.ok_or_else(|| io::Error::other("the host's process number is 0"))?;
    system::set_fork_hooks(hooks);
    serve_on_standard_streams(host)
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

/// How a run's fork server is started.
#[derive(Debug, Clone, Default)]
pub(crate) struct ServerStart {
    pub(crate) method: StartMethod,
    /// Its executable; one that is looked for, if it is not given.
    pub(crate) executable: Option<PathBuf>,
    /// The arguments of a given executable, before those of the fork server.
    pub(crate) arguments: Vec<OsString>,
    /// The calls of an interpreter in the application around each fork of it, and of its forks.
    pub(crate) hooks: Option<ForkHooks>,
    /// Whether a fork of the application keeps the application's descriptors.
    pub(crate) keep_descriptors: bool,
    /// The only variables of the environment that it gets; those of the application, if they are not given.
    /// Not for a fork, which has all.
    pub(crate) environment: Option<Vec<(OsString, OsString)>>,
    /// Where it and all processes that it starts write what they print; the application's standard
    /// error, if it is not given.
    pub(crate) output: Option<Arc<OwnedFd>>,
    /// What hands on what jailed processes print, if there are such.
    #[cfg(feature = "sandbox")]
    pub(crate) relay: Option<Arc<Relay>>,
}

impl ServerStart {
    /// Takes this command, unless an executable was given. An empty one is none.
    pub(crate) fn run_by_default(&mut self, command: &[String]) {
        if let (None, [executable, arguments @ ..]) = (&self.executable, command) {
            self.executable = Some(executable.into());
            self.arguments = arguments.iter().map(OsString::from).collect();
        }
    }
}

/// A running fork server. Dropping it kills it and all processes that it started.
#[derive(Debug)]
pub(crate) struct ForkServer {
    control: UnixStream,
    pid: Pid,
    /// Readable once it is dead.
    alive: OwnedFd,
    /// Marks it and all its descendants.
    token: String,
}

impl ForkServer {
    /// Starts a fork server.
    pub(crate) fn launch(start: &ServerStart) -> Result<(Self, EventReceiver), LaunchError> {
        let (control, theirs) = UnixStream::pair().map_err(LaunchError::Sockets)?;
        let (sender, mut receiver) = event_channel().map_err(LaunchError::Sockets)?;
        let token = next_token();
        let pid = match start.method {
            StartMethod::ForkServer => exec(start, &token, theirs, sender)?,
            StartMethod::Fork => {
                let of_host = [control.as_fd(), receiver.as_fd()];
                fork(start, &token, theirs, sender, of_host).map_err(LaunchError::Fork)?
            }
        };
        let alive = pidfd_open(pid, PidfdFlags::empty()).map_err(|error| {
            // Shutting our end down closes its control socket, so it ends by itself.
            drop(control.shutdown(std::net::Shutdown::Both));
            reap(pid);
            LaunchError::Watch(error.into())
        })?;
        receiver.trust(pid.as_raw_nonzero().get().unsigned_abs());
        Ok((Self { control, pid, alive, token }, receiver))
    }

    pub(crate) fn request(&self, request: &Request) -> io::Result<()> {
        send_request(&self.control, request)
    }

    /// Has the fork server map the segment.
    pub(crate) fn attach(&self, segment: &Segment) -> io::Result<()> {
        self.request(&Request::Attach { sizes: segment.layout().sizes.clone() })?;
        send_descriptor(&self.control, Some(segment.file()))
    }

    /// Gives it what the next jailed process prints to, after the request to start that process. With none the
    /// process prints to nowhere.
    #[cfg(feature = "sandbox")]
    pub(crate) fn give_output(&self, output: Option<OwnedFd>) -> io::Result<()> {
        let given = output.as_ref().map(AsFd::as_fd);
        match send_descriptor(&self.control, given) {
            // The user has as many descriptors under way as the limit of open files.
            Err(error) if error.raw_os_error() == Some(libc::ETOOMANYREFS) => {
                send_descriptor(&self.control, None)
            }
            sent => sent,
        }
    }

    /// The process that forks the workers.
    pub(crate) fn process(&self) -> Pid {
        self.pid
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

    /// Kills it and all processes that it started, unless it has ended in order.
    pub(crate) fn kill(&self) {
        // It may be about to end, with its sockets closed already.
        self.wait(ENDING);
        if self.has_ended_in_order() {
            return;
        }
        let _ = pidfd_send_signal(&self.alive, Signal::KILL);
        // It is not reaped yet, so the number is still its own.
        let _ = kill_process_group(self.pid, Signal::KILL);
        strays::end_marked(&self.token);
    }

    /// Whether it has exited by itself: then it has ended all processes before.
    fn has_ended_in_order(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        // Fails if the application ignores SIGCHLD, or waits for all children.
        let ended = waitid(WaitId::PidFd(self.alive.as_fd()), options);
        ended.is_ok_and(|status| status.is_some_and(|status| status.exit_status() == Some(0)))
    }
}

impl Drop for ForkServer {
    fn drop(&mut self) {
        self.kill();
        reap(self.pid);
    }
}

/// A text that no other fork server on this machine is marked with.
fn next_token() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let nanos = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
    format!("{}-{}-{nanos}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Waits for a process that has ended or is about to.
fn reap(pid: Pid) {
    // Fails if the application ignores SIGCHLD or waits for all children: then it is reaped
    // already.
    while let Err(rustix::io::Errno::INTR) = waitpid(Some(pid), WaitOptions::empty()) {}
}

fn exec(
    start: &ServerStart,
    token: &str,
    control: UnixStream,
    events: EventSender,
) -> Result<Pid, LaunchError> {
    let Executable { path, arguments } = find(start)?;
    let output = start.output.as_deref().map(OwnedFd::try_clone).transpose().map_err(LaunchError::Sockets)?;
    let mut command = Command::new(&path);
    if let Some(variables) = &start.environment {
        command.env_clear().envs(variables.iter().map(|(name, value)| (name, value)));
    }
    let child = command
        .args(arguments)
        .arg(ARGUMENT)
        .arg(getpid().as_raw_nonzero().to_string())
        .stdin(Stdio::from(OwnedFd::from(control)))
        .stdout(Stdio::from(OwnedFd::from(events)))
        .stderr(output.map_or_else(Stdio::inherit, Stdio::from))
        .env(strays::SERVER, token)
        .spawn()
        .map_err(|source| LaunchError::Exec { executable: path, source })?;
    // The handle is dropped: the process is waited for by its number.
    Pid::from_raw(child.id() as i32)
        .ok_or_else(|| LaunchError::Fork(io::Error::other("a child has no number")))
}

/// `of_host` are the other ends of the two sockets.
fn fork(
    start: &ServerStart,
    token: &str,
    control: UnixStream,
    events: EventSender,
    of_host: [BorrowedFd<'_>; 2],
) -> io::Result<Pid> {
    let host = getpid();
    start.hooks.into_iter().for_each(system::set_fork_hooks);
    match system::fork()? {
        Forked::Parent(pid) => Ok(pid),
        Forked::Child => {
            // If it fails, output goes where the application's goes.
            let _ = start.output.as_deref().map(rustix::stdio::dup2_stderr);
            if start.keep_descriptors {
                // Otherwise it would hold its own sockets open, and not see that the host closes them.
                system::close(of_host);
            } else {
                system::close_others([control.as_fd(), events.as_fd()]);
            }
            system::set_environment([(strays::SERVER, token)]);
            let served = use_plain_standard_streams().and_then(|()| {
                if getppid() == Some(host) { fork_server::serve(control, events, host) } else { Ok(()) }
            });
            system::leave(served.is_err().into())
        }
    }
}

/// The executable that becomes a fork server.
struct Executable {
    path: PathBuf,
    /// Before those of the fork server: such as the program that a loader is to run.
    arguments: Vec<OsString>,
}

/// The fork server's executable: the given one, this application, or a `cobuf` beside it or on the
/// PATH.
fn find(start: &ServerStart) -> Result<Executable, LaunchError> {
    let alone = |path| Executable { path, arguments: Vec::new() };
    if let Some(path) = &start.executable {
        return Ok(Executable { path: path.clone(), arguments: start.arguments.clone() });
    }
    if let Some(own) = this_executable() {
        return Ok(own);
    }
    let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join("cobuf")));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join("cobuf"));
    let found = beside.into_iter().chain(on_path).find(|path| path.is_file());
    found.map(alone).ok_or(LaunchError::NotFound)
}

/// This application, unless this library is in a shared library of it.
fn this_executable() -> Option<Executable> {
    let path = PathBuf::from("/proc/self/exe");
    let maps = std::fs::read("/proc/self/maps").ok()?;
    let library = mapped_file(&maps, serve_if_asked as *const () as usize)?;
    let program = mapped_file(&maps, system::entry_of_program())?;
    if library != program {
        return None;
    }
    // A program can be started by naming it to the loader, which is the executable then.
    let is_loaded = std::fs::read_link(&path).is_ok_and(|executable| executable != library);
    Some(Executable { path, arguments: is_loaded.then(|| library.into()).into_iter().collect() })
}

/// The file that this address belongs to, in the text of `/proc/self/maps`.
fn mapped_file(maps: &[u8], address: usize) -> Option<PathBuf> {
    // Such as `55d0c0a00000-55d0c0b00000 r-xp 00001000 fe:01 1234    /usr/bin/app`.
    maps.split(|&byte| byte == b'\n').find_map(|line| {
        let mut fields = line.splitn(6, |&byte| byte == b' ');
        let range = std::str::from_utf8(fields.next()?).ok()?;
        let (start, end) = range.split_once('-')?;
        let [start, end] = [start, end].map(|text| usize::from_str_radix(text, 16).ok());
        if !(start?..end?).contains(&address) {
            return None;
        }
        let path = fields.nth(4)?.trim_ascii_start();
        Some(PathBuf::from(OsStr::from_bytes(path)))
    })
}

/// Why no fork server could be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// No executable for it was found.
    #[error(
        "there is no executable for the fork server: this library is not in the program itself; \
         install the cobuf command, or give its path to the builder"
    )]
    NotFound,
    /// The executable cannot be run.
    #[error("cannot execute {} as the fork server{}", executable.display(), ulimit::behind(source))]
    Exec {
        /// The executable.
        executable: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The process cannot be forked.
    #[error("cannot fork this process{}", ulimit::behind(.0))]
    Fork(#[source] io::Error),
    /// The started process cannot be watched.
    #[error(
        "cannot watch the fork server by pidfd_open, which Linux has since 5.3 unless a sandbox forbids it"
    )]
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

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;

    #[test]
    fn file_of_an_address_is_found_whatever_its_name() {
        let maps = b"1000-2000 r--p 00000000 fe:01 12                 /usr/bin/my app\n\
                     2000-3000 rw-p 00000000 00:00 0 \n\
                     7f0000000000-7f0000001000 r-xp 00000000 fe:01 13  /lib/\xff.so (deleted)\n";
        let file = |address| mapped_file(maps, address);
        assert_eq!(file(0x1fff), Some(PathBuf::from("/usr/bin/my app")));
        assert_eq!(file(0x2000), Some(PathBuf::new()));
        assert_eq!(file(0x3000), None);
        let name = file(0x7f00_0000_0000).unwrap();
        assert_eq!(name.as_os_str().as_bytes(), b"/lib/\xff.so (deleted)");
    }

    #[test]
    fn these_tests_can_be_their_own_fork_server() {
        let executable = this_executable().unwrap();
        assert_eq!((executable.path, executable.arguments), (PathBuf::from("/proc/self/exe"), Vec::new()));
    }
}
