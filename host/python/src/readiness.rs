//! The descriptor that event loops wait for.

use std::os::fd::{AsRawFd, RawFd};

use cobuf_host as host;
use pyo3::prelude::*;

/// Readable once `try_next` may find something. The descriptor is closed with the object.
#[pyclass(frozen, module = "cobuf._native")]
pub(crate) struct Readiness(pub(crate) host::Readiness);

#[pymethods]
impl Readiness {
    /// The descriptor, for `loop.add_reader`.
    fn fileno(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
