//! A digest of all delivered content, the same for any order of delivery.

use std::fmt;
use std::ops::Add;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use super::batch::Batch;

/// A digest of the content of batches: their sequence numbers, and their arrays' names, element
/// types, shapes and bytes, as they are in each batch.
///
/// Each batch is hashed (XXH3, 128 bits, <https://xxhash.com>) and the hashes are added up, so the
/// order of delivery does not matter. The digest finds differences, not forgeries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ContentDigest(u128);

impl ContentDigest {
    /// The digest of no batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a batch.
    pub fn add(&mut self, batch: &Batch) {
        let mut hash = Xxh3::new();
        hash.update(&batch.sequence().to_le_bytes());
        for index in 0..batch.schema().arrays().len() {
            let Ok((spec, bytes)) = batch.bytes_at(index) else { continue };
            // Lengths before texts, so that no two lists of arrays give the same bytes.
            hash.update(&(spec.name().len() as u64).to_le_bytes());
            hash.update(spec.name().as_bytes());
            hash.update(&[spec.dtype() as u8, spec.shape().len() as u8]);
            spec.shape_in(batch.extent(index)).for_each(|n| hash.update(&(n as u64).to_le_bytes()));
            hash.update(bytes);
        }
        self.0 = self.0.wrapping_add(hash.digest128());
    }
}

/// The digest of the batches of both: such as of two ranks of a job.
///
/// ```
/// # use cobuf_host::ContentDigest;
/// # fn of(ranks: [ContentDigest; 2]) {
/// let [one, other] = ranks;
/// assert_eq!(one + other, other + one);
/// # }
/// ```
impl Add for ContentDigest {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }
}

/// As 32 hexadecimal digits.
impl fmt::Display for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl From<ContentDigest> for String {
    fn from(digest: ContentDigest) -> Self {
        digest.to_string()
    }
}

impl TryFrom<String> for ContentDigest {
    type Error = std::num::ParseIntError;

    fn try_from(digits: String) -> Result<Self, Self::Error> {
        u128::from_str_radix(&digits, 16).map(Self)
    }
}
