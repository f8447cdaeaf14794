//! A run from its settings to its end.
//!
//! ```text
//!   builder     the settings; checks: numbers in their ranges, files of earlier runs; cpus: how many
//!               of them this process has
//!   launch      how the fork server is started
//!   startup     from the settings to a running host
//!   session     questions to a fork server and its processes, before a run or without one
//!   handle      the running host
//!   swap        the part of a swap that the application's thread does
//!   pipeline    pipeline files
//!   inspect     a plugin's declarations, without a run
//!   run_folder  the run's own folder, and the sweep of dead runs' folders
//! ```

pub(crate) mod builder;
pub(crate) mod checks;
pub(crate) mod cpus;
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
pub(crate) mod trace;
