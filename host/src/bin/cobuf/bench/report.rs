//! What is printed: lines for people as each case is done, one JSON object for machines at the end.

use std::fmt;

use serde::Serialize;

use super::figure::{Bound, Figure, Goal, Of};
use super::machine::Machine;
use super::samples::Samples;

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    #[serde(flatten)]
    pub(crate) machine: Machine,
    /// For how long each case was measured.
    pub(crate) seconds: f64,
    pub(crate) cases: Vec<CaseReport>,
}

/// What a case found.
#[derive(Debug, Serialize)]
pub(crate) struct CaseReport {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) figures: Vec<Figure>,
}

/// The column in which figures begin.
const WIDTH: usize = 54;

impl fmt::Display for CaseReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{}: {}", self.name, self.title)?;
        self.figures.iter().try_for_each(|figure| write!(f, "\n{figure}"))
    }
}

/// ```text
///   in order                          1.52 µs a batch (1.45 to 1.63), goal at most 1.00: missed
///     any order                       1.43 (1.40 to 1.50), ratio 1.06 (1.02 to 1.10)
/// ```
impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = |of| self.goal.as_ref().filter(|goal| goal.of == of).map(ToString::to_string);
        let line = format!("  {}", self.what);
        write!(f, "{line:WIDTH$} {} {}", number(self.measured.median()), self.unit)?;
        write!(f, "{}{}", spread(&self.measured), said(Of::Figure).unwrap_or_default())?;
        for (index, baseline) in self.baselines.iter().enumerate() {
            let line = format!("    beside {}", baseline.what);
            let measured = &baseline.measured;
            write!(f, "\n{line:WIDTH$} {}{}", number(measured.median()), spread(measured))?;
            write!(f, ", ratio {}{}", number(baseline.ratio.median()), spread(&baseline.ratio))?;
            if index == 0 {
                f.write_str(&said(Of::Ratio).unwrap_or_default())?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, bound) = match self.bound {
            Bound::AtMost(most) => ("at most", most),
            Bound::AtLeast(least) => ("at least", least),
        };
        write!(f, ", goal {word} {bound}: {}", if self.met { "met" } else { "missed" })
    }
}

/// Nothing where there is none, as of what was computed.
fn spread(samples: &Samples) -> String {
    let (min, max) = (samples.min(), samples.max());
    if min < max { format!(" ({} to {})", number(min), number(max)) } else { String::new() }
}

/// Three digits, or all of those before the point.
fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        small if small >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_a_case_look_like() {
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
