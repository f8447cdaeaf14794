//! Measures the application as commander: how long a message takes there and back if it is the only
//! one, and how many a second there are if eight threads submit as many as there are slots.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use cobuf_host::Dictionary;

use crate::case::{Case, FILLING};
use crate::consumer::{Consumer, MANY};
use crate::plugins::Plugins;
use crate::relay::ping_pong;
use cobuf::measure::figure::{Bound, Figure};
use cobuf::measure::plan::Plan;
use cobuf::measure::samples::{Samples, percentile};

pub(super) const CASE: Case = Case {
    name: "submit",
    title: "messages of this process: one there and back (1 slot, 1 worker), and 32 in flight from 8 threads (2 workers)",
    plugins: FILLING,
    measure,
};

const WORKERS: usize = 2;
/// As many messages are in flight.
const SLOTS: usize = 32;
const THREADS: usize = 8;

#[derive(Clone, Copy)]
enum Thing {
    ThereAndBack,
    PingPong,
    FromThreads,
    FromCommander,
}

fn measure(plan: &Plan, plugins: &Plugins) -> Result<Vec<Figure>> {
    let things = [Thing::ThereAndBack, Thing::PingPong, Thing::FromThreads, Thing::FromCommander];
    let percentiles = |took: Vec<Duration>| {
        let micros = || took.iter().map(|took| took.as_secs_f64() * 1e6);
        [0.5, 0.99].map(|share| percentile(micros(), share))
    };
    // Of the last two things there is one figure.
    let rounds = plan.rounds(&things, |thing, window| {
        Ok(match thing {
            Thing::ThereAndBack => percentiles(there_and_back(plugins, window)?),
            Thing::PingPong => percentiles(ping_pong::play(window, &plan.signals)?),
            Thing::FromThreads => [from_threads(plugins, window)?; 2],
            Thing::FromCommander => [from_commander(plugins, window)?; 2],
        })
    })?;
    let samples =
        |thing: usize, index: usize| rounds[thing].iter().map(|shares| shares[index]).collect::<Samples>();
    let there_and_back = |index: usize, share: &str| {
        Figure::new(format!("there and back, {share}"), "µs", samples(0, index))
            .beside(format!("{share} of two processes that wake each other"), samples(1, index))
    };
    Ok(vec![
        there_and_back(0, "p50").ratio_should_be(Bound::AtMost(2.0)),
        there_and_back(1, "p99"),
        Figure::new(format!("{SLOTS} in flight from {THREADS} threads"), "batches/s", samples(2, 0))
            .beside("the same messages from a commander's process", samples(3, 0))
            .ratio_should_be(Bound::AtLeast(0.7)),
    ])
}

fn message() -> Dictionary {
    Dictionary::new().with("index", 7)
}

/// The times of messages of which each is submitted once the batch before is dropped.
fn there_and_back(plugins: &Plugins, window: Duration) -> Result<Vec<Duration>> {
    let mut consumer = Consumer::start(plugins.submitted().workers(1).slots(1))?;
    let (submitter, message) = (consumer.host.submitter(), message());
    let mut once = || {
        let submitted = Instant::now();
        submitter.submit(&message)?;
        drop(consumer.next()?);
        anyhow::Ok(submitted.elapsed())
    };
    // The first two are not those of the run.
    once()?;
    once()?;
    let (started, mut took) = (Instant::now(), Vec::new());
    while started.elapsed() < window {
        took.push(once()?);
    }
    Ok(took)
}

/// Batches a second if threads submit as fast as there is room, and one thread takes.
fn from_threads(plugins: &Plugins, window: Duration) -> Result<f64> {
    let mut consumer = Consumer::start(plugins.submitted().workers(WORKERS).slots(SLOTS))?;
    let submitters = [(); THREADS].map(|()| consumer.host.submitter());
    let threads = submitters.map(|submitter| {
        // One message without end, as the commander beside it; until the host is dropped.
        let message = message();
        thread::spawn(move || while submitter.submit(&message).is_ok() {})
    });
    consumer.take(2 * SLOTS as u64, |_| ())?;
    let rate = consumer.take_for(window, MANY, |_| ())?.batches_a_second();
    drop(consumer);
    threads.into_iter().for_each(|thread| drop(thread.join()));
    Ok(rate)
}

/// The same with a commander's process.
fn from_commander(plugins: &Plugins, window: Duration) -> Result<f64> {
    let builder = plugins.tiny().workers(WORKERS).slots(SLOTS);
    Ok(Consumer::warm(builder)?.take_for(window, MANY, |_| ())?.batches_a_second())
}
