//! A batch for Python.

use std::sync::Arc;

use cobuf_host::{self as host, DType, Dictionary};
use cobuf_python_values as values;
use pyo3::exceptions::{PyKeyError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyIterator, PyTuple};

use crate::lease::Lease;

/// The arrays of one batch, by name: a mapping of read-only NumPy arrays that share the slot's memory.
///
/// The slot is free once the batch and all arrays that were taken from it are gone. Arrays stay valid
/// after the batch, and after the loader is closed. While all slots are held, nothing new is made.
// Not in Python, around one of here: that would be a fifth of a tiny batch's time.
#[pyclass(frozen, mapping, module = "cobuf")]
pub(crate) struct Batch(pub(crate) Arc<host::Batch>);

#[pymethods]
impl Batch {
    /// An array as NumPy's, which shares the slot's memory. It is made in one call from Python, which
    /// is most of what a tiny batch costs there.
    fn __getitem__<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        static ASARRAY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let lease = self._lease(name, false)?;
        if lease.dtype() == DType::Bf16 {
            return py.import("cobuf._arrays")?.call_method1("as_numpy", (lease, DType::Bf16.name()));
        }
        ASARRAY.import(py, "numpy", "asarray")?.call1((lease,))
    }

    fn __len__(&self) -> usize {
        self.0.schema().arrays().len()
    }

    fn __contains__(&self, name: &Bound<'_, PyAny>) -> bool {
        name.extract().is_ok_and(|name: &str| self.position(name).is_some())
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        PyTuple::new(py, self.names())?.try_iter()
    }

    fn __repr__(&self) -> String {
        let names: Vec<_> = self.names().collect();
        format!("<cobuf.Batch {}: {}>", self.0.sequence(), names.join(", "))
    }

    /// The names of the arrays.
    fn keys<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        mapping_view(slf, "KeysView")
    }

    /// The arrays.
    fn values<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        mapping_view(slf, "ValuesView")
    }

    /// The arrays with their names.
    fn items<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        mapping_view(slf, "ItemsView")
    }

    /// An array, or another object if the batch has none of that name.
    #[pyo3(signature = (key, /, default=None))]
    fn get<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        match self.__contains__(key) {
            true => self.__getitem__(py, key.extract()?).map(Some),
            false => Ok(default),
        }
    }

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

    /// The message that the batch was made from.
    #[getter]
    fn message<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let message: Dictionary =
            self.0.message().map_err(|error| PyValueError::new_err(error.to_string()))?;
        py.import("cobuf._messages")?.call_method1("unpacked", (values::dict(py, &message)?,))
    }

    /// The dictionary that the producer attached.
    #[getter]
    fn metadata<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let metadata: Dictionary =
            self.0.metadata().map_err(|error| PyValueError::new_err(error.to_string()))?;
        values::dict(py, &metadata)
    }

    /// The number of the worker that made it.
    #[getter]
    fn worker(&self) -> u32 {
        self.0.worker()
    }

    /// The edition of the producer's code: 0, and one more with each swap.
    #[getter]
    fn edition(&self) -> u32 {
        self.0.edition()
    }

    /// Whether the batch is another rank's, and given once more because of ``remainder="repeat"``.
    #[getter]
    fn is_repeated(&self) -> bool {
        self.0.is_repeated()
    }

    /// Earlier attempts at it, each of which ended with its worker's death.
    #[getter]
    fn retries(&self) -> u32 {
        self.0.retries()
    }

    /// The time that the producer took.
    #[getter]
    fn produce_seconds(&self) -> f64 {
        self.0.produce_time().as_secs_f64()
    }

    /// Writable copies of the arrays, by name; they hold no slot.
    fn copy<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("cobuf._batch")?.call_method1("copy", (slf,))
    }

    /// The arrays as torch tensors that share their memory. Do not write to them: torch has no
    /// read-only tensors, and a write would change the slot. `tensor.clone()` is yours.
    fn torch<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("cobuf._batch")?.call_method1("torch", (slf,))
    }

    /// The arrays as arrays of JAX on the CPU that share their memory. `jax.device_put` moves them
    /// to another device.
    fn jax<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("cobuf._batch")?.call_method1("jax", (slf,))
    }

    /// The number of rows, if each array has as many entries along its first axis; `None` if one has a
    /// length of its own.
    #[getter]
    fn _rows_of_all(&self) -> Option<usize> {
        let own = self.0.schema().arrays().iter().any(|array| array.at_most_axes().contains(&0));
        self.0.rows().filter(|_| !own)
    }

    /// An array, by the buffer protocol and DLPack; by its form before 1.0 only if `trusting`.
    #[pyo3(signature = (name, *, trusting=false))]
    fn _lease(&self, name: &str, trusting: bool) -> PyResult<Lease> {
        let index = self.position(name).ok_or_else(|| {
            let names: Vec<_> = self.names().collect();
            PyKeyError::new_err(format!("the batch has no array {name:?}; it has: {}", names.join(", ")))
        })?;
        Lease::new(self.0.clone(), index, trusting)
    }
}

impl Batch {
    fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.schema().arrays().iter().map(|array| array.name())
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.names().position(|other| other == name)
    }
}

/// A view of a batch as mappings of Python's own have them.
fn mapping_view<'py>(batch: &Bound<'py, Batch>, view: &str) -> PyResult<Bound<'py, PyAny>> {
    batch.py().import("collections.abc")?.call_method1(view, (batch,))
}
