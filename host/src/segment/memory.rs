//! The mapping of the segment, and payloads handed out by claim. The only place that turns shared memory into references.
//!
//! The host creates the segment under a name, keeps a descriptor of it and removes the name at once; other processes map what the
//! descriptor, sent to the fork server, leads to. So nothing that dies later can leave a name behind, and a fork server can be
//! replaced.
//!
//! Invariants, upheld by [`Segment::create`] and [`Segment::map`]:
//! - the mapping is at least `layout.bytes` long and stays until the `Segment` is dropped;
//! - what is shared without a claim (header, slot headers, statistics) consists of atomics, for which zero bytes and
//!   every other bytes are valid;
//! - payload bytes are reached through a claim only, which is exclusive across all processes.
#![expect(unsafe_code, reason = "turns shared memory into references")]

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr;
use std::slice;

use arrayvec::ArrayVec;
use cobuf_plugin_api::abi::RawArray;
use cobuf_plugin_api::{Dictionary, MAX_ARRAYS, codec};
use rustix::fs::Mode;
use rustix::mm::{Advice, MapFlags, ProtFlags, mmap};
use rustix::shm;
use shared_memory::{Shmem, ShmemConf, ShmemError};

use super::claim::{Claim, Commanding, Producing, Reading, Role};
use super::header::{Header, MAGIC};
use super::layout::{Layout, Span, WORKER_PLACES};
use super::place::Place;
use super::queue::Queue;
use super::slot::{SlotHeader, Written};
use super::slot_set::SlotSet;
use super::sync::{AtomicU64, Ordering};
use super::table::Table;
use super::worker_place::WorkerPlace;

/// Why a segment could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SegmentError {
    #[error("cannot create shared memory {name:?}")]
    Create { name: String, source: ShmemError },
    #[error("cannot {what} the shared memory")]
    Map { what: &'static str, source: rustix::io::Errno },
    #[error("cannot reserve {bytes} bytes of shared memory")]
    Reserve { bytes: usize, source: rustix::io::Errno },
    #[error("the shared memory was not made by this version of cobuf-host for this run")]
    Stranger,
}

/// Memory that is mapped, and what unmaps it.
enum Mapping {
    /// As the host created it.
    Created(Shmem),
    /// As another process mapped it: where, and how many bytes.
    Received(*mut u8, usize),
}

/// A mapped segment.
pub(crate) struct Segment {
    mapping: Mapping,
    /// Leads to the same memory, for other processes to map.
    file: OwnedFd,
    layout: Layout,
}

// SAFETY: the mapping is not tied to a thread; what is shared in it are atomics and payloads under exclusive claims.
unsafe impl Send for Segment {}
// SAFETY: as above: no method gives a reference to plain memory without a claim.
unsafe impl Sync for Segment {}

impl Segment {
    /// Creates the segment, zeroed, with all of its memory reserved. The name, which nobody else may have, is gone afterwards.
    pub(crate) fn create(name: &str, layout: Layout) -> Result<Self, SegmentError> {
        let created = ShmemConf::new().os_id(name).size(layout.bytes).create();
        let mut shmem = created.map_err(|source| SegmentError::Create { name: name.to_owned(), source })?;
        let opened = rustix::shm::open(name, shm::OFlags::RDWR, Mode::empty());
        let file = opened.map_err(|source| SegmentError::Map { what: "open", source })?;
        // From here on nobody's death leaves a name behind.
        rustix::shm::unlink(name).map_err(|source| SegmentError::Map { what: "unlink", source })?;
        shmem.set_owner(false);
        let segment = Self { mapping: Mapping::Created(shmem), file, layout };
        segment.prefer_huge_pages();
        segment.reserve()?;
        let header = segment.header();
        header.format.store(segment.layout.format(), Ordering::Relaxed);
        header.magic.store(MAGIC, Ordering::Release);
        Ok(segment)
    }

    /// Maps the segment that another process created.
    pub(crate) fn map(file: OwnedFd, layout: Layout) -> Result<Self, SegmentError> {
        let failed = |what| move |source| SegmentError::Map { what, source };
        let size = rustix::fs::fstat(&file).map_err(failed("look at"))?.st_size;
        if usize::try_from(size).is_ok_and(|size| size < layout.bytes) {
            return Err(SegmentError::Stranger);
        }
        let (bytes, access) = (layout.bytes, ProtFlags::READ | ProtFlags::WRITE);
        // SAFETY: a new mapping at an address of the kernel's choice; the file is as long as it, checked above.
        let start = unsafe { mmap(ptr::null_mut(), bytes, access, MapFlags::SHARED, &file, 0) }
            .map_err(failed("map"))?;
        let segment = Self { mapping: Mapping::Received(start.cast(), bytes), file, layout };
        segment.prefer_huge_pages();
        let header = segment.header();
        let known = header.magic.load(Ordering::Acquire) == MAGIC
            && header.format.load(Ordering::Relaxed) == segment.layout.format();
        if known { Ok(segment) } else { Err(SegmentError::Stranger) }
    }

    /// What another process can map the segment from.
    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(crate) fn table(&self) -> Table<'_> {
        let control = &self.header().control;
        Table {
            control,
            slots: self.slot_headers(),
            free: SlotSet(self.words(self.layout.free_set)),
            ready: SlotSet(self.words(self.layout.ready_set)),
            queue: Queue { head: &control.head, tail: &control.tail, entries: self.words(self.layout.queue) },
        }
    }

    /// The places of all workers that there can be.
    pub(crate) fn worker_places(&self) -> &[WorkerPlace] {
        // SAFETY: `Layout` puts as many `WorkerPlace`s there, aligned, inside the mapping; they are atomics.
        unsafe { self.shared(self.layout.worker_places, WORKER_PLACES) }
    }

    /// The place of a worker that was started.
    pub(crate) fn worker_place(&self, place: Place) -> &WorkerPlace {
        &self.worker_places()[place.index()]
    }

    /// The memory for a message, to write.
    pub(crate) fn message_mut<'a>(&'a self, claim: &'a mut Claim<Commanding>) -> &'a mut [u8] {
        // SAFETY: the commander's claim is exclusive, and borrowed mutably for as long as the bytes are.
        unsafe { self.payload_mut(self.layout.message(claim.index())) }
    }

    /// The message in a claimed slot.
    pub(crate) fn message<'a>(&'a self, claim: &'a Claim<impl Role>) -> &'a [u8] {
        let written = self.table().message_bytes(claim);
        // SAFETY: whoever holds the claim is alone with the slot, and nobody writes a message after it was queued.
        unsafe { self.payload(self.layout.message(claim.index()), written) }
    }

    /// Copies of the messages in the slots, with their numbers, newest first. Nothing is claimed for it: what is copied while the commander
    /// writes another one is left out.
    pub(crate) fn messages(&self) -> impl Iterator<Item = (u64, Vec<u8>)> + '_ {
        let mut written = self.table().messages();
        written.sort_by_key(|message| std::cmp::Reverse(message.sequence));
        written.into_iter().filter_map(|Written { slot, snapshot, sequence, bytes }| {
            let span = self.layout.message(slot);
            // SAFETY: the span lies inside the mapping. Another process may be writing there, which is why each byte is read for itself
            // and none is believed before the slot's word was seen not to have changed.
            let byte = |index: usize| unsafe { self.at(span.offset + index).read_volatile() };
            let copy: Vec<u8> = (0..bytes.min(span.bytes)).map(byte).collect();
            std::sync::atomic::fence(Ordering::Acquire);
            let unchanged = self.table().slots[slot].word.load().is_same_use(snapshot);
            let whole = codec::decode::<Dictionary>("the message", &copy).is_ok();
            (unchanged && whole).then_some((sequence, copy))
        })
    }

    /// The memory for metadata or a report, to write.
    pub(crate) fn outcome_mut<'a>(&'a self, claim: &'a mut Claim<Producing>) -> &'a mut [u8] {
        // SAFETY: the producing claim is exclusive, and borrowed mutably for as long as the bytes are.
        unsafe { self.payload_mut(self.layout.outcome(claim.index())) }
    }

    /// The metadata or report of a taken batch.
    pub(crate) fn outcome<'a>(&'a self, claim: &'a Claim<Reading>) -> &'a [u8] {
        let written = self.table().outcome(claim).bytes;
        // SAFETY: the reading claim is exclusive, and readers only read.
        unsafe { self.payload(self.layout.outcome(claim.index()), written) }
    }

    /// The arrays of a claimed slot, for the plugin to write, valid as long as the claim is borrowed.
    pub(crate) fn raw_arrays(&self, claim: &mut Claim<Producing>) -> ArrayVec<RawArray, MAX_ARRAYS> {
        let raw = |span: Span| RawArray { data: self.at(span.offset), bytes: span.bytes };
        self.layout.arrays(claim.index()).map(raw).collect()
    }

    /// The bytes of one array of a taken batch.
    pub(crate) fn array<'a>(&'a self, claim: &'a Claim<Reading>, array: usize) -> Option<&'a [u8]> {
        let span = self.layout.arrays(claim.index()).nth(array)?;
        // SAFETY: the reading claim is exclusive, and readers only read.
        Some(unsafe { self.payload(span, span.bytes) })
    }

    /// Writes bytes wherever it is, as a plugin's stray pointer does; what would be beyond the mapping is left out.
    #[cfg(all(any(test, fuzzing), not(cobuf_loom)))]
    pub(crate) fn scribble(&self, offset: usize, bytes: &[u8]) {
        let count = bytes.len().min(self.layout.bytes.saturating_sub(offset));
        // SAFETY: inside the mapping, cut above; every bytes are valid for what lies there. Tests are on one thread, and hold no
        // payload meanwhile.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.start().wrapping_add(offset), count) };
    }

    fn header(&self) -> &Header {
        // SAFETY: the mapping begins with a `Header`, page-aligned; it consists of atomics.
        let header: &[Header] = unsafe { self.shared(0, 1) };
        &header[0]
    }

    fn slot_headers(&self) -> &[SlotHeader] {
        // SAFETY: `Layout` puts as many `SlotHeader`s there, aligned, inside the mapping; they are atomics.
        unsafe { self.shared(self.layout.slot_headers, self.layout.sizes.slots) }
    }

    fn words(&self, span: Span) -> &[AtomicU64] {
        // SAFETY: callers pass a span of the layout's that is made of words: aligned, inside the mapping, atomics.
        unsafe { self.shared(span.offset, span.bytes / size_of::<u64>()) }
    }

    /// Asks for pages of 2 MB where the system gives them to shared memory that asks (`mount -o remount,huge=advise /dev/shm`): they are
    /// reserved in a tenth of the time, and a process needs one fault where it needed 512. Nothing is lost where it does not.
    fn prefer_huge_pages(&self) {
        // SAFETY: the range is this mapping; the advice does not change its bytes.
        let _ = unsafe { rustix::mm::madvise(self.start().cast(), self.layout.bytes, Advice::LinuxHugepage) };
    }

    /// Allocates every page now: too little memory is an error here instead of a SIGBUS in the middle of a run.
    fn reserve(&self) -> Result<(), SegmentError> {
        let bytes = self.layout.bytes;
        // SAFETY: the range is this mapping, which nobody else uses yet; populating does not change its bytes.
        unsafe { rustix::mm::madvise(self.start().cast(), bytes, Advice::LinuxPopulateWrite) }
            .map_err(|source| SegmentError::Reserve { bytes, source })
    }

    fn at(&self, offset: usize) -> *mut u8 {
        debug_assert!(offset < self.layout.bytes);
        self.start().wrapping_add(offset)
    }

    fn start(&self) -> *mut u8 {
        match &self.mapping {
            Mapping::Created(shmem) => shmem.as_ptr(),
            Mapping::Received(start, _) => *start,
        }
    }

    /// # Safety
    /// At `offset` lie `count` values of `T` inside the mapping, aligned; `T` consists of atomics only.
    unsafe fn shared<T>(&self, offset: usize, count: usize) -> &[T] {
        // SAFETY: by this function's contract; the mapping lives as long as `self`.
        unsafe { slice::from_raw_parts(self.at(offset).cast(), count) }
    }

    /// # Safety
    /// The caller holds the slot's claim, and nobody writes to the span while the result lives.
    unsafe fn payload(&self, span: Span, written: usize) -> &[u8] {
        // SAFETY: `Layout` puts the span inside the mapping; the rest by this function's contract.
        unsafe { slice::from_raw_parts(self.at(span.offset), written.min(span.bytes)) }
    }

    /// # Safety
    /// The caller holds the slot's claim, and nobody else uses the span while the result lives.
    #[expect(clippy::mut_from_ref, reason = "exclusive by the claim, not by the borrow of the segment")]
    unsafe fn payload_mut(&self, span: Span) -> &mut [u8] {
        // SAFETY: `Layout` puts the span inside the mapping; the rest by this function's contract.
        unsafe { slice::from_raw_parts_mut(self.at(span.offset), span.bytes) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if let Self::Received(start, bytes) = *self {
            // SAFETY: `Segment::map` made this mapping, and all that borrows from the segment is gone.
            let _ = unsafe { rustix::mm::munmap(start.cast(), bytes) };
        }
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segment").field("bytes", &self.layout.bytes).finish_non_exhaustive()
    }
}
