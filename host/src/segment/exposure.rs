//! The time in which the application waited: while at least one of its threads did.
//!
//! ```text
//!   thread 1   ──wait────────           ──wait──
//!   thread 2         ──wait────────
//!   exposed    ────────────────────     ────────
//! ```
//!
//! A sum over the threads would say that an application of eight threads waits all the time although
//! seven of them are busy. A wait begins and ends with one addition each; the clock is read only for
//! waits of several threads at a time, and only the coarse one, which is right in the mean.

// No part of the protocol: models do not play them.
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::clock;

/// The application's waits. It begins as zeroes.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct Exposure {
    /// The number of threads that wait now.
    waiting: AtomicU64,
    /// Since when there is one, by `clock`. Only the thread that is the first to wait changes it.
    since_nanos: AtomicU64,
    /// The time of all waits that are over.
    nanos: AtomicU64,
}

/// The beginning of a thread's wait.
#[must_use = "a wait that has begun must end"]
pub(crate) struct Began {
    first: bool,
}

impl Exposure {
    /// A thread begins to wait.
    pub(crate) fn begin(&self) -> Began {
        let first = self.waiting.fetch_add(1, Ordering::AcqRel) == 0;
        if first {
            self.since_nanos.store(clock::now_nanos(), Ordering::Relaxed);
        }
        Began { first }
    }

    /// Its wait has ended, after this time.
    pub(crate) fn end(&self, began: Began, waited: Duration) {
        // Before the thread counts as gone: another one may then be the first.
        let since = self.since_nanos.load(Ordering::Relaxed);
        let last = self.waiting.fetch_sub(1, Ordering::AcqRel) == 1;
        if last {
            // A thread that was there from the first to the last knows better.
            let lasted = if began.first { waited } else { clock::since(since) };
            self.add(lasted);
        }
    }

    /// Adds a wait of a thread that did not sleep.
    pub(crate) fn add(&self, waited: Duration) {
        self.nanos.fetch_add(waited.as_nanos() as u64, Ordering::Relaxed);
    }

    /// Since when a thread waits, by `clock`, if one does.
    pub(crate) fn since(&self) -> Option<u64> {
        (self.waiting.load(Ordering::Acquire) > 0).then(|| self.since_nanos.load(Ordering::Relaxed))
    }

    /// The time of all waits, with the one that goes on.
    pub(crate) fn total(&self) -> Duration {
        let over = Duration::from_nanos(self.nanos.load(Ordering::Relaxed));
        over.saturating_add(self.since().map_or(Duration::ZERO, clock::since))
    }
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn waits_one_after_the_other_are_added() {
        let exposure = Exposure::default();
        for _ in 0..3 {
            let began = exposure.begin();
            exposure.end(began, SECOND);
        }
        exposure.add(SECOND);
        assert_eq!(exposure.total(), 4 * SECOND);
    }

    #[test]
    fn waits_at_the_same_time_count_once() {
        let exposure = Exposure::default();
        let all: Vec<Began> = (0..8).map(|_| exposure.begin()).collect();
        let before = exposure.since_nanos.load(Ordering::Relaxed);
        exposure.since_nanos.store(before - SECOND.as_nanos() as u64, Ordering::Relaxed);
        assert!(exposure.total() >= SECOND, "it goes on");
        all.into_iter().for_each(|began| exposure.end(began, 2 * SECOND));
        assert!(exposure.total() >= SECOND && exposure.total() < 8 * SECOND, "{:?}", exposure.total());
    }
}
