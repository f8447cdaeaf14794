//! A run from its settings to its end.
//!
//! ```text
//!   builder     the settings; checks: are they in their ranges, and what earlier runs left
//!   launch      how the fork server is started
//!   startup     from the settings to a running host; session: the run between its first process and its host
//!   handle      the running host
//!   swap        what the application's thread does for a swap
//!   pipeline    pipeline files
//!   inspect     what a plugin declares, without a run
//!   run_folder  the run's own folder, and what a dead run left
//! ```

pub(crate) mod builder;
pub(crate) mod checks;
pub(crate) mod error;
pub(crate) mod handle;
pub(crate) mod inspect;
pub(crate) mod launch;
#[cfg(feature = "pipeline")]
pub(crate) mod pipeline;
pub(crate) mod run_folder;
pub(crate) mod session;
pub(crate) mod startup;
pub(crate) mod swap;
