//! A slot as a producer sees it: arrays to fill in place, the batch's rows and shapes, its
//! metadata.

use arrayvec::ArrayVec;
use ndarray::{ArrayBase, ArrayViewMut, Data, Dimension, IxDyn};
use serde::Serialize;

use crate::array_view::ViewError;
use crate::codec::{self, CodecError};
use crate::dtype::{DType, Element};
use crate::lengths::{Extent, Lengths, LengthsError};
use crate::schema::{ArraySpec, MAX_ARRAYS, Schema, Shape};

/// The arrays of one batch, which [`Producer::produce`](crate::Producer::produce) fills.
///
/// The arrays lie in shared memory that the application reads, so the values written here are not
/// copied again. At first they hold the values of an earlier batch. Write every element, or call
/// `fill` first: a batch that depends on left-over values is not reproducible.
///
/// ```
/// # use cobuf_plugin_api::{anyhow, ndarray, Slot};
/// # fn produce(slot: &mut Slot<'_>) -> anyhow::Result<()> {
/// let mut image = slot.array::<u8, ndarray::Ix3>("image")?; // (rows, columns, channels)
/// let mut label = slot.array::<i64, ndarray::Ix1>("label")?;
/// image.fill(255);
/// label[0] = 7;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Slot<'slot> {
    schema: &'slot Schema,
    /// The bytes of each array in the schema's order; `None` once the producer has taken them.
    arrays: ArrayVec<Option<&'slot mut [u8]>, MAX_ARRAYS>,
    /// The batch's number of rows if the producer has set it; otherwise it is the schema's.
    rows: Option<usize>,
    /// The batch's lengths along the axes that are at most n.
    lengths: Lengths<'slot>,
    /// One bit for each array of which a view was taken.
    viewed: u32,
    metadata: Vec<u8>,
}

impl<'slot> Slot<'slot> {
    /// A slot over the bytes of each array, in the schema's order, with room for the batch's
    /// lengths, see [`Lengths::new`].
    ///
    /// # Panics
    /// If the number of arrays or the length of one differs from the schema's: then the caller has
    /// laid the memory out wrongly.
    #[inline]
    pub(crate) fn new(
        schema: &'slot Schema,
        arrays: impl Iterator<Item = &'slot mut [u8]>,
        lengths: &'slot mut [usize],
    ) -> Self {
        let lengths = Lengths::new(schema, lengths);
        // Built in place and then filled: with its room for `MAX_ARRAYS` arrays it is large.
        let mut slot =
            Self { schema, arrays: ArrayVec::new(), rows: None, lengths, viewed: 0, metadata: Vec::new() };
        slot.arrays.extend(arrays.map(Some));
        let matches = slot.arrays.iter().map(|bytes| bytes.as_ref().map_or(0, |bytes| bytes.len()));
        assert!(
            matches.eq(schema.arrays().iter().map(ArraySpec::bytes)),
            "the host's memory does not match the schema {schema}"
        );
        slot
    }

    /// The arrays that the slot holds.
    pub fn schema(&self) -> &'slot Schema {
        self.schema
    }

    /// Takes the array `name` out of the slot, as a writable view with elements of type `T` and
    /// dimensions `D` (`Ix1` … `Ix6`, `IxDyn`).
    ///
    /// The view has the schema's shape, or fewer rows after [`set_rows`](Self::set_rows), or the
    /// shape of [`set_shape`](Self::set_shape). Each array can be taken once, so a producer can
    /// hold views of several arrays at the same time.
    ///
    /// # Errors
    /// [`SlotError`]: the slot has no such array, the array has another element type or number of
    /// dimensions, or it was taken before.
    pub fn array<T: Element, D: Dimension>(
        &mut self,
        name: &str,
    ) -> Result<ArrayViewMut<'slot, T, D>, SlotError> {
        let (index, spec) = self.find(name)?;
        let fit = spec.fit::<T, D>(self.extent(index)).map_err(|error| SlotError::of(spec, error))?;
        let bytes = self.arrays[index].take().ok_or_else(|| SlotError::Taken { array: spec.clone() })?;
        self.viewed |= 1 << index;
        fit.view_mut(bytes).map_err(|error| SlotError::of(spec, error))
    }

    /// Takes the bytes of all arrays out of the slot, with their specifications: for a plugin whose
    /// code is in another language. Rows that [`set_rows`](Self::set_rows) leaves out are in them.
    /// They are each array as long as it may be; after its shape was set, which may also be done
    /// afterwards, the batch has its first bytes, packed.
    ///
    /// A bool must be 0 or 1; the application is refused an array with other bytes.
    ///
    /// # Errors
    /// [`SlotError::Taken`] if an array was taken before.
    pub fn bytes(&mut self) -> Result<Vec<(&'slot ArraySpec, &'slot mut [u8])>, SlotError> {
        let arrays = self.schema.arrays().iter().zip(&mut self.arrays);
        let take = |(spec, bytes): (&'slot ArraySpec, &mut Option<&'slot mut [u8]>)| match bytes.take() {
            Some(bytes) => Ok((spec, bytes)),
            None => Err(SlotError::Taken { array: spec.clone() }),
        };
        arrays.map(take).collect()
    }

    /// Copies `values` into the array `name`. The values must have the array's element type and
    /// exactly its shape in this batch: nothing is cast or broadcast. If the array has axes that
    /// are [at most](ArraySpec::at_most) n and no shape was set, the batch has that of the values.
    /// This takes the array out of the slot, as [`array`](Self::array) does.
    ///
    /// # Errors
    /// [`SlotError`]: as for [`array`](Self::array) and [`set_shape`](Self::set_shape), or the
    /// shapes differ.
    pub fn write<T: Element, D: Dimension>(
        &mut self,
        name: &str,
        values: &ArrayBase<impl Data<Elem = T>, D>,
    ) -> Result<(), SlotError> {
        let (index, spec) = self.find(name)?;
        let (is_there, fits) = (self.arrays[index].is_some(), spec.dtype() == T::DTYPE);
        if !spec.at_most_axes().is_empty() && !self.lengths.is_set(index) && is_there && fits {
            self.lengths.set(index, values.shape(), self.rows)?;
        }
        let shape = spec.dimensions::<IxDyn>(self.extent(index));
        if let Some(shape) = shape.filter(|shape| shape.slice() != values.shape() && fits) {
            let (expected, found) = (shape.slice().to_vec(), values.shape().to_vec());
            return Err(SlotError::Shape { array: spec.clone(), expected, found });
        }
        self.array::<T, D>(name)?.assign(values);
        Ok(())
    }

    /// Sets the batch's number of rows, which are the entries along the first axis of every array:
    /// from 0 to the schema's number. By default a batch has the schema's number; the last batch of
    /// an epoch often has fewer.
    ///
    /// Views that are taken afterwards have `rows` rows. Views that were taken before keep all of
    /// them, and the batch leaves out the surplus.
    ///
    /// # Errors
    /// [`SlotError::Rows`]: `rows` is more than the schema has, or the arrays have no common length
    /// along their first axis, see [`Schema::rows`].
    pub fn set_rows(&mut self, rows: usize) -> Result<(), SlotError> {
        match self.schema.rows() {
            Some(most) if rows <= most => {
                self.rows = Some(rows);
                Ok(())
            }
            most => Err(SlotError::Rows { rows, most }),
        }
    }

    /// Sets the shape that the array `name` has in this batch, before its view is taken: along the
    /// axes that are [at most](ArraySpec::at_most) n any length from 0 to n, along all others the
    /// schema's, or the number of rows that was set. An array whose shape is not set is as long as
    /// it may be.
    ///
    /// ```
    /// # use cobuf_plugin_api::{anyhow, ndarray, Slot};
    /// # fn produce(slot: &mut Slot<'_>, found: &[[f32; 4]]) -> anyhow::Result<()> {
    /// slot.set_shape("boxes", [found.len(), 4])?; // declared with `.at_most([0])`
    /// let mut boxes = slot.array::<f32, ndarray::Ix2>("boxes")?;
    /// for (mut row, corners) in boxes.outer_iter_mut().zip(found) {
    ///     row.assign(&ndarray::aview1(corners));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`SlotError`]: the slot has no such array; the shape has another number of axes, a length
    /// above its most, or another length along an axis that is fixed; the shape was set before, or
    /// the array's view was taken.
    pub fn set_shape(&mut self, name: &str, shape: impl AsRef<[usize]>) -> Result<(), SlotError> {
        let ((index, spec), shape) = (self.find(name)?, shape.as_ref());
        if self.viewed & 1 << index != 0 {
            return Err(LengthsError::Late { array: Box::new(spec.clone()), found: shape.to_vec() }.into());
        }
        Ok(self.lengths.set(index, shape, self.rows)?)
    }

    /// Attaches a dictionary to the batch, which the application reads with `Batch::metadata`: any
    /// `serde` struct or map, or a [`Dictionary`](crate::Dictionary). It replaces a dictionary that
    /// was attached before.
    ///
    /// The encoded dictionary may have at most 64 KiB, unless the run's setting `metadata_capacity` says
    /// otherwise; a larger one becomes the batch's error.
    ///
    /// # Errors
    /// [`CodecError`]: the value is not a dictionary, or cannot be encoded.
    pub fn set_metadata(&mut self, metadata: &impl Serialize) -> Result<(), CodecError> {
        self.metadata = codec::encode("the metadata", metadata)?;
        Ok(())
    }

    /// Takes the results that the producer set beside the arrays. The slot is large, and stays where
    /// it is.
    pub(crate) fn take_outcome(&mut self) -> SlotOutcome {
        SlotOutcome { rows: self.rows, metadata: std::mem::take(&mut self.metadata) }
    }

    fn extent(&self, array: usize) -> Extent<'_> {
        Extent { rows: self.rows, lengths: self.lengths.of(array) }
    }

    fn find(&self, name: &str) -> Result<(usize, &'slot ArraySpec), SlotError> {
        let unknown = || SlotError::Unknown { name: name.to_owned(), known: self.schema.names() };
        let index = self.schema.index_of(name).ok_or_else(unknown)?;
        Ok((index, &self.schema.arrays()[index]))
    }
}

/// The results that a producer sets beside the arrays: the number of rows, if it differs from the
/// schema's, and the encoded metadata, empty for none.
#[derive(Debug)]
pub(crate) struct SlotOutcome {
    pub(crate) rows: Option<usize>,
    pub(crate) metadata: Vec<u8>,
}

/// Why an array cannot be taken from a slot, or not be written.
#[derive(Debug, thiserror::Error)]
pub enum SlotError {
    /// The slot has no array of this name.
    #[error("the slot has no array {name:?}; it has: {known}")]
    Unknown {
        /// The name that the producer asked for.
        name: String,
        /// The names that the slot has.
        known: String,
    },
    /// The array has another element type.
    #[error("array \"{}\" has elements of type {}, not {wanted}: the schema declares {array}", array.name(), array.dtype())]
    DType {
        /// The array as the schema declares it.
        array: ArraySpec,
        /// The element type that the producer asked for.
        wanted: DType,
    },
    /// The array has another number of dimensions.
    #[error("array \"{}\" has {} dimensions, not {wanted}: the schema declares {array}", array.name(), array.shape().len())]
    Dimensions {
        /// The array as the schema declares it.
        array: ArraySpec,
        /// The number of dimensions that the producer asked for.
        wanted: usize,
    },
    /// The values have another shape.
    #[error("values of shape {} do not fit array \"{}\", which has shape {} in this batch: the schema declares {array}", Shape(found), array.name(), Shape(expected))]
    Shape {
        /// The array as the schema declares it.
        array: ArraySpec,
        /// The array's shape in this batch.
        expected: Vec<usize>,
        /// The shape of the values.
        found: Vec<usize>,
    },
    /// The array cannot have the shape that it was given.
    #[error(transparent)]
    Lengths(#[from] LengthsError),
    /// The producer took the array before.
    #[error("array \"{}\" was already taken from the slot; keep its view, or write it only once", array.name())]
    Taken {
        /// The array as the schema declares it.
        array: ArraySpec,
    },
    /// The number of rows is larger than the schema's, or the arrays do not share a first axis.
    #[error("a batch of {rows} rows does not fit: {}", match most {
        Some(most) => format!("the arrays have {most}"),
        None => "the arrays have no common length along their first axis".to_owned(),
    })]
    Rows {
        /// The number of rows that the producer asked for.
        rows: usize,
        /// The schema's number of rows, if its arrays share a first axis.
        most: Option<usize>,
    },
    /// The memory is not such an array: it is misaligned, or holds a `bool` that is neither 0 nor
    /// 1.
    #[error("the memory of array {array} cannot be used: {reason}")]
    Memory {
        /// The array as the schema declares it.
        array: ArraySpec,
        /// The check that failed.
        reason: String,
    },
}

impl SlotError {
    fn of(array: &ArraySpec, error: ViewError) -> Self {
        let array = array.clone();
        match error {
            ViewError::DType { wanted, .. } => Self::DType { array, wanted },
            ViewError::Dimensions { wanted, .. } => Self::Dimensions { array, wanted },
            ViewError::Memory { reason } => Self::Memory { array, reason },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Ix1, Ix2, IxDyn, array};

    fn with_slot(test: impl FnOnce(Slot<'_>)) {
        let schema = Schema::new([
            ArraySpec::new("x", DType::F32, [3, 2]),
            ArraySpec::new("y", DType::I64, [3]),
            ArraySpec::new("flag", DType::Bool, [3]),
        ])
        .unwrap();
        let (mut x, mut y, mut flag) = ([0f32; 6], [0i64; 3], [0u8; 3]);
        let arrays = [bytemuck::cast_slice_mut(&mut x), bytemuck::cast_slice_mut(&mut y), &mut flag[..]];
        test(Slot::new(&schema, arrays.into_iter(), &mut []));
    }

    /// A slot whose `boxes` have a length of their own, and the lengths that the batch then has.
    fn with_boxes(test: impl FnOnce(Slot<'_>)) -> [usize; 1] {
        let boxes = ArraySpec::new("boxes", DType::F32, [5, 2]).at_most([0]);
        let schema = Schema::new([ArraySpec::new("y", DType::I64, [3]), boxes]).unwrap();
        let (mut y, mut boxes, mut lengths) = ([0i64; 3], [0f32; 10], [5]);
        let arrays = [bytemuck::cast_slice_mut(&mut y), bytemuck::cast_slice_mut(&mut boxes)];
        test(Slot::new(&schema, arrays.into_iter(), &mut lengths));
        lengths
    }

    #[test]
    fn two_arrays_are_held_at_once() {
        with_slot(|mut slot| {
            let mut x = slot.array::<f32, Ix2>("x").unwrap();
            let mut flag = slot.array::<bool, IxDyn>("flag").unwrap();
            x[[2, 1]] = 0.5;
            flag[2] = true;
            let again = slot.array::<f32, Ix2>("x").unwrap_err();
            assert_eq!(
                again.to_string(),
                "array \"x\" was already taken from the slot; keep its view, or write it only once"
            );
        });
    }

    #[test]
    fn wrong_view_is_refused_with_the_declaration() {
        with_slot(|mut slot| {
            let message = |error: SlotError| error.to_string();
            assert_eq!(
                message(slot.array::<f64, Ix2>("x").unwrap_err()),
                "array \"x\" has elements of type f32, not f64: the schema declares x f32 (3, 2)"
            );
            assert_eq!(
                message(slot.array::<f32, Ix1>("x").unwrap_err()),
                "array \"x\" has 2 dimensions, not 1: the schema declares x f32 (3, 2)"
            );
            assert_eq!(
                message(slot.write("y", &array![1i64, 2]).unwrap_err()),
                "values of shape (2,) do not fit array \"y\", which has shape (3,) in this batch: \
                 the schema declares y i64 (3,)"
            );
            assert_eq!(
                message(slot.array::<f32, Ix1>("z").unwrap_err()),
                "the slot has no array \"z\"; it has: x, y, flag"
            );
        });
    }

    #[test]
    fn shorter_batch_has_shorter_views() {
        with_slot(|mut slot| {
            assert_eq!(
                slot.set_rows(4).unwrap_err().to_string(),
                "a batch of 4 rows does not fit: the arrays have 3"
            );
            slot.set_rows(2).unwrap();
            assert_eq!(slot.array::<f32, Ix2>("x").unwrap().shape(), [2, 2]);
            slot.write("y", &array![1i64, 2]).unwrap();
            assert_eq!(slot.take_outcome().rows, Some(2));
        });
    }

    #[test]
    fn array_has_the_shape_that_was_set_before_its_view_was_taken() {
        let lengths = with_boxes(|mut slot| {
            slot.set_rows(2).unwrap();
            slot.set_shape("boxes", [4, 2]).unwrap();
            assert_eq!(slot.array::<f32, Ix2>("boxes").unwrap().dim(), (4, 2));
            assert_eq!(slot.array::<i64, Ix1>("y").unwrap().dim(), 2);
            assert_eq!(
                slot.set_shape("boxes", [3, 2]).unwrap_err().to_string(),
                "array \"boxes\" was given shape (3, 2) after its view was taken, expected before; set the shape first"
            );
        });
        assert_eq!(lengths, [4]);
        let lengths = with_boxes(|mut slot| {
            assert_eq!(slot.array::<f32, Ix2>("boxes").unwrap().dim(), (5, 2), "the most, if none is set");
        });
        assert_eq!(lengths, [5]);
    }

    #[test]
    fn written_values_set_the_shape_once() {
        let lengths = with_boxes(|mut slot| {
            let error = slot.write("boxes", &array![[1f64, 2.0]]).unwrap_err();
            assert!(matches!(error, SlotError::DType { .. }), "{error}");
            slot.write("boxes", &array![[1f32, 2.0]]).unwrap();
            let error = slot.write("boxes", &array![[1f32, 2.0], [3.0, 4.0]]).unwrap_err();
            assert!(matches!(error, SlotError::Shape { .. } | SlotError::Taken { .. }), "{error}");
        });
        assert_eq!(lengths, [1]);
        let lengths = with_boxes(|mut slot| {
            slot.set_shape("boxes", [0, 2]).unwrap();
            assert_eq!(
                slot.write("boxes", &array![[1f32, 2.0]]).unwrap_err().to_string(),
                "values of shape (1, 2) do not fit array \"boxes\", which has shape (0, 2) in this batch: \
                 the schema declares boxes f32 (≤5, 2)"
            );
            let error = slot.write("y", &array![1i64, 2]).unwrap_err();
            assert!(matches!(error, SlotError::Shape { .. }), "{error}");
        });
        assert_eq!(lengths, [0]);
    }

    #[test]
    fn bytes_are_whole_and_their_shape_is_set_afterwards() {
        let lengths = with_boxes(|mut slot| {
            let whole: Vec<usize> = slot.bytes().unwrap().iter().map(|(_, bytes)| bytes.len()).collect();
            assert_eq!(whole, [24, 40]);
            slot.set_shape("boxes", [3, 2]).unwrap();
        });
        assert_eq!(lengths, [3]);
    }
}
