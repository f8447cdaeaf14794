//! Measures the cost of a slot's way through its states, and whether it grows with the number of
//! slots.
//!
//! `round` is the whole way of one slot, while all others are free. The steps are timed with every
//! slot in the same state: all are claimed, then all are published, and so on. So a search for a
//! slot always has all of them before it.
//!
//! `cargo bench -p cobuf-host --bench slots`

use std::time::{Duration, Instant};

use cobuf_host::parts::Slots;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

const SLOTS: [usize; 4] = [8, 64, 512, 4096];
/// At least this many slots take a step between two readings of the clock, because a reading costs
/// as much as a step. If a run has fewer slots, several runs are used.
const TIMED_AT_LEAST: usize = 512;

type Step = fn(&mut Slots);
const STEPS: [(&str, Step); 6] = [
    ("claim_free", Slots::claim_free),
    ("publish", Slots::publish),
    ("claim_queued", Slots::claim_queued),
    ("commit", Slots::commit),
    ("take", Slots::take),
    ("release", Slots::release),
];

fn round(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("slots/round");
    for count in SLOTS {
        let mut slots = Slots::new(count);
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter(|| STEPS.iter().for_each(|(_, step)| step(&mut slots)));
        });
    }
}

fn steps(criterion: &mut Criterion) {
    for (timed, (name, _)) in STEPS.iter().enumerate() {
        let mut group = criterion.benchmark_group(format!("slots/{name}"));
        for count in SLOTS {
            let mut runs: Vec<_> = (0..TIMED_AT_LEAST.div_ceil(count)).map(|_| Slots::new(count)).collect();
            group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
                bencher.iter_custom(|iterations| time(&mut runs, count, timed, iterations));
            });
        }
    }
}

/// How long one of the steps takes `iterations` times, while all slots go through all their states
/// repeatedly.
fn time(runs: &mut [Slots], count: usize, timed: usize, iterations: u64) -> Duration {
    let (mut took, mut left) = (Duration::ZERO, iterations as usize);
    while left > 0 {
        let now = left.min(count * runs.len());
        for (index, (_, step)) in STEPS.iter().enumerate() {
            let began = Instant::now();
            let mut rest = now;
            for slots in &mut *runs {
                (0..rest.min(count)).for_each(|_| step(slots));
                rest = rest.saturating_sub(count);
            }
            if index == timed {
                took += began.elapsed();
            }
        }
        left -= now;
    }
    took
}

criterion_group! {
    name = rounds;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = round
}
// A timed step takes six times as long as it counts.
criterion_group! {
    name = each_step;
    config = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(50))
        .measurement_time(Duration::from_millis(200));
    targets = steps
}
criterion_main!(rounds, each_step);
