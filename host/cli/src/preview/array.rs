//! An array of a batch, as numbers: whatever its element type, and however large it is.

use anyhow::Result;
use cobuf_host::half::{bf16, f16};
use cobuf_host::{ArraySpec, Batch, DType, Shape};

/// The most elements that statistics look at; of a larger array they look at a part, evenly.
const MOST_LOOKED_AT: usize = 1 << 24;
/// The number of bars of a histogram.
pub(super) const BARS: usize = 32;

/// An array with the shape that it has in the batch.
pub(super) struct Array<'a> {
    pub(super) spec: &'a ArraySpec,
    pub(super) shape: Vec<usize>,
    bytes: &'a [u8],
}

/// The numbers in an array.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Statistics {
    /// The least and the largest finite number; `None` if there is none.
    pub(super) range: Option<(f64, f64)>,
    /// The mean of the finite numbers.
    mean: f64,
    /// Shares of all elements.
    pub(super) nan: f64,
    infinite: f64,
    /// How many finite numbers are in each part of the range.
    pub(super) histogram: [u64; BARS],
    /// Every such element was looked at.
    step: usize,
}

impl<'a> Array<'a> {
    pub(super) fn of(batch: &'a Batch, index: usize) -> Result<Self> {
        let (spec, bytes) = batch.bytes_at(index)?;
        Ok(Self::new(spec, batch.shape_at(index)?, bytes))
    }

    pub(super) fn new(spec: &'a ArraySpec, shape: Vec<usize>, bytes: &'a [u8]) -> Self {
        Self { spec, shape, bytes }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() / self.dtype().size()
    }

    pub(super) fn dtype(&self) -> DType {
        self.spec.dtype()
    }

    pub(super) fn is_float(&self) -> bool {
        matches!(self.dtype(), DType::F16 | DType::Bf16 | DType::F32 | DType::F64)
    }

    /// Name, type and shape.
    pub(super) fn title(&self) -> String {
        format!("{} {} {}", self.spec.name(), self.dtype(), Shape(&self.shape))
    }

    /// An element, by its position in memory. Integers beyond 2⁵³ are rounded.
    pub(super) fn get(&self, index: usize) -> f64 {
        macro_rules! read {
            ($type:ty) => {{
                const SIZE: usize = size_of::<$type>();
                let bytes = self.bytes.get(index * SIZE..).and_then(|bytes| bytes.first_chunk::<SIZE>());
                <$type>::from_ne_bytes(*bytes.unwrap_or(&[0; SIZE]))
            }};
        }
        match self.dtype() {
            DType::Bool | DType::U8 => read!(u8).into(),
            DType::U16 => read!(u16).into(),
            DType::U32 => read!(u32).into(),
            DType::U64 => read!(u64) as f64,
            DType::I8 => read!(i8).into(),
            DType::I16 => read!(i16).into(),
            DType::I32 => read!(i32).into(),
            DType::I64 => read!(i64) as f64,
            DType::F16 => read!(f16).into(),
            DType::Bf16 => read!(bf16).into(),
            DType::F32 => read!(f32).into(),
            DType::F64 => read!(f64),
        }
    }

    /// An element as text.
    pub(super) fn text(&self, index: usize) -> String {
        match self.dtype() {
            DType::Bool => (self.get(index) != 0.0).to_string(),
            _ => number(self.get(index)),
        }
    }

    pub(super) fn statistics(&self) -> Statistics {
        let mut step = self.len().div_ceil(MOST_LOOKED_AT).max(1);
        // Not the same column or channel each time.
        while step > 1 && gcd(step, self.len()) > 1 {
            step += 1;
        }
        let all = || (0..self.len()).step_by(step).map(|index| self.get(index));
        let mut found = Statistics { step, ..Statistics::default() };
        let (mut finite, mut sum, mut nan, mut infinite) = (0_u64, 0.0, 0_u64, 0_u64);
        for value in all() {
            if value.is_finite() {
                (finite, sum) = (finite + 1, sum + value);
                let (least, most) = found.range.unwrap_or((value, value));
                found.range = Some((least.min(value), most.max(value)));
            } else if value.is_nan() {
                nan += 1;
            } else {
                infinite += 1;
            }
        }
        let share = |part: u64| part as f64 / (finite + nan + infinite).max(1) as f64;
        (found.nan, found.infinite, found.mean) = (share(nan), share(infinite), sum / finite.max(1) as f64);
        if let Some((least, most)) = found.range {
            let width = if most > least { most - least } else { 1.0 };
            for value in all().filter(|value| value.is_finite()) {
                let bar = ((value - least) / width * BARS as f64) as usize;
                found.histogram[bar.min(BARS - 1)] += 1;
            }
        }
        found
    }
}

impl Statistics {
    pub(super) fn text(&self) -> String {
        let mut parts = match self.range {
            Some((least, most)) => vec![
                format!("min {}", number(least)),
                format!("max {}", number(most)),
                format!("mean {}", number(self.mean)),
            ],
            None => vec!["no number".to_owned()],
        };
        for (share, name) in [(self.nan, "NaN"), (self.infinite, "infinite")] {
            if share > 0.0 {
                parts.push(format!("{} {name}", percent(share)));
            }
        }
        if self.step > 1 {
            parts.push(format!("of every {}th element", self.step));
        }
        parts.join(", ")
    }
}

/// A share, not 0 % if there is one.
pub(super) fn percent(share: f64) -> String {
    if share < 0.001 { "less than 0.1 %".to_owned() } else { format!("{:.1} %", share * 100.0) }
}

/// A number with up to four digits behind the point.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    if value.fract() == 0.0 && size < 1e15 {
        format!("{value:.0}")
    } else if value.is_finite() && !(1e-3..1e6).contains(&size) {
        format!("{value:.2e}")
    } else {
        let text = format!("{value:.4}");
        if text.contains('.') { text.trim_end_matches('0').to_owned() } else { text }
    }
}

fn gcd(one: usize, other: usize) -> usize {
    if other == 0 { one } else { gcd(other, one % other) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_leave_out_what_is_no_number() {
        let spec = ArraySpec::new("x", DType::F32, [5]);
        let values = [1.0_f32, f32::NAN, 3.0, f32::INFINITY, 2.0];
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_ne_bytes()).collect();
        let found = Array::new(&spec, vec![5], &bytes).statistics();
        assert_eq!(found.text(), "min 1, max 3, mean 2, 20.0 % NaN, 20.0 % infinite");
        assert_eq!((found.histogram[0], found.histogram[16], found.histogram[31]), (1, 1, 1));
        let none = Array::new(&spec, vec![0], &[]).statistics();
        assert_eq!((none.text(), none.range), ("no number".to_owned(), None));
        let nan = Array::new(&spec, vec![1], &bytes[4..8]).statistics();
        assert_eq!(nan.text(), "no number, 100.0 % NaN");
    }

    #[test]
    fn large_array_is_looked_at_in_part() {
        let spec = ArraySpec::new("x", DType::U8, [1 << 26]);
        let bytes: Vec<u8> = (0..1 << 26).map(|index| (index % 4) as u8).collect();
        let found = Array::new(&spec, vec![1 << 26], &bytes).statistics();
        assert_eq!(found.text(), "min 0, max 3, mean 1.5, of every 5th element");
    }

    #[test]
    fn numbers_are_short() {
        for (value, text) in
            [(7.0, "7"), (-0.5, "-0.5"), (1.0 / 3.0, "0.3333"), (1e-9, "1.00e-9"), (f64::NAN, "NaN")]
        {
            assert_eq!(number(value), text);
        }
    }
}
