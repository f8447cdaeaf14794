//! A message that was given up.

use serde::{Deserialize, Serialize};

/// A message that was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Letter {
    pub(crate) sequence: u64,
    pub(crate) encoded: Vec<u8>,
}
