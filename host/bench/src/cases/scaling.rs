//! Measures whether twice the workers do twice as much, if each only waits.

use std::array;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use cobuf_host::Dictionary;

use crate::case::{Case, FILLING};
use crate::consumer::Consumer;
use crate::plugins::{Plugins, bytes};
use cobuf::measure::figure::{Bound, Figure};
use cobuf::measure::plan::Plan;

pub(super) const CASE: Case = Case {
    name: "scaling",
    title: "producers that sleep for 10 ms; 1 to 128 workers, 4 slots each",
    plugins: FILLING,
    measure,
};

const WORKERS: [usize; 4] = [1, 8, 32, 128];
const SLEEP: Duration = Duration::from_millis(10);
/// The fill-producer checks in these steps whether the host wants to stop.
const STEP: Duration = Duration::from_millis(5);

fn measure(plan: &Plan, plugins: &Plugins) -> Result<Vec<Figure>> {
    let things: [_; 2 * WORKERS.len()] = array::from_fn(|index| (WORKERS[index / 2], index % 2 == 0));
    let samples = plan.samples(things, |(workers, hosted), window| {
        if hosted { by_host(plugins, workers, window) } else { Ok(by_threads(workers, window)) }
    })?;
    let figures = WORKERS.iter().zip(samples.chunks(2)).map(|(workers, samples)| {
        let figure = Figure::new(plural(*workers, "worker"), "of ideal", samples[0].clone());
        let figure = figure.should_be(Bound::AtLeast(0.98));
        figure
            .beside(format!("{} with nothing but the sleep", plural(*workers, "thread")), samples[1].clone())
    });
    Ok(figures.collect())
}

/// The share of the ideal: workers that sleep for exactly that long, one batch after the other.
fn by_host(plugins: &Plugins, workers: usize, window: Duration) -> Result<f64> {
    let message = Dictionary::new().with("sleep_seconds", SLEEP.as_secs_f64());
    let builder = plugins.filling(&[bytes(&[16])], message).workers(workers).slots(4 * workers);
    let pace = Consumer::warm(builder)?.take_for(window, workers, |_| ())?;
    Ok(pace.batches_a_second() * SLEEP.as_secs_f64() / workers as f64)
}

fn by_threads(workers: usize, window: Duration) -> f64 {
    let sleeper = || {
        let (started, mut sleeps) = (Instant::now(), 0);
        while started.elapsed() < window {
            sleep();
            sleeps += 1;
        }
        sleeps as f64 * SLEEP.as_secs_f64() / started.elapsed().as_secs_f64()
    };
    let shares: f64 = thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(sleeper)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_default()).sum()
    });
    shares / workers as f64
}

/// Sleeps as the fill-producer does.
fn sleep() {
    let started = Instant::now();
    while let Some(rest) = SLEEP.checked_sub(started.elapsed()).filter(|rest| !rest.is_zero()) {
        thread::sleep(rest.min(STEP));
    }
}

fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
