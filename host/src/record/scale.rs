//! Ranks on paper: what grows with their number, in the code that real ranks run.
//!
//! ```sh
//! cargo test -p cobuf-host --release --lib -- --ignored --nocapture scale
//! ```
//!
//! Each line is a job of so many ranks, each of which has delivered some 1,000 messages. `in step`:
//! all have delivered as many. `out of step`: each was killed up to 100 messages earlier, as with
//! `--checkpoint-every 100`. Then the next generation begins, with one rank less.

use std::hint::black_box;
use std::time::Instant;

use cobuf_plugin_api::Rng;
use cobuf_plugin_api::rand::{RngExt, SeedableRng};

use super::checkpoint::Checkpoint;
use super::folder::CheckpointFolder;
use super::identity::Identity;
use super::ledger::Ledger;
use super::portion::{Given, Portion};
use super::rank::{Rank, Seat};

const EACH: u64 = 1000;
const OUT_OF_STEP: u64 = 100;

/// The parts of a job of which each rank has delivered this many messages.
fn parts(of: u32, mut delivered: impl FnMut() -> u64) -> Vec<Checkpoint> {
    let begin = Checkpoint::new(Identity::default(), Ledger::default(), None, Vec::new());
    let mut parts = begin.split(of).unwrap();
    for part in parts.iter_mut().filter_map(|checkpoint| checkpoint.part.as_mut()) {
        part.done.insert(0..delivered());
    }
    parts
}

fn bytes(checkpoint: &Checkpoint) -> usize {
    serde_json::to_vec(checkpoint).unwrap().len()
}

/// Nanoseconds for one step from an own message to the next.
fn step_nanos(earlier: &Ledger, seat: Seat) -> f64 {
    let portion = Portion::from(Given { earlier: earlier.clone(), seat, ..Given::default() });
    // Most steps of a real run are behind all gaps; these are those between them.
    let steps = 20_000;
    let started = Instant::now();
    let last = (0..steps).fold(portion.next(0), |own, _| portion.after(own));
    black_box(last);
    started.elapsed().as_secs_f64() * 1e9 / f64::from(steps)
}

#[test]
#[ignore = "prints a table: run it by name, in a release build"]
fn scale() {
    println!(
        "{:>5} {:<11} {:>9} {:>11} {:>9} {:>10} {:>10} {:>9} {:>9} {:>9}",
        "ranks", "", "skipped", "ledger", "merged", "a part", "folder", "merge", "read", "step"
    );
    println!(
        "{:>5} {:<11} {:>9} {:>11} {:>9} {:>10} {:>10} {:>9} {:>9} {:>9}",
        "", "", "per own", "ranges", "kB", "bytes", "kB", "ms", "ms", "ns"
    );
    let mut rng = Rng::seed_from_u64(1);
    for of in [1, 2, 8, 64, 512, 4096_u32] {
        for (name, late) in [("in step", 0), ("out of step", OUT_OF_STEP)] {
            let all = parts(of, || EACH - if late > 0 { rng.random_range(0..late) } else { 0 });
            let started = Instant::now();
            let merged = Checkpoint::merge(all.iter().cloned()).unwrap();
            let merge = started.elapsed();
            let next = (of - 1).max(1);
            let folder = tempfile::tempdir().unwrap();
            let ckpt = CheckpointFolder::new(folder.path());
            ckpt.split(&merged, next).unwrap();
            let started = Instant::now();
            // What the first rank of the generation after that does.
            ckpt.resume(Rank::new(0, of + 1).unwrap(), |one: u64, other| one + other).unwrap();
            let read = started.elapsed();
            let sizes = std::fs::read_dir(folder.path())
                .unwrap()
                .map(|entry| entry.unwrap().metadata().unwrap().len());
            println!(
                "{of:>5} {name:<11} {:>9} {:>11} {:>9.1} {:>10} {:>10.1} {:>9.1} {:>9.1} {:>9.1}",
                of - 1,
                merged.done.ranges().count(),
                bytes(&merged) as f64 / 1e3,
                bytes(&all[0]),
                sizes.sum::<u64>() as f64 / 1e3,
                merge.as_secs_f64() * 1e3,
                read.as_secs_f64() * 1e3,
                step_nanos(&merged.done, Seat { rank: 0, of: next }),
            );
        }
    }
}
