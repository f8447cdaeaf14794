//! A fork of the test's process, as an application may make one.
#![expect(unsafe_code, reason = "fork has no safe wrapper")]

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Does something with copies of these values in a fork of this process; whether it succeeded.
///
/// The values are bitwise copies, which the fork owns: this process keeps its own.
pub(crate) fn in_fork<T>(values: &T, work: impl FnOnce(T)) -> bool {
    // SAFETY: the fork only runs `work`, and ends by `_exit`.
    match unsafe { libc::fork() } {
        -1 => panic!("cannot fork: {}", std::io::Error::last_os_error()),
        0 => {
            // SAFETY: this process is another one, whose original values are never used or dropped.
            let copies = unsafe { std::ptr::read(values) };
            let done = catch_unwind(AssertUnwindSafe(|| work(copies)));
            // SAFETY: `_exit` has no preconditions.
            unsafe { libc::_exit(i32::from(done.is_err())) }
        }
        child => {
            let mut status = 0;
            // SAFETY: the place for the status is this function's own.
            let reaped = unsafe { libc::waitpid(child, &raw mut status, 0) };
            assert_eq!(reaped, child, "the fork can be waited for");
            libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
        }
    }
}
