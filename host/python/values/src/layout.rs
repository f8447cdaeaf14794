//! An array as the buffer protocol describes it.

use std::ffi::{CStr, c_int, c_void};
use std::ptr;

use cobuf_plugin_api::DType;
use pyo3::ffi;

/// The element type, shape and strides of an array, row-major.
#[derive(Debug)]
pub struct Layout {
    item: isize,
    format: &'static CStr,
    shape: Vec<isize>,
    strides: Vec<isize>,
}

impl Layout {
    /// The layout of an array of these elements and this shape.
    pub fn of(dtype: DType, shape: &[usize]) -> Self {
        let shape: Vec<isize> = shape.iter().map(|&length| length as isize).collect();
        let item = dtype.size() as isize;
        let mut strides = vec![item; shape.len()];
        for axis in (0..shape.len().saturating_sub(1)).rev() {
            strides[axis] = strides[axis + 1] * shape[axis + 1];
        }
        Self { item, format: format(dtype), shape, strides }
    }

    /// The lengths of the axes.
    pub fn shape(&self) -> &[isize] {
        &self.shape
    }

    /// The view of an array that begins at `start` and has so many bytes. `owner` is a new reference
    /// to the object that keeps both the memory and this layout, at its present address.
    pub fn view(
        &self,
        start: *mut c_void,
        bytes: usize,
        readonly: bool,
        owner: *mut ffi::PyObject,
    ) -> ffi::Py_buffer {
        ffi::Py_buffer {
            buf: start,
            len: bytes as isize,
            itemsize: self.item,
            readonly: readonly.into(),
            ndim: self.shape.len() as c_int,
            format: self.format.as_ptr().cast_mut(),
            shape: self.shape.as_ptr().cast_mut(),
            strides: self.strides.as_ptr().cast_mut(),
            suboffsets: ptr::null_mut(),
            internal: ptr::null_mut(),
            obj: owner,
        }
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
