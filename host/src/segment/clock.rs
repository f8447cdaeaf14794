//! The clock for times in the segment. It counts from the machine's start and is the same in every
//! process.

use std::time::Duration;

/// Nanoseconds since the machine was started, at the kernel's last tick (1 to 10 ms ago). Reading
/// it takes a few nanoseconds, and it is precise enough for reports and deadlines.
#[cfg(not(cobuf_loom))]
pub(crate) fn now_nanos() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// As [`now_nanos`], to the nanosecond, for traces: reading it takes some twenty nanoseconds.
#[cfg(not(cobuf_loom))]
pub(crate) fn precise_nanos() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Models have no time.
#[cfg(cobuf_loom)]
pub(crate) fn now_nanos() -> u64 {
    0
}

/// Models have no time.
#[cfg(cobuf_loom)]
pub(crate) fn precise_nanos() -> u64 {
    0
}

/// The time that has passed since this moment.
pub(crate) fn since(nanos: u64) -> Duration {
    Duration::from_nanos(now_nanos().saturating_sub(nanos))
}
