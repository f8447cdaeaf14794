//! System calls that fail: the kernel answers them with an error (seccomp), as a file system, an
//! old kernel or a container's profile does.
//!
//! A refusal holds for all threads of this process and for all processes that it starts, until it
//! ends: so only in a test with a process of its own. A later refusal of the same call takes the
//! place of an earlier one.
#![expect(unsafe_code, reason = "the system call has no safe wrapper")]

use libc::{
    BPF_ABS, BPF_JEQ, BPF_JMP, BPF_JUMP, BPF_K, BPF_LD, BPF_RET, BPF_STMT, BPF_W, SECCOMP_FILTER_FLAG_TSYNC,
    SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, SECCOMP_SET_MODE_FILTER, c_int, c_long, sock_filter, sock_fprog,
};

/// A system call that is to fail.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refusal {
    /// Its number, such as `libc::SYS_flock`.
    pub(crate) call: c_long,
    /// The error that it is answered with, such as `libc::ENOSYS`.
    pub(crate) error: c_int,
    /// If given: only where the argument of this index has this value, in its lower 32 bits.
    pub(crate) only_if: Option<(u32, u32)>,
}

impl Refusal {
    /// Of every such call.
    pub(crate) fn of(call: c_long, error: c_int) -> Self {
        Self { call, error, only_if: None }
    }

    /// From now on, in this process and in those that it starts.
    pub(crate) fn install(self) {
        let mut filter = self.filter();
        let length = filter.len().try_into().expect("a filter is short");
        let program = sock_fprog { len: length, filter: filter.as_mut_ptr() };
        // SAFETY: sets a flag of this process, which takes no memory.
        let privileges = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        assert_eq!(privileges, 0, "privileges can always be given up");
        // SAFETY: the program is a whole filter, which the kernel checks and copies.
        let installed = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                SECCOMP_SET_MODE_FILTER,
                SECCOMP_FILTER_FLAG_TSYNC,
                &raw const program,
            )
        };
        assert_eq!(installed, 0, "this test needs seccomp: {}", std::io::Error::last_os_error());
    }

    /// The program that decides about each call; see seccomp(2). A jump counts the instructions
    /// that it leaves out.
    fn filter(self) -> Vec<sock_filter> {
        /// The offset of the call's number in `struct seccomp_data`.
        const NUMBER: u32 = 0;
        /// The offset of its first argument.
        const ARGUMENTS: u32 = 16;
        let load = |offset: u32| statement(BPF_LD | BPF_W | BPF_ABS, offset);
        let answer = |action: u32| statement(BPF_RET | BPF_K, action);
        let left_out_unless = |value: u32, instructions: u8| jump(value, instructions);
        let number = u32::try_from(self.call).expect("numbers of calls are small");
        let error = u32::try_from(self.error).expect("numbers of errors are positive");
        let mut filter = vec![load(NUMBER)];
        match self.only_if {
            None => filter.push(left_out_unless(number, 1)),
            Some((index, value)) => filter.extend([
                left_out_unless(number, 3),
                load(ARGUMENTS + 8 * index),
                left_out_unless(value, 1),
            ]),
        }
        filter.extend([answer(SECCOMP_RET_ERRNO | error), answer(SECCOMP_RET_ALLOW)]);
        filter
    }
}

fn statement(code: u32, value: u32) -> sock_filter {
    // SAFETY: it only puts the numbers together.
    unsafe { BPF_STMT(code.try_into().expect("codes have 16 bits"), value) }
}

/// Goes on behind so many instructions unless this value was loaded.
fn jump(value: u32, instructions: u8) -> sock_filter {
    let code = (BPF_JMP | BPF_JEQ | BPF_K).try_into().expect("codes have 16 bits");
    // SAFETY: it only puts the numbers together.
    unsafe { BPF_JUMP(code, value, 0, instructions) }
}
