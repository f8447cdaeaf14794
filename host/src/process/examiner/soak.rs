//! Repeats one action, and measures what the process holds in between.

use std::fs;
use std::time::{Duration, Instant};

use cobuf_plugin_api::Report;
use rustix::process::getpid;

use crate::process::system::anonymous_memory;
use crate::protocol::examination::{Mark, Soak, Soaked};

/// The number of windows after the warm-up.
const WINDOWS: usize = 4;
/// The fewest repetitions of a window, however long they take.
const LEAST_REPETITIONS: u64 = 4;
/// This many repetitions are enough to show that each leaves a page behind; a slow machine takes
/// longer for them.
const ENOUGH_REPETITIONS: u64 = 16;
/// The most repetitions whose times are kept: their list must not look like a leak.
const MOST_TIMES: usize = 10_000;

/// The first window is as long as the task says, or longer if that is too short for enough
/// repetitions. The others have as many repetitions as the first. An error of `once` ends the soak.
pub(super) fn soak(task: &Soak, mut once: impl FnMut() -> Result<(), Report>) -> Result<Soaked, Report> {
    let (window, patience) =
        (Duration::from_millis(task.window_millis), Duration::from_millis(task.patience_millis));
    let is_short =
        |repetitions, elapsed| elapsed < window || (repetitions < ENOUGH_REPETITIONS && elapsed < patience);
    let least = LEAST_REPETITIONS.max(task.messages.len() as u64);
    let (started, mut repetitions) = (Instant::now(), 0);
    let mut nanos = Vec::with_capacity(MOST_TIMES);
    while repetitions < least || is_short(repetitions, started.elapsed()) {
        let began = Instant::now();
        once()?;
        if nanos.len() < MOST_TIMES {
            nanos.push(began.elapsed().as_nanos() as u64);
        }
        repetitions += 1;
    }
    nanos.sort_unstable();
    let mut marks = vec![mark()];
    for _ in 0..WINDOWS {
        (0..repetitions).try_for_each(|_| once())?;
        marks.push(mark());
    }
    Ok(Soaked { repetitions, marks, median_nanos: nanos[nanos.len() / 2] })
}

fn mark() -> Mark {
    let entries = |folder: &str| fs::read_dir(folder).map_or(0, |entries| entries.count() as u64);
    Mark {
        memory: anonymous_memory(getpid()).unwrap_or_default(),
        descriptors: entries("/proc/self/fd"),
        threads: entries("/proc/self/task"),
    }
}
