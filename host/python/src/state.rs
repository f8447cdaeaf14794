//! States of loaders: checkpoints as JSON texts, which Python reads as dictionaries.

use cobuf_host::Checkpoint;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;

use crate::failure::with_causes;

/// A checkpoint from its text.
pub(crate) fn checkpoint(text: &str) -> PyResult<Checkpoint> {
    serde_json::from_str(text)
        .map_err(|error| PyValueError::new_err(format!("the state is no checkpoint of cobuf: {error}")))
}

/// The text of a checkpoint.
pub(crate) fn text(checkpoint: &Checkpoint) -> PyResult<String> {
    serde_json::to_string(checkpoint).map_err(|error| PyRuntimeError::new_err(error.to_string()))
}

/// The states of all ranks of a job as one, all of them as JSON.
#[pyfunction]
pub(crate) fn merge_states(parts: Vec<String>) -> PyResult<String> {
    let parts = parts.iter().map(|part| checkpoint(part)).collect::<PyResult<Vec<_>>>()?;
    let merged = Checkpoint::merge(parts).map_err(|error| PyValueError::new_err(with_causes(&error)))?;
    text(&merged)
}
