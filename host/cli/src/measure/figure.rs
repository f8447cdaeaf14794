//! What a case says: a figure, the baselines that were measured beside it, and whether the goal is met.

use serde::Serialize;

use super::samples::Samples;

/// One thing that was measured.
#[derive(Debug, Serialize)]
pub struct Figure {
    /// What was measured.
    pub what: String,
    /// Its unit.
    pub unit: &'static str,
    /// One value a round.
    pub measured: Samples,
    /// What was measured beside it, in the same rounds.
    pub baselines: Vec<Baseline>,
    /// What it should be, if there is a goal.
    pub goal: Option<Goal>,
}

/// What the figure is compared with.
#[derive(Debug, Serialize)]
pub struct Baseline {
    /// What was measured.
    pub what: String,
    /// One value a round.
    pub measured: Samples,
    /// The figure divided by it.
    pub ratio: Samples,
}

/// What the figure, or its ratio to the first baseline, should be.
#[derive(Debug, Serialize)]
pub struct Goal {
    /// What the goal is for.
    pub of: Of,
    /// What it asks for.
    #[serde(flatten)]
    pub bound: Bound,
    /// Whether the median meets it.
    pub met: bool,
}

/// Whose median has a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Of {
    /// The figure itself.
    Figure,
    /// Its ratio to the first baseline.
    Ratio,
}

/// What a goal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// This much or less.
    AtMost(f64),
    /// This much or more.
    AtLeast(f64),
}

impl Bound {
    /// A value that cannot be compared meets nothing.
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

    /// The goal for the figure itself.
    pub fn should_be(mut self, bound: Bound) -> Self {
        let met = bound.is_met(self.measured.median());
        self.goal = Some(Goal { of: Of::Figure, bound, met });
        self
    }

    /// The goal for its ratio to the first baseline.
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
    fn is_a_goal_met_up_to_its_bound() {
        let figure = |bound| Figure::new("x", "µs", samples(2.0)).should_be(bound);
        assert!(is_met(&figure(Bound::AtMost(2.0))) && !is_met(&figure(Bound::AtMost(1.9))));
        assert!(is_met(&figure(Bound::AtLeast(2.0))) && !is_met(&figure(Bound::AtLeast(2.1))));
    }

    #[test]
    fn is_a_ratio_judged_against_the_first_baseline() {
        let figure = Figure::new("x", "µs", samples(3.0)).beside("a", samples(2.0)).beside("b", samples(1.0));
        assert!(is_met(&figure.ratio_should_be(Bound::AtMost(1.5))));
        let alone = Figure::new("x", "µs", samples(3.0)).ratio_should_be(Bound::AtMost(9.0));
        assert!(!is_met(&alone));
    }
}
