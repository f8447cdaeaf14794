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
//! The rate is that of finished messages. If the consumer is the slowest part, more workers bring
//! nothing, and few are found.

use std::collections::BTreeMap;
use std::time::Instant;

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
    /// When the present measurement began, and how many messages were finished then; none before
    /// all workers are ready.
    window: Option<(Instant, u64)>,
    next_look: Option<Instant>,
}

impl Tuner {
    pub(crate) fn new(workers: usize, most: usize, now: Instant) -> Self {
        Self { most, current: workers, rates: BTreeMap::new(), window: None, next_look: Some(now) }
    }

    /// When there is something to measure; never again once the number is found.
    pub(super) fn next_look(&self) -> Option<Instant> {
        self.next_look
    }

    /// Whether it is time to measure.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.next_look.is_some_and(|at| at <= now)
    }

    /// Measures by the number of messages that are finished by now, which count once all workers
    /// are ready; gives the number of workers to have from now on, if it is not their present one.
    pub(super) fn measure(
        &mut self,
        workers: usize,
        all_ready: bool,
        finished: u64,
        now: Instant,
    ) -> Option<usize> {
        self.next_look = Some(now + TUNE_WINDOW);
        if !all_ready {
            self.window = None;
            return None;
        }
        let (begun, before) = *self.window.get_or_insert((now, finished));
        let (seconds, messages) = ((now - begun).as_secs_f64(), finished.saturating_sub(before));
        // Half a window's tolerance: timers are late at times, never early.
        if now - begun < TUNE_WINDOW / 2 || messages < TUNE_MESSAGES_PER_WORKER * workers as u64 {
            return None;
        }
        self.window = None;
        let rate = messages as f64 / seconds;
        tracing::debug!(workers, rate, "measured");
        if self.learn(rate).is_none() {
            self.next_look = None;
            tracing::info!(workers = self.current, "more workers bring nothing");
        }
        (self.current != workers).then_some(self.current)
    }

    /// Takes the rate of the present number of workers; gives the number to try next, or `None`
    /// once it is found.
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

/// How many messages the workers in so many places have done, by their own counts.
pub(crate) fn produced(segment: &Segment, places: usize) -> u64 {
    let places = &segment.worker_places()[..places];
    // A plugin may have written over them.
    places.iter().map(|place| place.produced.load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;

    /// The number that is found if this is the rate, and how many were tried.
    fn search(most: usize, rate: impl Fn(usize) -> f64) -> (usize, usize) {
        let mut tuner = Tuner::new(1, most, Instant::now());
        while tuner.learn(rate(tuner.current)).is_some() {}
        (tuner.current, tuner.rates.len())
    }

    #[test]
    fn number_is_found_beyond_which_the_rate_does_not_rise() {
        for cores in 1..40 {
            let (found, tried) = search(64, |workers| workers.min(cores) as f64);
            // Nearly as good is good enough.
            assert!(found <= cores && found as f64 >= 0.95 * cores as f64, "{found} for {cores}");
            assert!(tried <= 12, "{tried}");
        }
    }

    #[test]
    fn rate_that_falls_again_is_not_followed() {
        assert_eq!(search(64, |workers| if workers <= 4 { workers as f64 } else { 3.0 }).0, 4);
        assert_eq!(search(64, |_| 1.0).0, 1);
    }

    #[test]
    fn search_keeps_to_the_most_that_was_allowed() {
        assert_eq!(search(6, |workers| workers as f64).0, 6);
        assert_eq!(search(1, |workers| workers as f64).0, 1);
    }

    /// A tuner of at most 4 workers that began to measure one worker at this time.
    fn measuring(now: Instant) -> Tuner {
        let mut tuner = Tuner::new(1, 4, now);
        assert_eq!(tuner.measure(1, true, 0, now), None, "the window begins");
        tuner
    }

    #[test]
    fn number_is_changed_once_a_window_was_measured() {
        let now = Instant::now();
        let mut tuner = measuring(now);
        assert!(!tuner.is_due(now));
        let later = now + TUNE_WINDOW;
        assert!(tuner.is_due(later));
        assert_eq!(tuner.measure(1, true, 100, later), Some(2));
        assert_eq!(tuner.next_look(), Some(later + TUNE_WINDOW));
    }

    #[test]
    fn window_in_which_a_worker_was_not_ready_does_not_count() {
        let now = Instant::now();
        let mut tuner = measuring(now);
        assert_eq!(tuner.measure(1, false, 50, now + TUNE_WINDOW), None);
        assert_eq!(tuner.measure(1, true, 100, now + TUNE_WINDOW * 2), None, "a new one begins");
        assert_eq!(tuner.measure(1, true, 150, now + TUNE_WINDOW * 3), Some(2));
    }

    #[test]
    fn window_is_longer_for_slow_messages() {
        let now = Instant::now();
        let mut tuner = measuring(now);
        let few = TUNE_MESSAGES_PER_WORKER - 1;
        assert_eq!(tuner.measure(1, true, few, now + TUNE_WINDOW), None);
        assert_eq!(tuner.measure(1, true, few + 1, now + TUNE_WINDOW * 2), Some(2));
    }

    #[test]
    fn nothing_is_measured_any_more_once_the_number_is_found() {
        let mut now = Instant::now();
        let (mut tuner, mut workers, mut finished) = (measuring(now), 1, 0);
        while tuner.next_look().is_some() {
            now += TUNE_WINDOW;
            finished += 100;
            workers = tuner.measure(workers, true, finished, now).unwrap_or(workers);
        }
        assert_eq!(workers, 1, "the rate was the same with more");
    }
}
