//! A process's threads: stops them with ptrace, reads their registers, and resumes them as they
//! were.
//!
//! Dropping a [`Traced`] resumes its thread, with the signal that was pending. When the tracing
//! thread ends, the kernel detaches all threads that were not resumed so.

use std::fs;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use framehop::UnwindRegsNative;
use nix::sys::ptrace;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use super::error::StackError;
use crate::limits::MAX_STACK_THREADS;

/// A thread that this thread traces; dropping it resumes it.
pub(super) struct Traced {
    pub(super) tid: i32,
    pub(super) state: State,
}

#[derive(PartialEq, Eq)]
pub(super) enum State {
    Running,
    /// With the signal that it would have been given; 0 if there is none.
    Stopped(i32),
    Ended,
}

/// Stops the main thread and as many others as are allowed; also returns how many were left out.
pub(super) fn stop_threads(pid: i32, deadline: Instant) -> Result<(Vec<Traced>, u32), StackError> {
    let mut traced: Vec<Traced> = Vec::new();
    let mut refused = Vec::new();
    let mut first_error = None;
    loop {
        let listed = list_threads(pid).map_err(|source| StackError::Threads { pid, source })?;
        let new = |tid: &i32| !refused.contains(tid) && !traced.iter().any(|thread| thread.tid == *tid);
        let mut new: Vec<i32> = listed.into_iter().filter(new).collect();
        let over = new.split_off(new.len().min(MAX_STACK_THREADS - traced.len()));
        // Threads that were not yet stopped may have started others.
        if new.is_empty() || Instant::now() >= deadline {
            let missing = over.len() + new.len() + refused.len();
            return match first_error {
                Some(source) if traced.is_empty() => Err(StackError::Trace { pid, source }),
                _ => Ok((traced, u32::try_from(missing).unwrap_or(u32::MAX))),
            };
        }
        for tid in new {
            match Traced::seize(tid) {
                Ok(thread) => traced.push(thread),
                // It has ended since it was listed.
                Err(nix::errno::Errno::ESRCH) if tid != pid => {}
                Err(error) => {
                    refused.push(tid);
                    first_error.get_or_insert(error.into());
                }
            }
        }
        wait_for_stops(&mut traced, deadline);
    }
}

/// The process's threads, the main thread first; its id is the process's.
pub(super) fn list_threads(pid: i32) -> io::Result<Vec<i32>> {
    let mut threads = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        threads.extend(entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()));
    }
    threads.sort_unstable_by_key(|tid| (*tid != pid, *tid));
    Ok(threads)
}

/// Waits until all have stopped or ended.
///
/// It looks repeatedly, with pauses: a pidfd does not report stops, and SIGCHLD, which does, would
/// have to be blocked in every thread of the process. A thread stops within microseconds, or not at
/// all.
fn wait_for_stops(threads: &mut [Traced], deadline: Instant) {
    let mut pause = Duration::from_micros(20);
    loop {
        threads.iter_mut().for_each(Traced::look);
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || threads.iter().all(|thread| thread.state != State::Running) {
            return;
        }
        thread::sleep(pause.min(left));
        pause = (pause * 2).min(Duration::from_millis(2));
    }
}

impl Traced {
    fn seize(tid: i32) -> nix::Result<Self> {
        let pid = nix::unistd::Pid::from_raw(tid);
        ptrace::seize(pid, ptrace::Options::empty())?;
        let traced = Self { tid, state: State::Running };
        // It fails only if the thread is dead, which `look` sees.
        let _ = ptrace::interrupt(pid);
        Ok(traced)
    }

    pub(super) fn is_stopped(&self) -> bool {
        matches!(self.state, State::Stopped(_))
    }

    /// Checks whether it has stopped by now.
    fn look(&mut self) {
        let (State::Running, Some(tid)) = (&self.state, Pid::from_raw(self.tid)) else { return };
        // Threads other than the main one are not children of a process; they can be waited for
        // only with this flag.
        let all = WaitIdOptions::from_bits_retain(libc::__WALL.cast_unsigned());
        let peek = WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match waitid(WaitId::Pid(tid), peek | all | WaitIdOptions::STOPPED | WaitIdOptions::EXITED) {
            Ok(None) => {}
            Ok(Some(status)) => {
                self.state = match status.trapping_signal().or(status.stopping_signal()) {
                    // The upper bits are an event of ptrace, such as our interruption or a stop by
                    // SIGSTOP: then no signal is pending.
                    Some(signal) => State::Stopped(if signal > 0xff { 0 } else { signal }),
                    None => State::Ended,
                };
            }
            Err(_) => self.state = State::Ended,
        }
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        self.look();
        if let State::Stopped(signal) = self.state {
            detach(self.tid, signal);
        }
    }
}

/// Resumes a stopped thread, with a signal or 0. `nix` has no real-time signals, but a process may
/// have one pending.
#[expect(unsafe_code, reason = "PTRACE_DETACH with any signal has no safe wrapper")]
fn detach(tid: i32, signal: i32) {
    let no_address = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: this request takes numbers only, and reads and writes no memory of this process. It
    // is refused for a thread that this thread does not trace.
    unsafe { libc::ptrace(libc::PTRACE_DETACH, tid, no_address, libc::c_long::from(signal)) };
}

// Registers.

/// The registers from which unwinding starts.
pub(super) struct Registers {
    pub(super) ip: u64,
    pub(super) others: UnwindRegsNative,
}

impl Registers {
    // A child that was forked has this process's architecture, and so these registers.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn of_stopped(tid: i32) -> Option<Self> {
        let all = ptrace::getregs(nix::unistd::Pid::from_raw(tid)).ok()?;
        Some(Self { ip: all.rip, others: UnwindRegsNative::new(all.rip, all.rsp, all.rbp) })
    }

    #[cfg(target_arch = "aarch64")]
    pub(super) fn of_stopped(tid: i32) -> Option<Self> {
        let all = ptrace::getregs(nix::unistd::Pid::from_raw(tid)).ok()?;
        let (frame, link) = (all.regs[29], all.regs[30]);
        Some(Self {
            ip: all.pc,
            others: UnwindRegsNative::new_with_ptr_auth_mask(ADDRESS_BITS, link, all.sp, frame),
        })
    }

    #[cfg(target_arch = "x86_64")]
    pub(super) fn of_blocked(blocked: Blocked) -> Self {
        let Blocked { ip, sp } = blocked;
        Self { ip, others: UnwindRegsNative::new(ip, sp, 0) }
    }

    #[cfg(target_arch = "aarch64")]
    pub(super) fn of_blocked(blocked: Blocked) -> Self {
        let Blocked { ip, sp } = blocked;
        Self { ip, others: UnwindRegsNative::new_with_ptr_auth_mask(ADDRESS_BITS, 0, sp, 0) }
    }
}

/// The bits above these are signatures of return addresses: without being asked, the kernel gives a
/// process no higher address.
#[cfg(target_arch = "aarch64")]
const ADDRESS_BITS: framehop::aarch64::PtrAuthMask = framehop::aarch64::PtrAuthMask(u64::MAX >> 16);

/// Where a thread waits in the kernel. These two registers are known without stopping the thread,
/// the others are not. Often these are enough, because the functions around a system call rarely
/// need a frame pointer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Blocked {
    pub(super) ip: u64,
    pub(super) sp: u64,
}

impl Blocked {
    pub(super) fn read(pid: i32, tid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/task/{tid}/syscall")).ok()?)
    }

    /// Parses `56 0x4011 0x0 0x0 0x0 0x0 0x0 0x7ffd56a0 0x7f0c2a03`, or `running`.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let mut last = line.split_ascii_whitespace().rev();
        let mut number = || u64::from_str_radix(last.next()?.strip_prefix("0x")?, 16).ok();
        Some(Self { ip: number()?, sp: number()? })
    }
}
