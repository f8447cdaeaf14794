//! Patience: whether a process that finds nothing to do looks again for a while before it sleeps.
//!
//! ```text
//!   waits of late      short (tiny batches: the next one comes in a microsecond)    long
//!   finds nothing  ──► yield, look, yield, look …  ─ at most SPIN_LIMIT ─►   sleep ◄──┘
//! ```
//!
//! To sleep and be woken costs two system calls, two changes of process and, on an idle processor, an interrupt: some
//! microseconds, in which a tiny batch is produced several times. Whoever yields instead gives its processor to those that have
//! work, if there are any, and is there again when they have none: on few processors each process then does what there is in one
//! go, on many nobody changes. It is bounded, and tried only where waits were short of late: whoever waits for milliseconds of work
//! leaves its processor to it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::limits::{SPIN_BELOW, SPIN_LIMIT};

/// Each wait counts this part of the typical one.
const WEIGHT: u64 = 8;

/// What a waiter knows of its waits. Of one process; consumers share theirs.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    /// How long waits were of late.
    typical_nanos: AtomicU64,
}

impl Patience {
    /// Looks again and again, while others may run. Says whether it saw what it looks for; else it is time to sleep.
    pub(super) fn lasts_until(&self, since: Instant, mut seen: impl FnMut() -> bool) -> bool {
        if cfg!(cobuf_loom) || self.typical_nanos.load(Ordering::Relaxed) > SPIN_BELOW.as_nanos() as u64 {
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

    /// Takes in how long a wait was.
    pub(super) fn learn(&self, lasted: Duration) {
        let nanos = lasted.as_nanos().min(u128::from(u32::MAX)) as u64;
        let typical = self.typical_nanos.load(Ordering::Relaxed);
        self.typical_nanos.store(typical - typical / WEIGHT + nanos / WEIGHT, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;

    #[test]
    fn is_the_wait_begun_patiently_only_where_waits_were_short() {
        let patience = Patience::default();
        let mut looks = 0;
        let mut third_look = || {
            looks += 1;
            looks == 3
        };
        assert!(patience.lasts_until(Instant::now() + Duration::from_secs(3600), &mut third_look));
        (0..100).for_each(|_| patience.learn(20 * SPIN_BELOW));
        assert!(!patience.lasts_until(Instant::now(), || unreachable!("it sleeps at once")));
        (0..100).for_each(|_| patience.learn(SPIN_BELOW / 2));
        assert!(patience.lasts_until(Instant::now(), || true), "they are short again");
    }

    #[test]
    fn does_patience_end() {
        assert!(!Patience::default().lasts_until(Instant::now(), || false));
    }
}
