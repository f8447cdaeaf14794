//! The floor of large batches: plain `memset` into shared memory by as many threads as there are workers.
#![allow(unsafe_code)] // mapping a file is unsafe, as others could change it

use std::sync::Barrier;

use anyhow::{Context, Result};
use memmap2::MmapMut;

use super::{Native, gigabytes_a_second, touch};
use crate::meter;
use crate::protocol::{Answer, Probe, Request, Variant};
use crate::work::{LARGE_BYTES, SLOTS, VALUES, Work};

pub(super) const PEER: Native = Native { name: "memset", probe, measure };

/// The variant in which the filling thread does the consumer's part too.
const READ: &str = "then a byte a page read";

const CONDITIONS: &str = "A floor. A thread a worker fills buffers of one mapping of `/dev/shm`, as many and as large as cobuf's \
    slots, again and again. Nothing is handed over. Nobody reads them, or the same thread reads one byte a page, as the consumer \
    of all others does: with as many CPUs as workers there is no other processor that could do it.";

fn probe() -> Probe {
    let variant = |name: &str| Variant {
        name: name.to_owned(),
        works: [(Work::Large, vec![format!("buffers={SLOTS}")])].into(),
    };
    Probe {
        versions: "the standard library's fill".to_owned(),
        conditions: CONDITIONS.to_owned(),
        variants: vec![variant(""), variant(READ)],
    }
}

fn measure(request: &Request) -> Result<Answer> {
    let file = tempfile::tempfile_in("/dev/shm").context("cannot make a file in /dev/shm")?;
    file.set_len((SLOTS * LARGE_BYTES) as u64)?;
    // SAFETY: the file has no name, and nobody else has its descriptor.
    let mut memory = unsafe { MmapMut::map_mut(&file) }.context("cannot map the file")?;
    let mut shares: Vec<Vec<&mut [u8]>> = (0..request.workers).map(|_| Vec::new()).collect();
    for (number, buffer) in memory.chunks_exact_mut(LARGE_BYTES).enumerate() {
        shares[number % request.workers].push(buffer);
    }
    let value = super::on_each_core(shares, |mut buffers: Vec<&mut [u8]>, start: &Barrier| {
        let mut number = 0;
        start.wait();
        let seconds = meter::seconds_a_batch(request.seconds, 1, || {
            let count = buffers.len();
            let buffer = &mut buffers[number as usize % count];
            buffer.fill((number % VALUES) as u8);
            if request.variant == READ {
                touch(buffer, number)?;
            }
            number += 1;
            Ok(())
        });
        seconds.map(gigabytes_a_second)
    })?;
    Ok(Answer { value })
}
