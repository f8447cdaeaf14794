//! The system calls that need unsafe: fork, leaving a forked process, its signals, descriptors and
//! environment.
#![expect(unsafe_code, reason = "fork, _exit and signal dispositions have no safe wrappers")]

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::OnceLock;
use std::{io, ptr};

use rustix::process::{Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, getrlimit, setrlimit, waitid};
use rustix::thread::CpuSet;

/// Which side of a fork this is.
pub(crate) enum Forked {
    Parent(Pid),
    Child,
}

/// The calls that an interpreter needs around a fork of its process, on the thread that forks.
///
/// The functions must not unwind.
#[derive(Debug, Clone, Copy)]
pub struct ForkHooks {
    /// Before the fork.
    pub before: fn(),
    /// After it, in the process that has forked, also if that failed.
    pub in_parent: fn(),
    /// After it, in the new process.
    pub in_child: fn(),
    /// In a new process: from now on, have the stacks of the interpreter's threads written to a
    /// descriptor at a signal, and then call the handler that the signal has had. The text may come
    /// while any code runs, so writing it must be safe in a signal handler. It is lines of text: one
    /// for each thread, and below it, indented, one for each function, innermost first.
    pub trace_at_signal: fn(RawFd, libc::c_int),
    /// The same at the signals of a crash.
    pub trace_at_crash: fn(RawFd),
    /// Write them now, if this thread has the interpreter: it ends itself by abort(3) and has taken
    /// its handlers back. The process is ended if this takes longer than a second.
    pub trace_now: fn(RawFd),
}

/// This process's hooks, if it has an interpreter.
static FORK_HOOKS: OnceLock<ForkHooks> = OnceLock::new();

/// Sets the hooks; the first ones stay.
pub(crate) fn set_fork_hooks(hooks: ForkHooks) {
    let _ = FORK_HOOKS.set(hooks);
}

/// The hooks, if this process has an interpreter.
pub(crate) fn fork_hooks() -> Option<&'static ForkHooks> {
    FORK_HOOKS.get()
}

/// fork(2), between the hooks.
///
/// The child has only this thread. It must not unwind or return beyond its caller, and it must
/// leave by [`leave`]: destructors and `atexit` functions belong to the parent. If the process has
/// several threads, the child must also take no lock that another thread may have held. With glibc,
/// the C library's allocator is safe to use.
pub(crate) fn fork() -> io::Result<Forked> {
    let hooks = fork_hooks();
    let call = |hook: fn(&ForkHooks) -> fn()| hooks.into_iter().for_each(|hooks| hook(hooks)());
    call(|hooks| hooks.before);
    // SAFETY: the callers, `ForkServer::start` and `launch::fork`, follow the rules above.
    match unsafe { libc::fork() } {
        -1 => {
            let error = io::Error::last_os_error();
            call(|hooks| hooks.in_parent);
            Err(error)
        }
        0 => {
            call(|hooks| hooks.in_child);
            Ok(Forked::Child)
        }
        pid => {
            call(|hooks| hooks.in_parent);
            Pid::from_raw(pid).map(Forked::Parent).ok_or_else(|| io::Error::other("a child has no number"))
        }
    }
}

/// Ends a forked process at once, without destructors or `atexit` functions, which belong to its
/// parent.
pub(crate) fn leave(code: i32) -> ! {
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(code) }
}

/// The signals that no process of a run heeds. Rust programs ignore SIGPIPE, and plugins rely on
/// that. The other two would stop a process that writes to the terminal or reads from it: this gets
/// an error instead, which its plugin can report.
const IGNORED: [libc::c_int; 3] = [libc::SIGPIPE, libc::SIGTTIN, libc::SIGTTOU];

/// Gives all signals but a few the default dispositions, and unblocks them. Handlers of the
/// application must not run in a fork of it, and an ignored SIGCHLD would discard exit statuses.
pub(crate) fn reset_signals() {
    for signal in 1..libc::SIGRTMAX() {
        let disposition = if IGNORED.contains(&signal) { libc::SIG_IGN } else { libc::SIG_DFL };
        // SAFETY: setting a default disposition has no preconditions; invalid signals are refused.
        unsafe { libc::signal(signal, disposition) };
    }
    let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigemptyset` initialises the set.
    unsafe { libc::sigemptyset(none.as_mut_ptr()) };
    // SAFETY: the set was just initialised; the old mask is not asked for.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut()) };
}

/// From now on, has a write of this thread to a pipe without a reader fail, whatever the application
/// does at SIGPIPE: it may end at it, as programs in C do.
#[cfg(feature = "sandbox")]
pub(crate) fn survive_broken_pipes() {
    let mut pipe = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigemptyset` initialises the set.
    unsafe { libc::sigemptyset(pipe.as_mut_ptr()) };
    // SAFETY: the set was just initialised.
    unsafe { libc::sigaddset(pipe.as_mut_ptr(), libc::SIGPIPE) };
    // SAFETY: as above; the old mask is not asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, pipe.as_ptr(), ptr::null_mut()) };
}

/// The signals by which a person or a service manager ends a whole run.
const ENDS: [libc::c_int; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

/// Ignores the signals that ask a run to end.
pub(crate) fn ignore_ends() {
    for signal in ENDS {
        // SAFETY: ignoring a signal has no preconditions.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Makes this process the leader of a group, and the heir of its descendants whose parents end.
///
/// It stays in the application's session: Linux can share the processors out among sessions
/// (`kernel.sched_autogroup_enabled`), and a process that yields then gives its processor to its own
/// session only. Tiny batches cost 1.3 times as much if workers and consumers do not yield to each
/// other.
pub(crate) fn lead_group_and_adopt() {
    // It fails for the leader of a session, which leads its group already.
    let _ = rustix::process::setpgid(None, None);
    // Linux 3.4 has it. If a sandbox forbids it, orphans go to the first process.
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
}

/// A descriptor that is readable once a child of this process has ended.
///
/// SIGCHLD is blocked from then on; [`reset_signals`] unblocks it in a fork.
pub(crate) fn listen_for_deaths() -> io::Result<OwnedFd> {
    let mut mask = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigemptyset` initialises the set.
    unsafe { libc::sigemptyset(mask.as_mut_ptr()) };
    // SAFETY: the set was just initialised.
    unsafe { libc::sigaddset(mask.as_mut_ptr(), libc::SIGCHLD) };
    // SAFETY: as above; the old mask is not asked for.
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, mask.as_ptr(), ptr::null_mut()) };
    // SAFETY: the set is initialised.
    match unsafe { libc::signalfd(-1, mask.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) } {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: the descriptor was just made, and nothing else owns it.
        descriptor => Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
    }
}

/// Lowers the descriptor of [`listen_for_deaths`]. Called before the dead are looked for, so that a
/// death in between raises it again.
pub(crate) fn heard_of_deaths(deaths: &OwnedFd) {
    // One read takes the signal, which does not queue up.
    let _ = rustix::io::read(deaths, &mut [0; size_of::<libc::signalfd_siginfo>()]);
}

/// Whether a child has ended and was not reaped.
pub(crate) fn has_ended(child: Pid) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    waitid(WaitId::Pid(child), options).is_ok_and(|ended| ended.is_some())
}

/// A child of this thread that has ended and was not reaped.
pub(crate) fn dead_child() -> io::Result<Option<Pid>> {
    // The helper thread of `stack` waits for threads that it has stopped, which are none of this
    // thread's business.
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | libc::__WNOTHREAD;
    loop {
        // SAFETY: all zeros is a valid `siginfo_t`, and means that there is no child.
        let mut found: libc::siginfo_t = unsafe { std::mem::zeroed() };
        // SAFETY: the place for the answer is this function's own.
        let result = unsafe { libc::waitid(libc::P_ALL, 0, &raw mut found, options) };
        if result == 0 {
            // SAFETY: the kernel filled the fields of a child that has ended, or left zeros.
            return Ok(Pid::from_raw(unsafe { found.si_pid() }));
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            // Such as ECHILD: there is no child, dead or alive.
            _ => return Err(error),
        }
    }
}

/// The address at which this process's program begins.
pub(crate) fn entry_of_program() -> usize {
    // SAFETY: `getauxval` has no preconditions.
    unsafe { libc::getauxval(libc::AT_ENTRY) as usize }
}

/// Closes all descriptors except the standard ones and `kept`: a fork must not use the parent's
/// files. Objects that own the closed descriptors must never be dropped in this process.
pub(crate) fn close_others<const N: usize>(kept: [BorrowedFd<'_>; N]) {
    let mut kept = kept.map(|fd| fd.as_raw_fd());
    kept.sort_unstable();
    let mut first: RawFd = 3;
    for fd in kept {
        close_range(first, fd - 1);
        first = first.max(fd + 1);
    }
    close_range(first, RawFd::MAX);
}

/// Closes these descriptors, whose owners must never be dropped in this process.
pub(crate) fn close<const N: usize>(descriptors: [BorrowedFd<'_>; N]) {
    for fd in descriptors.map(|fd| fd.as_raw_fd()) {
        close_range(fd, fd);
    }
}

fn close_range(first: RawFd, last: RawFd) {
    if first <= last {
        // SAFETY: called in a fresh fork, which never uses these descriptors of its parent's again.
        unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    }
}

/// Sets environment variables of this process.
pub(crate) fn set_environment<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) {
    for (name, value) in variables {
        // SAFETY: called in a fresh fork, which has a single thread.
        unsafe { std::env::set_var(name, value) };
    }
}

/// Adds to this process's niceness.
pub(crate) fn add_niceness(nice: i32) -> io::Result<()> {
    rustix::process::nice(nice).map(drop).map_err(Into::into)
}

/// Makes this process die with its parent `parent`, even if the parent is dead already.
pub(crate) fn die_with(parent: Pid) {
    // It cannot fail for a valid signal.
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    if rustix::process::getppid() != Some(parent) {
        leave(0);
    }
}

/// The memory that a process has touched and does not share with a file or segment, in bytes;
/// `None` if the process has ended. What a fork shares with its parent is included.
pub(crate) fn anonymous_memory(pid: Pid) -> Option<u64> {
    let statm = std::fs::read_to_string(format!("/proc/{}/statm", pid.as_raw_nonzero())).ok()?;
    // Pages: size resident shared text lib data dirty (proc_pid_statm(5)).
    let mut pages = statm.split(' ').skip(1).map_while(|field| field.parse::<u64>().ok());
    let (resident, shared) = (pages.next()?, pages.next()?);
    Some(resident.saturating_sub(shared) * rustix::param::page_size() as u64)
}

/// Limits how many files this process may have open at a time.
pub(crate) fn limit_open_files(files: u64) -> io::Result<()> {
    set_soft_limit(Resource::Nofile, files).map_err(Into::into)
}

/// Has this process killed (SIGXCPU) after it has used this many more seconds of processor time.
pub(crate) fn limit_cpu_time(seconds: u64) {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    // The kernel counts whole seconds. It refuses only values above the hard limit, which then ends
    // the process anyway.
    let _ = set_soft_limit(Resource::Cpu, seconds.saturating_add(used.tv_sec as u64 + 1));
}

/// Lifts that limit: work between two messages is not limited.
pub(crate) fn lift_cpu_limit() {
    let maximum = getrlimit(Resource::Cpu).maximum;
    // Raising the soft limit to the hard limit is always allowed.
    let _ = setrlimit(Resource::Cpu, Rlimit { current: maximum, maximum });
}

fn set_soft_limit(resource: Resource, limit: u64) -> rustix::io::Result<()> {
    let maximum = getrlimit(resource).maximum;
    setrlimit(resource, Rlimit { current: Some(limit), maximum })
}

/// Pins this process to one of the CPUs that it may use: the one with this index among them, modulo
/// their number.
pub(crate) fn pin(number: usize) -> io::Result<()> {
    let allowed = rustix::thread::sched_getaffinity(None)?;
    let cpus: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu)).collect();
    let mut chosen = CpuSet::new();
    chosen.set(cpus[number % cpus.len().max(1)]);
    rustix::thread::sched_setaffinity(None, &chosen).map_err(Into::into)
}
