//! Measures how long it takes to wake a waiting thread, beside a plain futex.
//!
//! ```text
//!   turns    two threads wake each other in turns; each waits for some microseconds: a round trip
//!   asleep   one sleeps for long before it is woken: from then to its first step, and what its
//!            waker pays
//!   nobody   no thread waits: the cost of a notification then
//! ```
//!
//! `event` is the segment's, `futex` always makes the system call. In `turns` an event's waiters
//! look repeatedly before they sleep; in `asleep` they always sleep. Threads stand for processes:
//! the futexes are shared ones.
//!
//! `cargo bench -p cobuf-host --bench wake`

use std::hint::spin_loop;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cobuf_host::parts::{Bell, Bells};
use criterion::{Criterion, criterion_group, criterion_main};
use rustix::thread::futex;

/// How long a sleeper sleeps: longer than any waiter looks repeatedly.
const SLEEP: Duration = Duration::from_micros(300);

/// One thread waits on it, and another wakes that thread.
trait Line: Sync {
    fn ring(&self);
    fn wait_until(&self, so: impl FnMut() -> bool);
}

impl Line for Bell<'_> {
    fn ring(&self) {
        Bell::ring(self);
    }

    fn wait_until(&self, so: impl FnMut() -> bool) {
        Bell::wait_until(self, so);
    }
}

/// How often it was rung. It is on a cache line of its own, as an event is.
#[derive(Default)]
#[repr(align(64))]
struct Futex(AtomicU32);

impl Line for Futex {
    fn ring(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
        futex::wake(&self.0, futex::Flags::empty(), 1).expect("the word is mapped");
    }

    fn wait_until(&self, mut so: impl FnMut() -> bool) {
        loop {
            let before = self.0.load(Ordering::Acquire);
            if so() {
                return;
            }
            // It may fail because the word has changed.
            let _ = futex::wait(&self.0, futex::Flags::empty(), before, None);
        }
    }
}

fn wake(criterion: &mut Criterion) {
    let (bells, futexes) = (Bells::new(), [Futex::default(), Futex::default()]);
    wake_by(criterion, "event", &bells.both());
    wake_by(criterion, "futex", &futexes);
}

fn wake_by<L: Line>(criterion: &mut Criterion, name: &str, lines: &[L; 2]) {
    let mut group = criterion.benchmark_group(format!("wake/{name}"));
    group.bench_function("turns", |bencher| bencher.iter_custom(|turns| take_turns(lines, turns)));
    group.bench_function("asleep", |bencher| bencher.iter_custom(|times| wake_sleeper(lines, times).heard));
    group.bench_function("asleep_waker", |bencher| {
        bencher.iter_custom(|times| wake_sleeper(lines, times).rung);
    });
    group.bench_function("nobody", |bencher| bencher.iter(|| lines[0].ring()));
}

/// The time of this many round trips.
fn take_turns(lines: &[impl Line; 2], turns: u64) -> Duration {
    let [there, back] = lines;
    let (asked, answered) = (AtomicU64::new(0), AtomicU64::new(0));
    let ask = |turn| {
        asked.store(turn, Ordering::Release);
        there.ring();
        back.wait_until(|| answered.load(Ordering::Acquire) == turn);
    };
    let answer = |turn| {
        there.wait_until(|| asked.load(Ordering::Acquire) == turn);
        answered.store(turn, Ordering::Release);
        back.ring();
    };
    thread::scope(|scope| {
        scope.spawn(|| (1..=turns + 1).for_each(answer));
        // After this first turn the other thread runs.
        ask(1);
        let began = Instant::now();
        (2..=turns + 1).for_each(ask);
        began.elapsed()
    })
}

/// The times of several wakes.
#[derive(Default)]
struct Woken {
    /// From the ring to the sleeper's first step.
    heard: Duration,
    /// The time that ringing took.
    rung: Duration,
}

/// Wakes a sleeper `times` times. No other thread has anything to do, and the waker does not sleep.
fn wake_sleeper(lines: &[impl Line; 2], times: u64) -> Woken {
    let (began, asked, heard_nanos) = (Instant::now(), AtomicU64::new(0), AtomicU64::new(0));
    let hear = |time| {
        lines[0].wait_until(|| asked.load(Ordering::Acquire) == time);
        heard_nanos.store(began.elapsed().as_nanos() as u64, Ordering::Release);
    };
    let mut woken = Woken::default();
    thread::scope(|scope| {
        scope.spawn(|| (1..=times).for_each(hear));
        for time in 1..=times {
            let asleep = Instant::now();
            while asleep.elapsed() < SLEEP {
                spin_loop();
            }
            let before = began.elapsed();
            asked.store(time, Ordering::Release);
            lines[0].ring();
            woken.rung += began.elapsed() - before;
            let heard =
                std::iter::repeat_with(|| heard_nanos.swap(0, Ordering::Acquire)).find(|&nanos| nanos != 0);
            woken.heard += Duration::from_nanos(heard.unwrap_or_default()).saturating_sub(before);
        }
    });
    woken
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(50)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = wake
}
criterion_main!(benches);
