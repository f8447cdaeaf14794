//! A counter that one process raises and one waits for, by a futex where it has to sleep.

use std::sync::atomic::{AtomicU32, Ordering, fence};

use rustix::thread::futex;

/// Nobody sleeps.
const AWAKE: u32 = 0;

/// A counter in shared memory, and whether somebody sleeps on it.
#[derive(Clone, Copy)]
pub(super) struct Signal<'a> {
    counter: &'a AtomicU32,
    asleep: &'a AtomicU32,
}

impl<'a> Signal<'a> {
    pub(super) fn new(counter: &'a AtomicU32, asleep: &'a AtomicU32) -> Self {
        Self { counter, asleep }
    }

    /// Adds one, and wakes who sleeps.
    pub(super) fn raise(self) {
        self.counter.fetch_add(1, Ordering::Release);
        // Either this sees who is about to sleep, or that one sees the new value.
        fence(Ordering::SeqCst);
        let ticket = self.asleep.load(Ordering::Relaxed);
        // Where the ticket is another by now, its owner has seen the new value.
        let relaxed = Ordering::Relaxed;
        if ticket != AWAKE && self.asleep.compare_exchange(ticket, AWAKE, relaxed, relaxed).is_ok() {
            wake(self.counter);
        }
    }

    /// Waits for a value with which `is_enough`.
    pub(super) fn wait_until(self, is_enough: impl Fn(u32) -> bool) {
        loop {
            let value = self.counter.load(Ordering::Acquire);
            if is_enough(value) {
                return;
            }
            self.asleep.store(ticket(value), Ordering::Relaxed);
            fence(Ordering::SeqCst);
            // Does not sleep where the value is another by now.
            wait(self.counter, value);
        }
    }
}

/// What stands for sleeping with this value: another for each, so that a wake for one is not taken for that of the next.
fn ticket(value: u32) -> u32 {
    value << 1 | 1
}

/// Sleeps while the word has this value. May return without a reason.
pub(super) fn wait(word: &AtomicU32, value: u32) {
    // Errors are "the word has changed" and "interrupted": reasons to look again.
    let _ = futex::wait(word, futex::Flags::empty(), value, None);
}

/// Wakes one that sleeps on the word.
pub(super) fn wake(word: &AtomicU32) {
    // It can only fail for a misaligned or unmapped word, which a reference is not.
    let _ = futex::wake(word, futex::Flags::empty(), 1);
}
