//! Measures the cost of writing and reading a message, beside copying as many bytes.
//!
//! There are two forms, from 16 bytes to nearly 64 KiB: `text` is one string, which costs a copy
//! and a constant; `numbers` is a list, which costs work for each number. Each is measured as a
//! plugin's own type, and as the dictionary that programs use if they do not know the plugin.
//!
//! `cargo bench -p cobuf-host --bench messages`

use std::hint::black_box;
use std::time::Duration;

use cobuf_host::Dictionary;
use cobuf_plugin_api::codec;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Bytes of the encoded message, give or take a few. None is a multiple of 4,096: the allocator
/// puts the result right behind the text, and a copy to memory whose address differs only in the
/// upper bits takes ten times as long. That is chance, and says nothing about messages.
const SIZES: [usize; 5] = [16, 256, 4_000, 16_000, 64_000];

#[derive(Serialize, Deserialize)]
struct Text {
    text: String,
}

#[derive(Serialize, Deserialize)]
struct Numbers {
    numbers: Vec<u32>,
}

fn text(size: usize) -> Text {
    // The dictionary's head, the key and the text's head take the other bytes.
    Text { text: "x".repeat(size.saturating_sub(8)) }
}

fn numbers(size: usize) -> Numbers {
    // Each number takes five bytes, because all are above 16 bits.
    Numbers {
        numbers: (0..size.saturating_sub(10).div_ceil(5) as u32).map(|number| number + 100_000).collect(),
    }
}

fn copy(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("messages/copy");
    for size in SIZES {
        let (from, mut to) = (vec![1_u8; size], vec![0_u8; size]);
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| black_box(&mut to).copy_from_slice(black_box(&from)));
        });
    }
}

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("messages/encode");
    for size in SIZES {
        encode_one(&mut group, "text", size, &text(size));
        encode_one(&mut group, "text_dictionary", size, &dictionary(&text(size)));
        encode_one(&mut group, "numbers", size, &numbers(size));
        encode_one(&mut group, "numbers_dictionary", size, &dictionary(&numbers(size)));
    }
}

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("messages/decode");
    for size in SIZES {
        decode_one::<Text>(&mut group, "text", size, &text(size));
        decode_one::<Dictionary>(&mut group, "text_dictionary", size, &text(size));
        decode_one::<Numbers>(&mut group, "numbers", size, &numbers(size));
        decode_one::<Dictionary>(&mut group, "numbers_dictionary", size, &numbers(size));
    }
}

type Group<'a> = BenchmarkGroup<'a, WallTime>;

fn encode_one(group: &mut Group<'_>, name: &str, size: usize, message: &impl Serialize) {
    group.throughput(Throughput::Bytes(encoded(message).len() as u64));
    group.bench_function(BenchmarkId::new(name, size), |bencher| {
        bencher.iter(|| encoded(black_box(message)));
    });
}

fn decode_one<T: DeserializeOwned>(group: &mut Group<'_>, name: &str, size: usize, message: &impl Serialize) {
    let bytes = encoded(message);
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function(BenchmarkId::new(name, size), |bencher| {
        bencher.iter(|| decoded::<T>(black_box(&bytes)));
    });
}

/// The same message as a dictionary.
fn dictionary(message: &impl Serialize) -> Dictionary {
    decoded(&encoded(message))
}

fn encoded(message: &impl Serialize) -> Vec<u8> {
    codec::encode("a message", message).expect("it is a dictionary")
}

fn decoded<T: DeserializeOwned>(bytes: &[u8]) -> T {
    codec::decode("the message", bytes).expect("it is such a message")
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(50)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(500));
    targets = copy, encode, decode
}
criterion_main!(benches);
