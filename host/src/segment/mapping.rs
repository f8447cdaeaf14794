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
use rustix::io::{Errno, pread, pwrite, retry_on_intr};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};
use rustix::shm;
use shared_memory::{ShmemConf, ShmemError};

use crate::ulimit;

/// How much is reserved at a time.
const PIECE: usize = 64 << 20;

/// Why a process has no segment.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SegmentError {
    #[error("cannot create shared memory in /dev/shm{}{}", advice(*source), ulimit::behind(&(*source).into()))]
    Create { source: Errno },
    #[error("cannot {what} the shared memory{}", ulimit::behind(&(*source).into()))]
    Map { what: &'static str, source: Errno },
    #[error("cannot reserve {bytes} bytes of shared memory")]
    Reserve { bytes: usize, source: Errno },
    #[error("the shared memory was not reserved, because the start was given up")]
    GivenUp,
    #[error("the shared memory was not made by this version of cobuf-host for this run")]
    Stranger,
    #[error("the run was started by cobuf {version}, and this is {}", env!("CARGO_PKG_VERSION"))]
    OtherVersion { version: String },
}

/// Creates shared memory of so many bytes, all zero, that its user alone may open. It has a name
/// only until this function returns.
pub(super) fn create(name: &str, bytes: usize) -> Result<OwnedFd, SegmentError> {
    let created = ShmemConf::new().os_id(name).size(bytes).create();
    let named = created.map_err(|error| SegmentError::Create { source: errno(&error) })?;
    let opened = shm::open(name, shm::OFlags::RDWR, Mode::empty());
    // Removes the name, also if the memory could not be opened.
    drop(named);
    opened.map_err(|source| SegmentError::Map { what: "open", source })
}

/// The advice on memory that cannot be created; a part of an error's text.
fn advice(error: Errno) -> &'static str {
    match error {
        Errno::ROFS => "; mount it writable",
        Errno::NOENT => "; mount a tmpfs there",
        Errno::ACCESS | Errno::PERM => "; let this user write to it, for instance by mode 1777",
        _ => "",
    }
}

/// The system's error, which the library gives as a number only.
fn errno(error: &ShmemError) -> Errno {
    match *error {
        ShmemError::MapCreateFailed(number) | ShmemError::UnknownOsError(number) => {
            Errno::from_raw_os_error(number as i32)
        }
        ShmemError::MappingIdExists => Errno::EXIST,
        // The others are about links and names that are not used here.
        _ => Errno::INVAL,
    }
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
        let mapping = Self::with(file, bytes, ProtFlags::READ | ProtFlags::WRITE)?;
        mapping.prefer_huge_pages();
        Ok(mapping)
    }

    /// Maps them to read only: a write is a SIGSEGV.
    pub(super) fn to_read(file: impl AsFd, bytes: usize) -> Result<Self, SegmentError> {
        Self::with(file, bytes, ProtFlags::READ)
    }

    fn with(file: impl AsFd, bytes: usize, access: ProtFlags) -> Result<Self, SegmentError> {
        if size(&file)? < bytes as u64 {
            return Err(SegmentError::Stranger);
        }
        // SAFETY: a new mapping at an address of the kernel's choice; the file is at least as long,
        // checked above.
        let start = unsafe { mmap(ptr::null_mut(), bytes, access, MapFlags::SHARED, file, 0) }
            .map_err(|source| SegmentError::Map { what: "map", source })?;
        Ok(Self { start: start.cast(), bytes })
    }

    /// Asks for pages of 2 MB. The kernel gives them to shared memory that asks if `/dev/shm` is
    /// mounted with `huge=advise`: they are reserved in a tenth of the time, and a process needs
    /// one page fault instead of 512.
    fn prefer_huge_pages(&self) {
        // SAFETY: the range is this mapping; the advice does not change its bytes.
        let _ = unsafe { madvise(self.start.cast(), self.bytes, Advice::LinuxHugepage) };
    }

    /// Allocates every page now: too little memory is an error here instead of a SIGBUS in the
    /// middle of a run. The memory must not have been written to.
    ///
    /// Works in pieces. After each, `go_on` is told how many bytes are reserved, and how many there
    /// are, and says whether to go on.
    pub(super) fn reserve(
        &self,
        file: impl AsFd,
        go_on: &mut dyn FnMut(usize, usize) -> bool,
    ) -> Result<(), SegmentError> {
        let mut done = 0;
        while done < self.bytes {
            let piece = PIECE.min(self.bytes - done);
            match self.populate(done, piece) {
                // Linux before 5.14, or a sandbox that does not know the advice.
                Err(Errno::INVAL | Errno::NOSYS | Errno::PERM) => write_zeros(&file, done, piece),
                populated => populated,
            }
            .map_err(|source| SegmentError::Reserve { bytes: self.bytes, source })?;
            done += piece;
            if !go_on(done, self.bytes) {
                return Err(SegmentError::GivenUp);
            }
        }
        Ok(())
    }

    fn populate(&self, offset: usize, bytes: usize) -> Result<(), Errno> {
        // SAFETY: the range lies in this mapping; populating does not change its bytes.
        unsafe { madvise(self.at(offset).cast(), bytes, Advice::LinuxPopulateWrite) }
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

/// Reserves by writing: a full `/dev/shm` is an error of the system call.
fn write_zeros(file: impl AsFd, offset: usize, bytes: usize) -> Result<(), Errno> {
    const ZEROS: &[u8] = &[0; 64 << 10];
    let end = offset + bytes;
    (offset..end)
        .step_by(ZEROS.len())
        .try_for_each(|at| write(&file, &ZEROS[..ZEROS.len().min(end - at)], at))
}

/// Writes bytes at an offset, without a mapping.
pub(super) fn write(file: impl AsFd, mut bytes: &[u8], mut offset: usize) -> Result<(), Errno> {
    while !bytes.is_empty() {
        let written = retry_on_intr(|| pwrite(&file, bytes, offset as u64))?;
        (bytes, offset) = (&bytes[written..], offset + written);
    }
    Ok(())
}

/// Reads all of these bytes at an offset, without a mapping.
pub(super) fn read(file: impl AsFd, mut bytes: &mut [u8], mut offset: usize) -> Result<(), SegmentError> {
    while !bytes.is_empty() {
        let read = retry_on_intr(|| pread(&file, &mut *bytes, offset as u64));
        match read.map_err(|source| SegmentError::Map { what: "read", source })? {
            0 => return Err(SegmentError::Stranger),
            read => (bytes, offset) = (&mut bytes[read..], offset + read),
        }
    }
    Ok(())
}

/// The bytes of the memory that a descriptor leads to.
pub(super) fn size(file: impl AsFd) -> Result<u64, SegmentError> {
    let failed = |source| SegmentError::Map { what: "look at", source };
    Ok(fstat(&file).map_err(failed)?.st_size as u64)
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
        assert!(matches!(create(&name, 4096), Err(SegmentError::Create { source: Errno::EXIST })));
        shm::unlink(&name).expect("the name is still there");
    }

    #[test]
    fn two_mappings_of_one_descriptor_are_the_same_memory() {
        let file = create(&name("twice"), 8192).unwrap();
        let [first, second] = [(); 2].map(|()| Mapping::of(&file, 8192).unwrap());
        first.reserve(&file, &mut |_, _| true).unwrap();
        // SAFETY: both lie in the mappings; one thread.
        unsafe { first.at(8191).write(7) };
        // SAFETY: as above.
        let seen = unsafe { second.at(8191).read() };
        assert_eq!(seen, 7);
    }

    #[test]
    fn reserving_tells_its_progress_and_can_be_given_up() {
        let bytes = 2 * PIECE + 4096;
        let file = create(&name("pieces"), bytes).unwrap();
        let memory = Mapping::of(&file, bytes).unwrap();
        let mut told = Vec::new();
        let mut reserve = |pieces: usize| {
            told.clear();
            let reserved = memory.reserve(&file, &mut |done, all| {
                told.push((done, all));
                told.len() < pieces
            });
            (reserved.is_ok(), told.clone())
        };
        assert_eq!(reserve(1), (false, vec![(PIECE, bytes)]));
        assert_eq!(fstat(&file).unwrap().st_blocks as usize * 512, PIECE);
        assert_eq!(reserve(4), (true, vec![(PIECE, bytes), (2 * PIECE, bytes), (bytes, bytes)]));
        assert_eq!(fstat(&file).unwrap().st_blocks as usize * 512, bytes);
    }

    #[test]
    fn memory_is_reserved_by_writing_where_it_cannot_be_populated() {
        let bytes = (64 << 10) + 4096;
        let file = create(&name("written"), bytes).unwrap();
        write_zeros(&file, 4096, bytes - 4096).unwrap();
        assert_eq!(fstat(&file).unwrap().st_blocks as usize * 512, bytes - 4096);
        assert_eq!(fstat(&file).unwrap().st_size as usize, bytes);
    }

    #[test]
    fn memory_that_is_too_short_is_refused() {
        let file = create(&name("short"), 4096).unwrap();
        assert!(matches!(Mapping::of(&file, 4097), Err(SegmentError::Stranger)));
    }
}
