//! The description of a run at the segment's end, by which another process can read the segment.
//!
//! It lies behind the layout's parts, as MessagePack, and the header says where. The processes of
//! the run do not read it: they get the layout in their plan.

use serde::{Deserialize, Serialize};

use super::layout::Sizes;

/// A run, for a process that looks from outside.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct About {
    /// Of cobuf-host: another one has another layout.
    pub(crate) version: String,
    pub(crate) sizes: Sizes,
    /// The run's name, that of its folder.
    pub(crate) run: String,
    /// The plugins' names. No commander: the application is it.
    pub(crate) producer: String,
    pub(crate) commander: Option<String>,
    pub(crate) ordered: bool,
    /// The number of CPUs that the run may use.
    pub(crate) cpus: usize,
    /// This rank and their number, if the run is one of several.
    pub(crate) rank: Option<(u32, u32)>,
    /// When the segment was made, by `clock`.
    pub(crate) begun_nanos: u64,
}

/// The only field that is read of a description whose format is unknown.
#[derive(Debug, Deserialize)]
pub(crate) struct AboutVersion {
    pub(crate) version: String,
}
