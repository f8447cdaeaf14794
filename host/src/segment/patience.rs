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

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::limits::{SPIN_BELOW, SPIN_LIMIT};

/// Each wait has this part in the typical one.
const WEIGHT: u64 = 8;

/// The experience of one process with its waits. All consumers share one.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    /// How long recent waits were.
    typical_nanos: AtomicU64,
}

impl Patience {
    /// Looks again and again while other processes may run. Returns whether it saw what it looks
    /// for; if not, it is time to sleep.
    pub(super) fn lasts_until(&self, since: Instant, mut seen: impl FnMut() -> bool) -> bool {
        if !self.is_worth_it() {
            return false;
        }
        loop {
            rustix::thread::sched_yield();
            if seen() {
                return true;
            }
            if since.elapsed() > SPIN_LIMIT {
                return false;
            }
        }
    }

    /// Yields once, for a process that looks again by itself; whether it did. If not, it is time to
    /// sleep.
    pub(crate) fn yields(&self, since: Instant) -> bool {
        let patient = self.is_worth_it() && since.elapsed() <= SPIN_LIMIT;
        if patient {
            rustix::thread::sched_yield();
        }
        patient
    }

    fn is_worth_it(&self) -> bool {
        !cfg!(cobuf_loom) && self.typical_nanos.load(Ordering::Relaxed) <= SPIN_BELOW.as_nanos() as u64
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

    #[test]
    fn process_is_patient_only_if_its_recent_waits_were_short() {
        let patience = Patience::default();
        let mut looks = 0;
        let mut third_look = || {
            looks += 1;
            looks == 3
        };
        assert!(patience.lasts_until(Instant::now() + Duration::from_secs(3600), &mut third_look));
        (0..100).for_each(|_| patience.learn(20 * SPIN_BELOW));
        assert!(!patience.lasts_until(Instant::now(), || unreachable!("it sleeps at once")));
        assert!(!patience.yields(Instant::now()));
        (0..100).for_each(|_| patience.learn(SPIN_BELOW / 2));
        assert!(patience.lasts_until(Instant::now(), || true), "they are short again");
        assert!(patience.yields(Instant::now() + Duration::from_secs(3600)));
    }

    #[test]
    fn patience_ends() {
        assert!(!Patience::default().lasts_until(Instant::now(), || false));
        let started = Instant::now();
        while Patience::default().yields(started) {}
    }
}
