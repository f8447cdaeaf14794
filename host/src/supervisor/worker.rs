//! One worker: its life over all of its incarnations, as plain data.
//!
//! ```text
//!             ┌──────────── died: at once, or later each time ◄─────────┐
//!             ▼                                                         │
//!   Off ─► Due ─► Starting ─► Ready ─────────────────────────────────── ┤
//!    ▲                          └─► Retiring (finishes its message) ─► Off
//!    └── GivenUp: it died too often in a row before its plugin was constructed
//! ```

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::limits::{
    KEPT_LOG_LINE_BYTES, KEPT_LOG_LINES, MAX_FAILED_STARTS, MAX_RESTART_BACKOFF, RESTART_BACKOFF,
};
use crate::process::stack::interpreter;
use crate::protocol::message::SetupFailure;
use crate::protocol::role::Role;
use crate::record::death::Death;
use crate::record::raw_stack::RawStack;
use crate::segment::place::Place;
use crate::stream::failure::NotedAttempt;

/// What a crew of workers is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Duty {
    /// It takes all messages from its cut on; or it has no workers.
    Current,
    /// It waits for its cut.
    Comes,
    /// It does the messages before the cut, and ends.
    Goes,
}

/// The workers of one edition of the producer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Crew {
    /// How many workers it is to have: those with the lowest numbers.
    pub(super) wanted: usize,
    pub(super) duty: Duty,
}

/// Where a worker is in its life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Life {
    /// It has no process, and none is wanted.
    #[default]
    Off,
    /// It is to be started at this time.
    Due(Instant),
    /// Its process was started then, and its plugin is being constructed; or constructed again,
    /// after a panic.
    Starting(Instant),
    /// It produces.
    Ready,
    /// It ends after the message that it holds.
    Retiring {
        /// Whether it is wanted again after that.
        again: bool,
        /// Since when its plugin is being constructed, if it still is.
        since: Option<Instant>,
    },
    /// It could not be started.
    GivenUp,
}

/// Why a worker was killed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Verdict {
    pub(super) death: Death,
    /// The message that it was about: another one that the worker holds by now is innocent.
    pub(super) about: Option<u64>,
}

/// One worker, in all of its incarnations.
#[derive(Debug, Default)]
pub(super) struct Worker {
    pub(super) life: Life,
    pub(super) verdict: Option<Verdict>,
    /// How often it was started with the plugin that it has now.
    starts: u32,
    /// How often in a row it died before its plugin was constructed.
    failed_starts: u32,
    /// How often in a row it died without having done a message.
    useless_lives: u32,
    /// The messages that it had done when it was last started.
    produced_before: u64,
    /// Why its plugin could not be set up, as its process said before it ended.
    setup_failure: Option<SetupFailure>,
    log: VecDeque<String>,
    stack: Option<RawStack>,
}

impl Worker {
    /// The role of its present incarnation.
    pub(super) fn role(&self, place: Place) -> Role {
        Role::Worker { place, incarnation: self.starts.saturating_sub(1) }
    }

    /// When it is to be started.
    pub(super) fn start_at(&self) -> Option<Instant> {
        if let Life::Due(at) = self.life { Some(at) } else { None }
    }

    /// Since when its plugin is being constructed.
    pub(super) fn constructing_since(&self) -> Option<Instant> {
        match self.life {
            Life::Starting(since) => Some(since),
            Life::Retiring { since, .. } => since,
            _ => None,
        }
    }

    /// Whether it has a process.
    pub(super) fn is_process(&self) -> bool {
        matches!(self.life, Life::Starting(_) | Life::Ready | Life::Retiring { .. })
    }

    /// Whether it has not yet failed too often.
    pub(super) fn can_start(&self) -> bool {
        self.failed_starts < MAX_FAILED_STARTS
    }

    /// It is another plugin's from now on. All of its processes have ended.
    pub(super) fn renew(&mut self) {
        self.starts = 0;
    }

    /// Whether it is to be there from now on; whether its process is to retire for that.
    pub(super) fn want(&mut self, wanted: bool, now: Instant) -> bool {
        let since = self.constructing_since();
        self.life = match (self.life, wanted) {
            (Life::Off | Life::GivenUp, true) => {
                // Its failures are forgotten: it was not wanted meanwhile.
                self.failed_starts = 0;
                Life::Due(now)
            }
            (Life::Retiring { .. }, again) => Life::Retiring { again, since },
            (Life::Starting(_) | Life::Ready, false) => {
                self.life = Life::Retiring { again: false, since };
                return true;
            }
            (Life::Due(_), false) => Life::Off,
            (life, _) => life,
        };
        false
    }

    /// Its process is started; one that only drains its crew's messages retires from the beginning.
    pub(super) fn start(&mut self, drains: bool, produced: u64, now: Instant) {
        self.starts += 1;
        self.life = match drains {
            true => Life::Retiring { again: false, since: Some(now) },
            false => Life::Starting(now),
        };
        self.produced_before = produced;
        self.log.clear();
        self.setup_failure = None;
        self.stack = None;
    }

    /// Its plugin is constructed.
    pub(super) fn ready(&mut self) {
        match &mut self.life {
            life @ Life::Starting(_) => *life = Life::Ready,
            Life::Retiring { since, .. } => *since = None,
            _ => {}
        }
        self.failed_starts = 0;
    }

    /// Its plugin is constructed anew, which may hang as at a start.
    pub(super) fn renewing(&mut self, now: Instant) {
        match &mut self.life {
            life @ Life::Ready => *life = Life::Starting(now),
            Life::Retiring { since, .. } => *since = Some(now),
            _ => {}
        }
    }

    /// Its process has ended, and was of use if it has done a message.
    pub(super) fn died(&mut self, produced: u64) {
        self.failed_starts += u32::from(self.constructing_since().is_some());
        self.useless_lives = if produced == self.produced_before { self.useless_lives + 1 } else { 0 };
    }

    /// It is to be started again: later each time that it was of no use.
    pub(super) fn restart(&mut self, now: Instant) {
        self.life = Life::Due(now + backoff(self.useless_lives));
    }

    pub(super) fn note_setup_failure(&mut self, failure: SetupFailure) {
        self.setup_failure = Some(failure);
    }

    /// Why it ended: the failure that its process reported, or its death.
    pub(super) fn take_failure(&mut self, death: Death) -> SetupFailure {
        self.setup_failure.take().unwrap_or(SetupFailure::Died(death))
    }

    pub(super) fn note_stack(&mut self, stack: RawStack) {
        self.stack = Some(stack);
    }

    /// The function of a script that it was in when its stack was captured.
    pub(super) fn place_in_script(&self) -> Option<String> {
        interpreter::place_in(self.stack.as_ref())
    }

    pub(super) fn keep_log(&mut self, line: &str) {
        if self.log.len() == KEPT_LOG_LINES {
            self.log.pop_front();
        }
        self.log.push_back(line[..line.floor_char_boundary(KEPT_LOG_LINE_BYTES)].to_owned());
    }

    /// The record of an attempt that has just ended it.
    pub(super) fn attempt(&self, worker: u32, death: Death) -> NotedAttempt {
        let log = self.log.iter().cloned().collect();
        NotedAttempt { worker, death, log, stack: self.stack.clone() }
    }
}

/// The pause before a process is started again that died so often in a row without having been of
/// use.
pub(super) fn backoff(useless_lives: u32) -> Duration {
    match useless_lives {
        0 | 1 => Duration::ZERO,
        lives => (RESTART_BACKOFF * (1 << (lives - 2).min(10))).min(MAX_RESTART_BACKOFF),
    }
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;

    #[test]
    fn pause_before_a_restart_doubles_up_to_a_limit() {
        let pauses: Vec<u128> = (0..8).map(|lives| backoff(lives).as_millis()).collect();
        assert_eq!(pauses, [0, 0, 20, 40, 80, 160, 200, 200]);
        assert_eq!(backoff(u32::MAX), MAX_RESTART_BACKOFF);
    }

    #[test]
    fn worker_that_did_a_message_is_started_again_at_once() {
        let (mut worker, now) = (Worker::default(), Instant::now());
        for _ in 0..5 {
            worker.start(false, 7, now);
            worker.ready();
            worker.died(7);
        }
        worker.restart(now);
        assert_eq!(worker.start_at(), Some(now + backoff(5)));
        worker.start(false, 7, now);
        worker.ready();
        worker.died(8);
        worker.restart(now);
        assert_eq!(worker.start_at(), Some(now));
    }

    #[test]
    fn failed_starts_are_forgotten_once_the_plugin_is_constructed() {
        let (mut worker, now) = (Worker::default(), Instant::now());
        for _ in 0..MAX_FAILED_STARTS - 1 {
            worker.start(false, 0, now);
            worker.died(0);
        }
        assert!(worker.can_start());
        worker.start(false, 0, now);
        worker.ready();
        worker.renewing(now);
        worker.died(0);
        assert!(worker.can_start(), "a renewal that fails is the first of a new row");
        for _ in 0..MAX_FAILED_STARTS - 1 {
            worker.start(false, 0, now);
            worker.died(0);
        }
        assert!(!worker.can_start());
    }

    #[test]
    fn wanting_a_worker_follows_its_life() {
        let now = Instant::now();
        let after = |life: Life, wanted: bool| {
            let mut worker = Worker { life, ..Worker::default() };
            (worker.want(wanted, now), worker.life)
        };
        let retiring = |again| Life::Retiring { again, since: None };
        assert_eq!(after(Life::Off, true), (false, Life::Due(now)));
        assert_eq!(after(Life::GivenUp, true), (false, Life::Due(now)));
        assert_eq!(after(Life::Off, false), (false, Life::Off));
        assert_eq!(after(Life::Due(now), false), (false, Life::Off));
        assert_eq!(after(Life::Ready, false), (true, retiring(false)));
        let starting = Life::Retiring { again: false, since: Some(now) };
        assert_eq!(after(Life::Starting(now), false), (true, starting));
        assert_eq!(after(retiring(false), true), (false, retiring(true)));
        assert_eq!(after(Life::Ready, true), (false, Life::Ready));
    }

    #[test]
    fn only_the_last_log_lines_are_kept_each_cut_to_its_limit() {
        let mut worker = Worker::default();
        (0..KEPT_LOG_LINES + 3).for_each(|line| worker.keep_log(&format!("line {line}")));
        worker.keep_log(&"é".repeat(KEPT_LOG_LINE_BYTES));
        let attempt = worker.attempt(0, Death::Timeout { limit: Duration::ZERO });
        assert_eq!((attempt.log.len(), &attempt.log[0][..]), (KEPT_LOG_LINES, "line 4"));
        assert_eq!(attempt.log[KEPT_LOG_LINES - 1].len(), KEPT_LOG_LINE_BYTES);
    }
}
