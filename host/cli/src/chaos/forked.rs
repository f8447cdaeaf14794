//! Forks of the command's process.
//!
//! ```text
//!   the command ── go_on_in_a_child ─► waits, hands signals on, and ends as its child does
//!        └─ the child: runs the rounds
//!              └─ start ─► a fork that does one thing and leaves by _exit
//! ```
#![expect(unsafe_code, reason = "fork has no safe wrapper")]

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, getpid, getppid, kill_process, pidfd_open,
    set_parent_process_death_signal, waitpid,
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level;

/// The convention of shells: 128 plus the signal.
const SIGNAL_BASE: i32 = 128;

/// Goes on in a child of this process; the parent gets the child's exit code once it has ended.
///
/// A shell watches its own children only, so that it does not take the terminal from a child of
/// them that is stopped and goes on. This process has one thread so far.
pub(super) fn go_on_in_a_child() -> io::Result<Option<ExitCode>> {
    let parent = getpid();
    // SAFETY: this process has a single thread, so the child may do what it may.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            if getppid() != Some(parent) {
                low_level::exit(1); // The parent was killed before this process could watch it.
            }
            Ok(None)
        }
        child => {
            let child = Pid::from_raw(child).ok_or_else(io::Error::last_os_error)?;
            hand_on_signals(child)?;
            let status = wait(child).ok_or_else(io::Error::last_os_error)?;
            let signal = status.terminating_signal().map(|signal| SIGNAL_BASE + signal);
            let code = status.exit_status().or(signal).unwrap_or_default();
            Ok(Some(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))))
        }
    }
}

/// Hands the signals that end the command on to this child, from a thread. One that was sent to the
/// group reaches the child twice within a moment, which is the same wish.
fn hand_on_signals(child: Pid) -> io::Result<()> {
    let mut received = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let hand_on = move || {
        for signal in received.forever().filter_map(Signal::from_named_raw) {
            // It fails once the child was waited for, and then this process ends.
            let _ = kill_process(child, signal);
        }
    };
    std::thread::Builder::new().name("cobuf-signals".to_owned()).spawn(hand_on).map(drop)
}

/// Does something with a copy of this value in a fork of this process; the fork's number.
///
/// The value is a bitwise copy, which the fork owns: this process keeps its own. The fork has only
/// the calling thread, so `work` may take no lock that another thread may hold. With glibc, the C
/// library's allocator is safe to use.
pub(super) fn start<T>(value: &T, work: impl FnOnce(T)) -> io::Result<Pid> {
    // SAFETY: the fork only runs `work`, by the rule above, and ends by `_exit`.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            // SAFETY: this process is another one, whose original value is never used or dropped.
            let copy = unsafe { std::ptr::read(value) };
            let done = catch_unwind(AssertUnwindSafe(|| work(copy)));
            low_level::exit(done.is_err().into())
        }
        child => Pid::from_raw(child).ok_or_else(io::Error::last_os_error),
    }
}

/// Waits for a fork that should end within this time, and ends it if it does not; whether it ended
/// without an error.
pub(super) fn ended_well(fork: Pid, limit: Duration) -> io::Result<bool> {
    let ended = pidfd_open(fork, PidfdFlags::empty())?;
    let limit = Timespec::try_from(limit).map_err(io::Error::other)?;
    while let Err(rustix::io::Errno::INTR) = poll(&mut [PollFd::new(&ended, PollFlags::IN)], Some(&limit))
        .map(|ready| {
            if ready == 0 {
                // It is not reaped yet, so the number is still its own.
                let _ = kill_process(fork, Signal::KILL);
            }
        })
    {}
    Ok(wait(fork).is_some_and(|status| status.exit_status() == Some(0)))
}

fn wait(child: Pid) -> Option<WaitStatus> {
    loop {
        match waitpid(Some(child), WaitOptions::empty()) {
            Err(rustix::io::Errno::INTR) => {}
            status => return status.ok().flatten().map(|(_, status)| status),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn fork_that_fails_or_hangs_is_told_from_one_that_ends() {
        let text = "text".to_owned();
        let fork = start(&text, drop).unwrap();
        assert!(ended_well(fork, LONG).unwrap());
        let fork = start(&text, |_| low_level::exit(1)).unwrap();
        assert!(!ended_well(fork, LONG).unwrap());
        let fork = start(&text, |_| std::thread::sleep(LONG)).unwrap();
        assert!(!ended_well(fork, Duration::from_millis(1)).unwrap());
        assert_eq!(text, "text");
    }
}
