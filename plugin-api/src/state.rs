//! The state that one commander saves, and another one continues from.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::codec::{self, CodecError};

/// A commander's own state between two messages, with the version of its encoding.
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
    /// Encodes a state, which is a `serde` struct or map. The version is the author's: raise it if
    /// the type changes.
    ///
    /// # Errors
    /// [`CodecError`]: the state is not a dictionary, or cannot be encoded.
    pub fn new(version: u32, state: &impl Serialize) -> Result<Self, CodecError> {
        Ok(Self { version, bytes: codec::encode("the state", state)? })
    }

    /// A state as it crosses the boundary between plugin and host.
    pub fn from_bytes(version: u32, bytes: Vec<u8>) -> Self {
        Self { version, bytes }
    }

    /// The version that the commander gave to [`new`](Self::new) when it saved the state.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The encoded state: a MessagePack map.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Decodes the state as this type.
    ///
    /// # Errors
    /// [`CodecError`]: the state is not of this type.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, CodecError> {
        codec::decode("the state", &self.bytes)
    }
}
