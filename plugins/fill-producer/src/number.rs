//! Numbers, and their conversion to elements: to the same number or to an error, never to another
//! integer.

use std::cmp::Ordering;
use std::fmt;

use cobuf_plugin_api::half::{bf16, f16};
use cobuf_plugin_api::rand::RngExt as _;
use cobuf_plugin_api::{Element, Rng, Value};

/// A message's number.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Number {
    /// An integer of `i64` or `u64`.
    Int(i128),
    Float(f64),
}

impl Number {
    /// The value as a number; `None` if it is not one.
    pub(crate) fn of(value: &Value) -> Option<Self> {
        match *value {
            Value::Int(value) => Some(Self::Int(value.into())),
            Value::UInt(value) => Some(Self::Int(value.into())),
            Value::Float(value) => Some(Self::Float(value)),
            _ => None,
        }
    }

    /// The number as an integer; `None` if it is not one.
    fn integer(self) -> Option<i128> {
        match self {
            Self::Int(value) => Some(value),
            // A number out of range becomes the largest or smallest `i128`, which is out of every
            // element's range, too.
            Self::Float(value) => (value.fract() == 0.0).then_some(value as i128),
        }
    }

    /// The nearest `f64`.
    fn f64(self) -> f64 {
        match self {
            Self::Int(value) => value as f64,
            Self::Float(value) => value,
        }
    }

    /// The nearest `f32`.
    fn f32(self) -> f32 {
        match self {
            Self::Int(value) => value as f32,
            Self::Float(value) => value as f32,
        }
    }

    /// The number itself if it is an `f32`; otherwise the one of its two `f32` neighbours whose
    /// last bit is 1 ("rounded to odd"). Rounding that to the nearest of a type with fewer bits
    /// gives the same result as rounding the number itself. The nearest `f32` does not, and neither
    /// does `f16::from_f64`, which cuts 32 bits off.
    fn odd_f32(self) -> f32 {
        let nearest = self.f32();
        let order = match self {
            // An integer of `i64` or `u64` is finite in `f32`, and integral.
            Self::Int(value) => Some(value.cmp(&(nearest as i128))),
            Self::Float(value) => value.partial_cmp(&nearest.into()),
        };
        match order {
            Some(Ordering::Less) if nearest.to_bits() & 1 == 0 => nearest.next_down(),
            Some(Ordering::Greater) if nearest.to_bits() & 1 == 0 => nearest.next_up(),
            _ => nearest,
        }
    }

    /// A floating point element made from the number; `None` if the element is infinite and the
    /// number is not.
    fn unless_overflown<T>(self, element: T, is_infinite: bool) -> Option<T> {
        (!is_infinite || self.f64().is_infinite()).then_some(element)
    }
}

/// As in Rust: `1` is an integer, `1.0` is not.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value:?}"),
        }
    }
}

/// An element type that the producer can fill.
pub(crate) trait Fill: Element {
    /// The number as an element; `None` if the type cannot hold it.
    fn from_number(number: Number) -> Option<Self>;

    /// The numbers that the type can hold, for an error message.
    fn holds() -> String;

    /// An element with random bits; from 0 to below 1 if the type is a floating point type.
    fn random(rng: &mut Rng) -> Self;
}

impl Fill for bool {
    fn from_number(number: Number) -> Option<Self> {
        match number.integer()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn holds() -> String {
        "0 and 1".to_owned()
    }

    fn random(rng: &mut Rng) -> Self {
        rng.random()
    }
}

macro_rules! fill_integers {
    ($( $type:ty )*) => { $(
        impl Fill for $type {
            fn from_number(number: Number) -> Option<Self> {
                number.integer()?.try_into().ok()
            }

            fn holds() -> String {
                format!("the integers from {} to {}", Self::MIN, Self::MAX)
            }

            fn random(rng: &mut Rng) -> Self {
                rng.random()
            }
        }
    )* };
}

fill_integers!(u8 u16 u32 u64 i8 i16 i32 i64);

macro_rules! fill_floats {
    ($( $type:ty: |$number:ident| $nearest:expr, |$rng:ident| $random:expr; )*) => { $(
        impl Fill for $type {
            fn from_number($number: Number) -> Option<Self> {
                let nearest = $nearest;
                $number.unless_overflown(nearest, nearest.is_infinite())
            }

            fn holds() -> String {
                format!("the numbers from {:e} to {:e}", Self::MIN, Self::MAX)
            }

            fn random($rng: &mut Rng) -> Self {
                $random
            }
        }
    )* };
}

// f16 has 11 bits, bf16 has 8: random numbers of that many bits are exact, and never rounded up to
// 1.
fill_floats! {
    f16: |number| f16::from_f32(number.odd_f32()), |rng| f16::from_f32(random_bits(rng, 11));
    bf16: |number| bf16::from_f32(number.odd_f32()), |rng| bf16::from_f32(random_bits(rng, 8));
    f32: |number| number.f32(), |rng| rng.random();
    f64: |number| number.f64(), |rng| rng.random();
}

/// A multiple of `2^-bits` from 0 to below 1.
fn random_bits(rng: &mut Rng, bits: u32) -> f32 {
    let integer = rng.random::<u32>() >> (u32::BITS - bits);
    integer as f32 / (1u32 << bits) as f32
}
