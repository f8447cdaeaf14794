//! Figures as text.

use std::fmt;

use super::figure::{Bound, Figure, Goal, Of};
use super::samples::Samples;

/// The column in which figures begin.
const WIDTH: usize = 54;

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

/// The least and the greatest value; empty if they are the same, as for a computed figure.
fn spread(samples: &Samples) -> String {
    let (min, max) = (samples.min(), samples.max());
    if min < max { format!(" ({} to {})", number(min), number(max)) } else { String::new() }
}

/// A number with three digits, or with all digits before the point.
fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        small if small >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
