//! Errors of the host as texts and exceptions.

use std::error::Error;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

/// An error of the host, with its causes.
pub(crate) fn failed(error: &dyn Error) -> PyErr {
    PyRuntimeError::new_err(with_causes(error))
}

/// The text of an error, and those of its causes.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
