//! The content of a slot: named arrays, each with an element type and a shape.
//!
//! A [`Schema`] is checked when it is made, and also when it arrives from another process. So its
//! holder can rely on these rules: names differ, every dimension is at least 1, the size in bytes
//! fits the address space, and the axes that are *at most* n exist, in ascending order. The lengths
//! that a batch has along such axes are in `lengths.rs`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::dtype::DType;

/// The most arrays in one slot.
pub const MAX_ARRAYS: usize = 32;
/// The most dimensions of one array, as in NumPy 1.
pub const MAX_DIMENSIONS: usize = 32;
/// The longest name of an array, in bytes of UTF-8.
pub const MAX_ARRAY_NAME_BYTES: usize = 128;
/// The largest slot, in bytes: 1 TiB. The machine's free memory is checked when the host reserves
/// the slots.
pub const MAX_SLOT_BYTES: usize = 1 << 40;

/// One array of a slot: its name, element type and shape.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ArraySpec {
    /// The array's name, unique in its slot.
    name: String,
    /// The type of its elements.
    dtype: DType,
    /// Its dimensions, outermost first; empty for a single number.
    shape: Vec<usize>,
    /// The axes, from 0, along which each batch has a length of its own, from 0 to the dimension in
    /// `shape`. Default: none.
    // Left out if there is none: hosts of before this field then load the plugin, and refuse one
    // that has such axes by the field that they do not know.
    #[serde(default, skip_serializing_if = "is_empty")]
    at_most: Box<[usize]>,
}

impl ArraySpec {
    /// An array `name` with elements of `dtype` and dimensions `shape`, outermost first (row-major,
    /// as the default of ndarray and NumPy). An empty shape is a single number. The values are
    /// checked when the array becomes part of a [`Schema`].
    pub fn new(name: impl Into<String>, dtype: DType, shape: impl Into<Vec<usize>>) -> Self {
        Self { name: name.into(), dtype, shape: shape.into(), at_most: Box::default() }
    }

    /// The same array with these axes, counted from 0, *at most* as long as declared: each batch
    /// has a length of its own along them, from 0 to the declared one, which
    /// [`Slot::set_shape`](crate::Slot::set_shape) says. Default: none, every batch has the
    /// declared shape. A batch's array is packed: the elements of its own shape follow each other,
    /// row-major, from the array's first byte.
    ///
    /// ```
    /// use cobuf_plugin_api::{ArraySpec, DType};
    ///
    /// let boxes = ArraySpec::new("boxes", DType::F32, [200, 4]).at_most([0]);
    /// assert_eq!(boxes.to_string(), "boxes f32 (≤200, 4)");
    /// ```
    #[must_use]
    pub fn at_most(mut self, axes: impl IntoIterator<Item = usize>) -> Self {
        self.at_most = self.at_most.into_iter().chain(axes).collect();
        self.order_axes();
        self
    }

    /// The axes that are *at most* as long as declared, in ascending order; empty if every batch
    /// has the declared shape.
    pub fn at_most_axes(&self) -> &[usize] {
        &self.at_most
    }

    fn order_axes(&mut self) {
        let mut axes = std::mem::take(&mut self.at_most).into_vec();
        axes.sort_unstable();
        axes.dedup();
        self.at_most = axes.into();
    }

    /// The name, unique in its schema.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The dimensions, outermost first; empty for a single number. Along the axes of
    /// [`at_most_axes`](Self::at_most_axes) they are the most that a batch may have.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The number of bytes of the whole array, as long as it may be.
    pub fn bytes(&self) -> usize {
        self.elements() * self.dtype.size()
    }

    /// The number of elements of the whole array, as long as it may be.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// The number of bytes of one row, which is an entry along the first axis. If the array has no
    /// axis, it is one element.
    pub fn row_bytes(&self) -> usize {
        self.shape.iter().skip(1).product::<usize>() * self.dtype.size()
    }

    /// The shape as texts show it: `(≤200, 4)`.
    pub fn shape_text(&self) -> impl fmt::Display {
        fmt::from_fn(|f| {
            write_shape(
                f,
                self.shape.iter().enumerate().map(|(axis, n)| {
                    let at_most = if self.at_most.contains(&axis) { "≤" } else { "" };
                    fmt::from_fn(move |f| write!(f, "{at_most}{n}"))
                }),
            )
        })
    }

    fn check(&self) -> Result<(), SchemaError> {
        let name = || self.name.clone();
        if self.name.is_empty() || self.name.len() > MAX_ARRAY_NAME_BYTES {
            return Err(SchemaError::Name { name: name() });
        }
        if self.shape.len() > MAX_DIMENSIONS {
            return Err(SchemaError::Dimensions { name: name(), dimensions: self.shape.len() });
        }
        if let Some(&axis) = self.at_most.iter().find(|&&axis| axis >= self.shape.len()) {
            return Err(SchemaError::Axis { name: name(), axis, dimensions: self.shape.len() });
        }
        if self.shape.contains(&0) {
            return Err(SchemaError::EmptyDimension { name: name(), shape: self.shape.clone() });
        }
        let bytes = self.shape.iter().try_fold(self.dtype.size(), |bytes, &n| bytes.checked_mul(n));
        match bytes {
            Some(bytes) if bytes <= MAX_SLOT_BYTES => Ok(()),
            _ => Err(SchemaError::TooLarge { name: name() }),
        }
    }
}

#[expect(clippy::borrowed_box, reason = "serde passes the field")]
fn is_empty(axes: &Box<[usize]>) -> bool {
    axes.is_empty()
}

/// `image u8 (32, 224, 224, 3)`, or `boxes f32 (≤200, 4)` with an axis that is at most 200.
impl fmt::Display for ArraySpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.name, self.dtype, self.shape_text())
    }
}

/// Prints a shape as NumPy does: `(12, 284, 284, 3)`, or `(12,)` for a single dimension.
#[derive(Debug, Clone, Copy)]
pub struct Shape<'a>(pub &'a [usize]);

impl fmt::Display for Shape<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_shape(f, self.0.iter())
    }
}

fn write_shape(
    f: &mut fmt::Formatter<'_>,
    lengths: impl ExactSizeIterator<Item = impl fmt::Display>,
) -> fmt::Result {
    let end = if lengths.len() == 1 { ",)" } else { ")" };
    f.write_str("(")?;
    for (axis, length) in lengths.enumerate() {
        write!(f, "{}{length}", if axis == 0 { "" } else { ", " })?;
    }
    f.write_str(end)
}

/// The arrays of a slot, in the order in which they are declared.
///
/// ```
/// use cobuf_plugin_api::{ArraySpec, DType, Schema};
///
/// let schema = Schema::new([
///     ArraySpec::new("image", DType::U8, [32, 224, 224, 3]),
///     ArraySpec::new("label", DType::I64, [32]),
/// ])?;
/// assert_eq!(schema.bytes(), 32 * 224 * 224 * 3 + 32 * 8);
/// assert_eq!(schema.rows(), Some(32));
/// # Ok::<(), cobuf_plugin_api::SchemaError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<ArraySpec>", into = "Vec<ArraySpec>")]
pub struct Schema {
    arrays: Vec<ArraySpec>,
}

impl Schema {
    /// Checks the arrays and makes a schema of them.
    ///
    /// # Errors
    /// [`SchemaError`]: there are no arrays or more than [`MAX_ARRAYS`]; a name is empty, longer
    /// than [`MAX_ARRAY_NAME_BYTES`] or taken; a dimension is 0; an array has more than
    /// [`MAX_DIMENSIONS`] dimensions, or lacks an axis that is to be at most as long as declared;
    /// the arrays have more than [`MAX_SLOT_BYTES`] bytes.
    pub fn new(arrays: impl Into<Vec<ArraySpec>>) -> Result<Self, SchemaError> {
        let mut arrays = arrays.into();
        // Decoded ones may come in any order.
        arrays.iter_mut().for_each(ArraySpec::order_axes);
        if arrays.is_empty() || arrays.len() > MAX_ARRAYS {
            return Err(SchemaError::Count { count: arrays.len() });
        }
        let mut total = 0;
        for (index, array) in arrays.iter().enumerate() {
            array.check()?;
            if arrays[..index].iter().any(|earlier| earlier.name == array.name) {
                return Err(SchemaError::Duplicate { name: array.name.clone() });
            }
            total += array.bytes();
            if total > MAX_SLOT_BYTES {
                return Err(SchemaError::TooLarge { name: array.name.clone() });
            }
        }
        Ok(Self { arrays })
    }

    /// The arrays, in their order.
    pub fn arrays(&self) -> &[ArraySpec] {
        &self.arrays
    }

    /// The position of the array `name`; `None` if there is no such array.
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.arrays.iter().position(|array| array.name == name)
    }

    /// The number of bytes of all arrays together, without padding between them.
    pub fn bytes(&self) -> usize {
        self.arrays.iter().map(ArraySpec::bytes).sum()
    }

    /// The number of rows of a full batch, which is the length of the first axis. `None` if the
    /// arrays do not share a first axis. An array whose first axis is [at most](ArraySpec::at_most)
    /// n has a length of its own and no rows: it takes no part in this.
    pub fn rows(&self) -> Option<usize> {
        let mut with_rows = self.arrays.iter().filter(|array| array.at_most.first() != Some(&0));
        let rows = *with_rows.next()?.shape.first()?;
        with_rows.all(|array| array.shape.first() == Some(&rows)).then_some(rows)
    }

    /// The names, for error messages: `image, label`.
    pub fn names(&self) -> String {
        self.arrays.iter().map(ArraySpec::name).collect::<Vec<_>>().join(", ")
    }
}

/// `image u8 (32, 224, 224, 3), label i64 (32,)`
impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, array) in self.arrays.iter().enumerate() {
            write!(f, "{}{array}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl TryFrom<Vec<ArraySpec>> for Schema {
    type Error = SchemaError;

    fn try_from(arrays: Vec<ArraySpec>) -> Result<Self, SchemaError> {
        Self::new(arrays)
    }
}

impl From<Schema> for Vec<ArraySpec> {
    fn from(schema: Schema) -> Self {
        schema.arrays
    }
}

/// Why arrays cannot form a [`Schema`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// There are no arrays, or too many.
    #[error("a schema has {count} arrays, expected 1 to {MAX_ARRAYS}")]
    Count {
        /// The number of arrays.
        count: usize,
    },
    /// A name is empty or too long.
    #[error("the array name {name:?} is empty or longer than {MAX_ARRAY_NAME_BYTES} bytes")]
    Name {
        /// The name.
        name: String,
    },
    /// Two arrays have the same name.
    #[error("two arrays are called {name:?}; give each a name of its own")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// An array has too many dimensions.
    #[error("array {name:?} has {dimensions} dimensions, expected at most {MAX_DIMENSIONS}")]
    Dimensions {
        /// The array's name.
        name: String,
        /// Its number of dimensions.
        dimensions: usize,
    },
    /// An axis that is to be at most as long as declared does not exist.
    #[error(
        "array {name:?} has {dimensions} dimensions, so axis {axis} cannot be at most n; axes are counted from 0"
    )]
    Axis {
        /// The array's name.
        name: String,
        /// The axis, from 0.
        axis: usize,
        /// The array's number of dimensions.
        dimensions: usize,
    },
    /// A dimension is 0.
    #[error("array {name:?} has shape {}, in which every dimension must be at least 1", Shape(shape))]
    EmptyDimension {
        /// The array's name.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// The arrays have more bytes than a slot may have.
    #[error(
        "with array {name:?} the slot is larger than {MAX_SLOT_BYTES} bytes, the most that a slot may have; \
         declare smaller arrays"
    )]
    TooLarge {
        /// The name of the first array that no longer fits.
        name: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_schemas_are_refused() {
        let one = |name: &str, shape: &[usize]| ArraySpec::new(name, DType::F64, shape);
        assert!(matches!(Schema::new([]), Err(SchemaError::Count { count: 0 })));
        assert!(matches!(Schema::new([one("", &[1])]), Err(SchemaError::Name { .. })));
        assert!(matches!(Schema::new([one("a", &[1]), one("a", &[2])]), Err(SchemaError::Duplicate { .. })));
        assert!(matches!(Schema::new([one("a", &[2, 0])]), Err(SchemaError::EmptyDimension { .. })));
        assert!(matches!(Schema::new([one("a", &[1; 33])]), Err(SchemaError::Dimensions { .. })));
        assert_eq!(
            Schema::new([one("a", &[3, 2]).at_most([2])]).unwrap_err().to_string(),
            "array \"a\" has 2 dimensions, so axis 2 cannot be at most n; axes are counted from 0"
        );
        assert!(matches!(Schema::new([one("a", &[usize::MAX, 2])]), Err(SchemaError::TooLarge { .. })));
        let half = one("a", &[MAX_SLOT_BYTES / 16]);
        let too_large = Schema::new([half, one("b", &[MAX_SLOT_BYTES / 16]), one("c", &[1])]);
        assert!(matches!(too_large, Err(SchemaError::TooLarge { name }) if name == "c"));
    }

    #[test]
    fn rows_need_a_common_first_axis() {
        let schema = |second: &[usize]| {
            Schema::new([ArraySpec::new("a", DType::U8, [4, 2]), ArraySpec::new("b", DType::U8, second)])
                .unwrap()
        };
        assert_eq!(schema(&[4]).rows(), Some(4));
        assert_eq!(schema(&[5]).rows(), None);
        assert_eq!(schema(&[]).rows(), None);
    }

    #[test]
    fn array_with_a_first_axis_of_any_length_has_no_part_in_the_rows() {
        let boxes = || ArraySpec::new("boxes", DType::F32, [200, 4]).at_most([0]);
        let mask = |rows| ArraySpec::new("mask", DType::U8, [rows, 9]).at_most([1]);
        let image = ArraySpec::new("image", DType::U8, [8, 3]);
        let rows = |arrays: &[ArraySpec]| Schema::new(arrays).unwrap().rows();
        assert_eq!(rows(&[boxes(), image.clone(), mask(8)]), Some(8));
        assert_eq!(rows(&[image, boxes(), mask(7)]), None);
        assert_eq!(rows(&[boxes()]), None);
    }

    #[test]
    fn axes_of_any_length_are_shown_and_encoded_only_if_there_are_some() {
        let plain = ArraySpec::new("a", DType::U8, [3]);
        assert_eq!(serde_json::to_string(&plain).unwrap(), r#"{"name":"a","dtype":"u8","shape":[3]}"#);
        let tokens = ArraySpec::new("tokens", DType::U32, [8, 512]).at_most([1, 0, 1]);
        assert_eq!(
            (tokens.to_string().as_str(), tokens.at_most_axes()),
            ("tokens u32 (≤8, ≤512)", &[0, 1][..])
        );
        let encoded = r#"[{"name":"tokens","dtype":"u32","shape":[8,512],"at_most":[1,0]}]"#;
        assert_eq!(serde_json::from_str::<Schema>(encoded).unwrap(), Schema::new([tokens]).unwrap());
    }

    #[test]
    fn decoded_schema_is_checked() {
        let error = serde_json::from_str::<Schema>(r#"[{"name":"a","dtype":"u8","shape":[0]}]"#).unwrap_err();
        assert!(error.to_string().contains("every dimension must be at least 1"), "{error}");
        assert!(serde_json::from_str::<Schema>(r#"[{"name":"a","dtype":"complex64","shape":[1]}]"#).is_err());
    }
}
