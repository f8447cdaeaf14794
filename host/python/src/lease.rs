//! An array of a batch for Python, without a copy, by the buffer protocol.
//!
//! The lease keeps its batch, and so the slot. A NumPy array or a tensor that is made from it keeps
//! the lease. So arrays outlive the batch, the loader and its end.
#![expect(unsafe_code, reason = "the buffer protocol hands out pointers")]

use std::ffi::c_int;
use std::sync::Arc;

use cobuf_host::Batch;
use cobuf_python_values::Layout;
use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;

/// One array, read-only.
#[pyclass(frozen, module = "cobuf._native")]
pub(crate) struct Lease {
    batch: Arc<Batch>,
    /// Its position in the schema.
    index: usize,
    layout: Layout,
}

impl Lease {
    /// The array at this position, which the schema has.
    pub(crate) fn new(batch: Arc<Batch>, index: usize) -> Self {
        let layout = Layout::of(&batch.schema().arrays()[index], batch.rows());
        Self { batch, index, layout }
    }
}

#[pymethods]
impl Lease {
    /// # Safety
    /// Python calls it with a view to fill.
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        if flags & ffi::PyBUF_WRITABLE == ffi::PyBUF_WRITABLE {
            return Err(PyBufferError::new_err(
                "the array of a batch is read-only; make a copy to change it",
            ));
        }
        let lease = slf.get();
        let (_, bytes) =
            lease.batch.bytes_at(lease.index).map_err(|error| PyBufferError::new_err(error.to_string()))?;
        let start = bytes.as_ptr().cast_mut().cast();
        // The bytes stay with the lease's batch, and the layout with the lease, which is frozen.
        let filled = lease.layout.view(start, bytes.len(), true, slf.clone().into_ptr());
        // SAFETY: Python gives a pointer to a view that is to be filled.
        unsafe { view.write(filled) };
        Ok(())
    }
}
