//! A counter that one process raises and one waits for, by a futex where it has to sleep.

use std::sync::atomic::{AtomicU32, Ordering, fence};
use std::time::Duration;

use anyhow::Result;
use rustix::io::Errno;
use rustix::thread::futex;
use rustix::time::Timespec;

/// For how long a process sleeps before it asks whether the others are still there.
const ASK_AFTER: Duration = Duration::from_millis(100);

/// A counter in shared memory, and with which value of it somebody went to sleep last. One process raises it, one waits for it.
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
        let before = self.counter.fetch_add(1, Ordering::Release);
        if self.sleeps_with(before) {
            wake(self.counter);
        }
    }

    /// Whether somebody went to sleep with this value, or is about to. Who says that it will after the counter was raised is none of
    /// this raise's business, but of the next one's: it may have had enough by this one, and want another.
    fn sleeps_with(self, value: u32) -> bool {
        // Either this sees who is about to sleep, or that one sees the new value.
        fence(Ordering::SeqCst);
        self.asleep.load(Ordering::Relaxed) == ticket(value)
    }

    /// Waits for a value with which `is_enough`, as long as there is no error in it.
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
            // Does not sleep where the value is another by now.
            wait(self.counter, value, &mut go_on)?;
        }
    }
}

/// What stands for sleeping with this value; 0, with which memory begins, for none.
fn ticket(value: u32) -> u32 {
    value << 1 | 1
}

/// Sleeps while the word has this value, and asks now and then whether to go on. May return without a reason.
pub(super) fn wait(word: &AtomicU32, value: u32, go_on: impl FnOnce() -> Result<()>) -> Result<()> {
    let until = Timespec::try_from(ASK_AFTER).ok();
    match futex::wait(word, futex::Flags::empty(), value, until.as_ref()) {
        // "The word has changed": a reason to look again.
        Ok(()) | Err(Errno::AGAIN) => Ok(()),
        // "The time is over", "interrupted".
        Err(_) => go_on(),
    }
}

/// Wakes one that sleeps on the word.
pub(super) fn wake(word: &AtomicU32) {
    // It can only fail for a misaligned or unmapped word, which a reference is not.
    let _ = futex::wake(word, futex::Flags::empty(), 1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_who_sleeps_again_in_the_middle_of_a_raise_woken_by_the_next() {
        let (counter, asleep) = (AtomicU32::new(0), AtomicU32::new(0));
        let signal = Signal::new(&counter, &asleep);
        // The waiter sees the new value, goes on by it, and wants another, before the raise has looked for sleepers.
        let before = counter.fetch_add(1, Ordering::Release);
        asleep.store(ticket(1), Ordering::Relaxed);
        assert!(!signal.sleeps_with(before));
        let before = counter.fetch_add(1, Ordering::Release);
        assert!(signal.sleeps_with(before));
    }
}
