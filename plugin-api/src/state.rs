//! What a commander saves of itself, for another one to go on with.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::codec::{self, CodecError};

/// A commander's own state between two messages, with the version of its form.
///
/// ```
/// use cobuf_plugin_api::{Dictionary, SavedState};
///
/// let state = SavedState::new(1, &Dictionary::new().with("seen", 3))?;
/// assert_eq!(state.read::<Dictionary>()?.get("seen"), Some(&3.into()));
/// # Ok::<(), cobuf_plugin_api::codec::CodecError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedState {
    version: u32,
    bytes: Vec<u8>,
}

impl SavedState {
    /// The state in this version's form: a `serde` struct or map.
    ///
    /// # Errors
    /// [`CodecError`] where it cannot be encoded.
    pub fn new(version: u32, state: &impl Serialize) -> Result<Self, CodecError> {
        Ok(Self { version, bytes: codec::encode("the state", state)? })
    }

    /// A state as it crosses the boundary.
    pub fn from_bytes(version: u32, bytes: Vec<u8>) -> Self {
        Self { version, bytes }
    }

    /// The version of its form: what the commander that saved it gave to [`new`](Self::new).
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The encoded state.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The state as this type.
    ///
    /// # Errors
    /// [`CodecError`] where it is not of that type.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, CodecError> {
        codec::decode("the state", &self.bytes)
    }
}
