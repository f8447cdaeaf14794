//! System calls that the host is shown before they are made: by them `check` finds out what a plugin needs.
//!
//! ```text
//!   watched process   begin: a filter (seccomp) with the list of the tightest jail, by which nothing is refused
//!                       a call on the list, which opens no file   is made
//!                       any other call                            waits in the kernel
//!   the host          Listener: takes the filter's descriptor from the process ──► next ──► allow ──► it is made
//! ```
//!
//! A watched process is in no jail. If the host ends, the processes of its run are killed, so none of them waits
//! for ever.
#![expect(unsafe_code, reason = "seccomp's notifications have no safe wrapper")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use libc::{
    BPF_K, BPF_RET, SECCOMP_FILTER_FLAG_NEW_LISTENER, SECCOMP_RET_USER_NOTIF, SECCOMP_SET_MODE_FILTER,
    SECCOMP_USER_NOTIF_FLAG_CONTINUE, sock_filter, sock_fprog,
};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use rustix::thread::set_no_new_privs;
use syscalls::Sysno;

use super::calls;
use super::settings::SandboxError;

/// Shows the host all calls of this process, of what it starts included, that open files or that the tightest
/// jail would refuse. Gives the number of the descriptor by which they are shown.
pub(crate) fn begin() -> Result<RawFd, SandboxError> {
    let failed = |source: io::Error| SandboxError::Enter { what: "show system calls to the host", source };
    let shown = BPF_RET as u16 | BPF_K as u16;
    let mut filter: Vec<sock_filter> = calls::watched()?
        .into_iter()
        .map(|seccompiler::sock_filter { code, jt, jf, k }| match k {
            calls::SHOWN if code == shown => sock_filter { code, jt, jf, k: SECCOMP_RET_USER_NOTIF },
            k => sock_filter { code, jt, jf, k },
        })
        .collect();
    let length = filter.len().try_into().map_err(|error| failed(io::Error::other(error)))?;
    let program = sock_fprog { len: length, filter: filter.as_mut_ptr() };
    set_no_new_privs(true).map_err(|error| failed(error.into()))?;
    // SAFETY: the kernel reads the program, whose length is that of the filter that lives until the end of this
    // function; it takes no other memory.
    let listener = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            SECCOMP_SET_MODE_FILTER,
            SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const program,
        )
    };
    if listener < 0 { Err(failed(io::Error::last_os_error())) } else { Ok(listener as RawFd) }
}

/// A call that waits for its answer.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    id: u64,
    /// The thread that makes it.
    pub(crate) thread: u32,
    /// The call, if it is known by a name.
    pub(crate) call: Option<Sysno>,
    pub(crate) number: i32,
    pub(crate) arguments: [u64; 6],
}

/// The host's end of a watched process.
#[derive(Debug)]
pub(crate) struct Listener(OwnedFd);

impl Listener {
    /// Takes the descriptor from a child process, by its number there.
    pub(crate) fn of(process: Pid, number: RawFd) -> io::Result<Self> {
        let process = pidfd_open(process, PidfdFlags::empty())?;
        Ok(Self(pidfd_getfd(process, number, PidfdGetfdFlags::empty())?))
    }

    /// Waits for the next call. `None` once no process is left that is watched, or `end` can be read or
    /// is closed.
    pub(crate) fn next(&self, end: BorrowedFd<'_>) -> Option<Call> {
        loop {
            let mut ready =
                [PollFd::new(&self.0, PollFlags::IN), PollFd::from_borrowed_fd(end, PollFlags::IN)];
            let polled = poll(&mut ready, None);
            let ended = !ready[1].revents().is_empty() || ready[0].revents().contains(PollFlags::HUP);
            match polled {
                Err(rustix::io::Errno::INTR) => continue,
                Err(_) => return None,
                Ok(_) if ended => return None,
                Ok(_) => {}
            }
            // SAFETY: all zeros is a valid notification, and what the kernel wants to be given.
            let mut shown: libc::seccomp_notif = unsafe { std::mem::zeroed() };
            // SAFETY: the place is the kernel's structure, and lives longer than the call.
            let received = unsafe {
                libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV as _, &raw mut shown)
            };
            if received == 0 {
                let number = shown.data.nr;
                let call = Sysno::new(number as usize);
                return Some(Call {
                    id: shown.id,
                    thread: shown.pid,
                    call,
                    number,
                    arguments: shown.data.args,
                });
            }
            // The caller was killed in between.
        }
    }

    /// Lets a call be made. Without effect if its process has ended.
    pub(crate) fn allow(&self, call: &Call) {
        let flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
        let mut answer = libc::seccomp_notif_resp { id: call.id, val: 0, error: 0, flags };
        // SAFETY: the place is the kernel's structure, and lives longer than the call.
        unsafe { libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND as _, &raw mut answer) };
    }
}
