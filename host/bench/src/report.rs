//! The output: lines for people as each case is done, or one JSON object for machines at the end.

use std::fmt;

use cobuf::measure::figure::Figure;
use cobuf::measure::machine::Machine;
use serde::Serialize;

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    #[serde(flatten)]
    pub(crate) machine: Machine,
    /// How many seconds each case was measured.
    pub(crate) seconds: f64,
    pub(crate) cases: Vec<CaseReport>,
}

/// The findings of a case.
#[derive(Debug, Serialize)]
pub(crate) struct CaseReport {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) figures: Vec<Figure>,
}

impl fmt::Display for CaseReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{}: {}", self.name, self.title)?;
        self.figures.iter().try_for_each(|figure| write!(f, "\n{figure}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cobuf::measure::figure::Bound;
    use cobuf::measure::samples::Samples;

    #[test]
    fn a_case_is_printed_with_figures_baselines_and_goals() {
        let samples = |values: [f64; 3]| values.into_iter().collect::<Samples>();
        let figure = Figure::new("in order", "µs a batch", samples([1.5, 1.4, 1.6]));
        let figure = figure.beside("a ring", samples([3.0; 3])).ratio_should_be(Bound::AtMost(0.25));
        let case = CaseReport { name: "tiny", title: "hand-over", figures: vec![figure] };
        let lines: Vec<String> = case
            .to_string()
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(
            lines,
            [
                "",
                "tiny: hand-over",
                "in order 1.50 µs a batch (1.40 to 1.60)",
                "beside a ring 3.00, ratio 0.500 (0.467 to 0.533), goal at most 0.25: missed"
            ]
        );
    }
}
