//! A rank's part of a job: what it delivered since the job began.

use serde::{Deserialize, Serialize};

use super::ledger::Ledger;
use super::rank::Seat;
use super::state::StateAt;

/// What one rank delivered, beside the checkpoint with which its job began.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    #[serde(flatten)]
    pub(crate) seat: Seat,
    /// The delivered ones of the rank's own messages, by their ordinals, see `portion`. So a rank
    /// that delivers in order has one range, however many ranks there are.
    pub(crate) done: Ledger,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) commander: Option<StateAt>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) application: Option<serde_json::Value>,
    /// The application's step, if it gave one. The parts of one checkpoint have the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) step: Option<u64>,
}

impl Part {
    /// The part of a rank that has delivered nothing yet.
    pub(crate) fn empty(seat: Seat) -> Self {
        Self { seat, ..Self::default() }
    }
}
