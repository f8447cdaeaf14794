//! Finds the number of workers beyond which throughput does not rise.
//!
//! ```text
//!   rate │          ┌──●────────●     doubles while the rate rises by a share that is worth it,
//!        │       ●──┘                 then narrows down to the least number that has
//!        │   ●                        nearly the best rate, and stays there
//!        │ ●
//!        └─1─2───4──6──8────────16─ workers
//! ```
//!
//! The rate is that of finished messages, whoever holds the run up: where that is the consumer, more workers bring nothing, and few are
//! found.

use std::collections::BTreeMap;
use std::time::Instant;

use super::Supervisor;
use super::workers::Life;
use crate::limits::{TUNE_MESSAGES_PER_WORKER, TUNE_WINDOW};
use crate::segment::memory::Segment;
use crate::segment::sync::Ordering;

/// A rate below this share of the best is not as good.
const AS_GOOD: f64 = 0.95;

/// A search over numbers of workers, fed with the rates that were measured.
#[derive(Debug)]
pub(crate) struct Tuner {
    most: usize,
    current: usize,
    /// Messages a second, by number of workers.
    rates: BTreeMap<usize, f64>,
    /// When the present measurement began, and how many messages were finished then; none before all workers are ready.
    window: Option<(Instant, u64)>,
    next_look: Option<Instant>,
}

impl Tuner {
    pub(crate) fn new(workers: usize, most: usize) -> Self {
        let next_look = Some(Instant::now());
        Self { most, current: workers, rates: BTreeMap::new(), window: None, next_look }
    }

    /// When there is something to measure; never again once the number is found.
    pub(super) fn next_look(&self) -> Option<Instant> {
        self.next_look
    }

    /// Takes the rate of the present number of workers; gives the number to try next, or `None` once it is found.
    fn learn(&mut self, rate: f64) -> Option<usize> {
        self.rates.insert(self.current, rate);
        let next = self.next_to_try();
        self.current = next.unwrap_or(self.found());
        next
    }

    fn next_to_try(&self) -> Option<usize> {
        let (&tried, &rate) = self.rates.last_key_value()?;
        let before = self.rates.iter().rev().nth(1).map_or(0.0, |(_, &rate)| rate);
        let rises = self.rates.len() == 1 || before < AS_GOOD * rate;
        if tried < self.most && rises {
            return Some((tried * 2).min(self.most));
        }
        let found = self.found();
        let below = self.rates.range(..found).next_back().map_or(0, |(&number, _)| number);
        (found - below > 1).then(|| below + (found - below) / 2)
    }

    /// The least number that was measured to be as good as the best.
    fn found(&self) -> usize {
        let best = self.rates.values().copied().fold(0.0, f64::max);
        let good = self.rates.iter().find(|(_, rate)| **rate >= AS_GOOD * best);
        good.map_or(self.current, |(&number, _)| number)
    }
}

/// How many messages the workers in so many places have done, by what they say.
pub(crate) fn produced(segment: &Segment, places: usize) -> u64 {
    let places = &segment.worker_places()[..places];
    // A plugin may have written over them.
    places.iter().map(|place| place.produced.load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
}

impl Supervisor {
    /// Measures, and changes the number of workers, where it is time.
    pub(super) fn tune(&mut self) {
        let (now, target) = (Instant::now(), self.target());
        let mut places = self.places(self.current).take(target);
        let all_ready = places.all(|place| self.workers[place.index()].life == Life::Ready);
        let Some(tuner) = self.tuner.as_mut().filter(|tuner| tuner.next_look.is_some_and(|at| at <= now))
        else {
            return;
        };
        tuner.next_look = Some(now + TUNE_WINDOW);
        let finished = produced(&self.stream.segment, self.workers.len());
        if !all_ready {
            tuner.window = None;
            return;
        }
        let (begun, before) = *tuner.window.get_or_insert((now, finished));
        let (seconds, messages) = ((now - begun).as_secs_f64(), finished.saturating_sub(before));
        // Half a window's tolerance: timers are late at times, never early.
        if now - begun < TUNE_WINDOW / 2 || messages < TUNE_MESSAGES_PER_WORKER * target as u64 {
            return;
        }
        tuner.window = None;
        let rate = messages as f64 / seconds;
        tracing::debug!(workers = target, rate, "measured");
        let next = tuner.learn(rate);
        if next.is_none() {
            tuner.next_look = None;
            tracing::info!(workers = tuner.current, "more workers bring nothing");
        }
        let number = tuner.current;
        if number != target {
            self.set_workers(number);
        }
    }
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;

    /// The number that is found where this is the rate, and how many were tried.
    fn search(most: usize, rate: impl Fn(usize) -> f64) -> (usize, usize) {
        let mut tuner = Tuner::new(1, most);
        while tuner.learn(rate(tuner.current)).is_some() {}
        (tuner.current, tuner.rates.len())
    }

    #[test]
    fn is_the_number_found_beyond_which_the_rate_does_not_rise() {
        for cores in 1..40 {
            let (found, tried) = search(64, |workers| workers.min(cores) as f64);
            // Nearly as good is good enough.
            assert!(found <= cores && found as f64 >= 0.95 * cores as f64, "{found} for {cores}");
            assert!(tried <= 12, "{tried}");
        }
    }

    #[test]
    fn is_a_rate_that_falls_again_not_followed() {
        assert_eq!(search(64, |workers| if workers <= 4 { workers as f64 } else { 3.0 }).0, 4);
        assert_eq!(search(64, |_| 1.0).0, 1);
    }

    #[test]
    fn does_it_keep_to_the_most_that_was_allowed() {
        assert_eq!(search(6, |workers| workers as f64).0, 6);
        assert_eq!(search(1, |workers| workers as f64).0, 1);
    }
}
