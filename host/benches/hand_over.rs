//! Measures the cost of a batch that costs nothing to produce: from a commander over two workers to
//! the consumer, each a process.
//!
//! `list-commander` gives one message repeatedly, `fill-producer` fills 16 bytes, and there are 64
//! slots. The time is that of one batch in a running stream: slots that may have become ready
//! before the measurement are taken first.
//!
//! `cargo bench -p cobuf-host --bench hand_over`

mod common;

use std::time::{Duration, Instant};

use cobuf_host::{Dictionary, Host, Value};
use common::{plugin, small};
use criterion::{Criterion, criterion_group};

const SLOTS: usize = 64;
const WORKERS: usize = 2;

fn hand_over(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hand_over");
    for (name, deterministic) in [("in_order", true), ("any_order", false)] {
        let host = start(deterministic);
        let mut batches = host.batches();
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| {
                let mut take = || drop(batches.next().expect("it is endless").expect("no batch fails"));
                (0..2 * SLOTS).for_each(|_| take());
                let began = Instant::now();
                (0..iterations).for_each(|_| take());
                began.elapsed()
            });
        });
    }
}

fn start(deterministic: bool) -> Host {
    let messages = vec![Value::from(Dictionary::new().with("index", 7))];
    let host = Host::builder()
        .commander(plugin("list-commander"))
        .commander_config(Dictionary::new().with("messages", messages).with("repeat", 0))
        .producer(plugin("fill-producer"))
        .producer_config(small())
        .workers(WORKERS)
        .slots(SLOTS)
        .ordered(deterministic)
        .start();
    host.expect("the plugins can be started")
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(5));
    targets = hand_over
}

fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
}
