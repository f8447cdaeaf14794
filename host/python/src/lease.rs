//! An array of a batch for Python, without a copy, by the buffer protocol.
//!
//! The lease keeps its batch, and so the slot. What is made from it (a NumPy array, a tensor) keeps
//! the lease. So arrays outlive the batch, the loader and its end.
#![expect(unsafe_code, reason = "the buffer protocol hands out pointers")]

use std::ffi::{CStr, c_int};
use std::ptr;
use std::sync::Arc;

use cobuf_host::{Batch, DType};
use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;

/// One array, read-only.
#[pyclass(frozen, module = "cobuf._native")]
pub(crate) struct Lease {
    batch: Arc<Batch>,
    /// Its position in the schema.
    index: usize,
    format: &'static CStr,
    item: isize,
    shape: Vec<isize>,
    strides: Vec<isize>,
}

impl Lease {
    /// The array at this position, which the schema has.
    pub(crate) fn new(batch: Arc<Batch>, index: usize) -> Self {
        let spec = &batch.schema().arrays()[index];
        let mut shape: Vec<isize> = spec.shape().iter().map(|&length| length as isize).collect();
        if let (Some(rows), Some(first)) = (batch.rows(), shape.first_mut()) {
            *first = rows as isize;
        }
        let item = spec.dtype().size() as isize;
        let mut strides = vec![item; shape.len()];
        for axis in (0..shape.len().saturating_sub(1)).rev() {
            strides[axis] = strides[axis + 1] * shape[axis + 1];
        }
        let format = format(spec.dtype());
        Self { batch, index, format, item, shape, strides }
    }
}

/// The letter of the `struct` module. It has none for bf16, whose bits are given.
fn format(dtype: DType) -> &'static CStr {
    match dtype {
        DType::Bool => c"?",
        DType::U8 => c"B",
        DType::U16 | DType::Bf16 => c"H",
        DType::U32 => c"I",
        DType::U64 => c"Q",
        DType::I8 => c"b",
        DType::I16 => c"h",
        DType::I32 => c"i",
        DType::I64 => c"q",
        DType::F16 => c"e",
        DType::F32 => c"f",
        DType::F64 => c"d",
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
        // The pointers stay valid as long as `obj`: the bytes with its batch, the rest with the
        // frozen lease itself.
        let filled = ffi::Py_buffer {
            buf: bytes.as_ptr().cast_mut().cast(),
            len: bytes.len() as isize,
            itemsize: lease.item,
            readonly: 1,
            ndim: lease.shape.len() as c_int,
            format: lease.format.as_ptr().cast_mut(),
            shape: lease.shape.as_ptr().cast_mut(),
            strides: lease.strides.as_ptr().cast_mut(),
            suboffsets: ptr::null_mut(),
            internal: ptr::null_mut(),
            obj: slf.clone().into_ptr(),
        };
        // SAFETY: Python gives a pointer to a view that is to be filled.
        unsafe { view.write(filled) };
        Ok(())
    }
}
