//! The clock of the times in the segment: since the machine started, the same in every process.

use std::time::Duration;

/// Nanoseconds since the machine was started, as of the last tick of the kernel (1 to 10 ms ago): a few nanoseconds to ask for,
/// and precise enough to say for how long something lasts that is worth telling.
#[cfg(not(cobuf_loom))]
pub(crate) fn now_nanos() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Models have no time.
#[cfg(cobuf_loom)]
pub(crate) fn now_nanos() -> u64 {
    0
}

/// The time that has passed since then.
pub(crate) fn since(nanos: u64) -> Duration {
    Duration::from_nanos(now_nanos().saturating_sub(nanos))
}
