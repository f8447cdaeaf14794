//! The floor of large batches: plain `memset` into shared memory by as many threads as there are workers.
#![allow(unsafe_code)] // mapping a file is unsafe, as others could change it

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Barrier, Mutex, PoisonError};

use anyhow::{Context, Result};
use memmap2::MmapMut;

use super::{Native, gigabytes_a_second, touch};
use crate::meter;
use crate::protocol::{Answer, Probe, Request, Variant};
use crate::work::{LARGE_BYTES, SLOTS, VALUES, Work};

pub(super) const PEER: Native = Native { name: "memset", probe, measure };

/// The variant in which buffers go round among the cores, and are looked at, as in a stream.
const IN_TURN: &str = "in turn, a byte a page read";

const CONDITIONS: &str = "\
    A floor. One thread for each worker fills buffers of one mapping of `/dev/shm`, as many and as \
    large as cobuf's slots, again and again; nothing is handed over. Either each thread has \
    buffers of its own that no other thread reads, which is plain `memset`; or each takes the next \
    buffer of all, as workers do, and reads one byte of each page, as a consumer does: then a \
    buffer's lines move between the cores' caches.";

fn probe() -> Probe {
    let variant = |name: &str| Variant {
        name: name.to_owned(),
        works: [(Work::Large, vec![format!("buffers={SLOTS}")])].into(),
    };
    Probe {
        versions: "the standard library's fill".to_owned(),
        conditions: CONDITIONS.to_owned(),
        variants: vec![variant(""), variant(IN_TURN)],
    }
}

fn measure(request: &Request) -> Result<Answer> {
    let file = tempfile::tempfile_in("/dev/shm").context("cannot make a file in /dev/shm")?;
    file.set_len((SLOTS * LARGE_BYTES) as u64)?;
    // SAFETY: the file has no name, and nobody else has its descriptor.
    let mut memory = unsafe { MmapMut::map_mut(&file) }.context("cannot map the file")?;
    let buffers: Vec<Mutex<&mut [u8]>> = memory.chunks_exact_mut(LARGE_BYTES).map(Mutex::new).collect();
    let (in_turn, taken) = (request.variant == IN_TURN, AtomicU64::new(0));
    let value = super::on_each_core((0..request.workers).collect(), |worker, start: &Barrier| {
        let mut number = worker as u64;
        start.wait();
        let seconds = meter::seconds_a_batch(request.seconds, 1, || {
            if in_turn {
                number = taken.fetch_add(1, Ordering::Relaxed);
            } else {
                number += request.workers as u64;
            }
            // Another one has it only where it is slower by a whole round.
            let mut buffer =
                buffers[number as usize % buffers.len()].lock().unwrap_or_else(PoisonError::into_inner);
            buffer.fill((number % VALUES) as u8);
            if in_turn { touch(&buffer, number) } else { Ok(()) }
        });
        seconds.map(gigabytes_a_second)
    })?;
    Ok(Answer { value })
}
