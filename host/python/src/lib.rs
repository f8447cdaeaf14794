//! The extension module of the Python package `cobuf`: the host, its batches, and the fork server.
//!
//! ```text
//!   python/cobuf   what users see: Loader, errors, the worker's side
//!   settings       a dict of settings as a host builder
//!   host           a running host: start, next, stop
//!   state          checkpoints as JSON, and the parts of ranks made into one
//!   readiness      the descriptor that event loops wait for
//!   batch          a batch; lease: an array of it by the buffer protocol and DLPack
//!   logs           records for Python's logging
//!   failure        errors of the host for Python
//!   fork_server    the fork server that is an interpreter
//! ```
#![deny(unsafe_code)]

mod batch;
mod failure;
mod fork_server;
mod host;
mod lease;
mod logs;
mod readiness;
mod settings;
mod state;

use pyo3::prelude::*;

/// The module `cobuf._native`.
#[pymodule(gil_used = false)]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<host::Cancel>()?;
    module.add_class::<host::Host>()?;
    module.add_class::<batch::Batch>()?;
    // For `match`, and for whoever asks what a batch is.
    let mapping = module.py().import("collections.abc")?.getattr("Mapping")?;
    mapping.call_method1("register", (module.getattr("Batch")?,))?;
    module.add_class::<lease::Lease>()?;
    module.add_class::<readiness::Readiness>()?;
    module.add_function(wrap_pyfunction!(state::merge_states, module)?)?;
    module.add_function(wrap_pyfunction!(fork_server::serve_fork_server, module)?)
}
