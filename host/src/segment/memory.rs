//! The segment: its parts as references, and payloads handed out by claim. The only place that
//! turns shared memory into references.
//!
//! Invariants, upheld by [`Segment::create`] and [`Segment::map`]:
//! - the mapping is at least `layout.bytes` long and stays until the `Segment` is dropped;
//! - memory that is shared without a claim (header, slot headers, statistics) consists of atomics,
//!   for which any bytes are valid;
//! - payload bytes are reached through a claim only, which is exclusive across all processes.
#![expect(unsafe_code, reason = "turns shared memory into references")]

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::slice;

use arrayvec::ArrayVec;
use cobuf_plugin_api::abi::RawArray;
use cobuf_plugin_api::{Dictionary, MAX_ARRAYS, codec};

use super::about::{About, AboutVersion};
use super::claim::{Claim, Commanding, Producing, Reading, Role};
use super::counters::Counters;
use super::header::{Header, MAGIC};
use super::layout::{Layout, Span, WORKER_PLACES};
use super::mapping::{self, Mapping, SegmentError};
use super::notices::Notices;
use super::place::Place;
use super::slot::{SlotHeader, Written};
use super::stamps::Stamps;
use super::sync::Ordering;
use super::table::Table;
use super::worker_place::WorkerPlace;

/// A mapped segment.
pub(crate) struct Segment {
    mapping: Mapping,
    /// The descriptor by which other processes map the same memory.
    file: OwnedFd,
    layout: Layout,
}

// SAFETY: the mapping is not tied to a thread; threads share atomics in it, and payloads under
// exclusive claims.
unsafe impl Send for Segment {}
// SAFETY: as above: no method gives a reference to plain memory without a claim.
unsafe impl Sync for Segment {}

impl Segment {
    /// Creates the segment, zeroed, with all of its memory reserved, and with its description behind
    /// it. Nobody else may have the name, which is gone afterwards.
    ///
    /// After each piece of memory, `go_on` is told how many bytes are reserved, and how many there
    /// are, and says whether to go on.
    pub(crate) fn create(
        name: &str,
        layout: Layout,
        about: &[u8],
        go_on: &mut dyn FnMut(usize, usize) -> bool,
    ) -> Result<Self, SegmentError> {
        let offset = layout.bytes;
        let segment = Self::at(mapping::create(name, offset.saturating_add(about.len()))?, layout)?;
        segment.mapping.reserve(&segment.file, go_on)?;
        mapping::write(&segment.file, about, offset)
            .map_err(|source| SegmentError::Reserve { bytes: about.len(), source })?;
        let header = segment.header();
        header.about_offset.store(offset as u64, Ordering::Relaxed);
        header.about_bytes.store(about.len() as u64, Ordering::Relaxed);
        header.format.store(segment.layout.format(), Ordering::Relaxed);
        header.magic.store(MAGIC, Ordering::Release);
        Ok(segment)
    }

    /// Maps a segment that another process created.
    pub(crate) fn map(file: OwnedFd, layout: Layout) -> Result<Self, SegmentError> {
        let segment = Self::at(file, layout)?;
        let header = segment.header();
        let known = header.magic.load(Ordering::Acquire) == MAGIC
            && header.format.load(Ordering::Relaxed) == segment.layout.format();
        if known { Ok(segment) } else { Err(SegmentError::Stranger) }
    }

    /// Maps the segment of another process's run, to read only, and reads its description.
    ///
    /// Only shared atomics may be looked at, and none may be changed: no claim can be made.
    pub(crate) fn to_read(file: OwnedFd) -> Result<(Self, About), SegmentError> {
        let mut words = [[0; size_of::<u64>()]; 4];
        mapping::read(&file, words.as_flattened_mut(), 0)?;
        let [magic, format, offset, bytes] = words.map(u64::from_ne_bytes);
        let most = mapping::size(&file)?;
        let end = offset.checked_add(bytes).filter(|&end| end <= most);
        if magic != MAGIC || end.is_none() {
            return Err(SegmentError::Stranger);
        }
        let mut encoded = vec![0; bytes as usize];
        mapping::read(&file, &mut encoded, offset as usize)?;
        let version = codec::decode::<AboutVersion>("the description", &encoded);
        let AboutVersion { version } = version.map_err(|_| SegmentError::Stranger)?;
        let about = codec::decode::<About>("the description", &encoded).ok();
        let layout = about.as_ref().and_then(|about| Layout::new(about.sizes.clone()));
        let known = layout.filter(|layout| layout.format() == format).zip(about);
        let (layout, about) = known.ok_or(SegmentError::OtherVersion { version })?;
        Ok((Self { mapping: Mapping::to_read(&file, layout.bytes)?, file, layout }, about))
    }

    fn at(file: OwnedFd, layout: Layout) -> Result<Self, SegmentError> {
        Ok(Self { mapping: Mapping::of(&file, layout.bytes)?, file, layout })
    }

    /// The descriptor by which another process can map the segment.
    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(crate) fn table(&self) -> Table<'_> {
        Table { control: &self.header().control, slots: self.slot_headers() }
    }

    /// Counts and times.
    pub(crate) fn counters(&self) -> &Counters {
        &self.header().counters
    }

    /// The last things that happened.
    pub(crate) fn notices(&self) -> &Notices {
        &self.header().notices
    }

    /// The places of all workers.
    pub(crate) fn worker_places(&self) -> &[WorkerPlace] {
        // SAFETY: `Layout` puts as many `WorkerPlace`s there, aligned, inside the mapping; they are
        // atomics.
        unsafe { self.shared(self.layout.worker_places, WORKER_PLACES) }
    }

    /// One worker's place.
    pub(crate) fn worker_place(&self, place: Place) -> &WorkerPlace {
        &self.worker_places()[place.index()]
    }

    /// The stamps of a slot, if the run is traced.
    pub(crate) fn stamps(&self, slot: usize) -> Option<&Stamps> {
        let offset = self.layout.stamps?;
        // SAFETY: `Layout` puts as many `Stamps` there, aligned, inside the mapping; they are
        // atomics.
        let all: &[Stamps] = unsafe { self.shared(offset, self.layout.sizes.slots) };
        all.get(slot)
    }

    /// The memory for a message, to write.
    pub(crate) fn message_mut<'a>(&'a self, claim: &'a mut Claim<Commanding>) -> &'a mut [u8] {
        // SAFETY: the commander's claim is exclusive, and borrowed mutably for as long as the bytes
        // are.
        unsafe { self.payload_mut(self.layout.message(claim.index())) }
    }

    /// The message in a claimed slot.
    pub(crate) fn message<'a>(&'a self, claim: &'a Claim<impl Role>) -> &'a [u8] {
        let written = self.table().message_bytes(claim);
        // SAFETY: the claim is exclusive, and no process writes a message after it was queued.
        unsafe { self.payload(self.layout.message(claim.index()), written) }
    }

    /// Copies of the messages in the slots, with their numbers, newest first. It claims nothing. It
    /// leaves out a message if the commander wrote another one to the slot meanwhile.
    pub(crate) fn messages(&self) -> impl Iterator<Item = (u64, Vec<u8>)> + '_ {
        let mut written = self.table().messages();
        written.sort_by_key(|message| std::cmp::Reverse(message.sequence));
        written.into_iter().filter_map(|Written { slot, snapshot, sequence, bytes }| {
            let span = self.layout.message(slot);
            // SAFETY: the span lies inside the mapping. Another process may write there, so each
            // byte is read by itself, and none is used before the slot's word is seen not to have
            // changed.
            let byte = |index: usize| unsafe { self.mapping.at(span.offset + index).read_volatile() };
            let copy: Vec<u8> = (0..bytes.min(span.bytes)).map(byte).collect();
            std::sync::atomic::fence(Ordering::Acquire);
            let unchanged = self.table().slots[slot].word.load().is_same_use(snapshot);
            let whole = codec::decode::<Dictionary>("the message", &copy).is_ok();
            (unchanged && whole).then_some((sequence, copy))
        })
    }

    /// The memory for metadata or a report, to write.
    pub(crate) fn outcome_mut<'a>(&'a self, claim: &'a mut Claim<Producing>) -> &'a mut [u8] {
        // SAFETY: the producing claim is exclusive, and borrowed mutably for as long as the bytes
        // are.
        unsafe { self.payload_mut(self.layout.outcome(claim.index())) }
    }

    /// The metadata or report of a taken batch.
    pub(crate) fn outcome<'a>(&'a self, claim: &'a Claim<Reading>) -> &'a [u8] {
        let written = self.table().outcome(claim).bytes;
        // SAFETY: the reading claim is exclusive, and readers only read.
        unsafe { self.payload(self.layout.outcome(claim.index()), written) }
    }

    /// The memory for the batch's lengths, to write; empty if the schema has none.
    pub(crate) fn lengths_mut<'a>(&'a self, claim: &'a mut Claim<Producing>) -> &'a mut [usize] {
        let span = self.layout.lengths(claim.index());
        if span.bytes == 0 {
            return &mut [];
        }
        // SAFETY: as for `outcome_mut`.
        bytemuck::cast_slice_mut(unsafe { self.payload_mut(span) })
    }

    /// The lengths of a taken batch, as they lie there: a plugin may have written over them.
    pub(crate) fn lengths<'a>(&'a self, claim: &'a Claim<Reading>) -> &'a [usize] {
        let span = self.layout.lengths(claim.index());
        if span.bytes == 0 {
            return &[];
        }
        // SAFETY: the reading claim is exclusive, and readers only read.
        bytemuck::cast_slice(unsafe { self.payload(span, span.bytes) })
    }

    /// The arrays of a claimed slot, for the plugin to write, valid as long as the claim is
    /// borrowed.
    pub(crate) fn raw_arrays(&self, claim: &mut Claim<Producing>) -> ArrayVec<RawArray, MAX_ARRAYS> {
        let raw = |span: Span| RawArray { data: self.mapping.at(span.offset), bytes: span.bytes };
        // Filled in place, because `collect` moves all of its room.
        let mut arrays = ArrayVec::new();
        arrays.extend(self.layout.arrays(claim.index()).map(raw));
        arrays
    }

    /// The bytes of one array of a taken batch.
    pub(crate) fn array<'a>(&'a self, claim: &'a Claim<Reading>, array: usize) -> Option<&'a [u8]> {
        let span = self.layout.arrays(claim.index()).nth(array)?;
        // SAFETY: the reading claim is exclusive, and readers only read.
        Some(unsafe { self.payload(span, span.bytes) })
    }

    /// Writes bytes anywhere in the segment, as a plugin's stray pointer does. Bytes beyond the
    /// mapping are left out.
    #[cfg(all(any(test, fuzzing), not(cobuf_loom)))]
    pub(crate) fn scribble(&self, offset: usize, bytes: &[u8]) {
        let count = bytes.len().min(self.layout.bytes.saturating_sub(offset));
        if count == 0 {
            return;
        }
        // SAFETY: inside the mapping, checked above; any bytes are valid there. Tests run on one
        // thread, and hold no payload meanwhile.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.mapping.at(offset), count) };
    }

    fn header(&self) -> &Header {
        // SAFETY: the mapping begins with a `Header`, page-aligned; it consists of atomics.
        let header: &[Header] = unsafe { self.shared(0, 1) };
        &header[0]
    }

    fn slot_headers(&self) -> &[SlotHeader] {
        // SAFETY: `Layout` puts as many `SlotHeader`s there, aligned, inside the mapping; they are
        // atomics.
        unsafe { self.shared(self.layout.slot_headers, self.layout.sizes.slots) }
    }

    /// # Safety
    /// At `offset` lie `count` values of `T` inside the mapping, aligned; `T` consists of atomics
    /// only.
    unsafe fn shared<T>(&self, offset: usize, count: usize) -> &[T] {
        // SAFETY: by this function's contract; the mapping lives as long as `self`.
        unsafe { slice::from_raw_parts(self.mapping.at(offset).cast(), count) }
    }

    /// # Safety
    /// The caller holds the slot's claim, and no process writes to the span while the result lives.
    unsafe fn payload(&self, span: Span, written: usize) -> &[u8] {
        // SAFETY: `Layout` puts the span inside the mapping; the rest by this function's contract.
        unsafe { slice::from_raw_parts(self.mapping.at(span.offset), written.min(span.bytes)) }
    }

    /// # Safety
    /// The caller holds the slot's claim, and no other reference to the span is used while the
    /// result lives.
    #[expect(clippy::mut_from_ref, reason = "exclusive by the claim, not by the borrow of the segment")]
    unsafe fn payload_mut(&self, span: Span) -> &mut [u8] {
        // SAFETY: `Layout` puts the span inside the mapping; the rest by this function's contract.
        unsafe { slice::from_raw_parts_mut(self.mapping.at(span.offset), span.bytes) }
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segment").field("bytes", &self.layout.bytes).finish_non_exhaustive()
    }
}
