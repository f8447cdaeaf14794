//! Measures the cost of having a plugin produce a nearly empty batch.
//!
//! It is one call through the boundary: `fill-producer` with one array of 16 bytes. The library is
//! built, checked and opened as a host does it, but in this process. `random` also makes the
//! message's generator; `error` is a message that asks for an error instead of a batch.
//!
//! `cargo bench -p cobuf-host --bench plugin_call`

mod common;

use std::hint::black_box;
use std::time::Duration;

use cobuf_host::Dictionary;
use cobuf_host::parts::Producing;
use cobuf_plugin_api::codec;
use common::{plugin, small};
use criterion::{Criterion, criterion_group, criterion_main};

fn produce(criterion: &mut Criterion) {
    let mut producer = Producing::open(&plugin("fill-producer"), &small()).expect("the plugin can be opened");
    let mut group = criterion.benchmark_group("plugin_call");
    for (name, message) in [
        ("one_number", Dictionary::new().with("index", 7)),
        ("random", Dictionary::new().with("random", true)),
        ("error", Dictionary::new().with("error", "no")),
    ] {
        let message = codec::encode("a message", &message).expect("it is a dictionary");
        group.bench_function(name, |bencher| bencher.iter(|| producer.produce(black_box(&message)).is_ok()));
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    targets = produce
}
criterion_main!(benches);
