//! Measures how fast large batches are filled in place, beside the fastest that this memory can be
//! written.

use std::hint::black_box;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use cobuf_host::{Batch, Dictionary};

use crate::case::{Case, FILLING};
use crate::consumer::Consumer;
use crate::memory::SharedMemory;
use crate::plugins::{Plugins, bytes};
use cobuf::measure::cores;
use cobuf::measure::figure::{Bound, Figure};
use cobuf::measure::plan::Plan;

pub(super) const CASE: Case = Case {
    name: "large",
    title: "batches of 12.6 MB, u8 (64, 256, 256, 3), filled in place, of which the consumer touches a byte a page; 2 workers",
    plugins: FILLING,
    measure,
};

const SHAPE: [usize; 4] = [64, 256, 256, 3];
const BATCH_BYTES: usize = SHAPE[0] * SHAPE[1] * SHAPE[2] * SHAPE[3];
const WORKERS: usize = 2;
const SLOTS: usize = 8;
const PAGE_BYTES: usize = 4096;
const VALUE: u8 = 7;

#[derive(Clone, Copy)]
enum Thing {
    Host,
    Memset,
    ReadMemset,
}

fn measure(plan: &Plan, plugins: &Plugins) -> Result<Vec<Figure>> {
    let mut memory = SharedMemory::create(SLOTS * BATCH_BYTES)?;
    let things = [Thing::Host, Thing::Memset, Thing::ReadMemset];
    let [host, memset, read] = plan.samples(things, |thing, window| {
        Ok(match thing {
            Thing::Host => filled_by_host(plugins, window)?,
            Thing::Memset => memset(memory.bytes_mut(), window),
            Thing::ReadMemset => memset_for_reader(memory.bytes_mut(), window),
        })
    })?;
    let threads = threads();
    let figure = Figure::new("filled and touched", "GB/s", host)
        .beside(format!("memset in {threads} threads"), memset)
        .beside("the same, for another thread that touches", read);
    Ok(vec![figure.ratio_should_be(Bound::AtLeast(0.95))])
}

fn filled_by_host(plugins: &Plugins, window: Duration) -> Result<f64> {
    let message = Dictionary::new().with("index", u32::from(VALUE));
    let builder = plugins.filling(&[bytes(&SHAPE)], message).workers(WORKERS).slots(SLOTS);
    let touch = |batch: &Batch| {
        black_box(batch.bytes_at(0).map(|(_, bytes)| touched(bytes)).unwrap_or_default());
    };
    let pace = Consumer::warm(builder)?.take_for(window, WORKERS, touch)?;
    Ok(gigabytes_a_second(pace.batches, pace.elapsed))
}

/// Reads one byte of each page.
fn touched(bytes: &[u8]) -> u64 {
    bytes.iter().step_by(PAGE_BYTES).map(|&byte| u64::from(byte)).sum()
}

fn gigabytes_a_second(batches: u64, elapsed: Duration) -> f64 {
    batches as f64 * BATCH_BYTES as f64 / 1e9 / elapsed.as_secs_f64()
}

/// As many threads as the host has workers, but at most one for each core.
fn threads() -> usize {
    cores().min(WORKERS)
}

/// Threads that fill the slots; each fills its own slots repeatedly.
fn memset(memory: &mut [u8], window: Duration) -> f64 {
    let started = Instant::now();
    let fill = |slots: &mut [u8]| {
        let mut filled = 0;
        while started.elapsed() < window {
            for slot in slots.chunks_mut(BATCH_BYTES) {
                slot.fill(VALUE);
                black_box(&slot[0]);
                filled += 1;
            }
        }
        filled
    };
    let filled = thread::scope(|scope| {
        let parts = memory.chunks_mut(SLOTS / threads() * BATCH_BYTES);
        let threads: Vec<_> = parts.map(|part| scope.spawn(|| fill(part))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_default()).sum()
    });
    gigabytes_a_second(filled, started.elapsed())
}

/// The same, but each slot goes to a reader when it is full, and is returned. No buffer between two
/// threads can do less.
fn memset_for_reader(memory: &mut [u8], window: Duration) -> f64 {
    let (to_reader, full) = mpsc::channel();
    let started = Instant::now();
    let mut filled = 0;
    thread::scope(|scope| {
        let mut back = Vec::new();
        let mut slots = memory.chunks_mut(BATCH_BYTES);
        for thread in 0..threads() {
            let (free, to_filler) = mpsc::channel::<&mut [u8]>();
            let to_reader = to_reader.clone();
            slots.by_ref().take(SLOTS / threads()).for_each(|slot| drop(free.send(slot)));
            back.push(free);
            scope.spawn(move || {
                for slot in to_filler {
                    slot.fill(VALUE);
                    if to_reader.send((thread, slot)).is_err() {
                        break;
                    }
                }
            });
        }
        while started.elapsed() < window {
            let Ok((thread, slot)) = full.recv() else { break };
            black_box(touched(slot));
            filled += 1;
            let _ = back[thread].send(slot);
        }
        drop((back, full));
        gigabytes_a_second(filled, started.elapsed())
    })
}
