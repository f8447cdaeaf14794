//! Start-up code: what a worker ran once, to open and construct its plugin, is not kept resident.
//!
//! ```text
//!   executable, C library, plugin:  ████████████████  4 MB mapped by the start
//!   after the first batch:          unmapped; what is used again comes back, 64 kB for a fault that reads nothing
//! ```
//!
//! The pages are the page cache's and shared by all processes, so no memory is freed; but each worker's resident size counts them, and
//! whoever sums these up, as `top` and limits by resident size do, sees several megabytes a worker that one more worker does not take.
//!
//! It takes 0.3 ms, once, between a worker's first batch and its second.
//!
//! Invariant: only pages are unmapped that are as their file has them, so that what comes back is the same. Code that was written to
//! (breakpoints, a library that patches itself) has pages of the process's own, which /proc/self/pagemap tells apart; its mapping stays.
#![expect(unsafe_code, reason = "unmaps pages of the executable and its libraries")]

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;

use rustix::mm::{Advice, madvise};

use super::stack::Area;

/// Bits of an entry of /proc/PID/pagemap; see the kernel's `Documentation/admin-guide/mm/pagemap.rst`.
const PRESENT: u64 = 1 << 63;
const SWAPPED: u64 = 1 << 62;
const FILE_OR_SHARED: u64 = 1 << 61;

/// Unmaps the resident pages of all files that code runs from, where they are as in the file. In a worker, between two messages.
pub(super) fn unmap() -> io::Result<()> {
    let maps = fs::read_to_string("/proc/self/maps")?;
    let areas: Vec<Area> = maps.lines().filter_map(Area::parse).collect();
    let pages = File::open("/proc/self/pagemap")?;
    let has_code = |inode| areas.iter().any(|area| area.inode == inode && area.access == "r-xp");
    let of_code = areas.iter().filter(|area| area.inode != 0 && has_code(area.inode));
    for area in of_code.filter(|area| matches!(area.access.as_str(), "r-xp" | "r--p")) {
        if is_as_in_file(&pages, area)? {
            let start = area.range.start as usize as *mut _;
            let bytes = (area.range.end - area.range.start) as usize;
            // SAFETY: the mapping is private, cannot be written to, and has no page that differs from its file's: reading it again
            // gives the same bytes. Threads of the plugin may run in it meanwhile; they find each page there, before or after.
            unsafe { madvise(start, bytes, Advice::LinuxDontNeed) }?;
        }
    }
    Ok(())
}

/// Whether each page that is there, or swapped out, is the file's.
fn is_as_in_file(pages: &File, area: &Area) -> io::Result<bool> {
    const ENTRY: u64 = size_of::<u64>() as u64;
    let page = rustix::param::page_size() as u64;
    let count = (area.range.end - area.range.start) / page;
    let mut entries = vec![0_u64; count as usize];
    pages.read_exact_at(bytemuck::cast_slice_mut(&mut entries), area.range.start / page * ENTRY)?;
    Ok(entries.iter().all(|entry| entry & (PRESENT | SWAPPED) == 0 || entry & FILE_OR_SHARED != 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
    use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap, mprotect, munmap};

    /// Two pages of a file, mapped as code is.
    struct Code(*mut u8);

    impl Code {
        const BYTES: usize = 2 * 4096;

        fn map() -> Self {
            let file = memfd_create("cobuf-code", MemfdFlags::CLOEXEC).unwrap();
            ftruncate(&file, Self::BYTES as u64).unwrap();
            let access = ProtFlags::READ | ProtFlags::EXEC;
            // SAFETY: a new mapping, at an address of the kernel's choice.
            let start =
                unsafe { mmap(std::ptr::null_mut(), Self::BYTES, access, MapFlags::PRIVATE, &file, 0) };
            Self(start.unwrap().cast())
        }

        fn read(&self) -> u8 {
            // SAFETY: inside the mapping; volatile, because the bytes change under the compiler's eyes.
            unsafe { self.0.read_volatile() }
        }

        /// As a debugger or a library does that patches its code.
        fn patch(&self, byte: u8) {
            for (access, written) in [(MprotectFlags::WRITE, Some(byte)), (MprotectFlags::EXEC, None)] {
                // SAFETY: this mapping is the test's own.
                unsafe { mprotect(self.0.cast(), Self::BYTES, MprotectFlags::READ | access) }.unwrap();
                // SAFETY: inside the mapping, which can be written to just now.
                written.into_iter().for_each(|byte| unsafe { self.0.write_volatile(byte) });
            }
        }

        fn is_resident(&self) -> bool {
            let mut entry = [0];
            let address = self.0.addr() as u64 / rustix::param::page_size() as u64 * 8;
            let pages = File::open("/proc/self/pagemap").unwrap();
            pages.read_exact_at(bytemuck::cast_slice_mut(&mut entry), address).unwrap();
            entry[0] & PRESENT != 0
        }
    }

    impl Drop for Code {
        fn drop(&mut self) {
            // SAFETY: mapped in `map`, and used by nobody else.
            unsafe { munmap(self.0.cast(), Self::BYTES) }.unwrap();
        }
    }

    #[test]
    fn is_code_unmapped_that_is_as_in_its_file_and_no_other() {
        let (clean, patched) = (Code::map(), Code::map());
        patched.patch(7);
        assert_eq!((clean.read(), patched.read()), (0, 7));
        assert!(clean.is_resident() && patched.is_resident());
        unmap().unwrap();
        assert!(!clean.is_resident() && patched.is_resident());
        assert_eq!((clean.read(), patched.read()), (0, 7));
    }
}
