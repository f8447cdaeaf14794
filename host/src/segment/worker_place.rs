//! A worker's place in the segment: its counters for the supervisor, and the supervisor's request
//! that it exits.

use super::sync::{AtomicU32, AtomicU64, Ordering};

/// The classes of [`WorkerPlace::times`]: the last one has all times from 2^38 ns (275 s) on.
pub(crate) const TIME_CLASSES: usize = 40;

/// One worker's place in the segment, kept over its restarts. On cache lines of its own.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct WorkerPlace {
    /// Messages that it has finished.
    pub(crate) produced: AtomicU64,
    /// Time that it waited for messages.
    pub(crate) wait_nanos: AtomicU64,
    /// Time in the producer.
    pub(crate) busy_nanos: AtomicU64,
    /// When the worker last looked for a message, by `clock`: it has held its slot for no longer
    /// than since then. `u64::MAX` while it does something that has no deadline.
    pub(crate) looked_nanos: AtomicU64,
    /// The least number above all messages that the worker has noted, see `shares`.
    pub(crate) noted: AtomicU64,
    /// Whether the worker is to exit, see [`Retire`].
    retire: AtomicU32,
    /// The number of its process; 0 if it has none.
    pub(crate) pid: AtomicU32,
    /// How often it was started again.
    pub(crate) restarts: AtomicU32,
    /// How many messages took so long: class 0 has those below 1 ns, class k those from 2^(k-1) ns to
    /// below 2^k ns.
    pub(crate) times: [AtomicU64; TIME_CLASSES],
}

fn time_class(nanos: u64) -> usize {
    ((u64::BITS - nanos.leading_zeros()) as usize).min(TIME_CLASSES - 1)
}

/// Whether, and when, a worker is to exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retire {
    /// Never.
    No = 0,
    /// After the message that it holds.
    Next = 1,
    /// When nothing is left that its crew may claim.
    Drained = 2,
}

impl WorkerPlace {
    /// Counts a message that took so long. For the worker itself: nobody else writes here.
    pub(crate) fn note_time(&self, nanos: u64) {
        let class = &self.times[time_class(nanos)];
        class.store(class.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    pub(crate) fn retire(&self) -> Retire {
        match self.retire.load(Ordering::SeqCst) {
            0 => Retire::No,
            2 => Retire::Drained,
            _ => Retire::Next,
        }
    }

    pub(crate) fn set_retire(&self, retire: Retire) {
        self.retire.store(retire as u32, Ordering::SeqCst);
    }

    /// Has a worker that has not looked for a message yet count as if it had looked now.
    pub(crate) fn watch_from(&self, nanos: u64) {
        let order = Ordering::Relaxed;
        let _ = self.looked_nanos.compare_exchange(u64::MAX, nanos, order, order);
    }
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;

    #[test]
    fn times_are_counted_by_powers_of_two() {
        let classes = [0, 1, 2, 3, 4, 1023, 1024, (1 << 38) - 1, 1 << 38, u64::MAX].map(time_class);
        assert_eq!(classes, [0, 1, 2, 2, 3, 10, 11, 38, 39, 39]);
    }
}
