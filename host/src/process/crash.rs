//! Lets the host capture the stack of this process before it dies of a crash, so that the error
//! says where it crashed.
//!
//! ```text
//!   plugin process                            host                 fork server
//!   SIGSEGV ─► handler: one send(2) ────────► Crashed ── Kill ───► stack, SIGKILL
//!              waits; if it is not killed
//!              in time, dies of the signal
//! ```
//!
//! The handler is installed once the plugin is constructed, only in processes that open a plugin.
//! It calls only write(2), send(2), nanosleep(2) and raise(3), which are safe in a handler. If a plugin has
//! its own handler for a signal, such as a virtual machine that handles SIGSEGV, that handler stays
//! and its crashes are not reported.
#![expect(unsafe_code, reason = "signal handlers have no safe wrapper that may run on a crash")]

use std::os::fd::{AsFd, AsRawFd};
use std::ptr;
use std::sync::OnceLock;

use super::trace;
use crate::limits::CRASH_STACK_BYTES;
use crate::protocol::channel::{EventSender, encode};
use crate::protocol::message::Event;
use crate::protocol::role::Role;

/// The signals by which code crashes.
const SIGNALS: [i32; 5] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGABRT];
/// How long a crashed process waits for its stack to be captured, in seconds.
const PATIENCE_SECONDS: libc::time_t = 1;

/// The handler's message and its destination. It is encoded in advance, because a crashed process
/// may not allocate.
struct Message {
    socket: i32,
    /// This process's number. A process that the plugin has forked is not the worker and sends
    /// nothing.
    process: i32,
    by_signal: [Vec<u8>; SIGNALS.len()],
}

static MESSAGE: OnceLock<Message> = OnceLock::new();

/// Reports this process's crashes from now on. Called once. The sender must stay open until the
/// process ends.
pub(super) fn report_crashes(events: &EventSender, role: Role) {
    // Events that consist of numbers can always be encoded.
    let by_signal = SIGNALS.map(|signal| encode(&Event::Crashed { role, signal }).unwrap_or_default());
    let process = std::process::id().cast_signed();
    let socket = events.as_fd().as_raw_fd();
    MESSAGE.get_or_init(|| Message { socket, process, by_signal });
    use_stack_of_its_own();
    let handler: extern "C" fn(i32) = on_crash;
    // SAFETY: all zeros is a valid `sigaction`.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as usize;
    action.sa_flags = libc::SA_ONSTACK | libc::SA_RESETHAND | libc::SA_NODEFER;
    for signal in SIGNALS.into_iter().filter(|&signal| is_default(signal)) {
        // SAFETY: the handler calls only functions that are safe in a handler; the old action is
        // not read.
        unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) };
    }
    trace::answer_at_crash();
}

/// Whether this signal has no handler yet.
fn is_default(signal: i32) -> bool {
    // SAFETY: all zeros is a valid `sigaction`.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: nothing is changed, and the action is this function's own.
    unsafe { libc::sigaction(signal, ptr::null(), &raw mut action) };
    action.sa_sigaction == libc::SIG_DFL
}

/// Gives handlers a stack of their own, because an overflowed stack has no room for one.
fn use_stack_of_its_own() {
    let memory = Box::leak(vec![0_u8; CRASH_STACK_BYTES].into_boxed_slice());
    let stack = libc::stack_t { ss_sp: memory.as_mut_ptr().cast(), ss_flags: 0, ss_size: memory.len() };
    // SAFETY: the memory stays allocated for the thread's whole life, and nothing else uses it.
    unsafe { libc::sigaltstack(&raw const stack, ptr::null_mut()) };
}

extern "C" fn on_crash(signal: i32) {
    let index = SIGNALS.iter().position(|&known| known == signal);
    // SAFETY: getpid has no preconditions, and is safe in a handler.
    let own = unsafe { libc::getpid() };
    if let Some((message, index)) = MESSAGE.get().filter(|message| message.process == own).zip(index) {
        // An interpreter's handler ran before this one, unless it ends itself.
        if signal == libc::SIGABRT {
            trace::say_at_abort();
        }
        trace::end();
        let bytes = &message.by_signal[index];
        let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
        // SAFETY: the bytes are never freed.
        let sent = unsafe { libc::send(message.socket, bytes.as_ptr().cast(), bytes.len(), flags) };
        if sent > 0 {
            let patience = libc::timespec { tv_sec: PATIENCE_SECONDS, tv_nsec: 0 };
            // SAFETY: the time is this function's own; the remaining time is not asked for.
            unsafe { libc::nanosleep(&raw const patience, ptr::null_mut()) };
        }
    }
    // By now the signal has its default action. SAFETY: raise has no preconditions.
    unsafe { libc::raise(signal) };
}
