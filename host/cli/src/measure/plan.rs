//! The time and the number of measurements. They are made in turns, so that disturbances by other
//! programs affect all of them alike.
//!
//! ```text
//!   round 1    in order   any order   baseline
//!   round 2    in order   any order   baseline
//!   …          each for seconds / (rounds × things)
//! ```

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};

use super::samples::Samples;
use crate::progress::say;
use crate::signals::Signals;

/// The time and the number of measurements.
#[derive(Debug)]
pub struct Plan {
    /// The time for a case, all rounds and measurements together.
    pub time: Duration,
    rounds: usize,
    /// The signals, which are checked between two measurements.
    pub signals: Signals,
}

impl Plan {
    /// A plan for this many seconds and rounds.
    ///
    /// # Errors
    /// If either is 0 or no number, or the signals cannot be handled.
    pub fn new(seconds: f64, rounds: usize) -> Result<Self> {
        let wrong = || format!("--seconds is {seconds}, expected a number of seconds above 0");
        let time = Duration::try_from_secs_f64(seconds).ok().filter(|time| !time.is_zero());
        let time = time.with_context(wrong)?;
        ensure!(rounds > 0, "--runs is 0, expected 1 or more");
        Ok(Self { time, rounds, signals: Signals::install()? })
    }

    /// Calls `measure` for each of the things once in each round, with the time for it. Returns the
    /// measurements of each thing, in the order of the rounds. A signal ends that after the last
    /// complete round, if there is one.
    ///
    /// # Errors
    /// The first of a measurement, or if a signal came before the first round was complete.
    pub fn rounds<T: Copy, R>(
        &self,
        things: &[T],
        mut measure: impl FnMut(T, Duration) -> Result<R>,
    ) -> Result<Vec<Vec<R>>> {
        let measurements = self.rounds * things.len();
        let window = self.time / u32::try_from(measurements).context("there is too much to measure")?;
        let bar = bar(measurements as u64);
        let mut measured: Vec<Vec<R>> = things.iter().map(|_| Vec::new()).collect();
        for round in 0..self.rounds {
            let mut round_of = |thing| {
                self.signals.check()?;
                measure(thing, window).inspect(|_| bar.inc(1))
            };
            let results: Result<Vec<R>> = things.iter().map(|&thing| round_of(thing)).collect();
            match results {
                Ok(results) => measured.iter_mut().zip(results).for_each(|(all, one)| all.push(one)),
                Err(_) if round > 0 && self.signals.exit_code().is_some() => {
                    bar.suspend(|| {
                        say(&format!("stopped by a signal after {round} of {} rounds", self.rounds));
                    });
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        bar.finish_and_clear();
        Ok(measured)
    }

    /// As [`rounds`](Self::rounds), for numbers.
    pub fn samples<T: Copy, const N: usize>(
        &self,
        things: [T; N],
        measure: impl FnMut(T, Duration) -> Result<f64>,
    ) -> Result<[Samples; N]> {
        let mut measured = self.rounds(&things, measure)?.into_iter();
        Ok(things.map(|_| measured.next().into_iter().flatten().collect()))
    }
}

/// Shown on a terminal only, and drawn between measurements only.
fn bar(measurements: u64) -> ProgressBar {
    let bar = ProgressBar::new(measurements);
    // The template is a constant, so it is valid or every run would show it.
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} measurements");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
