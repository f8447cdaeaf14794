//! A standstill of the whole run, as of a container that is paused.
//!
//! A fork of this process stays awake. It stops the fork server first, so that no process is made
//! meanwhile, then the fork server's descendants, and this process last, so that it does not see
//! the others stand still. In the opposite order they go on.

use std::time::Duration;
use std::{fs, io, thread};

use rustix::process::{Pid, Signal, getpid, getppid, kill_process, setsid};

use super::forked;

/// How long a fork may take beside the standstill.
const PATIENCE: Duration = Duration::from_secs(30);

/// Stops this process, the fork server and all its processes for this long; whether that was done.
pub(super) fn stand_still(server: Pid, lasts: Duration) -> io::Result<bool> {
    let host = getpid();
    let fork = forked::start(&(server, host), |(server, host)| {
        // Ctrl-C in the terminal reaches the host, which has to go on for that.
        let _ = setsid();
        let mut stopped = Vec::new();
        stop_all(server, &mut stopped);
        if getppid() == Some(host) && kill_process(host, Signal::STOP).is_ok() {
            stopped.push(host);
        }
        thread::sleep(lasts);
        for &process in stopped.iter().rev() {
            let _ = kill_process(process, Signal::CONT);
        }
    })?;
    forked::ended_well(fork, lasts + PATIENCE)
}

/// Stops a process, then its descendants: one that is stopped makes no more children.
fn stop_all(process: Pid, stopped: &mut Vec<Pid>) {
    if kill_process(process, Signal::STOP).is_err() {
        return; // It has just ended.
    }
    stopped.push(process);
    let number = process.as_raw_nonzero();
    let children = fs::read_to_string(format!("/proc/{number}/task/{number}/children"));
    for child in children.unwrap_or_default().split_whitespace() {
        if let Some(child) = child.parse().ok().and_then(Pid::from_raw) {
            stop_all(child, stopped);
        }
    }
}
