//! A batch for Python.

use std::sync::Arc;

use cobuf_host::{self as host, DType, Dictionary};
use cobuf_python_values as values;
use pyo3::exceptions::{PyKeyError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

use crate::lease::Lease;

/// A batch; `cobuf._batch.Batch` wraps it.
#[pyclass(frozen, module = "cobuf._native")]
pub(crate) struct Batch(pub(crate) Arc<host::Batch>);

#[pymethods]
impl Batch {
    /// The number in the stream, from 0.
    #[getter]
    fn sequence(&self) -> u64 {
        self.0.sequence()
    }

    /// The number of rows; `None` if the arrays have no common first axis.
    #[getter]
    fn rows(&self) -> Option<usize> {
        self.0.rows()
    }

    #[getter]
    fn worker(&self) -> u32 {
        self.0.worker()
    }

    #[getter]
    fn edition(&self) -> u32 {
        self.0.edition()
    }

    #[getter]
    fn retries(&self) -> u32 {
        self.0.retries()
    }

    #[getter]
    fn produce_seconds(&self) -> f64 {
        self.0.produce_time().as_secs_f64()
    }

    /// The names of the arrays, in their order.
    #[getter]
    fn names(&self) -> Vec<String> {
        self.0.schema().arrays().iter().map(|array| array.name().to_owned()).collect()
    }

    /// An array as NumPy's, which shares the slot's memory. It is made in one call from Python, which
    /// is most of what a tiny batch costs there.
    fn array<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        static ASARRAY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let lease = self.lease(name, false)?;
        if lease.dtype() == DType::Bf16 {
            return py.import("cobuf._arrays")?.call_method1("as_numpy", (lease, DType::Bf16.name()));
        }
        ASARRAY.import(py, "numpy", "asarray")?.call1((lease,))
    }

    /// An array, by the buffer protocol and DLPack; by its form before 1.0 only if `trusting`.
    #[pyo3(signature = (name, *, trusting=false))]
    fn lease(&self, name: &str, trusting: bool) -> PyResult<Lease> {
        Lease::new(self.0.clone(), self.index(name)?, trusting)
    }

    /// The message that the batch was made from.
    fn message<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let message: Dictionary =
            self.0.message().map_err(|error| PyValueError::new_err(error.to_string()))?;
        values::dict(py, &message)
    }

    /// The dictionary that the producer attached.
    fn metadata<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let metadata: Dictionary =
            self.0.metadata().map_err(|error| PyValueError::new_err(error.to_string()))?;
        values::dict(py, &metadata)
    }
}

impl Batch {
    fn index(&self, name: &str) -> PyResult<usize> {
        let position = self.0.schema().arrays().iter().position(|array| array.name() == name);
        position.ok_or_else(|| {
            PyKeyError::new_err(format!(
                "the batch has no array {name:?}; it has: {}",
                self.names().join(", ")
            ))
        })
    }
}
