//! How many CPUs this process has, which is its default number of workers.
//!
//! ```text
//!   64 CPUs, 4 ranks, each may use all of them         16
//!   the launcher has bound each rank to 8 of them       8
//!   it has bound two ranks each to the same 32         16
//!   a container with the time of 32                     8
//! ```

use std::{fs, thread};

/// The number of CPUs that this process may use.
pub(super) fn available() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// This process's part of them, if so many ranks are on the machine; at least 1.
pub(super) fn own(ranks: usize) -> usize {
    let bound = rustix::thread::sched_getaffinity(None).map_or(usize::MAX, |set| set.count() as usize);
    let online = fs::read_to_string("/sys/devices/system/cpu/online").ok().and_then(|list| count(&list));
    part(online.unwrap_or(bound), bound, available(), ranks.max(1))
}

/// `online` is the machine's CPUs, `bound` those that the process may run on, and `available` is
/// less if a container has only the time of so many.
fn part(online: usize, bound: usize, available: usize, ranks: usize) -> usize {
    let by_time = if available < bound { available / ranks } else { available };
    (online / ranks).min(bound).min(by_time).max(1)
}

/// The number of CPUs in a list of the kernel, such as `0-3,8`.
fn count(list: &str) -> Option<usize> {
    let ranges = list.trim().split(',').map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        last.checked_sub(first).map(|more| more + 1)
    });
    ranges.sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    #[test]
    fn part_of_a_rank_is_what_it_is_bound_to_or_its_share_of_the_machine() {
        assert_eq!(part(64, 64, 64, 1), 64);
        assert_eq!(part(64, 64, 64, 4), 16);
        assert_eq!(part(64, 8, 8, 4), 8);
        assert_eq!(part(64, 32, 32, 4), 16);
        assert_eq!(part(64, 64, 32, 4), 8);
        assert_eq!(part(2, 2, 2, 4), 1);
        assert_eq!(part(64, 6, 6, 1), 6);
    }

    #[test]
    fn list_of_the_kernel_is_counted() {
        assert_eq!(count("0\n"), Some(1));
        assert_eq!(count("0-3,8,10-11\n"), Some(7));
        assert_eq!((count(""), count("3-1"), count("x")), (None, None, None));
    }

    #[test]
    fn rank_that_is_bound_to_a_cpu_has_that_one() {
        let bound = || {
            let mut one = CpuSet::new();
            let all = sched_getaffinity(None).unwrap();
            one.set((0..CpuSet::MAX_CPU).find(|&cpu| all.is_set(cpu)).unwrap());
            sched_setaffinity(None, &one).unwrap();
            (own(1), own(2), available())
        };
        // A thread's binding is its own.
        assert_eq!(thread::spawn(bound).join().unwrap(), (1, 1, 1));
    }
}
