//! Whether a worker exceeds its memory limit.
//!
//! ```text
//!   statm    anonymous pages: cheap; those that a fork shares with other processes are included
//!   smaps    the pages of each mapping, by whether they are shared: exact, and milliseconds for a
//!            large process; asked only if statm is above the limit, and not too often
//! ```
//!
//! A worker of an interpreter shares most of its memory with the fork server: 300 MB of libraries,
//! of which it owns 5.

use std::fs;
use std::time::Instant;

use rustix::process::Pid;

use super::system::anonymous_memory;
use crate::limits::MEMORY_COUNT_PART;

/// The looks at one process.
pub(super) struct Watch {
    pid: Pid,
    counted: Option<Count>,
}

/// The result of the last exact look.
struct Count {
    anonymous: u64,
    private: u64,
    /// Not before then is the next one due, so that they take a small part of the time.
    next: Instant,
}

impl Watch {
    pub(super) fn of(pid: Pid) -> Self {
        Self { pid, counted: None }
    }

    /// The memory that the process has touched and shares with nobody, in bytes: if it is above the
    /// limit, it was counted just now.
    pub(super) fn look(&mut self, limit: u64) -> u64 {
        let anonymous = anonymous_memory(self.pid).unwrap_or_default();
        if anonymous <= limit {
            return anonymous;
        }
        let now = Instant::now();
        if let Some(Count { anonymous: before, private, next }) = self.counted {
            // Pages that are new since then are its own. It may have written to pages that were
            // shared then.
            let at_least = private + anonymous.saturating_sub(before);
            if at_least <= limit && now < next {
                return at_least;
            }
        }
        // A kernel without it counts nothing as shared.
        let private = private_memory(self.pid).unwrap_or(anonymous).min(anonymous);
        let pause = now.elapsed() * MEMORY_COUNT_PART;
        self.counted = Some(Count { anonymous, private, next: Instant::now() + pause });
        private
    }
}

/// The anonymous memory of a process that no other process shares, in bytes.
fn private_memory(pid: Pid) -> Option<u64> {
    fs::read(format!("/proc/{}/smaps", pid.as_raw_nonzero())).ok().map(|smaps| private_in(&smaps))
}

/// The same in the text of `/proc/PID/smaps`.
fn private_in(smaps: &[u8]) -> u64 {
    let (mut all, mut private) = (0, 0);
    for line in smaps.split(|&byte| byte == b'\n') {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
        match &line[..colon] {
            b"Private_Clean" | b"Private_Dirty" => private += kilobytes(&line[colon + 1..]),
            // The last of the three. Pages of files and of slots, which are shared memory, are
            // private too if no other process has touched them, but not anonymous.
            b"Anonymous" => {
                all += private.min(kilobytes(&line[colon + 1..]));
                private = 0;
            }
            _ => {}
        }
    }
    all * 1024
}

/// The number in `      132 kB`.
fn kilobytes(field: &[u8]) -> u64 {
    field.iter().filter(|byte| byte.is_ascii_digit()).fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'))
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;
    use rustix::process::getpid;

    #[test]
    fn anonymous_pages_that_nobody_shares_are_counted() {
        let mapping = |shared: u32, private: u32, anonymous: u32| {
            format!(
                "7f00-7f01 rw-p 00000000 00:00 0 [heap]\nSize: 999 kB\nShared_Clean: {shared} kB\n\
                 Shared_Dirty: 0 kB\nPrivate_Clean: 0 kB\nPrivate_Dirty: {private:>9} kB\n\
                 Referenced: 7 kB\nAnonymous: {anonymous:>9} kB\nVmFlags: rd wr\n"
            )
        };
        // After a fork; a library's code and data; slots that this process alone has touched.
        let smaps = [mapping(300, 5, 305), mapping(0, 90, 8), mapping(0, 4000, 0)].concat();
        assert_eq!(private_in(smaps.as_bytes()), 13 * 1024);
        assert_eq!(private_in(b""), 0);
    }

    #[test]
    fn memory_above_the_limit_is_counted_at_once() {
        const GROWTH: u64 = 64 << 20;
        let mut watch = Watch::of(getpid());
        let before = watch.look(0);
        assert!(before > 0);
        let grown = vec![1_u8; GROWTH as usize];
        let after = watch.look(before + GROWTH / 2);
        assert!(after >= before + GROWTH / 2, "{before} {after} {}", grown[7]);
    }
}
