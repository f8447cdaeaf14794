//! Where a commander begins, and what it saved there.

use cobuf_plugin_api::SavedState;
use serde::{Deserialize, Serialize};

/// Where a commander begins: at the start of a run, or where another one ended.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Beginning {
    /// The first message that it is to give.
    pub(crate) sequence: u64,
    /// What it saved at that message or before.
    pub(crate) state: Option<StateAt>,
}

/// What a commander has saved, and the message before which it did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StateAt {
    pub(crate) sequence: u64,
    pub(crate) state: SavedState,
}
