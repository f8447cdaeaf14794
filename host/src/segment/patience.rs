//! Patience: whether a process that finds nothing to do looks again for a while before it sleeps.
//!
//! ```text
//!   recent waits       short (tiny batches: the next one comes in a microsecond)    long
//!   finds nothing  ──► yield, look, yield, look …  ─ at most SPIN_LIMIT ─►   sleep ◄──┘
//! ```
//!
//! A sleep and a wake cost two system calls, two context switches and, on an idle processor, an
//! interrupt. That takes some microseconds, in which several tiny batches can be produced. A
//! process that yields instead gives its processor to processes that have work, and runs again when
//! they have none. So on few processors each process does all its work in one go, and on many no
//! process switches.
//!
//! It is bounded, and used only if recent waits were short. A process that waits for milliseconds
//! of work leaves its processor to it.
//!
//! If another program computes on the processor, a yield gives that program a turn of milliseconds, but
//! a sleeping process is preferred to it once it is woken. So after a yield that took long, a process
//! rests: its next waits sleep at once. The more often that happens, the longer it rests.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::limits::{LONG_YIELD, MAX_REST, MIN_REST, SPIN_BELOW, SPIN_LIMIT};

/// Each wait has this part in the typical one.
const WEIGHT: u64 = 8;

/// The experience of one process with its waits. All consumers share one.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    /// How long recent waits were.
    typical_nanos: AtomicU64,
    /// How many waits still sleep at once, because a yield took long.
    rest: AtomicU32,
    /// How many waits the last rest was to have, less the number of short yields since.
    usual_rest: AtomicU32,
}

impl Patience {
    /// Looks again and again while other processes may run. Returns when the yield began after which it
    /// saw what it looks for; `None` if it is time to sleep.
    pub(super) fn look_again(&self, since: Instant, mut seen: impl FnMut() -> bool) -> Option<Instant> {
        if self.rests() || !self.is_worth_it() {
            return None;
        }
        let mut before = since;
        loop {
            rustix::thread::sched_yield();
            if seen() {
                return Some(before);
            }
            let now = Instant::now();
            self.judge(now.duration_since(before));
            if now.duration_since(since) > SPIN_LIMIT {
                return None;
            }
            before = now;
        }
    }

    /// Yields once, for a process that looks again by itself; whether it did. If not, it is time to
    /// sleep.
    pub(crate) fn yields(&self, since: Instant) -> bool {
        let before = Instant::now();
        let patient = self.is_worth_it() && before.duration_since(since) <= SPIN_LIMIT && !self.rests();
        if patient {
            rustix::thread::sched_yield();
            self.judge(before.elapsed());
        }
        patient
    }

    fn is_worth_it(&self) -> bool {
        !cfg!(cobuf_loom) && self.typical_nanos.load(Ordering::Relaxed) <= SPIN_BELOW.as_nanos() as u64
    }

    /// Rests if a yield took long.
    fn judge(&self, yielded: Duration) {
        let usual = self.usual_rest.load(Ordering::Relaxed);
        if yielded > LONG_YIELD {
            let rest = usual.saturating_mul(2).clamp(MIN_REST, MAX_REST);
            self.usual_rest.store(rest, Ordering::Relaxed);
            self.rest.store(rest, Ordering::Relaxed);
        } else if usual > 0 {
            self.usual_rest.store(usual - 1, Ordering::Relaxed);
        }
    }

    /// Whether this wait is to sleep at once, because a yield took long.
    fn rests(&self) -> bool {
        let rest = self.rest.load(Ordering::Relaxed);
        if rest > 0 {
            self.rest.store(rest - 1, Ordering::Relaxed);
        }
        rest > 0
    }

    /// Learns from a wait, which ended with a sleep or with a yield that began then. Returns how long it
    /// was.
    pub(super) fn note(&self, since: Instant, yielded: Option<Instant>) -> Duration {
        let now = Instant::now();
        if let Some(before) = yielded {
            self.judge(now.duration_since(before));
        }
        let lasted = now.duration_since(since);
        self.learn(lasted);
        lasted
    }

    /// Records how long a wait was.
    pub(crate) fn learn(&self, lasted: Duration) {
        let nanos = lasted.as_nanos().min(u128::from(u32::MAX)) as u64;
        let typical = self.typical_nanos.load(Ordering::Relaxed);
        self.typical_nanos.store(typical - typical / WEIGHT + nanos / WEIGHT, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;

    /// Whether a wait looks again before it sleeps.
    fn looks(patience: &Patience) -> bool {
        patience.look_again(Instant::now() + Duration::from_secs(3600), || true).is_some()
    }

    #[test]
    fn process_is_patient_only_if_its_recent_waits_were_short() {
        let patience = Patience::default();
        let mut count = 0;
        let third_look = || {
            count += 1;
            count == 3
        };
        let since = Instant::now() + Duration::from_secs(3600);
        assert!(patience.look_again(since, third_look).is_some());
        (0..100).for_each(|_| patience.learn(20 * SPIN_BELOW));
        assert!(patience.look_again(Instant::now(), || unreachable!("it sleeps at once")).is_none());
        assert!(!patience.yields(Instant::now()));
        (0..100).for_each(|_| patience.learn(SPIN_BELOW / 2));
        assert!(looks(&patience), "they are short again");
        assert!(patience.yields(since));
    }

    #[test]
    fn patience_ends() {
        assert!(Patience::default().look_again(Instant::now(), || false).is_none());
        let started = Instant::now();
        while Patience::default().yields(started) {}
    }

    #[test]
    fn process_rests_after_long_yields_and_longer_each_time() {
        let patience = Patience::default();
        let rest = || (0..).take_while(|_| !looks(&patience)).count();
        assert_eq!(rest(), 0);
        let long = 2 * LONG_YIELD;
        patience.judge(long);
        assert_eq!(rest(), MIN_REST as usize);
        patience.judge(long);
        // Two looks in between were short.
        assert!((2 * MIN_REST as usize - 4..=2 * MIN_REST as usize).contains(&rest()));
        (0..20).for_each(|_| patience.judge(long));
        assert_eq!(rest(), MAX_REST as usize);
        (0..MAX_REST).for_each(|_| patience.judge(LONG_YIELD / 2));
        patience.judge(long);
        assert_eq!(rest(), MIN_REST as usize, "after many short yields a long one is a surprise again");
    }
}
