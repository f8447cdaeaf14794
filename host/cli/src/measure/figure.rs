//! The result of a case: a figure, the baselines that were measured beside it, and whether the goal
//! is met.

use serde::Serialize;

use super::samples::Samples;

/// One thing that was measured.
#[derive(Debug, Serialize)]
pub struct Figure {
    /// The name of the figure.
    pub what: String,
    /// Its unit.
    pub unit: &'static str,
    /// One value for each round.
    pub measured: Samples,
    /// The baselines, measured in the same rounds.
    pub baselines: Vec<Baseline>,
    /// The goal, if there is one.
    pub goal: Option<Goal>,
}

/// A figure for comparison.
#[derive(Debug, Serialize)]
pub struct Baseline {
    /// The name of the baseline.
    pub what: String,
    /// One value for each round.
    pub measured: Samples,
    /// The figure divided by the baseline.
    pub ratio: Samples,
}

/// A bound for the figure, or for its ratio to the first baseline.
#[derive(Debug, Serialize)]
pub struct Goal {
    /// The number that has the bound.
    pub of: Of,
    /// The bound.
    #[serde(flatten)]
    pub bound: Bound,
    /// Whether the median meets it.
    pub met: bool,
}

/// The number whose median has a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Of {
    /// The figure itself.
    Figure,
    /// Its ratio to the first baseline.
    Ratio,
}

/// The bound of a goal.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// This much or less.
    AtMost(f64),
    /// This much or more.
    AtLeast(f64),
}

impl Bound {
    /// Whether a value meets the bound. NaN meets none.
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }
}

impl Figure {
    /// A figure without baselines and goal.
    pub fn new(what: impl Into<String>, unit: &'static str, measured: Samples) -> Self {
        Self { what: what.into(), unit, measured, baselines: Vec::new(), goal: None }
    }

    /// Adds a baseline, measured in the same rounds.
    pub fn beside(mut self, what: impl Into<String>, measured: Samples) -> Self {
        let ratio = self.measured.ratio_to(&measured);
        self.baselines.push(Baseline { what: what.into(), measured, ratio });
        self
    }

    /// Sets a goal for the figure itself.
    pub fn should_be(mut self, bound: Bound) -> Self {
        let met = bound.is_met(self.measured.median());
        self.goal = Some(Goal { of: Of::Figure, bound, met });
        self
    }

    /// Sets a goal for the ratio to the first baseline.
    pub fn ratio_should_be(mut self, bound: Bound) -> Self {
        let ratio = self.baselines.first().map_or(f64::NAN, |baseline| baseline.ratio.median());
        self.goal = Some(Goal { of: Of::Ratio, bound, met: bound.is_met(ratio) });
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(value: f64) -> Samples {
        [value].into_iter().collect()
    }

    fn is_met(figure: &Figure) -> bool {
        figure.goal.as_ref().is_some_and(|goal| goal.met)
    }

    #[test]
    fn goal_is_met_up_to_its_bound() {
        let figure = |bound| Figure::new("x", "µs", samples(2.0)).should_be(bound);
        assert!(is_met(&figure(Bound::AtMost(2.0))) && !is_met(&figure(Bound::AtMost(1.9))));
        assert!(is_met(&figure(Bound::AtLeast(2.0))) && !is_met(&figure(Bound::AtLeast(2.1))));
    }

    #[test]
    fn ratio_is_judged_against_the_first_baseline() {
        let figure = Figure::new("x", "µs", samples(3.0)).beside("a", samples(2.0)).beside("b", samples(1.0));
        assert!(is_met(&figure.ratio_should_be(Bound::AtMost(1.5))));
        let alone = Figure::new("x", "µs", samples(3.0)).ratio_should_be(Bound::AtMost(9.0));
        assert!(!is_met(&alone));
    }
}
