//! What a round delivered.

use cobuf_host::ContentDigest;

/// What a round delivered.
#[derive(Debug, Default)]
pub(super) struct Delivered {
    pub(super) sequences: Vec<u64>,
    pub(super) digest: ContentDigest,
    pub(super) errors: Vec<String>,
    pub(super) seconds: f64,
}
