//! Programs that plugins have started, and that outlive the process that started them.
//!
//! ```text
//!   fork server ─┬─ worker 0 ── program ── program        a worker dies: its programs become children
//!                ├─ worker 1 ── program                   of the fork server, which ends them
//!                └─ a program whose parent has ended      stays, if it names a worker that lives
//! ```
//!
//! The fork server is a child subreaper, so that all descendants are its own. Two variables of the
//! environment say where a program comes from. [`SERVER`] is set before the fork server is
//! executed, so that every process of the run has it, however it was started; if it is forked, the
//! programs that are executed have it. [`PROCESS`] is set in each plugin's process, so that the
//! programs that it executes have it.
//!
//! If the fork server is killed, the host looks for the first variable in all processes of this
//! user. A program with an environment of its own is not found then.

use std::fs;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpid, kill_process, pidfd_open, pidfd_send_signal,
    wait as wait_for_any, waitpid,
};

use crate::procfs::{parent, processes, variable};
use crate::protocol::channel::wait;

/// The environment variable with the token of a fork server.
pub(super) const SERVER: &str = "COBUF_FORK_SERVER";
/// The environment variable with the number of the plugin's process.
pub(super) const PROCESS: &str = "COBUF_PROCESS";
/// How long a killed process may take to end.
const END_LIMIT: Duration = Duration::from_secs(1);

/// Ends the children of this process that are neither `known` nor started by one of these.
pub(super) fn end_orphans(known: &[Pid]) {
    let lives = |owner: &str| known.iter().any(|pid| pid.as_raw_nonzero().to_string() == owner);
    for child in children().into_iter().filter(|child| !known.contains(child)) {
        if !variable(child, PROCESS).is_some_and(|owner| lives(&owner)) {
            // A child that is not yet reaped cannot have been replaced by another process.
            let _ = kill_process(child, Signal::KILL);
        }
    }
}

/// Ends and reaps all children of this process, and what these leave behind.
pub(super) fn end_all() {
    loop {
        for child in children() {
            let _ = kill_process(child, Signal::KILL);
        }
        match wait_for_any(WaitOptions::empty()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            // There are no children.
            Err(_) => return,
        }
    }
}

/// Ends what is left of a dead fork server with this token, wherever it is by now. If this process
/// inherits orphans, as the first process of a container does, it reaps them.
pub(super) fn end_marked(token: &str) {
    let deadline = Instant::now() + END_LIMIT;
    for pid in processes().into_iter().filter(|&pid| pid != getpid()) {
        let is_marked = || variable(pid, SERVER).is_some_and(|found| found == token);
        if !is_marked() {
            continue;
        }
        let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
        // Asked again, because the number may have become another process's before it was opened.
        if is_marked() {
            let _ = pidfd_send_signal(&process, Signal::KILL);
            // One that does not end in time is left to the kernel.
            let _ = wait(&mut [PollFd::new(&process, PollFlags::IN)], Some(deadline));
            reap(pid);
        }
    }
}

/// Reaps a process that has ended, if it is this one's child.
pub(super) fn reap(pid: Pid) {
    let _ = waitpid(Some(pid), WaitOptions::NOHANG);
}

/// Waits until a process that is about to end has ended, and reaps it, if this process inherited it.
pub(super) fn reap_heir(pid: Pid) {
    if parent(pid) != Some(getpid()) {
        return;
    }
    if let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) {
        let _ = wait(&mut [PollFd::new(&process, PollFlags::IN)], Some(Instant::now() + END_LIMIT));
        reap(pid);
    }
}

/// The children of this process's first thread, which forks them and inherits orphans.
fn children() -> Vec<Pid> {
    let own = getpid().as_raw_nonzero();
    match fs::read_to_string(format!("/proc/{own}/task/{own}/children")) {
        Ok(list) => list.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect(),
        // A kernel without this file.
        Err(_) => processes().into_iter().filter(|&pid| parent(pid) == Some(getpid())).collect(),
    }
}
