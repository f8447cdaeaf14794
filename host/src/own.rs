//! Which process this is, known without a system call. A fork of a process is another process.
//!
//! ```text
//!   a page of its own    this process's number        asked for: one load
//!   after a fork         0 (the kernel wipes it) ───► the next call writes the fork's number
//! ```
//!
//! Handles of a run and plugins must not act in a process that was forked from the one that owns
//! them. The number is needed for each message, so that getpid(2) would be too slow.
//!
//! Invariant: the page holds 0 or the number of the process that reads it. The kernel wipes it at
//! each fork (`MADV_WIPEONFORK`, Linux 4.14). If the kernel does not know this advice, there is no
//! page and each call asks the kernel.
#![expect(unsafe_code, reason = "maps a page that the kernel wipes at a fork")]

use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};

static PAGE: OnceLock<Option<&'static AtomicU32>> = OnceLock::new();

/// The number of this process.
pub(crate) fn process() -> u32 {
    let Some(known) = PAGE.get_or_init(map) else { return std::process::id() };
    match known.load(Ordering::Relaxed) {
        0 => {
            let number = std::process::id();
            known.store(number, Ordering::Relaxed);
            number
        }
        number => number,
    }
}

fn map() -> Option<&'static AtomicU32> {
    let (bytes, access) = (rustix::param::page_size(), ProtFlags::READ | ProtFlags::WRITE);
    // SAFETY: a new mapping at an address of the kernel's choice.
    let page = unsafe { mmap_anonymous(ptr::null_mut(), bytes, access, MapFlags::PRIVATE) }.ok()?;
    // SAFETY: the range is the mapping that was just made, to which no reference exists.
    let wiped = unsafe { madvise(page, bytes, Advice::LinuxWipeOnFork) };
    // A page that is not wiped stays mapped and unused.
    wiped.ok()?;
    // SAFETY: the page is aligned, zeroed, stays mapped, and only this reference reaches it.
    Some(unsafe { &*page.cast::<AtomicU32>() })
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;

    #[test]
    fn process_is_told_by_its_number() {
        assert_eq!(process(), std::process::id());
        assert!(PAGE.get().is_some_and(Option::is_some), "this kernel wipes pages at a fork");
        assert_eq!(process(), std::process::id());
    }
}
