//! `dlopen` and `dlsym`, and what both interfaces need of them.
#![expect(unsafe_code, reason = "dlopen and dlsym")]

use std::path::Path;

use cobuf_plugin_api::abi::LogSink;
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

use crate::text::chain;

/// Why the loader, or the check of layouts, refused a plugin: the chain of reasons as text.
pub(crate) struct LoadError(pub(crate) String);

/// How a plugin's logs leave its process.
#[derive(Clone, Copy)]
pub(crate) struct Logging {
    pub(crate) sink: LogSink,
    /// From 0 (off) to 5 (trace).
    pub(crate) max_level: u8,
}

/// Opens the library, which stays open until the process ends.
pub(super) fn library(path: &Path) -> Result<&'static Library, LoadError> {
    // SAFETY: the file is the run's own copy of bytes that the host has checked. Running its
    // initialisers is what the user asked for, and no other thread runs in this process.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) };
    // Never closed, on purpose: see the docs of `plugin/open`.
    library.map(|library| &*Box::leak(Box::new(library))).map_err(|error| LoadError(chain(&error)))
}

/// Looks up the symbol of this name.
///
/// # Safety
/// The symbol is a `T`, or a `T` points to it.
pub(super) unsafe fn symbol<T: Copy>(library: &Library, name: &str) -> Result<T, LoadError> {
    // SAFETY: by this function's own contract.
    let symbol = unsafe { library.get::<T>(name) };
    symbol.map(|symbol| *symbol).map_err(|error| LoadError(chain(&error)))
}
