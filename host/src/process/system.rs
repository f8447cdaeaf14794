//! The system calls that need unsafe: fork, leaving a forked process, its signals, descriptors and environment.
#![expect(unsafe_code, reason = "fork, _exit and signal dispositions have no safe wrappers")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, setrlimit};
use rustix::thread::CpuSet;

/// Which side of a fork this is.
pub(crate) enum Forked {
    Parent(Pid),
    Child,
}

/// fork(2).
///
/// The child has this thread only. It must not unwind or return into its caller's caller, and must leave by
/// [`leave`]: destructors and `atexit` functions are the parent's. In a process with several threads, the child must
/// moreover take no lock that another thread may have held; the C library's allocator is safe to use with glibc.
pub(crate) fn fork() -> io::Result<Forked> {
    // SAFETY: the callers, `ForkServer::start` and `launch::fork`, keep to the rules above.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(Pid::from_raw(pid).map_or(Forked::Child, Forked::Parent)),
    }
}

/// Ends a forked process at once, without destructors or `atexit` functions, which belong to its parent.
pub(crate) fn leave(code: i32) -> ! {
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Gives all signals their default dispositions and unblocks them: handlers of the application must not run in a fork
/// of it, and an ignored SIGCHLD would take exit statuses away.
pub(crate) fn reset_signals() {
    for signal in 1..libc::SIGRTMAX() {
        // Rust programs ignore SIGPIPE, plugins' code relies on it.
        let disposition = if signal == libc::SIGPIPE { libc::SIG_IGN } else { libc::SIG_DFL };
        // SAFETY: setting a default disposition has no preconditions; invalid signals are refused.
        unsafe { libc::signal(signal, disposition) };
    }
    let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigemptyset` initialises the set.
    unsafe { libc::sigemptyset(none.as_mut_ptr()) };
    // SAFETY: the set was just initialised; the old mask is not asked for.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut()) };
}

/// Closes all descriptors but the standard ones and `kept`: in a fork, the parent's files are not ours. What owns them
/// must never be dropped here.
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

fn close_range(first: RawFd, last: RawFd) {
    if first <= last {
        // SAFETY: called in a fresh fork, which never uses the application's descriptors again.
        unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    }
}

/// Sets environment variables of this process.
pub(crate) fn set_environment<'a>(variables: impl IntoIterator<Item = (&'a String, &'a String)>) {
    for (name, value) in variables {
        // SAFETY: called in a fresh fork, which has a single thread.
        unsafe { std::env::set_var(name, value) };
    }
}

/// Adds to this process's niceness.
pub(crate) fn add_niceness(nice: i32) -> io::Result<()> {
    rustix::process::nice(nice).map(drop).map_err(Into::into)
}

/// Makes this process die with its parent `parent`, also where that is dead already.
pub(crate) fn die_with(parent: Pid) {
    // It cannot fail for a valid signal.
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    if rustix::process::getppid() != Some(parent) {
        leave(0);
    }
}

/// The memory that a process has touched and shares with nobody's file or segment, in bytes; `None` where it has ended.
pub(crate) fn private_memory(pid: Pid) -> Option<u64> {
    let statm = std::fs::read_to_string(format!("/proc/{}/statm", pid.as_raw_nonzero())).ok()?;
    // Pages: size resident shared text lib data dirty (proc_pid_statm(5)).
    let mut pages = statm.split(' ').skip(1).map_while(|field| field.parse::<u64>().ok());
    let (resident, shared) = (pages.next()?, pages.next()?);
    Some(resident.saturating_sub(shared) * rustix::param::page_size() as u64)
}

/// Sets how many files this process may have open at a time.
pub(crate) fn limit_open_files(files: u64) -> io::Result<()> {
    set_soft_limit(Resource::Nofile, files).map_err(Into::into)
}

/// Has this process killed (SIGXCPU) once it has taken so many more seconds of processor time.
pub(crate) fn limit_cpu_time(seconds: u64) {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    // The kernel counts whole seconds. It refuses only what is above the hard limit, which then ends the process anyway.
    let _ = set_soft_limit(Resource::Cpu, seconds.saturating_add(used.tv_sec as u64 + 1));
}

/// Takes that limit back: what is done between two messages has none.
pub(crate) fn lift_cpu_limit() {
    let maximum = getrlimit(Resource::Cpu).maximum;
    // Raising the soft limit to the hard one is always allowed.
    let _ = setrlimit(Resource::Cpu, Rlimit { current: maximum, maximum });
}

fn set_soft_limit(resource: Resource, limit: u64) -> rustix::io::Result<()> {
    let maximum = getrlimit(resource).maximum;
    setrlimit(resource, Rlimit { current: Some(limit), maximum })
}

/// Keeps this process on one of the CPUs that it may use: the one with this number among them, counted round.
pub(crate) fn pin(number: usize) -> io::Result<()> {
    let allowed = rustix::thread::sched_getaffinity(None)?;
    let cpus: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu)).collect();
    let mut chosen = CpuSet::new();
    chosen.set(cpus[number % cpus.len().max(1)]);
    rustix::thread::sched_setaffinity(None, &chosen).map_err(Into::into)
}
