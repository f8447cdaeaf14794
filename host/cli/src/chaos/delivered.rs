//! The batches of one round.

use cobuf_host::ContentDigest;

/// The batches of one round: numbers, content, errors, time.
#[derive(Debug, Default)]
pub(super) struct Delivered {
    pub(super) sequences: Vec<u64>,
    pub(super) digest: ContentDigest,
    pub(super) errors: Vec<String>,
    pub(super) seconds: f64,
}
