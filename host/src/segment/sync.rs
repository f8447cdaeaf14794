//! Atomics and futexes that work across processes; loom's stand-ins under `--cfg cobuf_loom`,
//! and with `--cfg cobuf_lines` those that count moves of cache lines.
//!
//! The futexes are shared (no private flag): the kernel finds a waiter by the memory's page, not by
//! its address in one process. Private futexes, such as parking_lot's, never wake another process.

use std::time::Duration;

#[cfg(cobuf_lines)]
pub(crate) use super::counted::{AtomicU32, AtomicU64};
#[cfg(all(cobuf_loom, not(cobuf_lines)))]
pub(crate) use super::mortal::{AtomicU32, AtomicU64};
pub(crate) use std::sync::atomic::Ordering;
#[cfg(not(cobuf_loom))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64};

/// Tells the processor that this core will write the word. The cache line comes from another core once
/// then, as this core's own: a read alone would get it shared, and the write would ask for it again.
#[inline]
pub(crate) fn will_write<A>(word: &A) {
    #[cfg(cobuf_lines)]
    super::counted::touch(std::ptr::from_ref(word).addr(), true);
    #[cfg(all(not(cobuf_loom), target_arch = "x86_64"))]
    #[expect(unsafe_code, reason = "the instruction has no stable intrinsic")]
    // SAFETY: it reads and writes no value, and faults at no address. A processor that does not know it
    // (older than 2014) takes it for a no-op.
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) word, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(any(cobuf_lines, all(not(cobuf_loom), target_arch = "x86_64"))))]
    let _ = word;
}

/// Sleeps while `word` is `expected`, until a wake or the timeout. It may return without a reason,
/// so callers check again.
#[cfg(not(cobuf_loom))]
pub(crate) fn futex_wait(word: &AtomicU32, expected: u32, timeout: Option<Duration>) {
    use rustix::thread::futex;
    let timeout = timeout.map(|timeout| futex::Timespec {
        tv_sec: timeout.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    });
    // The errors are "the word has changed", "interrupted" and "timed out". Each is a reason to
    // look again.
    let _ = futex::wait(word, futex::Flags::empty(), expected, timeout.as_ref());
}

/// A set of bits, some of which a waiter sleeps with, so that it can be woken before others.
pub(crate) type Mark = std::num::NonZeroU32;

/// As [`futex_wait`] without a timeout; the waiter has this mark.
#[cfg(not(cobuf_loom))]
pub(crate) fn futex_wait_marked(word: &AtomicU32, expected: u32, mark: Mark) {
    use rustix::thread::futex;
    // As for `futex_wait`.
    let _ = futex::wait_bitset(word, futex::Flags::empty(), expected, None, mark);
}

/// Wakes one of the waiters that sleep on `word` with a bit of this mark, or without one. Returns whether
/// there was one.
#[cfg(not(cobuf_loom))]
pub(crate) fn futex_wake_marked(word: &AtomicU32, mark: Mark) -> bool {
    use rustix::thread::futex;
    // As for `futex_wake`.
    futex::wake_bitset(word, futex::Flags::empty(), 1, mark).is_ok_and(|woken| woken > 0)
}

/// Models do not know marks, nor does the count of cache lines.
#[cfg(cobuf_loom)]
pub(crate) fn futex_wait_marked(word: &AtomicU32, expected: u32, _mark: Mark) {
    futex_wait(word, expected, None);
}

#[cfg(cobuf_loom)]
pub(crate) fn futex_wake_marked(word: &AtomicU32, _mark: Mark) -> bool {
    futex_wake(word, 1) > 0
}

/// Wakes at most `count` of the waiters that sleep on `word`. Returns how many it woke.
#[cfg(not(cobuf_loom))]
pub(crate) fn futex_wake(word: &AtomicU32, count: u32) -> usize {
    use rustix::thread::futex;
    // It fails only if the word is misaligned or unmapped, which a reference never is.
    futex::wake(word, futex::Flags::empty(), count).unwrap_or(0)
}

/// A core that would sleep goes on at once: what wakes it was done by another one before.
#[cfg(cobuf_lines)]
pub(crate) fn futex_wait(word: &AtomicU32, _expected: u32, _timeout: Option<Duration>) {
    word.load(Ordering::SeqCst);
}

#[cfg(cobuf_lines)]
pub(crate) fn futex_wake(_word: &AtomicU32, _count: u32) -> usize {
    1
}

#[cfg(all(cobuf_loom, not(cobuf_lines)))]
pub(crate) use modelled::{futex_wait, futex_wake};

/// futex(2): the load, the comparison and the start of the sleep are one atomic step with respect
/// to wakes of the same word. One lock over all words stands for the kernel's locks. The load is
/// sequentially consistent, as the kernel's is because of the full barrier before it.
#[cfg(all(cobuf_loom, not(cobuf_lines)))]
mod modelled {
    use super::{AtomicU32, Duration, Ordering};
    use loom::sync::{Condvar, Mutex, MutexGuard};
    use std::collections::HashMap;
    use std::sync::Arc;

    /// The waiters that sleep on one word.
    #[derive(Default)]
    struct Bed {
        woken: Arc<Condvar>,
        sleepers: usize,
    }

    loom::lazy_static! {
        static ref BEDS: Mutex<HashMap<usize, Bed>> = Mutex::new(HashMap::new());
    }

    fn beds() -> MutexGuard<'static, HashMap<usize, Bed>> {
        BEDS.lock().unwrap()
    }

    pub(crate) fn futex_wait(word: &AtomicU32, expected: u32, _timeout: Option<Duration>) {
        let mut beds = beds();
        if word.immortal().load(Ordering::SeqCst) == expected {
            let bed = beds.entry(std::ptr::from_ref(word).addr()).or_default();
            bed.sleepers += 1;
            let woken = bed.woken.clone();
            drop(woken.wait(beds).unwrap());
        }
    }

    pub(crate) fn futex_wake(word: &AtomicU32, count: u32) -> usize {
        let mut beds = beds();
        let Some(bed) = beds.get_mut(&std::ptr::from_ref(word).addr()) else { return 0 };
        let woken = bed.sleepers.min(count as usize);
        bed.sleepers -= woken;
        match woken {
            0 => {}
            1 => bed.woken.notify_one(),
            _ => bed.woken.notify_all(),
        }
        woken
    }
}
