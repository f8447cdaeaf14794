//! The slot's memory as Python sees it: writable arrays, by the buffer protocol.
//!
//! ```text
//!   arrays ─► Array, an object a slot's array ─► NumPy views, memoryviews …   counted while they live
//!   end    ─► all gone? the slot is released        one is kept? the batch is an error
//! ```
//!
//! Invariant: once [`end`] has succeeded, no view is alive, and none can be made. A view that Python
//! code has kept would write into the slot when it belongs to another batch.
#![expect(unsafe_code, reason = "the buffer protocol hands out pointers")]

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

use cobuf_plugin_api::ArraySpec;
use cobuf_python_values::Layout;
use pyo3::exceptions::{PyBufferError, PyRuntimeError};
use pyo3::ffi;
use pyo3::prelude::*;

/// One array of the slot.
#[pyclass(frozen)]
pub(crate) struct Array {
    name: String,
    start: AtomicPtr<c_void>,
    bytes: usize,
    layout: Layout,
    /// The number of views that are alive.
    views: AtomicUsize,
    ended: AtomicBool,
}

/// The arrays of a slot, which stay valid until [`end`].
pub(crate) fn arrays<'py>(
    py: Python<'py>,
    arrays: &mut [(&ArraySpec, &mut [u8])],
) -> PyResult<Vec<Bound<'py, Array>>> {
    arrays.iter_mut().map(|(spec, bytes)| Bound::new(py, Array::new(spec, bytes))).collect()
}

/// Ends the arrays. Fails if something that was made from one is still alive.
pub(crate) fn end(py: Python<'_>, arrays: &[Bound<'_, Array>]) -> PyResult<()> {
    let kept = || arrays.iter().map(Bound::get).find(|array| array.views.load(Ordering::Acquire) > 0);
    for array in arrays {
        array.get().ended.store(true, Ordering::Release);
    }
    if kept().is_some() {
        // A cycle may hold it.
        py.import("gc")?.call_method0("collect")?;
    }
    kept().map_or(Ok(()), |array| {
        Err(PyRuntimeError::new_err(format!(
            "the producer keeps out[{:?}] beyond produce, when its memory belongs to another batch; keep a copy instead",
            array.name
        )))
    })
}

impl Array {
    fn new(spec: &ArraySpec, bytes: &mut [u8]) -> Self {
        Self {
            name: spec.name().to_owned(),
            start: AtomicPtr::new(bytes.as_mut_ptr().cast()),
            bytes: bytes.len(),
            layout: Layout::of(spec.dtype(), spec.shape()),
            views: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
        }
    }
}

#[pymethods]
impl Array {
    /// # Safety
    /// Python calls it with a view to fill.
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, _flags: c_int) -> PyResult<()> {
        let array = slf.get();
        if array.ended.load(Ordering::Acquire) {
            return Err(PyBufferError::new_err(format!(
                "out[{:?}] is used after produce, when its memory belongs to another batch",
                array.name
            )));
        }
        array.views.fetch_add(1, Ordering::AcqRel);
        let (start, owner) = (array.start.load(Ordering::Relaxed), slf.clone().into_ptr());
        // The layout stays with the array, which is frozen; the memory until `end`.
        let filled = array.layout.view(start, array.bytes, false, owner);
        // SAFETY: Python gives a pointer to a view that is to be filled.
        unsafe { view.write(filled) };
        Ok(())
    }

    /// # Safety
    /// Python calls it once for each view.
    unsafe fn __releasebuffer__(&self, _view: *mut ffi::Py_buffer) {
        self.views.fetch_sub(1, Ordering::AcqRel);
    }
}
