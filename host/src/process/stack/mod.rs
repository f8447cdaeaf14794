//! Captures the stack of another process from outside, to show where a plugin hangs. It runs in the
//! fork server; `names` runs in the host.
//!
//! ```text
//!   fork server (waits, at most `limit`)            process, running or stopped by SIGSTOP
//!     └─ tracing thread ──PTRACE_SEIZE, _INTERRUPT──► up to 16 threads stand still
//!          │  registers           ◄──PTRACE── each; /proc/PID/task/TID/syscall if one cannot stop
//!          │  /proc/PID/maps, /proc/PID/mem ◄───────── ELF headers, .eh_frame, stacks
//!          │  framehop: registers + tables + stack → return addresses → (file, address in it)
//!          └─PTRACE_DETACH, with the signal that was pending ──► as before
//!
//!   RawStack ──MessagePack──► host: `crate::process::stack::names::resolve` names the functions
//! ```
//!
//! | module | what |
//! | --- | --- |
//! | `capture` | the tracing thread and its time limit |
//! | `threads` | stops a process's threads, reads their registers, resumes them |
//! | `unwind` | the process's memory, the files mapped in it, and the walk from frame to frame |
//! | `error` | why a stack cannot be captured |
//! | `interpreter` | the frames of scripts, from what an interpreter says
//! | `names` | a stack for people: names of functions and lines, in the host |
//! | `symbols` | a file's symbols and debug info, from which the names come |
//!
//! Invariants:
//! - **Everything ends by `limit`.** Threads may not stop (uninterruptible sleep: NFS, vfork), and
//!   reading from /proc waits for the process's memory lock. So a separate thread does the work and
//!   can be left alone; it ends when the process dies at the latest.
//! - **Nothing stays traced**: when a thread ends, the kernel detaches all that it traced. This
//!   matters most for threads that never stopped, which cannot be detached otherwise. Left traced,
//!   they would have to be waited for one by one after their death, and the pidfd of their process
//!   would never be readable. It is the second reason for a thread.
//! - **No exit status is taken.** Stops are read with WNOWAIT; the fork server reaps its children,
//!   as always.
//! - **Files are not opened**: unwind tables are mapped in the process wherever code runs, so a
//!   deleted or replaced file and the vDSO are read like any other.
//!
//! The fork server is single-threaded again when [`capture`](capture::capture) returns, except
//! after `StackError::TookTooLong`: then the thread stays until the process is killed. It holds no
//! lock of ours, so forking stays safe.
//!
//! A system call that the kernel does not restart (see signal(7): `epoll_wait`, `semop`) fails with
//! EINTR in the process, as it does after SIGSTOP and SIGCONT.

#[cfg(feature = "stacks")]
mod capture;
#[cfg(feature = "stacks")]
mod error;
pub(crate) mod interpreter;
pub(crate) mod names;
#[cfg(feature = "stacks")]
mod symbols;
#[cfg(feature = "stacks")]
mod threads;
#[cfg(feature = "stacks")]
mod unwind;

#[cfg(feature = "stacks")]
pub(crate) use capture::capture;

/// Without the feature `stacks`, no stack can be captured.
#[cfg(not(feature = "stacks"))]
pub(crate) fn capture(
    _pid: rustix::process::Pid,
    _limit: std::time::Duration,
    last: impl FnOnce(),
) -> Result<crate::record::raw_stack::RawStack, &'static str> {
    last();
    Err("the fork server's executable was built without cobuf-host's feature \"stacks\"")
}

#[cfg(all(test, feature = "stacks", not(cobuf_loom)))]
mod tests;
