//! Has the host look at this process before it dies of a crash, so that the error can say where it was.
//!
//! ```text
//!   plugin process                            host                 fork server
//!   SIGSEGV ─► handler: one send(2) ────────► Crashed ── Kill ───► stack, SIGKILL
//!              waits, and dies of the signal
//!              where nobody comes
//! ```
//!
//! Installed once the plugin is constructed, in the processes that open a plugin only. The handler calls nothing but send(2),
//! nanosleep(2) and raise(3), which are safe in it. Where a plugin has a handler of its own, such as a virtual machine's that lives
//! with SIGSEGV, that stays, and nothing is reported.
#![expect(unsafe_code, reason = "signal handlers have no safe wrapper that may run on a crash")]

use std::os::fd::{AsFd, AsRawFd};
use std::ptr;
use std::sync::OnceLock;

use crate::limits::CRASH_STACK_BYTES;
use crate::protocol::channel::{EventSender, encode};
use crate::protocol::message::Event;
use crate::protocol::role::Role;

/// The signals by which code crashes.
const SIGNALS: [i32; 5] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGABRT];
/// How long a crashed process waits to be looked at, in seconds.
const PATIENCE_SECONDS: libc::time_t = 1;

/// What the handler sends, and where; encoded before, because a crashed process may not allocate.
struct Message {
    socket: i32,
    /// Only this process is the worker: not one that its plugin has forked.
    process: i32,
    by_signal: [Vec<u8>; SIGNALS.len()],
}

static MESSAGE: OnceLock<Message> = OnceLock::new();

/// Reports this process's crashes from now on; called once. The sender must stay open until the process ends.
pub(super) fn report_crashes(events: &EventSender, role: Role) {
    // Events of numbers can always be encoded.
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
        // SAFETY: the handler keeps to what is safe in one; the old one is not asked for.
        unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) };
    }
}

/// Whether nobody has a handler for this signal.
fn is_default(signal: i32) -> bool {
    // SAFETY: all zeros is a valid `sigaction`.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: nothing is changed, and the action is this function's.
    unsafe { libc::sigaction(signal, ptr::null(), &raw mut action) };
    action.sa_sigaction == libc::SIG_DFL
}

/// An overflown stack has no room for a handler.
fn use_stack_of_its_own() {
    let memory = Box::leak(vec![0_u8; CRASH_STACK_BYTES].into_boxed_slice());
    let stack = libc::stack_t { ss_sp: memory.as_mut_ptr().cast(), ss_flags: 0, ss_size: memory.len() };
    // SAFETY: the memory is this thread's for ever, and nobody else uses it.
    unsafe { libc::sigaltstack(&raw const stack, ptr::null_mut()) };
}

extern "C" fn on_crash(signal: i32) {
    let index = SIGNALS.iter().position(|&known| known == signal);
    // SAFETY: getpid has no preconditions, and is safe in a handler.
    let own = unsafe { libc::getpid() };
    if let Some((message, index)) = MESSAGE.get().filter(|message| message.process == own).zip(index) {
        let bytes = &message.by_signal[index];
        let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
        // SAFETY: the bytes are there for ever.
        let sent = unsafe { libc::send(message.socket, bytes.as_ptr().cast(), bytes.len(), flags) };
        if sent > 0 {
            let patience = libc::timespec { tv_sec: PATIENCE_SECONDS, tv_nsec: 0 };
            // SAFETY: the time is this function's; how much of it is left is not asked for.
            unsafe { libc::nanosleep(&raw const patience, ptr::null_mut()) };
        }
    }
    // Its handler is the default one by now.
    // SAFETY: raise has no preconditions.
    unsafe { libc::raise(signal) };
}
