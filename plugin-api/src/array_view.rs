//! Views of an array's bytes: the one place that checks whether bytes are the array that a caller
//! asks for. [`Slot`](crate::Slot) writes through these views, the host's `Batch` reads through
//! them.
//!
//! ```text
//!   ArraySpec ── fit::<T, D>(extent) ──► element type and number of dimensions are as declared
//!                                          │
//!   bytes ───────────────────────────────► view, view_mut: long enough, aligned, valid elements
//! ```

use std::marker::PhantomData;

use ndarray::{ArrayView, ArrayViewMut, Dimension};

use crate::dtype::{DType, Element};
use crate::lengths::Extent;
use crate::schema::ArraySpec;

/// Why bytes cannot be viewed as an array.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    /// The array has another element type.
    #[error("the elements are of type {declared}, not {wanted}")]
    DType {
        /// The declared element type.
        declared: DType,
        /// The element type that the caller asked for.
        wanted: DType,
    },
    /// The array has another number of dimensions.
    #[error("the array has {declared} dimensions, not {wanted}")]
    Dimensions {
        /// The declared number of dimensions.
        declared: usize,
        /// The number of dimensions that the caller asked for.
        wanted: usize,
    },
    /// The bytes are too few, misaligned, or hold a `bool` that is neither 0 nor 1.
    #[error("the memory is not such an array: {reason}")]
    Memory {
        /// The check that failed.
        reason: String,
    },
}

impl ArraySpec {
    /// Views the array's bytes as elements of type `T` with dimensions `D` (`Ix1` … `Ix6`,
    /// `IxDyn`), without copying them.
    ///
    /// The view has the shape of a batch of this extent: an [`Extent`], or only the number of rows,
    /// `None` for a full batch. Bytes beyond the view are ignored.
    ///
    /// ```
    /// use cobuf_plugin_api::{ArraySpec, DType, ndarray::Ix2};
    ///
    /// let pixels = ArraySpec::new("pixels", DType::U8, [4, 3]);
    /// let view = pixels.view::<u8, Ix2>(&[7; 12], Some(2))?;
    /// assert_eq!(view.dim(), (2, 3));
    /// # Ok::<(), cobuf_plugin_api::ViewError>(())
    /// ```
    ///
    /// # Errors
    /// [`ViewError`]: the array has another element type or number of dimensions; the bytes are too
    /// few, misaligned for `T`, or not valid elements.
    pub fn view<'bytes, 'extent, T: Element, D: Dimension>(
        &self,
        bytes: &'bytes [u8],
        extent: impl Into<Extent<'extent>>,
    ) -> Result<ArrayView<'bytes, T, D>, ViewError> {
        self.fit::<T, D>(extent.into())?.view(bytes)
    }

    /// Checks the element type and the number of dimensions that a caller asks for, before it gives
    /// any bytes away.
    pub(crate) fn fit<T: Element, D: Dimension>(&self, extent: Extent<'_>) -> Result<Fit<T, D>, ViewError> {
        let (declared, wanted) = (self.dtype(), T::DTYPE);
        if declared != wanted {
            return Err(ViewError::DType { declared, wanted });
        }
        let Some(dimensions) = self.dimensions::<D>(extent) else {
            let (declared, wanted) = (self.shape().len(), D::NDIM.unwrap_or_default());
            return Err(ViewError::Dimensions { declared, wanted });
        };
        Ok(Fit { dimensions, elements: PhantomData })
    }
}

/// A view that fits the array's declaration; the bytes are still to be checked.
pub(crate) struct Fit<T, D> {
    dimensions: D,
    elements: PhantomData<T>,
}

impl<T: Element, D: Dimension> Fit<T, D> {
    fn view(self, bytes: &[u8]) -> Result<ArrayView<'_, T, D>, ViewError> {
        let bytes = bytes.get(..self.bytes()).ok_or_else(|| self.too_few(bytes.len()))?;
        let elements = bytemuck::checked::try_cast_slice(bytes).map_err(memory)?;
        ArrayView::from_shape(self.dimensions, elements).map_err(memory)
    }

    pub(crate) fn view_mut(self, bytes: &mut [u8]) -> Result<ArrayViewMut<'_, T, D>, ViewError> {
        let found = bytes.len();
        let bytes = bytes.get_mut(..self.bytes()).ok_or_else(|| self.too_few(found))?;
        let elements = bytemuck::checked::try_cast_slice_mut(bytes).map_err(memory)?;
        ArrayViewMut::from_shape(self.dimensions, elements).map_err(memory)
    }

    /// The number of bytes that the view needs; `usize::MAX`, which no memory has, if it overflows.
    fn bytes(&self) -> usize {
        self.dimensions.size_checked().map_or(usize::MAX, |size| size.saturating_mul(size_of::<T>()))
    }

    fn too_few(&self, found: usize) -> ViewError {
        memory(format!("{found} bytes, expected at least {}", self.bytes()))
    }
}

fn memory(reason: impl ToString) -> ViewError {
    ViewError::Memory { reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Ix1, Ix2, IxDyn};

    /// Eight aligned words as bytes.
    fn bytes(words: &[u64; 8]) -> &[u8] {
        bytemuck::cast_slice(words)
    }

    #[test]
    fn view_has_the_rows_asked_for() {
        let array = ArraySpec::new("x", DType::U64, [4, 2]);
        let words = [0, 1, 2, 3, 4, 5, 6, 7];
        let view = |rows| array.view::<u64, Ix2>(bytes(&words), rows).unwrap();
        assert_eq!(view(None), ndarray::array![[0, 1], [2, 3], [4, 5], [6, 7]]);
        assert_eq!(view(Some(1)), ndarray::array![[0, 1]]);
        assert_eq!(view(Some(0)).dim(), (0, 2));
    }

    #[test]
    fn declaration_is_checked_before_the_memory() {
        let array = ArraySpec::new("x", DType::U64, [4, 2]);
        let error = array.view::<i64, Ix2>(&[], None).unwrap_err();
        assert_eq!(error.to_string(), "the elements are of type u64, not i64");
        let error = array.view::<u64, Ix1>(&[], None).unwrap_err();
        assert_eq!(error.to_string(), "the array has 2 dimensions, not 1");
    }

    #[test]
    fn unusable_memory_is_refused() {
        let words = [0x0200; 8];
        let reason = |result: Result<ArrayView<'_, u64, IxDyn>, ViewError>| match result.unwrap_err() {
            ViewError::Memory { reason } => reason,
            other => panic!("expected unusable memory, got {other}"),
        };
        let array = ArraySpec::new("x", DType::U64, [4]);
        assert_eq!(reason(array.view(&bytes(&words)[..31], None)), "31 bytes, expected at least 32");
        assert_eq!(
            reason(array.view(bytes(&words), Some(usize::MAX))),
            format!("64 bytes, expected at least {}", usize::MAX)
        );
        assert!(reason(array.view(&bytes(&words)[1..], None)).contains("Aligned"));
        let flags = ArraySpec::new("flag", DType::Bool, [4]);
        let error = flags.view::<bool, Ix1>(bytes(&words), None).unwrap_err();
        assert!(matches!(error, ViewError::Memory { .. }), "{error}");
    }
}
