//! `dlopen` and `dlsym`, and what both interfaces need of them.
#![expect(unsafe_code, reason = "dlopen and dlsym")]

use std::path::Path;
use std::sync::OnceLock;

use cobuf_plugin_api::abi::LogSink;
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

use crate::own;
use crate::text::chain;

/// The exit code of a process that a plugin has forked and that returned from the plugin's call.
const COPY: i32 = 127;

/// Why the loader, or the check of layouts, refused a plugin: the chain of reasons as text.
pub(crate) struct LoadError(pub(crate) String);

/// How a plugin's logs leave its process.
#[derive(Clone, Copy)]
pub(crate) struct Logging {
    pub(crate) sink: LogSink,
    /// From 0 (off) to 5 (trace).
    pub(crate) max_level: u8,
}

/// The process that has opened a plugin, and the way out for its logs.
static OPENER: OnceLock<(u32, Logging)> = OnceLock::new();

/// Called after each call of a plugin: ends this process if it is a copy that the plugin has forked.
///
/// Such as after an exec that failed. The copy has the worker's slot, plugin and sockets, and would
/// go on as the same worker.
pub(super) fn leave_if_copy() {
    let Some((opener, logging)) = OPENER.get().filter(|(opener, _)| *opener != own::process()) else {
        return;
    };
    const WARNING: u8 = 2;
    if logging.max_level >= WARNING {
        let text = format!(
            "a process that the plugin has forked from process {opener} returned from the plugin's call and is \
             ended; end it in the plugin with _exit(), also if exec fails"
        );
        (logging.sink.emit)(WARNING, "cobuf".into(), text.as_str().into());
    }
    // SAFETY: `_exit` has no preconditions. Destructors belong to the process that was forked.
    unsafe { libc::_exit(COPY) }
}

/// Opens the library, which stays open until the process ends.
pub(super) fn library(path: &Path, logging: Logging) -> Result<&'static Library, LoadError> {
    OPENER.get_or_init(|| (own::process(), logging));
    // SAFETY: the file is the run's own copy of bytes that the host has checked. Running its
    // initialisers is what the user asked for, and no other thread runs in this process.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) };
    leave_if_copy();
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
