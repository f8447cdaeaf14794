//! The lengths of one batch along the axes that are *at most* n.
//!
//! ```text
//!   schema    boxes f32 (≤200, 4), tokens u32 (≤8, ≤512)
//!   lengths             17,                3,  490           one for each such axis, in this order
//!   shapes             (17, 4),           (3, 490)           packed from each array's first byte
//! ```
//!
//! Invariant: only these lengths cross the boundary and lie in shared memory, so an axis of a fixed
//! length cannot change. The host has [`Schema::too_long`] check them, and [`Extent`] takes a
//! length above its most for its most, so that no shape reaches beyond its array.
//!
//! Authors of plugins use [`Slot::set_shape`](crate::Slot::set_shape) instead of this module.

use std::fmt;
use std::ops::Range;

use ndarray::Dimension;

use crate::schema::{ArraySpec, MAX_ARRAYS, Schema, Shape};

/// How much of an array a batch uses. The default is all of it; a number of rows may be passed in
/// its place.
#[derive(Debug, Clone, Copy, Default)]
pub struct Extent<'a> {
    /// The batch's number of rows if it has fewer than the schema says. An array whose first axis
    /// is at most n has none.
    pub rows: Option<usize>,
    /// The lengths along the array's axes that are at most n, in their order; empty if each is as
    /// long as it may be.
    pub lengths: &'a [usize],
}

impl From<Option<usize>> for Extent<'_> {
    fn from(rows: Option<usize>) -> Self {
        Self { rows, lengths: &[] }
    }
}

impl ArraySpec {
    /// The array's shape in a batch, as ndarray's dimension type. The result is `None` if the type
    /// has another number of axes than the array.
    ///
    /// ```
    /// use cobuf_plugin_api::{ArraySpec, DType, lengths::Extent, ndarray::{Ix2, Ix3}};
    ///
    /// let boxes = ArraySpec::new("boxes", DType::F32, [200, 4]).at_most([0]);
    /// let extent = Extent { rows: None, lengths: &[17] };
    /// assert_eq!(boxes.dimensions(extent), Some(Ix2(17, 4)));
    /// assert_eq!(boxes.dimensions::<Ix3>(extent), None);
    /// ```
    pub fn dimensions<'a, D: Dimension>(&self, extent: impl Into<Extent<'a>>) -> Option<D> {
        if D::NDIM.is_some_and(|axes| axes != self.shape().len()) {
            return None;
        }
        let (extent, mut dimensions) = (extent.into(), D::zeros(self.shape().len()));
        for (axis, length) in dimensions.slice_mut().iter_mut().zip(self.shape_in(extent)) {
            *axis = length;
        }
        Some(dimensions)
    }

    /// The array's lengths in a batch, outermost first.
    pub fn shape_in<'a>(&'a self, extent: impl Into<Extent<'a>>) -> impl ExactSizeIterator<Item = usize> {
        let (Extent { rows, lengths }, at_most) = (extent.into(), self.at_most_axes());
        self.shape().iter().enumerate().map(move |(axis, &most)| {
            match at_most.iter().position(|&other| other == axis) {
                Some(place) => lengths.get(place).map_or(most, |&length| length.min(most)),
                None => rows.filter(|_| axis == 0).unwrap_or(most),
            }
        })
    }

    /// The number of bytes that a batch uses of the array: its first ones.
    pub fn bytes_in<'a>(&'a self, extent: impl Into<Extent<'a>>) -> usize {
        self.shape_in(extent).product::<usize>() * self.dtype().size()
    }
}

impl Schema {
    /// The longest lengths that a batch may have, array by array: one for each axis that is at most
    /// n.
    pub fn most_lengths(&self) -> impl Iterator<Item = usize> {
        let arrays = self.arrays().iter();
        arrays.flat_map(|array| array.at_most_axes().iter().map(|&axis| array.shape()[axis]))
    }

    /// The places of an array's lengths among those of all arrays.
    ///
    /// # Panics
    /// If the schema has no array at this position.
    pub fn lengths_of(&self, array: usize) -> Range<usize> {
        let count = |array: &ArraySpec| array.at_most_axes().len();
        let start = self.arrays()[..array].iter().map(count).sum();
        start..start + count(&self.arrays()[array])
    }

    /// The first of all lengths that is above its most.
    pub fn too_long(&self, lengths: &[usize]) -> Option<TooLong<'_>> {
        let axes = self
            .arrays()
            .iter()
            .flat_map(|array| array.at_most_axes().iter().map(move |&axis| (array, axis)));
        axes.zip(lengths).find_map(|((array, axis), &found)| {
            let most = array.shape()[axis];
            (found > most).then_some(TooLong { array, axis, most, found })
        })
    }
}

/// A length that is above its most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong<'a> {
    /// The array as the schema declares it.
    pub array: &'a ArraySpec,
    /// The axis, from 0.
    pub axis: usize,
    /// The longest that a batch may have.
    pub most: usize,
    /// The length that was found.
    pub found: usize,
}

/// The lengths of a batch while its producer sets them.
#[derive(Debug)]
pub struct Lengths<'room> {
    schema: &'room Schema,
    /// The lengths of all arrays, at first as long as they may be. Empty if the schema has no axis
    /// that is at most n.
    room: &'room mut [usize],
    /// One bit for each array whose shape was set.
    set: u32,
}

const _: () = assert!(MAX_ARRAYS <= u32::BITS as usize);

impl<'room> Lengths<'room> {
    /// Lengths that are set in this room, which has a place for each of
    /// [`most_lengths`](Schema::most_lengths).
    pub fn new(schema: &'room Schema, room: &'room mut [usize]) -> Self {
        Self { schema, room, set: 0 }
    }

    /// An array's lengths as they are now.
    pub fn of(&self, array: usize) -> &[usize] {
        // Most schemas have none; the hot path looks no further.
        if self.room.is_empty() { &[] } else { &self.room[self.schema.lengths_of(array)] }
    }

    /// Whether an array's shape was set.
    pub fn is_set(&self, array: usize) -> bool {
        self.set & 1 << array != 0
    }

    /// Sets the shape of the array at this position, in a batch of so many rows. The room changes
    /// only if there is no error.
    ///
    /// # Errors
    /// [`LengthsError`]: the shape has another number of axes, a length above its most, or another
    /// length along an axis that is fixed; the array's shape was set before.
    pub fn set(&mut self, array: usize, shape: &[usize], rows: Option<usize>) -> Result<(), LengthsError> {
        let spec = &self.schema.arrays()[array];
        let (declared, found) = (|| Box::new(spec.clone()), || shape.to_vec());
        if shape.len() != spec.shape().len() {
            return Err(LengthsError::Axes { array: declared(), found: found() });
        }
        if self.is_set(array) {
            let before = spec.shape_in(Extent { rows, lengths: self.of(array) }).collect();
            return Err(LengthsError::Twice { array: declared(), before, found: found() });
        }
        for (axis, (&found, expected)) in shape.iter().zip(spec.shape_in(rows)).enumerate() {
            let (array, is_at_most) = (declared, spec.at_most_axes().contains(&axis));
            if is_at_most && found > expected {
                return Err(LengthsError::TooLong { array: array(), axis, most: expected, found });
            }
            if !is_at_most && found != expected {
                return Err(LengthsError::Fixed { array: array(), axis, expected, found });
            }
        }
        let places = self.schema.lengths_of(array);
        for (place, &axis) in self.room[places].iter_mut().zip(spec.at_most_axes()) {
            *place = shape[axis];
        }
        self.set |= 1 << array;
        Ok(())
    }
}

/// Why a batch's array cannot have a shape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LengthsError {
    /// A length is above its most.
    #[error("array \"{}\" was given length {} along axis {axis}, expected at most {most}: the schema declares {array}; give fewer, or declare more", array.name(), signed(*found))]
    TooLong {
        /// The array as the schema declares it.
        array: Box<ArraySpec>,
        /// The axis, from 0.
        axis: usize,
        /// The longest that a batch may have.
        most: usize,
        /// The length that was given.
        found: usize,
    },
    /// An axis that has one length in every batch was given another one.
    #[error("array \"{}\" was given length {} along axis {axis}, expected {expected}: the schema declares {array}; give that length, set the rows before, or declare the axis as at most n", array.name(), signed(*found))]
    Fixed {
        /// The array as the schema declares it.
        array: Box<ArraySpec>,
        /// The axis, from 0.
        axis: usize,
        /// The axis's length in this batch.
        expected: usize,
        /// The length that was given.
        found: usize,
    },
    /// The shape has another number of axes than the array.
    #[error("array \"{}\" was given shape {}, expected {} axes: the schema declares {array}", array.name(), Shape(found), array.shape().len())]
    Axes {
        /// The array as the schema declares it.
        array: Box<ArraySpec>,
        /// The shape that was given.
        found: Vec<usize>,
    },
    /// The array's shape was set before.
    #[error("array \"{}\" was given shape {} after shape {}, expected one shape in a batch; set it once", array.name(), Shape(found), Shape(before))]
    Twice {
        /// The array as the schema declares it.
        array: Box<ArraySpec>,
        /// The shape that was set before.
        before: Vec<usize>,
        /// The shape that was given.
        found: Vec<usize>,
    },
    /// The array was taken from the slot before its shape was set.
    #[error("array \"{}\" was given shape {} after its view was taken, expected before; set the shape first", array.name(), Shape(found))]
    Late {
        /// The array as the schema declares it.
        array: Box<ArraySpec>,
        /// The shape that was given.
        found: Vec<usize>,
    },
}

impl From<TooLong<'_>> for LengthsError {
    fn from(TooLong { array, axis, most, found }: TooLong<'_>) -> Self {
        Self::TooLong { array: Box::new(array.clone()), axis, most, found }
    }
}

/// A length; a negative number of C, which it probably was if it is that large, beside it.
fn signed(length: usize) -> impl fmt::Display {
    fmt::from_fn(move |f| match length.cast_signed() {
        negative @ ..0 => write!(f, "{length} ({negative} if it is signed)"),
        _ => write!(f, "{length}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DType;
    use ndarray::{Ix1, IxDyn};
    use proptest::prelude::*;

    fn schema() -> Schema {
        Schema::new([
            ArraySpec::new("image", DType::U8, [8, 3]),
            ArraySpec::new("boxes", DType::F32, [200, 4]).at_most([0]),
            ArraySpec::new("tokens", DType::U32, [8, 512]).at_most([1]),
        ])
        .unwrap()
    }

    #[test]
    fn shape_is_that_of_the_batch() {
        let schema = schema();
        assert_eq!(schema.most_lengths().collect::<Vec<_>>(), [200, 512]);
        let shapes = |rows, lengths: &[usize]| {
            let extent =
                |array| Extent { rows, lengths: lengths.get(schema.lengths_of(array)).unwrap_or_default() };
            let arrays = schema.arrays().iter().enumerate();
            arrays
                .map(|(n, array)| (array.shape_in(extent(n)).collect(), array.bytes_in(extent(n))))
                .collect::<Vec<_>>()
        };
        assert_eq!(shapes(None, &[]), [(vec![8, 3], 24), (vec![200, 4], 3200), (vec![8, 512], 16384)]);
        assert_eq!(shapes(Some(2), &[17, 0]), [(vec![2, 3], 6), (vec![17, 4], 272), (vec![2, 0], 0)]);
        // Wrong lengths are refused elsewhere; here they reach no further than the array.
        assert_eq!(shapes(None, &[usize::MAX, 9])[1], (vec![200, 4], 3200));
        assert_eq!(schema.arrays()[1].dimensions::<Ix1>(None), None);
    }

    #[test]
    fn wrong_shape_is_refused_with_array_axis_most_and_found() {
        let schema = schema();
        let mut room: Vec<usize> = schema.most_lengths().collect();
        let mut lengths = Lengths::new(&schema, &mut room);
        let mut told =
            |array, shape: &[usize], rows| lengths.set(array, shape, rows).unwrap_err().to_string();
        assert_eq!(
            told(1, &[201, 4], None),
            "array \"boxes\" was given length 201 along axis 0, expected at most 200: the schema declares \
             boxes f32 (≤200, 4); give fewer, or declare more"
        );
        let negative = told(1, &[(-3_isize).cast_unsigned(), 4], None);
        assert!(
            negative.contains("length 18446744073709551613 (-3 if it is signed) along axis 0"),
            "{negative}"
        );
        assert_eq!(
            told(1, &[17, 5], None),
            "array \"boxes\" was given length 5 along axis 1, expected 4: the schema declares boxes f32 (≤200, 4); \
             give that length, set the rows before, or declare the axis as at most n"
        );
        assert!(told(2, &[8, 3], Some(7)).contains("length 8 along axis 0, expected 7"));
        assert!(told(0, &[7, 3], None).contains("length 7 along axis 0, expected 8"));
        assert_eq!(
            told(1, &[17], None),
            "array \"boxes\" was given shape (17,), expected 2 axes: the schema declares boxes f32 (≤200, 4)"
        );
        lengths.set(1, &[17, 4], None).unwrap();
        assert_eq!(
            lengths.set(1, &[3, 4], None).unwrap_err().to_string(),
            "array \"boxes\" was given shape (3, 4) after shape (17, 4), expected one shape in a batch; set it once"
        );
        assert_eq!(room, [17, 512], "errors change nothing");
    }

    proptest! {
        #[test]
        fn any_shape_that_is_set_is_the_batchs(
            arrays in prop::collection::vec(prop::collection::vec((1usize..9, any::<bool>(), any::<prop::sample::Index>()), 0..5), 1..6),
        ) {
            let specs = arrays.iter().enumerate().map(|(name, axes)| {
                let most: Vec<usize> = axes.iter().map(|(most, ..)| *most).collect();
                let at_most = axes.iter().enumerate().filter(|(_, (_, at_most, _))| *at_most);
                ArraySpec::new(name.to_string(), DType::U16, most).at_most(at_most.map(|(axis, _)| axis))
            });
            let schema = Schema::new(specs.collect::<Vec<_>>()).unwrap();
            let mut room: Vec<usize> = schema.most_lengths().collect();
            let mut lengths = Lengths::new(&schema, &mut room);
            let shapes: Vec<Vec<usize>> = arrays.iter().map(|axes| {
                axes.iter().map(|(most, at_most, index)| if *at_most { index.index(most + 1) } else { *most }).collect()
            }).collect();
            for (array, shape) in shapes.iter().enumerate() {
                lengths.set(array, shape, None).unwrap();
            }
            prop_assert_eq!(schema.too_long(&room), None);
            for (number, (array, shape)) in schema.arrays().iter().zip(&shapes).enumerate() {
                let extent = Extent { rows: None, lengths: &room[schema.lengths_of(number)] };
                let dimensions: IxDyn = array.dimensions(extent).unwrap();
                prop_assert_eq!(dimensions.slice(), &shape[..]);
            }
        }
    }
}
