//! The stack of another process, taken from outside: where does a plugin hang? Runs in the fork server.
//!
//! ```text
//!   fork server (waits, at most `limit`)            process, running or stopped by SIGSTOP
//!     └─ tracing thread ──PTRACE_SEIZE, _INTERRUPT──► up to 16 threads stand still
//!          │  registers                    ◄──PTRACE── each; /proc/PID/task/TID/syscall where one cannot stop
//!          │  /proc/PID/maps, /proc/PID/mem ◄───────── ELF headers, .eh_frame, stacks
//!          │  framehop: registers + tables + stack → return addresses → (file, address in it)
//!          └─PTRACE_DETACH, with the signal that was on its way ──► as before
//!
//!   RawStack ──MessagePack──► host: `crate::process::stack::names::resolve` names the functions
//! ```
//!
//! | module | what |
//! | --- | --- |
//! | `threads` | stops a process's threads, reads their registers, lets them go |
//! | `unwind` | its memory, the files mapped in it, and the walk from frame to frame |
//!
//! Invariants:
//! - **Everything ends by `limit`.** Threads may not stop (uninterruptible sleep: NFS, vfork), and reading from /proc waits
//!   for the process's memory lock. So the work is done by a thread that can be left alone; it ends when the process dies at
//!   the latest.
//! - **Nothing stays traced**: the kernel detaches whatever a thread traced when that thread ends. This matters most for
//!   threads that never stopped, which nobody can detach: dead, they would have to be waited for one by one, and the pidfd
//!   of their process would never be readable. It is the second reason for a thread.
//! - **No exit status is taken.** Stops are looked at with WNOWAIT; the fork server reaps its children, as always.
//! - **Files are not opened**: unwind tables are mapped wherever code runs, so a deleted or replaced file and the vDSO are
//!   read like any other.
//!
//! The fork server is single-threaded again when [`capture`] returns, but after [`StackError::TookTooLong`]: then the
//! thread is left until the process is killed. It holds no lock of ours, so that forking stays safe.
//!
//! A system call that the kernel does not restart (see signal(7): `epoll_wait`, `semop`) fails with EINTR in the process,
//! as it does after SIGSTOP and SIGCONT.

mod error;
pub(crate) mod names;
mod threads;
mod unwind;

use std::fs;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Pid;

use self::error::StackError;
use self::threads::{State, stop_threads};
use self::unwind::{Memory, Walker};
use crate::record::raw_stack::{RawStack, RawThread};

/// Takes the stacks of `pid`, which must be a child of this process, and leaves it in the state in which it was.
///
/// Half of `limit` is for threads to stop. Of those that have not by then, one that is blocked in the kernel is shown as far
/// as it can be without all its registers; others are left out.
pub(crate) fn capture(pid: Pid, limit: Duration) -> Result<RawStack, StackError> {
    let raw = pid.as_raw_nonzero().get();
    let (sender, receiver) = sync_channel(1);
    let tracer = thread::Builder::new()
        .name("cobuf-stack".to_owned())
        .spawn(move || {
            // Where nobody waits any more, nobody wants it.
            let _ = sender.send(trace(raw, limit));
        })
        .map_err(|source| StackError::Start { pid: raw, source })?;
    let captured = match receiver.recv_timeout(limit) {
        Ok(captured) => captured,
        Err(RecvTimeoutError::Timeout) => return Err(StackError::TookTooLong { pid: raw, limit }),
        Err(RecvTimeoutError::Disconnected) => Err(StackError::Panicked { pid: raw }),
    };
    // It has sent or panicked, and has only to end.
    let _ = tracer.join();
    captured
}

/// The tracing thread.
fn trace(pid: i32, limit: Duration) -> Result<RawStack, StackError> {
    let start = Instant::now();
    let (threads, mut left_out) = stop_threads(pid, start + limit / 2)?;
    let memory = Memory::of(pid).map_err(|source| StackError::Memory { pid, source })?;
    let mut walker = Walker::new(&memory, start + limit * 3 / 4);
    let mut stacks = Vec::new();
    for thread in threads.iter().filter(|thread| thread.state != State::Ended) {
        match walker.thread(thread, pid) {
            Some(frames) => stacks.push(RawThread { name: thread_name(pid, thread.tid), frames }),
            None => left_out += 1,
        }
    }
    if stacks.is_empty() {
        return Err(StackError::NotStopped { pid, limit });
    }
    Ok(RawStack { modules: walker.modules, threads: stacks, left_out })
}

fn thread_name(pid: i32, tid: i32) -> String {
    let name = fs::read(format!("/proc/{pid}/task/{tid}/comm")).unwrap_or_default();
    String::from_utf8_lossy(&name).trim_end().to_owned()
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests;
