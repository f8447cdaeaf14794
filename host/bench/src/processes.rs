//! Processor time and memory of processes, from /proc.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use cobuf_host::{Host, ProcessRole};

/// The processor time of all of a host's processes, including this one with its threads.
pub(crate) fn cpu_time(host: &Host) -> Result<Duration> {
    let own = [std::process::id()].into_iter();
    own.chain(host.processes().iter().map(|process| process.pid)).map(cpu_time_of).sum()
}

/// The time as the scheduler counts it, in nanoseconds, of all threads that exist now.
fn cpu_time_of(pid: u32) -> Result<Duration> {
    let folder = format!("/proc/{pid}/task");
    let threads = fs::read_dir(&folder).with_context(|| format!("cannot read {folder}"))?;
    let times = threads.map(|thread| {
        let path = thread?.path().join("schedstat");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let nanos = text.split_whitespace().next().and_then(|first| first.parse().ok());
        nanos.map(Duration::from_nanos).with_context(|| format!("{} has no time: {text:?}", path.display()))
    });
    times.sum()
}

/// The process numbers of the workers.
pub(crate) fn workers(host: &Host) -> Vec<u32> {
    let is_worker = |role| matches!(role, ProcessRole::Worker(_));
    host.processes().iter().filter(|process| is_worker(process.role)).map(|process| process.pid).collect()
}

/// The resident memory of a process, without its shared mappings, such as the segment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Resident {
    /// All of its pages, including those that other processes have too, such as the C library's
    /// code.
    pub(crate) all_bytes: u64,
    /// Each page divided by the number of processes that have it (PSS).
    pub(crate) share_bytes: u64,
    /// The pages that no other process has (USS): the cost of one more process of its kind.
    pub(crate) own_bytes: u64,
}

pub(crate) fn resident(pid: u32) -> Result<Resident> {
    let path = format!("/proc/{pid}/smaps");
    Ok(beyond_shared(&fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?))
}

/// Reads a `smaps` file: a head for each mapping, then its numbers.
fn beyond_shared(smaps: &str) -> Resident {
    let (mut resident, mut is_shared) = (Resident::default(), false);
    for line in smaps.lines() {
        let mut words = line.split_whitespace();
        let (Some(first), Some(second)) = (words.next(), words.next()) else { continue };
        let bytes = || second.parse().unwrap_or(0) * 1024;
        match first {
            "Rss:" if !is_shared => resident.all_bytes += bytes(),
            "Pss:" if !is_shared => resident.share_bytes += bytes(),
            "Private_Clean:" | "Private_Dirty:" if !is_shared => resident.own_bytes += bytes(),
            // `7f12…-7f13… rw-s 00000000 00:01 2 /dev/shm/cobuf-…`
            range if range.contains('-') => is_shared = second.ends_with('s'),
            _ => {}
        }
    }
    resident
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_segment_is_left_out() {
        let smaps = "\
            55d0-55d1 r-xp 00000000 fe:00 1 /bin/cobuf\nSize: 8 kB\nRss: 8 kB\nPss: 2 kB\n\
            7f00-7f90 rw-s 00000000 00:01 2 /dev/shm/x (deleted)\nRss: 4096 kB\nPss: 1024 kB\nPrivate_Dirty: 512 kB\n\
            7fa0-7fb0 rw-p 00000000 00:00 0\nRss: 12 kB\nPss: 12 kB\nPrivate_Clean: 4 kB\nPrivate_Dirty: 8 kB\nVmFlags: rd wr\n";
        let expected = Resident { all_bytes: 20 * 1024, share_bytes: 14 * 1024, own_bytes: 12 * 1024 };
        assert_eq!(beyond_shared(smaps), expected);
    }

    #[test]
    fn memory_and_time_of_this_process_are_found() {
        let own = resident(std::process::id()).unwrap();
        assert!(own.all_bytes >= own.share_bytes && own.share_bytes >= own.own_bytes && own.own_bytes > 0);
        assert!(cpu_time_of(std::process::id()).unwrap() > Duration::ZERO);
    }
}
