//! The segment's header.

#[cfg(all(any(test, fuzzing), not(cobuf_loom)))]
use std::mem::offset_of;

use super::control::Control;
use super::counters::Counters;
use super::notices::Notices;
use super::sync::AtomicU64;

pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"cobufseg");

/// The segment's first bytes: two numbers that tell it from other memory, where its description is,
/// and the part that all processes share.
///
/// The first four words stay where they are in all versions: a newer one says by them that it does
/// not know the rest.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Header {
    pub(super) magic: AtomicU64,
    pub(super) format: AtomicU64,
    /// The span of the description behind all other parts, see `about`.
    pub(super) about_offset: AtomicU64,
    pub(super) about_bytes: AtomicU64,
    pub(super) control: Control,
    pub(super) counters: Counters,
    pub(super) notices: Notices,
}

/// Where parts of the control words are, and how long they are, for tests that write over them: what is
/// known of ready slots, of free slots, and all behind the sets.
#[cfg(all(any(test, fuzzing), not(cobuf_loom)))]
impl Header {
    pub(crate) const PARTS: [(usize, usize); 3] = [
        (offset_of!(Self, control.ready), 64),
        (offset_of!(Self, control.free), 64),
        (offset_of!(Self, control.stop), offset_of!(Self, notices) - offset_of!(Self, control.stop)),
    ];
}
