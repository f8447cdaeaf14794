//! Memory of the same kind as a host's segment, for the baselines: a shared mapping of a file in
//! /dev/shm.
//!
//! Invariants: the mapping is `bytes` long and stays until the value is dropped. Memory that
//! several processes access at the same time is accessed as atomics; plain bytes are accessed
//! through an exclusive reference, in the process that made the memory.
#![expect(unsafe_code, reason = "maps shared memory, and makes references to it")]

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicU32;
use std::{process, ptr, slice};

use anyhow::{Context, Result};
use rustix::fs::{Mode, fstat, ftruncate};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};
use rustix::shm;

/// The distance, in words, between words that different processes write. It puts them on different
/// cache lines, of which some CPUs fetch two at a time.
pub(crate) const APART: usize = 32;

/// A shared mapping.
pub(crate) struct SharedMemory {
    start: *mut u8,
    bytes: usize,
    file: OwnedFd,
}

impl SharedMemory {
    /// New memory, zeroed, with all of its pages present. It no longer has a name.
    pub(crate) fn create(bytes: usize) -> Result<Self> {
        let name = format!("/cobuf-bench-{}", process::id());
        let flags = shm::OFlags::CREATE | shm::OFlags::EXCL | shm::OFlags::RDWR;
        let file = shm::open(&name, flags, Mode::RUSR | Mode::WUSR);
        let file = file.with_context(|| format!("cannot create the shared memory {name:?}"))?;
        shm::unlink(&name).with_context(|| format!("cannot unlink the shared memory {name:?}"))?;
        ftruncate(&file, bytes as u64)
            .with_context(|| format!("cannot make shared memory of {bytes} bytes"))?;
        Self::map(file, bytes)
    }

    /// The memory that another process made.
    pub(crate) fn received(file: OwnedFd) -> Result<Self> {
        let bytes = fstat(&file).context("cannot read the size of the received shared memory")?.st_size;
        Self::map(file, usize::try_from(bytes)?)
    }

    fn map(file: OwnedFd, bytes: usize) -> Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address that the kernel chooses; the file has `bytes` bytes.
        let start = unsafe { mmap(ptr::null_mut(), bytes, access, MapFlags::SHARED, &file, 0) };
        let start = start.context("cannot map shared memory")?;
        let memory = Self { start: start.cast(), bytes, file };
        // SAFETY: the range is the mapping that was just made.
        let populated = unsafe { madvise(memory.start.cast(), bytes, Advice::LinuxPopulateWrite) };
        populated.with_context(|| format!("cannot reserve {bytes} bytes in /dev/shm"))?;
        Ok(memory)
    }

    /// The descriptor of the memory, for other processes to map.
    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// The memory as words for all processes.
    pub(crate) fn words(&self) -> &[AtomicU32] {
        // SAFETY: the mapping is that long, aligned to a page, and exists as long as `self`. Every
        // value is valid for an atomic. No reference to its plain bytes exists: making one takes
        // `&mut self`, in the only process that uses them.
        unsafe { slice::from_raw_parts(self.start.cast(), self.bytes / size_of::<AtomicU32>()) }
    }

    /// The memory as plain bytes; only for a process that shares it with no other.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and the reference is exclusive.
        unsafe { slice::from_raw_parts_mut(self.start, self.bytes) }
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and no reference into it can be left.
        let unmapped = unsafe { munmap(self.start.cast(), self.bytes) };
        debug_assert!(unmapped.is_ok(), "{unmapped:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn two_mappings_share_the_same_memory() {
        let mut memory = SharedMemory::create(8192).unwrap();
        memory.bytes_mut().fill(1);
        let other = SharedMemory::received(memory.file().try_clone_to_owned().unwrap()).unwrap();
        assert_eq!(other.words().len(), 2048);
        assert_eq!(other.words()[2047].load(Ordering::Relaxed), 0x0101_0101);
        memory.words()[3].store(7, Ordering::Relaxed);
        assert_eq!(other.words()[3].load(Ordering::Relaxed), 7);
    }
}
