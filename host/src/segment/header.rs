//! The segment's first bytes.

use super::control::Control;
use super::sync::AtomicU64;

pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"cobufseg");

/// The segment's first bytes: what it is, and what all processes share.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Header {
    pub(super) magic: AtomicU64,
    pub(super) format: AtomicU64,
    pub(super) control: Control,
}
