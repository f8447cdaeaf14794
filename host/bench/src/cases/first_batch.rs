//! Measures the time from `start()` to the first batch.

use std::time::{Duration, Instant};

use anyhow::Result;
use cobuf_host::{Dictionary, Host};

use crate::case::Case;
use crate::consumer::Consumer;
use crate::partner;
use crate::plugins::Plugins;
use cobuf::measure::figure::{Bound, Figure};
use cobuf::measure::plan::Plan;
use cobuf::measure::samples::percentile;

pub(super) const CASE: Case = Case {
    name: "first-batch",
    title: "from start() to the first batch of handwritten digits; a worker a core",
    plugins: &["digits-producer", "index-commander"],
    measure,
};

const DIGITS: u64 = 1797;
const BATCH_SIZE: u64 = 64;

#[derive(Clone, Copy)]
enum Thing {
    Host,
    Process,
}

fn measure(plan: &Plan, plugins: &Plugins) -> Result<Vec<Figure>> {
    let [host, process] = plan.samples([Thing::Host, Thing::Process], |thing, window| {
        median_of(window, || match thing {
            Thing::Host => first_batch(plugins),
            Thing::Process => {
                let started = Instant::now();
                partner::start_and_end()?;
                Ok(started.elapsed())
            }
        })
    })?;
    let figure =
        Figure::new("first batch", "ms", host).beside("this executable started, to do nothing", process);
    Ok(vec![figure.should_be(Bound::AtMost(10.0))])
}

fn first_batch(plugins: &Plugins) -> Result<Duration> {
    let config = Dictionary::new().with("length", DIGITS).with("batch_size", BATCH_SIZE);
    let builder = Host::builder()
        .commander(plugins.get("index-commander"))
        .commander_config(config)
        .producer(plugins.get("digits-producer"))
        .producer_config(Dictionary::new().with("batch_size", BATCH_SIZE));
    let started = Instant::now();
    let mut consumer = Consumer::start(builder)?;
    let batch = consumer.next()?;
    let took = started.elapsed();
    drop(batch);
    Ok(took)
}

/// The median time in milliseconds of an action that is repeated for `window`.
fn median_of(window: Duration, mut once: impl FnMut() -> Result<Duration>) -> Result<f64> {
    let (started, mut took) = (Instant::now(), Vec::new());
    while took.is_empty() || started.elapsed() < window {
        took.push(once()?.as_secs_f64() * 1e3);
    }
    Ok(percentile(took, 0.5))
}
