//! An event: a word in shared memory on which processes wait for a change of something else.
//!
//! ```text
//!   bit 31                         1     0
//!       │ how often it was notified │ somebody sleeps │
//!
//!   waiter                                     waker
//!   ticket = word                              change the thing
//!   look at the thing; enough? done            word += one notification; did somebody sleep?
//!   be patient: yield, look at the word            │ yes                      └─ no ─► no system call
//!   "somebody sleeps", unless notified since       └─► clear the bit, wake
//!   sleep while the word is that, start over
//! ```
//!
//! No wake is lost: the waiter can only say that it sleeps while the word is what it was before its look, and the waker learns
//! whether somebody sleeps in the step that counts the notification. So either the waiter starts over, or the waker wakes. Each
//! sleep costs wakers a system call or two, not one for each change until the woken process gets to run. The bit is cleared
//! before everyone is woken, never after; that of a waiter that died goes with the next wake. A wake that a dying waiter
//! swallowed is made good by the supervisor, which after every death wakes everyone.

use std::time::{Duration, Instant};

use super::patience::Patience;
use super::sync::{AtomicU32, Ordering, futex_wait, futex_wake};

const ASLEEP: u32 = 1;
const NOTIFICATION: u32 = 2;
const EVERYONE: u32 = i32::MAX as u32;

/// A word to wait on. On a cache line of its own.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Event {
    word: AtomicU32,
}

impl Event {
    #[cfg(all(test, cobuf_loom))]
    pub(crate) fn new() -> Self {
        Self { word: AtomicU32::new(0) }
    }

    /// Tries `poll` until it gives something, waiting in between until the event is notified.
    ///
    /// Gives `None` at the deadline, and the time that was spent waiting.
    pub(crate) fn wait_for<T>(
        &self,
        patience: &Patience,
        deadline: Option<Instant>,
        mut poll: impl FnMut() -> Option<T>,
    ) -> (Option<T>, Duration) {
        let mut waited = Duration::ZERO;
        loop {
            let ticket = self.word.load(Ordering::Acquire);
            if let Some(found) = poll() {
                return (Some(found), waited);
            }
            let before = Instant::now();
            let timeout = deadline.map(|deadline| deadline.saturating_duration_since(before));
            if timeout.is_some_and(|timeout| timeout.is_zero()) {
                return (None, waited);
            }
            let notified = || (self.word.load(Ordering::Relaxed) ^ ticket) & !ASLEEP != 0;
            if !patience.lasts_until(before, notified) {
                self.sleep(ticket, timeout);
            }
            let lasted = before.elapsed();
            patience.learn(lasted);
            waited += lasted;
        }
    }

    /// Says that the thing has changed; wakes one waiter.
    pub(crate) fn notify_one(&self) {
        if self.word.fetch_add(NOTIFICATION, Ordering::AcqRel) & ASLEEP != 0 && futex_wake(&self.word, 1) == 0
        {
            // Nobody slept any more, but somebody may have gone to sleep since.
            self.clear_and_wake();
        }
    }

    /// Says that the thing has changed; wakes all waiters.
    pub(crate) fn notify_all(&self) {
        self.notify_all_if(|| true);
    }

    /// Says that the thing has changed; where somebody sleeps, wakes all waiters if that is worth it. `worth_it` sees all that a sleeper has
    /// written before it went to sleep; where it says no, a later notification must say yes that the sleepers cannot do without.
    pub(crate) fn notify_all_if(&self, worth_it: impl FnOnce() -> bool) {
        if self.word.fetch_add(NOTIFICATION, Ordering::SeqCst) & ASLEEP != 0 && worth_it() {
            self.clear_and_wake();
        }
    }

    /// Wakes all waiters, if one sleeps and that is worth it, though nothing has changed that they look at. `worth_it` sees all that a
    /// sleeper has written before it went to sleep. Sequentially consistent with notifications, see `Table::is_backlog_low`.
    pub(crate) fn wake_sleepers_if(&self, worth_it: impl FnOnce() -> bool) {
        if self.word.load(Ordering::SeqCst) & ASLEEP != 0 && worth_it() {
            self.rouse();
        }
    }

    /// Says that the thing has changed; wakes all that sleep, whatever the word says: a plugin may have written over it, and nobody
    /// shall sleep through a stop.
    pub(crate) fn rouse(&self) {
        self.word.fetch_add(NOTIFICATION, Ordering::AcqRel);
        self.clear_and_wake();
    }

    /// In this order: who has gone to sleep before the bit is cleared is woken, who wants to afterwards finds another word.
    fn clear_and_wake(&self) {
        self.word.fetch_and(!ASLEEP, Ordering::AcqRel);
        futex_wake(&self.word, EVERYONE);
    }

    /// Sleeps until the event is notified, unless it was since the ticket was taken. The word is written also where the bit is there
    /// already: whoever reads it next then sees what this process has written before.
    fn sleep(&self, ticket: u32, timeout: Option<Duration>) {
        let asleep = ticket | ASLEEP;
        if self.word.compare_exchange(ticket, asleep, Ordering::SeqCst, Ordering::Relaxed).is_ok() {
            futex_wait(&self.word, asleep, timeout);
        }
    }
}
