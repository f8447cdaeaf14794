//! The segment's header.

use super::control::Control;
use super::sync::AtomicU64;

pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"cobufseg");

/// The segment's first bytes: two numbers that tell it from other memory, and the part that all
/// processes share.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Header {
    pub(super) magic: AtomicU64,
    pub(super) format: AtomicU64,
    pub(super) control: Control,
}
