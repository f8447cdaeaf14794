//! An event: a counter in shared memory on which processes wait for a change of something else.
//!
//! ```text
//!   waiter                                waker
//!   ticket = count                        change the thing
//!   look at the thing; enough? done       count += 1
//!   waiters += 1                          waiters > 0?  ── no ─► no system call
//!   sleep while count == ticket             │ yes
//!   waiters -= 1, start over                └─► wake
//! ```
//!
//! No wake is lost: the waiter announces itself before it compares, the waker counts before it looks for waiters, both
//! sequentially consistent, so that one of them sees the other. A waiter that dies leaves `waiters` too high by one:
//! from then on wakers make a system call too many, nothing else. A wake that a dying waiter swallowed is made good
//! by the supervisor, which after every death bumps all events and wakes everyone.

use std::time::{Duration, Instant};

use super::sync::{AtomicU32, Ordering, futex_wait, futex_wake};

/// A counter to wait on. On a cache line of its own.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Event {
    count: AtomicU32,
    waiters: AtomicU32,
}

impl Event {
    #[cfg(all(test, cobuf_loom))]
    pub(crate) fn new() -> Self {
        let event = Self { count: AtomicU32::new(0), waiters: AtomicU32::new(0) };
        // Loom knows which of two sequentially consistent stores a load must see, but a first value is not one.
        event.count.store(0, Ordering::SeqCst);
        event.waiters.store(0, Ordering::SeqCst);
        event
    }

    /// Tries `poll` until it gives something, sleeping in between until the event is notified.
    ///
    /// Gives `None` at the deadline, and the time that was spent asleep.
    pub(crate) fn wait_for<T>(
        &self,
        deadline: Option<Instant>,
        mut poll: impl FnMut() -> Option<T>,
    ) -> (Option<T>, Duration) {
        let mut asleep = Duration::ZERO;
        loop {
            let ticket = self.count.load(Ordering::SeqCst);
            if let Some(found) = poll() {
                return (Some(found), asleep);
            }
            let before = Instant::now();
            let timeout = deadline.map(|deadline| deadline.saturating_duration_since(before));
            if timeout.is_some_and(|timeout| timeout.is_zero()) {
                return (None, asleep);
            }
            self.sleep(ticket, timeout);
            asleep += before.elapsed();
        }
    }

    /// Says that the thing has changed; wakes one waiter.
    pub(crate) fn notify_one(&self) {
        self.notify(1);
    }

    /// Says that the thing has changed; wakes all waiters.
    pub(crate) fn notify_all(&self) {
        self.notify(i32::MAX as u32);
    }

    /// Says that the thing has changed; wakes all that sleep, whatever `waiters` says: a plugin may have written over it, and nobody
    /// shall sleep through a stop.
    pub(crate) fn rouse(&self) {
        self.count.fetch_add(1, Ordering::SeqCst);
        futex_wake(&self.count, i32::MAX as u32);
    }

    fn sleep(&self, ticket: u32, timeout: Option<Duration>) {
        self.waiters.fetch_add(1, Ordering::SeqCst);
        futex_wait(&self.count, ticket, timeout);
        self.waiters.fetch_sub(1, Ordering::SeqCst);
    }

    fn notify(&self, most: u32) {
        self.count.fetch_add(1, Ordering::SeqCst);
        if self.waiters.load(Ordering::SeqCst) > 0 {
            futex_wake(&self.count, most);
        }
    }
}
