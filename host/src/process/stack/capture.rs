//! Captures the stacks of another process's threads, from outside.

use std::fs;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Pid;

use super::error::StackError;
use super::threads::{State, Traced, stop_threads};
use super::unwind::{Memory, Walker};
use crate::record::raw_stack::{RawStack, RawThread};

/// Captures the stacks of `pid`, which must be a child of this process, and leaves the process in
/// the state in which it was.
///
/// Threads have half of `limit` to stop. If one has not stopped by then but is blocked in the
/// kernel, its stack is shown as far as that is possible without all its registers. Other threads
/// that have not stopped are left out.
///
/// `last` is called before they go on, or once it is clear that they cannot be stopped.
pub(crate) fn capture(
    pid: Pid,
    limit: Duration,
    last: impl FnOnce() + Send + 'static,
) -> Result<RawStack, StackError> {
    let raw = pid.as_raw_nonzero().get();
    let (sender, receiver) = sync_channel(1);
    let tracer = thread::Builder::new()
        .name("cobuf-stack".to_owned())
        .spawn(move || {
            // If this fails, the fork server has stopped waiting.
            let _ = sender.send(trace(raw, limit, last));
        })
        .map_err(|source| StackError::Start { pid: raw, source })?;
    let captured = match receiver.recv_timeout(limit) {
        Ok(captured) => captured,
        Err(RecvTimeoutError::Timeout) => return Err(StackError::TookTooLong { pid: raw, limit }),
        Err(RecvTimeoutError::Disconnected) => Err(StackError::Panicked { pid: raw }),
    };
    // The thread has sent its result or panicked, so it is about to end.
    let _ = tracer.join();
    captured
}

/// The body of the tracing thread.
fn trace(pid: i32, limit: Duration, last: impl FnOnce()) -> Result<RawStack, StackError> {
    let start = Instant::now();
    match stop_threads(pid, start + limit / 2) {
        Ok((threads, left_out)) => {
            let captured = walk(pid, &threads, left_out, start, limit);
            last();
            captured
        }
        Err(error) => {
            last();
            Err(error)
        }
    }
}

fn walk(
    pid: i32,
    threads: &[Traced],
    mut left_out: u32,
    start: Instant,
    limit: Duration,
) -> Result<RawStack, StackError> {
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
    Ok(RawStack { modules: walker.modules, threads: stacks, left_out, trace: String::new() })
}

fn thread_name(pid: i32, tid: i32) -> String {
    let name = fs::read(format!("/proc/{pid}/task/{tid}/comm")).unwrap_or_default();
    String::from_utf8_lossy(&name).trim_end().to_owned()
}
