//! What does a batch cost that costs nothing to produce: from a commander over two workers to the consumer, each a process?
//!
//! `list-commander` gives one message again and again, `fill-producer` fills 16 bytes, 64 slots are there. The time is that of one batch
//! in a stream that runs: first all slots are taken that may have become ready while nobody looked.
//!
//! `cargo bench -p cobuf-host --bench hand_over`

use std::path::Path;
use std::time::{Duration, Instant};

use cobuf_host::{Dictionary, Host, Plugin, Value};
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
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins");
    let messages = vec![Value::from(Dictionary::new().with("index", 7))];
    let array = Dictionary::new().with("name", "x").with("dtype", "u8").with("shape", vec![Value::from(16)]);
    let host = Host::builder()
        .commander(Plugin::package(plugins.join("list-commander")))
        .commander_config(Dictionary::new().with("messages", messages).with("repeat", 0))
        .producer(Plugin::package(plugins.join("fill-producer")))
        .producer_config(Dictionary::new().with("arrays", vec![Value::from(array)]))
        .workers(WORKERS)
        .slots(SLOTS)
        .deterministic(deterministic)
        .start();
    host.expect("the plugins can be started")
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(5));
    targets = hand_over
}

fn main() {
    cobuf_host::init(); // first: this executable is also its own fork server
    benches();
    Criterion::default().configure_from_args().final_summary();
}
