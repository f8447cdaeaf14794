//! The segment's memory: created under a name, mapped by a descriptor.
//!
//! ```text
//!   host        create under a name ─► open a descriptor ─► remove the name ─► map by it, reserve
//!   any other   receive the descriptor ──────────────────────────────────────► map by it
//! ```
//!
//! The name exists for the few system calls of [`create`] only, so no later death can leave one
//! behind, and no child process can remove it. A new fork server maps the same memory by the same
//! descriptor.
#![expect(unsafe_code, reason = "maps and unmaps memory")]

use std::os::fd::{AsFd, OwnedFd};
use std::ptr;

use rustix::fs::{Mode, fstat};
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};
use rustix::shm;
use shared_memory::{ShmemConf, ShmemError};

/// Why a process has no segment.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SegmentError {
    #[error("cannot create shared memory {name:?}")]
    Create { name: String, source: ShmemError },
    #[error("cannot {what} the shared memory")]
    Map { what: &'static str, source: Errno },
    #[error("cannot reserve {bytes} bytes of shared memory")]
    Reserve { bytes: usize, source: Errno },
    #[error("the shared memory was not made by this version of cobuf-host for this run")]
    Stranger,
}

/// Creates shared memory of so many bytes, all zero, that its user alone may open. It has a name
/// only until this function returns.
pub(super) fn create(name: &str, bytes: usize) -> Result<OwnedFd, SegmentError> {
    let created = ShmemConf::new().os_id(name).size(bytes).create();
    let named = created.map_err(|source| SegmentError::Create { name: name.to_owned(), source })?;
    let opened = shm::open(name, shm::OFlags::RDWR, Mode::empty());
    // Removes the name, also if the memory could not be opened.
    drop(named);
    opened.map_err(|source| SegmentError::Map { what: "open", source })
}

/// Shared memory in this process's address space, at least as long as it says, until it is dropped.
#[derive(Debug)]
pub(super) struct Mapping {
    start: *mut u8,
    bytes: usize,
}

impl Mapping {
    /// Maps the first bytes of the memory that a descriptor leads to.
    pub(super) fn of(file: impl AsFd, bytes: usize) -> Result<Self, SegmentError> {
        let failed = |what| move |source| SegmentError::Map { what, source };
        let size = fstat(&file).map_err(failed("look at"))?.st_size;
        if usize::try_from(size).is_ok_and(|size| size < bytes) {
            return Err(SegmentError::Stranger);
        }
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice; the file is at least as long,
        // checked above.
        let start = unsafe { mmap(ptr::null_mut(), bytes, access, MapFlags::SHARED, file, 0) }
            .map_err(failed("map"))?;
        let mapping = Self { start: start.cast(), bytes };
        mapping.prefer_huge_pages();
        Ok(mapping)
    }

    /// Asks for pages of 2 MB. The kernel gives them to shared memory that asks if `/dev/shm` is
    /// mounted with `huge=advise`: they are reserved in a tenth of the time, and a process needs
    /// one page fault instead of 512.
    fn prefer_huge_pages(&self) {
        // SAFETY: the range is this mapping; the advice does not change its bytes.
        let _ = unsafe { madvise(self.start.cast(), self.bytes, Advice::LinuxHugepage) };
    }

    /// Allocates every page now: too little memory is an error here instead of a SIGBUS in the
    /// middle of a run.
    pub(super) fn reserve(&self) -> Result<(), SegmentError> {
        // SAFETY: the range is this mapping; populating does not change its bytes.
        unsafe { madvise(self.start.cast(), self.bytes, Advice::LinuxPopulateWrite) }
            .map_err(|source| SegmentError::Reserve { bytes: self.bytes, source })
    }

    /// The address of a byte of it.
    pub(super) fn at(&self, offset: usize) -> *mut u8 {
        debug_assert!(offset < self.bytes);
        self.start.wrapping_add(offset)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `of` made this mapping, and all that borrows from it is gone.
        let _ = unsafe { munmap(self.start.cast(), self.bytes) };
    }
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;

    fn name(of: &str) -> String {
        format!("/cobuf-mapping-{of}-{}", std::process::id())
    }

    #[test]
    fn memory_has_no_name_once_it_is_created_and_is_private_to_its_user() {
        let name = name("unnamed");
        let file = create(&name, 4096).unwrap();
        assert_eq!(shm::open(&name, shm::OFlags::RDWR, Mode::empty()).unwrap_err(), Errno::NOENT);
        assert_eq!(fstat(&file).unwrap().st_mode & 0o777, 0o600);
    }

    #[test]
    fn name_that_is_taken_is_left_to_its_owner() {
        let name = name("taken");
        let flags = shm::OFlags::RDWR | shm::OFlags::CREATE | shm::OFlags::EXCL;
        let _other = shm::open(&name, flags, Mode::RUSR | Mode::WUSR).unwrap();
        assert!(matches!(create(&name, 4096), Err(SegmentError::Create { .. })));
        shm::unlink(&name).expect("the name is still there");
    }

    #[test]
    fn two_mappings_of_one_descriptor_are_the_same_memory() {
        let file = create(&name("twice"), 8192).unwrap();
        let [first, second] = [(); 2].map(|()| Mapping::of(&file, 8192).unwrap());
        first.reserve().unwrap();
        // SAFETY: both lie in the mappings; one thread.
        unsafe { first.at(8191).write(7) };
        // SAFETY: as above.
        let seen = unsafe { second.at(8191).read() };
        assert_eq!(seen, 7);
    }

    #[test]
    fn memory_that_is_too_short_is_refused() {
        let file = create(&name("short"), 4096).unwrap();
        assert!(matches!(Mapping::of(&file, 4097), Err(SegmentError::Stranger)));
    }
}
