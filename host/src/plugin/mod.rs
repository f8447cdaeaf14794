//! Plugins: from a path that a user gave to code that a worker runs.
//!
//! ```text
//!   Plugin (a .so file, a cargo package, a name, or a Python object)
//!     │ find     in the folders of COBUF_PLUGIN_PATH, if it is a name
//!     │ build    cargo build, if it is a package
//!     │ python   an interpreter is asked, if it is a Python object
//!     │ file     read until no process writes to it any more
//!     │ elf      is it a complete ELF file for this machine?
//!     │ check    manifest: kind, interface and its version, panic strategy, CPU features
//!     ▼
//!   PluginFile ── copied into the run's folder ──► open (in the forked process): dlopen, functions
//! ```
//!
//! Invariant: the host's own process never opens a plugin. Everything that it needs to know before
//! the fork is in the manifest.

#[cfg(feature = "build")]
mod build;
mod check;
mod code;
pub(crate) mod copy;
mod cpu;
mod elf;
mod error;
pub(crate) mod file;
mod find;
pub(crate) mod interface;
mod interpreter;
pub(crate) mod open;
mod python;
mod source;
mod tool;

pub use cobuf_plugin_api::manifest::ManifestInfo;
pub use code::Code;
pub use error::{PLUGIN_PATH, PluginError};
pub use find::{FoundPlugin, find_plugins, plugin_path};
pub use python::PythonPlugin;
pub use source::Plugin;
