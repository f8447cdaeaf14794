//! Element types of arrays: the closed set that every slot, schema and view uses.
//!
//! Invariant: an element type has no padding, and its size and alignment are the same in every
//! process. So the bytes that a producer writes are the bytes that a consumer reads.

use std::fmt;

use bytemuck::{CheckedBitPattern, NoUninit};
use half::{bf16, f16};
use serde::{Deserialize, Serialize};

/// The largest size of one element, in bytes, which is also the largest alignment.
pub const MAX_ELEMENT_BYTES: usize = 8;

mod sealed {
    pub trait Sealed {}
}

/// A Rust type that an array can have as its element. It is sealed: the types are those of
/// [`DType`].
pub trait Element: sealed::Sealed + NoUninit + CheckedBitPattern + fmt::Debug + PartialEq + 'static {
    /// The element type as a value.
    const DTYPE: DType;
}

macro_rules! dtypes {
    ($( $variant:ident $type:ty => $name:literal, $doc:literal; )*) => {
        /// The type of an array's elements.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
        pub enum DType {
            $( #[doc = $doc] #[serde(rename = $name)] $variant, )*
        }

        impl DType {
            /// All element types.
            pub const ALL: &[DType] = &[$( DType::$variant ),*];

            /// The name in schemas, configurations and error messages, such as `f32`.
            pub const fn name(self) -> &'static str {
                match self { $( DType::$variant => $name, )* }
            }

            /// The size of one element in bytes.
            pub const fn size(self) -> usize {
                match self { $( DType::$variant => size_of::<$type>(), )* }
            }
        }

        $(
            impl sealed::Sealed for $type {}
            impl Element for $type { const DTYPE: DType = DType::$variant; }
            const _: () = assert!(size_of::<$type>() <= MAX_ELEMENT_BYTES && align_of::<$type>() <= MAX_ELEMENT_BYTES);
        )*
    };
}

dtypes! {
    Bool bool => "bool", "`bool`, one byte that is 0 or 1.";
    U8 u8 => "u8", "Unsigned, 8 bits.";
    U16 u16 => "u16", "Unsigned, 16 bits.";
    U32 u32 => "u32", "Unsigned, 32 bits.";
    U64 u64 => "u64", "Unsigned, 64 bits.";
    I8 i8 => "i8", "Signed, 8 bits.";
    I16 i16 => "i16", "Signed, 16 bits.";
    I32 i32 => "i32", "Signed, 32 bits.";
    I64 i64 => "i64", "Signed, 64 bits.";
    F16 f16 => "f16", "IEEE 754 binary16 ([`half::f16`]).";
    Bf16 bf16 => "bf16", "The upper half of an `f32` ([`half::bf16`]).";
    F32 f32 => "f32", "IEEE 754 binary32.";
    F64 f64 => "f64", "IEEE 754 binary64.";
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
