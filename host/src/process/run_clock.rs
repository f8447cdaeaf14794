//! A run's time: the machine's, without the times in which the host stood still.
//!
//! ```text
//!   machine   ──┬──────┬──────┬ ─ ─ ─ ─ paused ─ ─ ─ ─ ┬──────┬──►
//!   wakes       beat   beat   beat is due              it comes late
//!   run       ──┬──────┬──────┬────────────────────────┬ the same moment
//! ```
//!
//! A container that is paused, a terminal that stops all processes, or a snapshot of a virtual
//! machine stops workers and host together. No deadline may count that time. A process cannot see
//! that it was stopped, but it sees that it wakes later than it wanted to. So it wakes at each
//! beat while a deadline runs, and leaves the time out by which it is late.

use std::time::{Duration, Instant};

use crate::segment::clock;

/// The least time between two beats while a deadline runs.
const BEAT: Duration = Duration::from_millis(100);
/// The part of the time that is left to a deadline after which there is a beat. A pause that begins
/// in between may count for so long.
const BEATS_TO_DEADLINE: u32 = 20;
/// A busy machine wakes processes this late.
const TOLERANCE: Duration = Duration::from_millis(50);
/// How many standstills are known one by one.
const KEPT: usize = 8;

/// The standstills of the host, by the segment's clock.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Standstills {
    /// When each ended and how long it was, in nanoseconds, oldest first.
    known: [(u64, u64); KEPT],
}

impl Standstills {
    /// Adds one that ends now.
    pub(crate) fn add(&mut self, end: u64, lasted: Duration) {
        // The oldest is joined with the next one: it counts as later than it was, so that a
        // deadline may come later, never too early.
        self.known[1].1 += self.known[0].1;
        self.known.rotate_left(1);
        self.known[KEPT - 1] = (end, lasted.as_nanos() as u64);
    }

    /// The time that the host stood still since this moment.
    pub(crate) fn since(&self, nanos: u64) -> Duration {
        let later = self.known.iter().filter(|&&(end, _)| end > nanos);
        Duration::from_nanos(later.map(|&(_, lasted)| lasted).sum())
    }
}

/// The clock. Deadlines that are compared with its time are times of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunClock {
    /// All that is left out.
    lost: Duration,
    standstills: Standstills,
    /// When this process was last seen to run.
    seen: Instant,
}

impl RunClock {
    pub(crate) fn new() -> Self {
        Self { lost: Duration::ZERO, standstills: Standstills::default(), seen: Instant::now() }
    }

    /// Begins to look for standstills: the time before was this process's own work.
    pub(crate) fn begin(&mut self) {
        self.seen = Instant::now();
    }

    pub(crate) fn now(&self) -> Instant {
        self.at(Instant::now())
    }

    pub(crate) fn standstills(&self) -> Standstills {
        self.standstills
    }

    /// When a wait for a deadline has to be interrupted, by the machine's clock.
    pub(crate) fn wake_by(&mut self, deadline: Option<Instant>) -> Option<Instant> {
        let now = Instant::now();
        self.ran(now);
        deadline.map(|deadline| {
            let deadline = deadline + self.lost;
            let left = deadline.saturating_duration_since(now);
            deadline.min(now + BEAT.max(left / BEATS_TO_DEADLINE))
        })
    }

    /// Notes the end of a wait.
    pub(crate) fn woke(&mut self, wake_by: Option<Instant>) {
        let now = Instant::now();
        self.seen = wake_by.map_or(now, |wake_by| wake_by.min(now));
        self.ran(now);
    }

    /// Notes that this process runs at this time. It should have run when it was last seen.
    fn ran(&mut self, now: Instant) {
        let late = now.saturating_duration_since(self.seen);
        self.seen = now;
        if late > TOLERANCE {
            self.lost += late;
            self.standstills.add(clock::now_nanos(), late);
        }
    }

    fn at(&self, now: Instant) -> Instant {
        now.checked_sub(self.lost).unwrap_or(now)
    }
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn nanos(seconds: u64) -> u64 {
        seconds * 1_000_000_000
    }

    #[test]
    fn standstills_count_for_all_that_began_before_their_end() {
        let mut standstills = Standstills::default();
        assert_eq!(standstills.since(0), Duration::ZERO);
        standstills.add(nanos(10), 4 * SECOND);
        standstills.add(nanos(20), SECOND);
        assert_eq!(standstills.since(nanos(5)), 5 * SECOND);
        assert_eq!(standstills.since(nanos(10)), SECOND);
        assert_eq!(standstills.since(nanos(20)), Duration::ZERO);
    }

    #[test]
    fn no_standstill_is_forgotten() {
        let mut standstills = Standstills::default();
        (1..=20).for_each(|end| standstills.add(nanos(end), SECOND));
        assert_eq!(standstills.since(0), 20 * SECOND);
        assert_eq!(standstills.since(nanos(18)), 2 * SECOND);
    }

    #[test]
    fn time_by_which_a_wake_is_late_is_left_out() {
        let mut clock = RunClock::new();
        let (start, before) = (clock.seen, clock.lost);
        clock.ran(start + TOLERANCE);
        assert_eq!(clock.lost, before, "a busy machine");
        clock.ran(start + TOLERANCE + 4 * SECOND);
        assert_eq!(clock.lost, before + 4 * SECOND);
        assert_eq!(clock.at(start + 5 * SECOND), start + SECOND);
        assert_eq!(clock.standstills().since(0), 4 * SECOND);
    }

    #[test]
    fn wait_for_a_deadline_is_interrupted_at_each_beat() {
        let mut clock = RunClock::new();
        assert_eq!(clock.wake_by(None), None);
        let now = Instant::now();
        let wake_by = |clock: &mut RunClock, left| clock.wake_by(Some(now + left)).unwrap();
        assert!(wake_by(&mut clock, SECOND) <= Instant::now() + BEAT);
        assert!(wake_by(&mut clock, 60 * SECOND) <= Instant::now() + 3 * SECOND);
        assert!(wake_by(&mut clock, 60 * SECOND) > now + SECOND, "long deadlines cost little");
        clock.lost += SECOND;
        assert_eq!(clock.wake_by(Some(now - SECOND)), Some(now), "a deadline is a time of this clock");
    }
}
