//! A worker's place in the segment: its counters for the supervisor, and the supervisor's request
//! that it exits.

use std::time::Duration;

use super::clock;
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
    /// Time that was lost by deaths. The supervisor writes it.
    lost_nanos: AtomicU64,
    /// Since when time is being lost, by `clock`; 0 while the worker is there.
    lost_since_nanos: AtomicU64,
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

    /// The worker has died, or makes a new producer after a panic: its time is lost from the beginning of
    /// the message that it held, if it held one, until it is ready again.
    pub(crate) fn note_death(&self, held: bool) {
        let looked = self.looked_nanos.swap(u64::MAX, Ordering::Relaxed);
        let since = if held { looked.min(clock::now_nanos()) } else { clock::now_nanos() };
        let order = Ordering::Relaxed;
        let _ = self.lost_since_nanos.compare_exchange(0, since, order, order);
    }

    /// The worker is ready, or is not wanted any more.
    pub(crate) fn note_return(&self) {
        let since = self.lost_since_nanos.swap(0, Ordering::Relaxed);
        if since != 0 {
            self.lost_nanos.fetch_add(clock::since(since).as_nanos() as u64, Ordering::Relaxed);
        }
    }

    /// The time that was lost so far by the worker's deaths.
    pub(crate) fn lost(&self) -> Duration {
        let over = Duration::from_nanos(self.lost_nanos.load(Ordering::Relaxed));
        match self.lost_since_nanos.load(Ordering::Relaxed) {
            0 => over,
            since => over.saturating_add(clock::since(since)),
        }
    }

    /// Since when its process has its message, or waits for one, by `clock`. `None` without a process, or
    /// while it does something else.
    pub(crate) fn since(&self) -> Option<u64> {
        let there = self.pid.load(Ordering::Relaxed) != 0;
        Some(self.looked_nanos.load(Ordering::Relaxed)).filter(|&looked| there && looked != u64::MAX)
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
