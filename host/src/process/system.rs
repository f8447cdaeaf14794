//! The system calls that need unsafe: fork, leaving a forked process, its signals, descriptors and
//! environment.
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
/// The child has only this thread. It must not unwind or return beyond its caller, and it must
/// leave by [`leave`]: destructors and `atexit` functions belong to the parent. If the process has
/// several threads, the child must also take no lock that another thread may have held. With glibc,
/// the C library's allocator is safe to use.
pub(crate) fn fork() -> io::Result<Forked> {
    // SAFETY: the callers, `ForkServer::start` and `launch::fork`, follow the rules above.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(Pid::from_raw(pid).map_or(Forked::Child, Forked::Parent)),
    }
}

/// Ends a forked process at once, without destructors or `atexit` functions, which belong to its
/// parent.
pub(crate) fn leave(code: i32) -> ! {
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Gives all signals their default dispositions and unblocks them. Handlers of the application must
/// not run in a fork of it, and an ignored SIGCHLD would discard exit statuses.
pub(crate) fn reset_signals() {
    for signal in 1..libc::SIGRTMAX() {
        // Rust programs ignore SIGPIPE, and plugins rely on that.
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

/// Makes this process die with its parent `parent`, even if the parent is dead already.
pub(crate) fn die_with(parent: Pid) {
    // It cannot fail for a valid signal.
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    if rustix::process::getppid() != Some(parent) {
        leave(0);
    }
}

/// The memory that a process has touched and does not share with a file or segment, in bytes;
/// `None` if the process has ended.
pub(crate) fn private_memory(pid: Pid) -> Option<u64> {
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
