//! Repeated measurements: medians, spreads, percentiles.

use serde::{Serialize, Serializer};
use serde_json::json;

/// The measurements of one thing, in the order of the rounds.
#[derive(Debug, Clone, PartialEq)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// The middle value, or the mean of the two in the middle. NaN without values.
    pub fn median(&self) -> f64 {
        let sorted = sorted(self.0.clone());
        let middle = sorted.len() / 2;
        match sorted.len() {
            0 => f64::NAN,
            even if even % 2 == 0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
            _ => sorted[middle],
        }
    }

    /// The least value; NaN without values.
    pub fn min(&self) -> f64 {
        self.0.iter().copied().fold(f64::NAN, f64::min)
    }

    /// The greatest value; NaN without values.
    pub fn max(&self) -> f64 {
        self.0.iter().copied().fold(f64::NAN, f64::max)
    }

    /// The differences, round by round.
    pub fn minus(&self, other: &Self) -> Self {
        self.0.iter().zip(&other.0).map(|(one, other)| one - other).collect()
    }

    /// The ratios, round by round: a disturbance in a round affects both of its measurements.
    pub fn ratio_to(&self, base: &Self) -> Self {
        self.0.iter().zip(&base.0).map(|(one, base)| one / base).collect()
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(samples: I) -> Self {
        Self(samples.into_iter().collect())
    }
}

impl Serialize for Samples {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (median, min, max) = (self.median(), self.min(), self.max());
        json!({ "median": median, "min": min, "max": max, "rounds": self.0 }).serialize(serializer)
    }
}

/// The least value such that this share of all values, 0 to 1, is not above it.
pub fn percentile(values: impl IntoIterator<Item = f64>, share: f64) -> f64 {
    let sorted = sorted(values.into_iter().collect());
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn samples(values: &[f64]) -> Samples {
        values.iter().copied().collect()
    }

    #[test]
    fn median_and_spread_of_few_values() {
        let odd = samples(&[3.0, 1.0, 2.0]);
        assert_eq!((odd.median(), odd.min(), odd.max()), (2.0, 1.0, 3.0));
        assert_eq!(samples(&[4.0, 1.0, 2.0, 3.0]).median(), 2.5);
        assert_eq!(samples(&[7.0]).median(), 7.0);
    }

    #[test]
    fn ratio_is_made_round_by_round() {
        assert_eq!(samples(&[2.0, 9.0]).ratio_to(&samples(&[1.0, 3.0])), samples(&[2.0, 3.0]));
    }

    #[test]
    fn percentile_is_the_value_at_its_rank() {
        let hundred = || (1..=100).rev().map(f64::from);
        assert_eq!(percentile(hundred(), 0.5), 50.0);
        assert_eq!(percentile(hundred(), 0.99), 99.0);
        assert_eq!((percentile(hundred(), 0.0), percentile(hundred(), 1.0)), (1.0, 100.0));
        assert_eq!(percentile([7.0], 0.99), 7.0);
    }

    proptest! {
        #[test]
        fn median_has_as_many_values_below_as_above(values in prop::collection::vec(-1e9..1e9, 1..50)) {
            let samples = samples(&values);
            let median = samples.median();
            let below = values.iter().filter(|&&value| value < median).count();
            let above = values.iter().filter(|&&value| value > median).count();
            prop_assert!(below <= values.len() / 2 && above <= values.len() / 2);
            prop_assert!(samples.min() <= median && median <= samples.max());
        }
    }
}
