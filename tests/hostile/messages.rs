//! The messages of a run that is attacked, and what its batches must be.

use std::fs;

use cobuf_host::ndarray::Ix1;
use cobuf_host::{Batch, BatchError, Host, StreamError, Value};

use crate::common::{Process, all_items, index, wait_until};

/// So many messages, of which one attacks.
pub(crate) const MESSAGES: u64 = 12;
pub(crate) const ATTACKED: u64 = 3;

/// How a message that attacked ended.
pub(crate) enum Attacked {
    /// Like any other.
    Unharmed,
    /// With an error.
    Failed(BatchError),
}

/// The runs' segments in a process: where each begins, and its bytes.
fn segment_of(worker: &Process) -> Option<(u64, u64)> {
    let maps = fs::read_to_string(format!("/proc/{}/maps", worker.pid)).ok()?;
    let line = maps.lines().find(|line| line.contains("/dev/shm/cobuf-"))?;
    let (from, to) = line.split(' ').next()?.split_once('-')?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    Some((number(from)?, number(to)? - number(from)?))
}

/// Submits all messages. The one that attacks is told the workers, and where the segment is.
pub(crate) fn submit(host: &Host) {
    submit_from(host, 0);
}

/// Submits those from this number on.
pub(crate) fn submit_from(host: &Host, first: u64) {
    let server = host.fork_server_pid();
    let segments = || -> Option<Vec<(i32, u64, u64)>> {
        let workers = Process::living_workers(server);
        let found: Option<Vec<_>> = workers
            .iter()
            .map(|worker| segment_of(worker).map(|(at, bytes)| (worker.pid, at, bytes)))
            .collect();
        found.filter(|found| found.len() == 2)
    };
    wait_until("both workers have mapped the segment", || segments().is_some());
    let seen = segments().expect("they had");
    let list = |numbers: Vec<u64>| Value::from(numbers.into_iter().map(Value::from).collect::<Vec<_>>());
    let submitter = host.submitter();
    for number in first..MESSAGES {
        let message = index(number);
        let message = if number == ATTACKED {
            message
                .with("server", server)
                .with("workers", list(seen.iter().map(|(pid, ..)| *pid as u64).collect()))
                .with("segments", list(seen.iter().map(|(_, at, _)| *at).collect()))
                .with("segment_bytes", seen[0].2)
        } else {
            message
        };
        // A worker that writes over the segment can make it seem that the host was stopped.
        if submitter.submit(&message).is_err() {
            return;
        }
    }
    let _ = submitter.close();
}

/// Whether the batch has the content that belongs to a message's number.
pub(crate) fn is_content_of(batch: &Batch, number: u64) -> bool {
    let x = batch.array::<u64, Ix1>("x").unwrap();
    x.iter().copied().eq((0..x.len() as u64).map(|i| number.wrapping_mul(1_000_003).wrapping_add(i)))
}

/// Reads the whole stream, of which each batch but the attacked one must be right.
pub(crate) fn read(host: &Host) -> Attacked {
    submit(host);
    let mut attacked = Attacked::Unharmed;
    let mut next = 0;
    for item in all_items(&host.batches()) {
        match item {
            Ok(batch) => {
                assert_eq!(batch.sequence(), next);
                assert!(is_content_of(&batch, next), "batch {next}");
            }
            Err(StreamError::Batch(error)) if error.sequence() == ATTACKED && next == ATTACKED => {
                attacked = Attacked::Failed(*error);
            }
            Err(error) => panic!("{error}: {:?}", std::error::Error::source(&error)),
        }
        next += 1;
    }
    assert_eq!(next, MESSAGES);
    attacked
}
