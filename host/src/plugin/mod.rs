//! Plugins: from a path that a user gave to code that a worker runs.
//!
//! ```text
//!   Plugin (a .so file, a cargo package, or a name)
//!     │ find     in the folders of COBUF_PLUGIN_PATH, where it is a name
//!     │ build    cargo build, where it is a package
//!     │ file     read until nobody writes to it any more
//!     │ elf      a whole ELF file for this machine?
//!     │ check    manifest: kind, interface and its version, panic strategy, CPU features
//!     ▼
//!   PluginFile ── copied into the run's folder ──► open (in the forked process): dlopen, functions
//! ```
//!
//! Invariant: the host's own process never opens a plugin; everything that it wants to know before the fork is in the
//! manifest.

#[cfg(feature = "build")]
mod build;
mod check;
pub(crate) mod copy;
mod cpu;
mod elf;
mod error;
pub(crate) mod file;
mod find;
pub(crate) mod interface;
pub(crate) mod open;
mod source;

pub use cobuf_plugin_api::manifest::ManifestInfo;
pub use error::{PLUGIN_PATH, PluginError};
pub use find::{FoundPlugin, find_plugins, plugin_path};
pub use source::Plugin;
