//! An array of a batch for Python, without a copy: by the buffer protocol, and by DLPack.
//!
//! The lease keeps its batch, and so the slot. Whatever is made from it, a NumPy array or a tensor,
//! keeps the lease or the batch. So arrays outlive the batch, the loader and its end.
#![expect(unsafe_code, reason = "both protocols hand out pointers")]

use std::ffi::c_int;
use std::sync::Arc;

use cobuf_host::{Batch, DType};
use cobuf_python_values::Layout;
use dlpark::ffi::{DLDataType, DLDevice, DLManagedTensor, DLManagedTensorVersioned};
use dlpark::metadata::Dynamic;
use dlpark::python::{DlpackExporter, ExportAbi, ExportRequest, export_dlpack};
use dlpark::{DlpackFlags, Managed, ManagedTensorBase};
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
    /// Whether consumers that cannot be told of read-only memory may have it: they never write.
    trusting: bool,
}

impl Lease {
    /// The array at this position, which the schema has.
    pub(crate) fn new(batch: Arc<Batch>, index: usize, trusting: bool) -> PyResult<Self> {
        let shape = batch.shape_at(index).map_err(|error| PyBufferError::new_err(error.to_string()))?;
        let layout = Layout::of(batch.schema().arrays()[index].dtype(), &shape);
        Ok(Self { batch, index, layout, trusting })
    }

    fn bytes(&self) -> PyResult<&[u8]> {
        let bytes = self.batch.bytes_at(self.index);
        bytes.map(|(_, bytes)| bytes).map_err(|error| PyBufferError::new_err(error.to_string()))
    }

    /// The array in one of DLPack's two forms. It keeps the batch until its deleter is called, on any
    /// thread, attached to the interpreter or not.
    fn managed<M: ManagedTensorBase>(&self) -> PyResult<Managed<M>> {
        let start = self.bytes()?.as_ptr().cast_mut().cast();
        let refused = |error: dlpark::metadata::Error| PyBufferError::new_err(error.to_string());
        let shape = Dynamic::compact(self.layout.shape()).prepare_as::<M>().map_err(refused)?;
        let mut tensor = shape.initialize(self.batch.clone());
        tensor.set_data(start).set_device(DLDevice::CPU).set_dtype(dl_dtype(self.dtype()));
        tensor
            .set_flags(DlpackFlags::READ_ONLY)
            .map_err(|error| PyBufferError::new_err(error.to_string()))?;
        // SAFETY: the memory has this shape and type, row-major, and stays as long as the batch, which
        // the tensor owns. It is flagged as read-only, if the form has flags.
        Ok(unsafe { tensor.finish() })
    }

    pub(crate) fn dtype(&self) -> DType {
        self.batch.schema().arrays()[self.index].dtype()
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
        let bytes = lease.bytes()?;
        let start = bytes.as_ptr().cast_mut().cast();
        // The bytes stay with the lease's batch, and the layout with the lease, which is frozen.
        let filled = lease.layout.view(start, bytes.len(), true, slf.clone().into_ptr());
        // SAFETY: Python gives a pointer to a view that is to be filled.
        unsafe { view.write(filled) };
        Ok(())
    }

    /// A capsule that holds the array.
    #[pyo3(signature = (*, stream=None, max_version=None, dl_device=None, copy=None))]
    fn __dlpack__<'py>(
        &self,
        py: Python<'py>,
        stream: Option<Bound<'py, PyAny>>,
        max_version: Option<(u32, u32)>,
        dl_device: Option<(u32, i32)>,
        copy: Option<bool>,
    ) -> PyResult<Py<PyAny>> {
        if let Some(stream) = stream {
            return Err(PyBufferError::new_err(format!(
                "the stream is {stream:?}, expected None: the array is in the memory of the CPU"
            )));
        }
        if copy == Some(true) {
            return Err(PyBufferError::new_err(
                "the array of a batch is shared, never copied; copy what you have made from it",
            ));
        }
        let request = ExportRequest::parse(None, max_version, dl_device, copy)?;
        if request.abi() == ExportAbi::Legacy && !self.trusting {
            return Err(PyBufferError::new_err(
                "the array of a batch is read-only, which DLPack before 1.0 cannot say: ask with \
                 max_version=(1, 0), or copy the array",
            ));
        }
        export_dlpack(self, py, request)
    }

    /// The device: the CPU.
    fn __dlpack_device__(&self) -> (u32, i32) {
        (DLDevice::CPU.device_type.0, DLDevice::CPU.device_id)
    }
}

impl DlpackExporter for Lease {
    fn device(&self) -> DLDevice {
        DLDevice::CPU
    }

    fn flags(&self) -> DlpackFlags {
        // A consumer that is trusted needs none.
        if self.trusting { DlpackFlags::empty() } else { DlpackFlags::READ_ONLY }
    }

    fn prepare_export(&self, _: Python<'_>, _: &ExportRequest<'_>) -> PyResult<()> {
        Ok(())
    }

    fn export_legacy(&self, _: Python<'_>) -> PyResult<Managed<DLManagedTensor>> {
        self.managed()
    }

    fn export_versioned(&self, _: Python<'_>) -> PyResult<Managed<DLManagedTensorVersioned>> {
        self.managed()
    }
}

/// DLPack's element type.
fn dl_dtype(dtype: DType) -> DLDataType {
    match dtype {
        DType::Bool => DLDataType::BOOL,
        DType::U8 => DLDataType::U8,
        DType::U16 => DLDataType::U16,
        DType::U32 => DLDataType::U32,
        DType::U64 => DLDataType::U64,
        DType::I8 => DLDataType::I8,
        DType::I16 => DLDataType::I16,
        DType::I32 => DLDataType::I32,
        DType::I64 => DLDataType::I64,
        DType::F16 => DLDataType::F16,
        DType::Bf16 => DLDataType::BF16,
        DType::F32 => DLDataType::F32,
        DType::F64 => DLDataType::F64,
    }
}
