//! System calls of another program that fail: the n-th such call of one kind of its processes is
//! answered with an error (seccomp's user notification).
//!
//! ```text
//!   launcher's thread   installs a filter, starts the program, ends
//!   the program         makes a call of interest ──► sleeps in the kernel
//!   judge's thread      is told which process and call ──► "go on", or an error ──► the call returns
//! ```
//!
//! The filter holds for the launcher's thread and what it starts, not for the rest of the test.
#![expect(unsafe_code, reason = "the system calls have no safe wrapper")]

use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use libc::{
    BPF_ABS, BPF_JEQ, BPF_JMP, BPF_JUMP, BPF_K, BPF_LD, BPF_RET, BPF_STMT, BPF_W,
    SECCOMP_FILTER_FLAG_NEW_LISTENER, SECCOMP_RET_ALLOW, SECCOMP_RET_USER_NOTIF, SECCOMP_SET_MODE_FILTER,
    c_long, sock_filter, sock_fprog,
};
use rustix::event::{PollFd, PollFlags, poll};

/// A call that waits for its judgement.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) number: c_long,
    /// The name of the process that makes it, as `ps` shows it.
    pub(crate) process: String,
}

/// Starts a program, and asks `judge` about each call that its processes make: those of these numbers,
/// or all but those that only yield or wait for each other. `judge` gives the error that the call fails
/// with, or `None` to let it go on.
///
/// Returns the program, and a channel that is closed once all of its processes have ended.
pub(crate) fn start(
    mut program: Command,
    calls: Option<&[c_long]>,
    judge: impl FnMut(Call) -> Option<i32> + Send + 'static,
) -> (Child, Receiver<()>) {
    let filter = calls.map_or_else(|| filter(&FREQUENT, false), |calls| filter(calls, true));
    let (ended, wait) = channel();
    let (listeners, listener) = channel();
    let (started, child) = channel();
    // This thread has no filter, because it is started before there is one.
    thread::spawn(move || serve(&listener.recv().expect("the launcher has one"), judge, ended));
    thread::spawn(move || {
        listeners.send(install(filter)).expect("the judge waits");
        started.send(program.spawn()).expect("the test waits");
    });
    let child = child.recv().expect("the launcher lives").expect("the program can be started");
    (child, wait)
}

/// Calls that are made so often that asking about each would slow everything down.
const FREQUENT: [c_long; 2] = [libc::SYS_sched_yield, libc::SYS_futex];

/// A filter that asks about these calls only, or about all others.
fn filter(calls: &[c_long], these: bool) -> Vec<sock_filter> {
    // SAFETY: it only puts the numbers together, here and below.
    let statement = |code: u32, value: u32| unsafe { BPF_STMT(code as u16, value) };
    let mut filter = vec![statement(BPF_LD | BPF_W | BPF_ABS, 0)];
    for (index, &call) in calls.iter().enumerate() {
        // Over the calls that follow, and the answer for all others.
        let to_answer = u8::try_from(calls.len() - index).expect("a filter is short");
        let code = (BPF_JMP | BPF_JEQ | BPF_K) as u16;
        // SAFETY: as above.
        filter.push(unsafe { BPF_JUMP(code, call as u32, to_answer, 0) });
    }
    let (others, these) = if these {
        (SECCOMP_RET_ALLOW, SECCOMP_RET_USER_NOTIF)
    } else {
        (SECCOMP_RET_USER_NOTIF, SECCOMP_RET_ALLOW)
    };
    filter.extend([others, these].map(|answer| statement(BPF_RET | BPF_K, answer)));
    filter
}

/// Installs a filter for this thread; gives the descriptor by which it asks.
fn install(mut filter: Vec<sock_filter>) -> OwnedFd {
    let length = filter.len().try_into().expect("a filter is short");
    let program = sock_fprog { len: length, filter: filter.as_mut_ptr() };
    // SAFETY: sets a flag of this thread, which takes no memory.
    let privileges = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(privileges, 0, "privileges can always be given up");
    // SAFETY: the program is a whole filter, which the kernel checks and copies.
    let listener = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            SECCOMP_SET_MODE_FILTER,
            SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const program,
        )
    };
    assert!(listener >= 0, "this test needs seccomp's notifications: {}", std::io::Error::last_os_error());
    // SAFETY: the descriptor was just made, and nothing else owns it.
    unsafe { OwnedFd::from_raw_fd(listener as i32) }
}

/// Judges calls until no process with the filter is left.
fn serve(listener: &OwnedFd, mut judge: impl FnMut(Call) -> Option<i32>, _ended: Sender<()>) {
    let own = std::process::id();
    loop {
        let mut ready = [PollFd::new(listener, PollFlags::IN)];
        if poll(&mut ready, None).is_err() {
            continue;
        }
        if !ready[0].revents().contains(PollFlags::IN) {
            return; // hung up
        }
        // SAFETY: all zeros is a valid notification, and what the kernel wants to be given.
        let mut asked: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: the place is the kernel's structure.
        if unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut asked) } != 0 {
            continue; // the caller was killed
        }
        let process = group_of(asked.pid);
        let call = Call { number: asked.data.nr.into(), process: name_of(process) };
        let error = if process == own { None } else { judge(call) };
        let go_on = if error.is_some() { 0 } else { libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32 };
        let answer =
            libc::seccomp_notif_resp { id: asked.id, val: 0, error: -error.unwrap_or(0), flags: go_on };
        // It fails if the caller was killed. SAFETY: the answer is the kernel's structure.
        unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw const answer) };
    }
}

/// The process of a thread.
fn group_of(thread: u32) -> u32 {
    let status = fs::read_to_string(format!("/proc/{thread}/status")).unwrap_or_default();
    let group = status.lines().find_map(|line| line.strip_prefix("Tgid:"));
    group.and_then(|group| group.trim().parse().ok()).unwrap_or(thread)
}

fn name_of(process: u32) -> String {
    fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default().trim_end().to_owned()
}
