//! The system calls that need unsafe: fork, leaving a forked process, its signals, descriptors and environment.
#![expect(unsafe_code, reason = "fork, _exit and signal dispositions have no safe wrappers")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use rustix::process::{Pid, Signal};

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
