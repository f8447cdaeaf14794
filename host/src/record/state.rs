//! Where a commander begins, and the state that it saved.

use cobuf_plugin_api::SavedState;
use serde::{Deserialize, Serialize};

/// Where a commander begins: at the start of a run, or where another one ended.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Beginning {
    /// The first message that it gives.
    pub(crate) sequence: u64,
    /// A state that was saved at that message or before.
    pub(crate) state: Option<StateAt>,
}

/// A commander's saved state, and the message before which it was saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StateAt {
    pub(crate) sequence: u64,
    pub(crate) state: SavedState,
}
