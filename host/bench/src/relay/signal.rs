//! A counter that one process raises and another waits for, on a futex if it has to sleep.

use std::sync::atomic::{AtomicU32, Ordering, fence};
use std::time::Duration;

use anyhow::Result;
use rustix::io::Errno;
use rustix::thread::futex;
use rustix::time::Timespec;

/// How long a process sleeps before it checks whether the other processes still run.
const ASK_AFTER: Duration = Duration::from_millis(100);

/// A counter in shared memory, and the value with which the waiter last went to sleep. One process
/// raises the counter, one waits for it.
#[derive(Clone, Copy)]
pub(super) struct Signal<'a> {
    counter: &'a AtomicU32,
    asleep: &'a AtomicU32,
}

impl<'a> Signal<'a> {
    pub(super) fn new(counter: &'a AtomicU32, asleep: &'a AtomicU32) -> Self {
        Self { counter, asleep }
    }

    /// Adds one, and wakes the waiter if it sleeps.
    pub(super) fn raise(self) {
        let before = self.counter.fetch_add(1, Ordering::Release);
        if self.sleeps_with(before) {
            wake(self.counter);
        }
    }

    /// Whether the waiter went to sleep with this value, or is about to. A waiter that registers
    /// only after the counter was raised is left to the next raise: this one may have satisfied it,
    /// and it may wait for another.
    fn sleeps_with(self, value: u32) -> bool {
        // Either this process sees that the waiter is about to sleep, or the waiter sees the new
        // value.
        fence(Ordering::SeqCst);
        self.asleep.load(Ordering::Relaxed) == ticket(value)
    }

    /// Waits for a value that satisfies `is_enough`; ends with an error if `go_on` returns one.
    pub(super) fn wait_until(
        self,
        is_enough: impl Fn(u32) -> bool,
        mut go_on: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        loop {
            let value = self.counter.load(Ordering::Acquire);
            if is_enough(value) {
                return Ok(());
            }
            self.asleep.store(ticket(value), Ordering::Relaxed);
            fence(Ordering::SeqCst);
            // Does not sleep if the value has changed by now.
            wait(self.counter, value, &mut go_on)?;
        }
    }
}

/// The word that stands for sleeping with this value. 0, which fresh memory contains, stands for
/// none.
fn ticket(value: u32) -> u32 {
    value << 1 | 1
}

/// Sleeps while the word has this value, and calls `go_on` after an interruption or a timeout. May
/// return for no reason.
pub(super) fn wait(word: &AtomicU32, value: u32, go_on: impl FnOnce() -> Result<()>) -> Result<()> {
    let until = Timespec::try_from(ASK_AFTER).ok();
    match futex::wait(word, futex::Flags::empty(), value, until.as_ref()) {
        // "The word has changed": a reason to look again.
        Ok(()) | Err(Errno::AGAIN) => Ok(()),
        // "Timed out" or "interrupted".
        Err(_) => go_on(),
    }
}

/// Wakes one process that sleeps on the word.
pub(super) fn wake(word: &AtomicU32) {
    // It can fail only for a misaligned or unmapped word; a reference is neither.
    let _ = futex::wake(word, futex::Flags::empty(), 1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiter_that_sleeps_again_during_a_raise_is_woken_by_the_next() {
        let (counter, asleep) = (AtomicU32::new(0), AtomicU32::new(0));
        let signal = Signal::new(&counter, &asleep);
        // The waiter sees the new value, is satisfied by it and wants another, before the raise has
        // looked for a sleeper.
        let before = counter.fetch_add(1, Ordering::Release);
        asleep.store(ticket(1), Ordering::Relaxed);
        assert!(!signal.sleeps_with(before));
        let before = counter.fetch_add(1, Ordering::Release);
        assert!(signal.sleeps_with(before));
    }
}
