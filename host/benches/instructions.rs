//! Counts the instructions of the hot paths. This regression guard does not depend on how busy the
//! machine is: valgrind counts, nothing is timed.
//!
//! ```text
//!   slots      one slot from free to free, of 8, 64 and 4,096
//!   bell       a notification that wakes no one, a wait for a condition that is already true
//!   messages   a small message written, and read
//!   produce    a batch of 16 bytes through the plugin's boundary, also with a length of its own
//!   consume    a ready batch, from the iterator to its drop
//! ```
//!
//! Each path has a stored figure, the instructions of a thousand repetitions, and fails if it takes
//! more than [`MARGIN`] percent above it. If a change has a reason to take more, or takes less,
//! store the new figure. The figures are those of rustc 1.95 on x86_64 with glibc 2.36. Other
//! compilers move them by a few percent, as does code elsewhere that changes which functions are
//! inlined.
//!
//! ```text
//! cargo install gungraun-runner --version 0.20.0 --locked    # and valgrind, from the distribution
//! cargo bench -p cobuf-host --bench instructions
//! ```

#![expect(missing_docs, reason = "gungraun generates modules and functions for each benchmark")]

mod common;

use std::hint::black_box;

use cobuf_host::parts::{Bells, Producing, Slots};
use cobuf_host::{Batches, Dictionary, Value};
use cobuf_plugin_api::codec;
use common::{plugin, small, small_array};
use gungraun::prelude::*;
use gungraun::{Callgrind, EventKind};

/// How often a path is repeated, so that work that happens once does not count.
const TIMES: usize = 1000;
/// How many percent more instructions than the stored figure a path may take.
const MARGIN: u64 = 10;

/// A limit of little more than the stored number of instructions.
fn stored(instructions: u64) -> LibraryBenchmarkConfig {
    let limit = instructions + instructions * MARGIN / 100;
    // Cargo, which builds the plugin, is not part of the paths. Under valgrind a compiler would
    // take a quarter of an hour.
    let callgrind =
        Callgrind::with_args(["--trace-children=no"]).hard_limits([(EventKind::Ir, limit)]).clone();
    LibraryBenchmarkConfig::default().tool(callgrind).clone()
}

#[library_benchmark]
#[bench::of_8(args = (8), setup = Slots::new, config = stored(999_874))]
#[bench::of_64(args = (64), setup = Slots::new, config = stored(994_519))]
#[bench::of_4096(args = (4096), setup = Slots::new, config = stored(1_452_664))]
fn slots(mut slots: Slots) -> Slots {
    for _ in 0..TIMES {
        slots.claim_free();
        slots.publish();
        slots.claim_queued();
        slots.commit();
        slots.take();
        slots.release();
    }
    slots
}

#[library_benchmark]
#[bench::nobody_sleeps(args = (), setup = Bells::new, config = stored(10_066))]
fn ring(bells: Bells) -> Bells {
    let [bell, _] = bells.both();
    (0..TIMES).for_each(|_| bell.ring());
    bells
}

#[library_benchmark]
#[bench::it_is_so(args = (), setup = Bells::new, config = stored(11_072))]
fn wait(bells: Bells) -> Bells {
    let [bell, _] = bells.both();
    (0..TIMES).for_each(|_| bell.wait_until(|| black_box(true)));
    bells
}

fn message() -> Dictionary {
    Dictionary::new().with("index", 7)
}

fn encoded() -> Vec<u8> {
    codec::encode("a message", &message()).expect("it is a dictionary")
}

#[library_benchmark]
#[bench::one_number(args = (), setup = message, config = stored(550_483))]
fn encode(message: Dictionary) {
    for _ in 0..TIMES {
        drop(codec::encode("a message", black_box(&message)));
    }
}

#[library_benchmark]
#[bench::one_number(args = (), setup = encoded, config = stored(1_459_252))]
fn decode(message: Vec<u8>) {
    for _ in 0..TIMES {
        drop(codec::decode::<Dictionary>("the message", black_box(&message)));
    }
}

/// As [`small`], but each batch has a length of its own.
fn of_any_length() -> Dictionary {
    let array = small_array().with("at_most", vec![Value::from(0)]);
    let shapes = Dictionary::new().with("x", vec![Value::from(16)]);
    Dictionary::new().with("arrays", vec![Value::from(array)]).with("shapes", shapes)
}

fn producing(config: Dictionary) -> (Producing, Vec<u8>) {
    (Producing::open(&plugin("fill-producer"), &config).expect("the plugin can be opened"), encoded())
}

#[library_benchmark]
#[bench::of_16_bytes(args = (small()), setup = producing, config = stored(2_040_190))]
#[bench::of_any_length(args = (of_any_length()), setup = producing, config = stored(2_333_190))]
fn produce((mut producing, message): (Producing, Vec<u8>)) -> Producing {
    for _ in 0..TIMES {
        producing.produce(black_box(&message)).expect("it fills an array");
    }
    producing
}

/// A run whose batches are all ready, followed by the end of the stream.
fn ready() -> Batches {
    let mut slots = Slots::new(TIMES);
    for _ in 0..TIMES {
        slots.claim_free();
        slots.publish();
        slots.claim_queued();
        slots.commit();
    }
    slots.into_batches()
}

#[library_benchmark]
#[bench::in_order(args = (), setup = ready, config = stored(812_205))]
fn consume(batches: Batches) {
    for batch in batches {
        black_box(batch.expect("no batch fails"));
    }
}

library_benchmark_group!(name = paths, benchmarks = [slots, ring, wait, encode, decode, produce, consume]);

gungraun::main!(
    // Cargo builds the plugin and needs its environment.
    config = LibraryBenchmarkConfig::default().env_clear(false),
    library_benchmark_groups = paths
);
