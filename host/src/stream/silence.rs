//! Finds out that no batch comes although one should, from what plugins cannot reach.
//!
//! A worker that was taken over can write over the words by which processes find their messages, and over
//! those by which the host sees who is late. Then consumers would wait for ever. So for a run with a sandbox and
//! a deadline for messages the host keeps, in its own memory, what it has asked for and got: if a consumer
//! has waited for longer than all deadlines together allow, and something is owed to it, the stream ends with
//! an error.
//!
//! ```text
//!   consumer    begin ─ waits ─ end          supervisor, now and then: look
//!   release     note_released                  waits? nothing taken? something owed? ── for `limit` ──► over
//! ```

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// What the host has asked for and got.
#[derive(Debug)]
pub(crate) struct Silence {
    limit: Duration,
    /// How many consumers wait now, and how many waits have begun.
    waiting: AtomicU64,
    begun: AtomicU64,
    /// How many batches the application has given back.
    released: AtomicU64,
    /// The last look.
    seen: Mutex<Option<Seen>>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    /// Since when it has been silent, by the run's clock: the look itself, if it was not.
    since: Instant,
    taken: u64,
    begun: u64,
}

/// What is known beside that when it is looked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    /// How many slots consumers have taken, and how many there are.
    pub(super) taken: u64,
    pub(super) slots: u64,
    /// Whether a process, or nobody any more, owes the next batch: not the application.
    pub(super) owed: bool,
}

impl Silence {
    /// `limit` is the longest time in which nothing comes if each process misses its deadlines as often as
    /// it may.
    pub(crate) fn new(limit: Duration) -> Self {
        let zero = || AtomicU64::new(0);
        Self { limit, waiting: zero(), begun: zero(), released: zero(), seen: Mutex::new(None) }
    }

    /// A consumer begins to wait.
    pub(super) fn begin(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    /// Its wait has ended.
    pub(super) fn end(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    /// The application has given a batch back, or an error was delivered in its place.
    pub(super) fn note_released(&self) {
        self.released.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether it has been silent for too long; for how long. To be asked more often than `limit`.
    pub(super) fn look(&self, facts: Facts, now: Instant) -> Option<Duration> {
        let Facts { taken, slots, owed } = facts;
        let begun = self.begun.load(Ordering::Relaxed);
        let held = taken.saturating_sub(self.released.load(Ordering::Relaxed));
        let mut seen = self.seen.lock();
        let silent = seen.filter(|seen| {
            // A consumer may wait again and again for a short time.
            let waits = self.waiting.load(Ordering::Relaxed) > 0 || seen.begun != begun;
            waits && owed && held < slots && seen.taken == taken
        });
        let since = silent.map_or(now, |seen| seen.since);
        *seen = Some(Seen { since, taken, begun });
        silent.map(|_| now.saturating_duration_since(since)).filter(|silent| *silent >= self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    /// Looks once a second, for twice the limit; gives the time of the first finding.
    fn first_finding(silence: &Silence, mut at: impl FnMut(u64) -> Facts) -> Option<Duration> {
        let start = Instant::now();
        (0..20).find_map(|second| {
            let facts = at(second);
            silence.look(facts, start + Duration::from_secs(second))
        })
    }

    fn owing() -> Facts {
        Facts { taken: 3, slots: 2, owed: true }
    }

    fn waiting() -> Silence {
        let silence = Silence::new(LIMIT);
        (0..3).for_each(|_| silence.note_released());
        silence.begin();
        silence
    }

    #[test]
    fn wait_for_what_is_owed_is_found_after_the_limit() {
        assert_eq!(first_finding(&waiting(), |_| owing()), Some(LIMIT));
    }

    #[test]
    fn waits_that_end_and_begin_again_are_one() {
        let silence = waiting();
        silence.end();
        let found = first_finding(&silence, |_| {
            silence.begin();
            silence.end();
            owing()
        });
        assert_eq!(found, Some(LIMIT));
    }

    #[test]
    fn application_that_does_not_ask_or_owes_something_itself_is_no_silence() {
        let slow = waiting();
        slow.end();
        assert_eq!(first_finding(&slow, |_| owing()), None);
        assert_eq!(first_finding(&waiting(), |_| Facts { owed: false, ..owing() }), None);
        // It holds as many as there are slots.
        assert_eq!(first_finding(&waiting(), |_| Facts { taken: 5, ..owing() }), None);
        assert_eq!(
            first_finding(&waiting(), |second| Facts { taken: 3 + second / 9, slots: 20, owed: true }),
            None
        );
    }
}
