//! An event: a word in shared memory that processes wait on for a change of something else.
//!
//! ```text
//!   bit 31                         1        0
//!       │ number of notifications   │ asleep: a waiter sleeps │
//!
//!   waiter                                       waker
//!   ticket = word                                change the thing
//!   look at the thing; enough? done              word += one notification; asleep?
//!   be patient: yield, look at the word              │ yes            └─ no ─► no system call
//!   set "asleep", unless notified since              └─► clear "asleep", wake
//!   sleep while the word is that; start over
//! ```
//!
//! No wake is lost. The waiter can set "asleep" only while the word is what it was before its look,
//! and the waker learns whether a waiter sleeps in the step that counts the notification. So either
//! the waiter starts over or the waker wakes it.
//!
//! Each sleep costs wakers one or two system calls, and not one for each change until the woken
//! process runs. The bit is cleared before all waiters are woken, never after. The bit of a waiter
//! that died is cleared by the next wake. If a waiter dies with a wake that others needed, the
//! supervisor makes up for it: it wakes all processes after every death.

use std::time::{Duration, Instant};

use super::patience::Patience;
use super::sync::{
    AtomicU32, Mark, Ordering, futex_wait, futex_wait_marked, futex_wake, futex_wake_marked, will_write,
};

const ASLEEP: u32 = 1;
const NOTIFICATION: u32 = 2;
const EVERYONE: u32 = i32::MAX as u32;

/// A word to wait on. It lies beside what its waiters look at, on the same cache line.
#[repr(transparent)]
#[derive(Debug)]
pub(crate) struct Event {
    word: AtomicU32,
}

impl Event {
    #[cfg(all(test, cobuf_loom))]
    pub(crate) fn new() -> Self {
        let word = AtomicU32::new(0);
        // Loom orders sequentially consistent stores only, and a first value is none.
        word.store(0, Ordering::SeqCst);
        Self { word }
    }

    /// Calls `poll` until it returns something, and waits for a notification between the calls.
    ///
    /// Returns `None` at the deadline, and the time that the process waited.
    pub(crate) fn wait_for<T>(
        &self,
        patience: &Patience,
        deadline: Option<Instant>,
        poll: impl FnMut() -> Option<T>,
    ) -> (Option<T>, Duration) {
        self.wait_and_tell(patience, deadline, poll, || None)
    }

    /// As [`wait_for`](Self::wait_for); calls `sleeps` each time before it goes to sleep. A notification
    /// after this call keeps it from sleeping, or wakes it. If it returns a mark, and there is no
    /// deadline, a process can be woken by its mark before others that sleep for longer.
    pub(crate) fn wait_and_tell<T>(
        &self,
        patience: &Patience,
        deadline: Option<Instant>,
        mut poll: impl FnMut() -> Option<T>,
        sleeps: impl Fn() -> Option<Mark>,
    ) -> (Option<T>, Duration) {
        let ticket = self.ticket();
        match poll() {
            Some(found) => (Some(found), Duration::ZERO),
            None => self.wait_since(ticket, patience, deadline, poll, sleeps),
        }
    }

    /// Waits for a notification since the ticket was taken, and polls after it, again and again. It is
    /// apart so that a call that need not wait saves no registers for it.
    #[inline(never)]
    fn wait_since<T>(
        &self,
        mut ticket: u32,
        patience: &Patience,
        deadline: Option<Instant>,
        mut poll: impl FnMut() -> Option<T>,
        sleeps: impl Fn() -> Option<Mark>,
    ) -> (Option<T>, Duration) {
        let mut waited = Duration::ZERO;
        loop {
            let before = Instant::now();
            let timeout = deadline.map(|deadline| deadline.saturating_duration_since(before));
            if timeout.is_some_and(|timeout| timeout.is_zero()) {
                return (None, waited);
            }
            let notified = || (self.word.load(Ordering::Relaxed) ^ ticket) & !ASLEEP != 0;
            let yielded = patience.look_again(before, notified);
            if yielded.is_none() {
                self.sleep(ticket, timeout, sleeps());
            }
            waited += patience.note(before, yielded);
            ticket = self.ticket();
            if let Some(found) = poll() {
                return (Some(found), waited);
            }
        }
    }

    /// The word before a look at what it is about: a notification after this changes it.
    fn ticket(&self) -> u32 {
        will_write(&self.word);
        self.word.load(Ordering::Acquire)
    }

    /// Notifies a change and wakes one waiter.
    #[cfg(any(all(test, cobuf_loom), feature = "bench-parts"))]
    pub(crate) fn notify_one(&self) {
        self.notify_one_if(|| Some(None));
    }

    /// Notifies a change. If a waiter sleeps, asks `whom` to wake: nobody, or one waiter, if possible one
    /// with a mark. It sees what [`notify_all_if`](Self::notify_all_if) says.
    pub(crate) fn notify_one_if(&self, whom: impl FnOnce() -> Option<Option<Mark>>) {
        if self.word.fetch_add(NOTIFICATION, Ordering::SeqCst) & ASLEEP != 0
            && let Some(rather) = whom()
        {
            self.wake_one(rather);
        }
    }

    /// Wakes one waiter if one sleeps and `worth_it` holds, without a change of the thing that they
    /// look at. Of two processes of which one notifies and the other calls this, the second sees what the
    /// first did before: both change the word, this one by nothing.
    pub(crate) fn wake_one_if(&self, worth_it: impl FnOnce() -> bool) {
        if self.word.fetch_or(0, Ordering::SeqCst) & ASLEEP != 0 && worth_it() {
            self.word.fetch_add(NOTIFICATION, Ordering::SeqCst);
            self.wake_one(None);
        }
    }

    fn wake_one(&self, rather: Option<Mark>) {
        let woken = rather.is_some_and(|mark| futex_wake_marked(&self.word, mark));
        if !woken && futex_wake(&self.word, 1) == 0 {
            // No waiter slept any more, but one may have gone to sleep since.
            self.clear_and_wake();
        }
    }

    /// Notifies a change and wakes all waiters.
    pub(crate) fn notify_all(&self) {
        self.notify_all_if(|| true);
    }

    /// Notifies a change. If a waiter sleeps and `worth_it` holds, wakes all waiters. `worth_it`
    /// sees everything that a sleeping waiter wrote before it went to sleep. If it says no, the
    /// sleeping waiters must be able to do without this wake.
    pub(crate) fn notify_all_if(&self, worth_it: impl FnOnce() -> bool) {
        if self.word.fetch_add(NOTIFICATION, Ordering::SeqCst) & ASLEEP != 0 && worth_it() {
            self.clear_and_wake();
        }
    }

    /// Wakes all waiters if one sleeps and `worth_it` holds, without a change of the thing that
    /// they look at. Of two processes of which one notifies and the other calls this, at least one
    /// sees what the other did before: both are sequentially consistent.
    pub(crate) fn wake_sleepers_if(&self, worth_it: impl FnOnce() -> bool) {
        if self.word.load(Ordering::SeqCst) & ASLEEP != 0 && worth_it() {
            self.rouse();
        }
    }

    /// Notifies a change and wakes all sleeping waiters, even if the word says that none sleeps. A
    /// plugin may have written over it, and no process may sleep through a stop.
    pub(crate) fn rouse(&self) {
        self.word.fetch_add(NOTIFICATION, Ordering::SeqCst);
        self.clear_and_wake();
    }

    /// In this order: a waiter that went to sleep before the bit is cleared is woken; one that
    /// wants to afterwards finds another word.
    fn clear_and_wake(&self) {
        self.word.fetch_and(!ASLEEP, Ordering::SeqCst);
        futex_wake(&self.word, EVERYONE);
    }

    /// Sleeps until the event is notified, unless it was notified since the ticket was taken. It
    /// writes the word even if the bit is set already, so that the next process that changes the
    /// word sees what this one wrote before.
    fn sleep(&self, ticket: u32, timeout: Option<Duration>, mark: Option<Mark>) {
        let asleep = ticket | ASLEEP;
        if self.word.compare_exchange(ticket, asleep, Ordering::SeqCst, Ordering::Relaxed).is_ok() {
            match mark.filter(|_| timeout.is_none()) {
                Some(mark) => futex_wait_marked(&self.word, asleep, mark),
                None => futex_wait(&self.word, asleep, timeout),
            }
        }
    }
}
