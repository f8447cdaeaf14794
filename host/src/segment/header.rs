//! The segment's header.

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
