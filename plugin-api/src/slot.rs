//! A slot as a producer sees it: arrays to fill in place, the batch's length, its metadata.

use arrayvec::ArrayVec;
use ndarray::{ArrayBase, ArrayViewMut, Data, Dimension, IxDyn};
use serde::Serialize;

use crate::codec::{self, CodecError};
use crate::dtype::{DType, Element};
use crate::schema::{ArraySpec, MAX_ARRAYS, Schema, Shape};

/// The arrays of one batch, to be filled by [`Producer::produce`](crate::Producer::produce).
///
/// The arrays lie in memory that the application reads: what is written here is not copied again. They hold what an
/// earlier batch left there, so write every element (or `fill` first): a batch that depends on left-overs is not
/// reproducible.
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
    /// The bytes of each array in the schema's order; `None` once they were given out.
    arrays: ArrayVec<Option<&'slot mut [u8]>, MAX_ARRAYS>,
    /// The rows that the batch has, where it has fewer than the schema's.
    rows: Option<usize>,
    metadata: Vec<u8>,
}

impl<'slot> Slot<'slot> {
    /// A slot over the bytes of each array, in the schema's order.
    ///
    /// # Panics
    /// Where the number of arrays or the length of one differs from the schema's: the caller laid memory out wrongly.
    pub(crate) fn new(schema: &'slot Schema, arrays: impl Iterator<Item = &'slot mut [u8]>) -> Self {
        // Filled where it stays: with room for every array there may be it is large.
        let mut slot = Self { schema, arrays: ArrayVec::new(), rows: None, metadata: Vec::new() };
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

    /// The array `name`, as a view to write to: elements of type `T`, dimensions `D` (`Ix1` … `Ix6`, `IxDyn`).
    ///
    /// It has the schema's shape, or fewer rows after [`set_rows`](Self::set_rows). Each array is given out once, so
    /// that views of several arrays can be held side by side.
    ///
    /// # Errors
    /// [`SlotError`]: no such array, another element type or number of dimensions, given out before.
    pub fn array<T: Element, D: Dimension>(
        &mut self,
        name: &str,
    ) -> Result<ArrayViewMut<'slot, T, D>, SlotError> {
        let (index, spec) = self.find(name)?;
        if spec.dtype() != T::DTYPE {
            return Err(SlotError::DType { array: spec.clone(), wanted: T::DTYPE });
        }
        let Some(dimensions) = spec.dimensions::<D>(self.rows) else {
            return Err(SlotError::Dimensions { array: spec.clone(), wanted: D::NDIM.unwrap_or_default() });
        };
        let bytes = self.arrays[index].take().ok_or_else(|| SlotError::Taken { array: spec.clone() })?;
        let used = dimensions.size() * T::DTYPE.size();
        let elements = bytemuck::checked::try_cast_slice_mut(&mut bytes[..used])
            .map_err(|reason| SlotError::Memory { array: spec.clone(), reason: reason.to_string() })?;
        ArrayViewMut::from_shape(dimensions, elements)
            .map_err(|reason| SlotError::Memory { array: spec.clone(), reason: reason.to_string() })
    }

    /// Copies `values` into the array `name`: the same element type and exactly its shape, nothing is cast or
    /// broadcast. Counts as giving the array out.
    ///
    /// # Errors
    /// [`SlotError`]: as [`array`](Self::array), and another shape.
    pub fn write<T: Element, D: Dimension>(
        &mut self,
        name: &str,
        values: &ArrayBase<impl Data<Elem = T>, D>,
    ) -> Result<(), SlotError> {
        let (_, spec) = self.find(name)?;
        let shape = spec.dimensions::<IxDyn>(self.rows);
        if let Some(shape) = shape.filter(|shape| shape.slice() != values.shape() && spec.dtype() == T::DTYPE)
        {
            let (expected, found) = (shape.slice().to_vec(), values.shape().to_vec());
            return Err(SlotError::Shape { array: spec.clone(), expected, found });
        }
        self.array::<T, D>(name)?.assign(values);
        Ok(())
    }

    /// Says that the batch has `rows` rows, entries along the first axis of every array: as many as the schema has,
    /// or fewer, such as in the last batch of an epoch. Views taken after it have so many rows; those taken before keep
    /// all, and their further rows are left out of the batch.
    ///
    /// # Errors
    /// [`SlotError::Rows`] where the arrays' first axes differ, or are shorter.
    pub fn set_rows(&mut self, rows: usize) -> Result<(), SlotError> {
        match self.schema.rows() {
            Some(most) if rows <= most => {
                self.rows = Some(rows);
                Ok(())
            }
            most => Err(SlotError::Rows { rows, most }),
        }
    }

    /// Attaches a dictionary to the batch, which the application reads from it: any `serde` struct or map, or a
    /// [`Dictionary`](crate::Dictionary). Replaces what was attached before.
    ///
    /// # Errors
    /// [`CodecError`] where it is no dictionary.
    pub fn set_metadata(&mut self, metadata: &impl Serialize) -> Result<(), CodecError> {
        self.metadata = codec::encode("the metadata", metadata)?;
        Ok(())
    }

    /// What the producer said of the batch, beside its arrays.
    pub(crate) fn into_outcome(self) -> SlotOutcome {
        SlotOutcome { rows: self.rows, metadata: self.metadata }
    }

    fn find(&self, name: &str) -> Result<(usize, &'slot ArraySpec), SlotError> {
        let unknown = || SlotError::Unknown { name: name.to_owned(), known: self.schema.names() };
        let index = self.schema.index_of(name).ok_or_else(unknown)?;
        Ok((index, &self.schema.arrays()[index]))
    }
}

/// What a producer said of its batch: the rows where they are fewer, and the encoded metadata, empty for none.
#[derive(Debug)]
pub(crate) struct SlotOutcome {
    pub(crate) rows: Option<usize>,
    pub(crate) metadata: Vec<u8>,
}

/// Why an array could not be had from a slot, or not be written.
#[derive(Debug, thiserror::Error)]
pub enum SlotError {
    /// There is no such array.
    #[error("the slot has no array {name:?}; it has: {known}")]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// The array has other elements.
    #[error("array \"{}\" has elements of type {}, not {wanted}: the schema declares {array}", array.name(), array.dtype())]
    DType {
        /// The array as declared.
        array: ArraySpec,
        /// The type asked for.
        wanted: DType,
    },
    /// The array has another number of dimensions.
    #[error("array \"{}\" has {} dimensions, not {wanted}: the schema declares {array}", array.name(), array.shape().len())]
    Dimensions {
        /// The array as declared.
        array: ArraySpec,
        /// The number asked for.
        wanted: usize,
    },
    /// The values have another shape.
    #[error("values of shape {} do not fit array \"{}\", which has shape {} in this batch: the schema declares {array}", Shape(found), array.name(), Shape(expected))]
    Shape {
        /// The array as declared.
        array: ArraySpec,
        /// The shape that it has in this batch.
        expected: Vec<usize>,
        /// The shape of the values.
        found: Vec<usize>,
    },
    /// The array was given out before.
    #[error("array \"{}\" was already given out; keep its view, or write it once", array.name())]
    Taken {
        /// The array as declared.
        array: ArraySpec,
    },
    /// More rows than there are, or arrays that do not share a first axis.
    #[error("a batch of {rows} rows does not fit: {}", match most {
        Some(most) => format!("the arrays have {most}"),
        None => "the arrays have no common length along their first axis".to_owned(),
    })]
    Rows {
        /// The rows asked for.
        rows: usize,
        /// The rows of the schema, where its arrays share a first axis.
        most: Option<usize>,
    },
    /// The memory cannot be seen as this array: it is misaligned, or a `bool` in it is neither 0 nor 1.
    #[error("the memory of array {array} cannot be used: {reason}")]
    Memory {
        /// The array as declared.
        array: ArraySpec,
        /// What is wrong with it.
        reason: String,
    },
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
        test(Slot::new(&schema, arrays.into_iter()));
    }

    #[test]
    fn can_two_arrays_be_held_side_by_side() {
        with_slot(|mut slot| {
            let mut x = slot.array::<f32, Ix2>("x").unwrap();
            let mut flag = slot.array::<bool, IxDyn>("flag").unwrap();
            x[[2, 1]] = 0.5;
            flag[2] = true;
            let again = slot.array::<f32, Ix2>("x").unwrap_err();
            assert_eq!(
                again.to_string(),
                "array \"x\" was already given out; keep its view, or write it once"
            );
        });
    }

    #[test]
    fn does_a_wrong_view_say_what_was_there() {
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
    fn does_a_shorter_batch_shorten_the_views() {
        with_slot(|mut slot| {
            assert_eq!(
                slot.set_rows(4).unwrap_err().to_string(),
                "a batch of 4 rows does not fit: the arrays have 3"
            );
            slot.set_rows(2).unwrap();
            assert_eq!(slot.array::<f32, Ix2>("x").unwrap().shape(), [2, 2]);
            slot.write("y", &array![1i64, 2]).unwrap();
            assert_eq!(slot.into_outcome().rows, Some(2));
        });
    }
}
