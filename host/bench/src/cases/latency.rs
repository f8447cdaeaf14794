//! Measures how long a message takes if it is the only one: from the release of its slot, which
//! lets it be commanded, to its batch.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::case::{Case, FILLING};
use crate::consumer::Consumer;
use crate::plugins::Plugins;
use crate::relay::ping_pong;
use cobuf::measure::figure::{Bound, Figure};
use cobuf::measure::plan::Plan;
use cobuf::measure::samples::{Samples, percentile};

pub(super) const CASE: Case = Case {
    name: "latency",
    title: "one message in flight, from commanded to consumed: 1 slot, 1 worker, three hand-overs",
    plugins: FILLING,
    measure,
};

#[derive(Clone, Copy)]
enum Thing {
    Host,
    PingPong,
}

fn measure(plan: &Plan, plugins: &Plugins) -> Result<Vec<Figure>> {
    let rounds = plan.rounds(&[Thing::Host, Thing::PingPong], |thing, window| {
        let took = match thing {
            Thing::Host => round_trips(plugins, window)?,
            Thing::PingPong => ping_pong::play(window, &plan.signals)?,
        };
        let micros = || took.iter().map(|took| took.as_secs_f64() * 1e6);
        Ok([0.5, 0.99].map(|share| percentile(micros(), share)))
    })?;
    let figure = |index: usize, share: &str| {
        let [host, ping_pong] =
            [0, 1].map(|thing: usize| rounds[thing].iter().map(|shares| shares[index]).collect::<Samples>());
        Figure::new(share, "µs", host)
            .beside(format!("{share} of two processes that wake each other"), ping_pong)
    };
    Ok(vec![figure(0, "p50").ratio_should_be(Bound::AtMost(3.0)), figure(1, "p99")])
}

/// Once the only slot is released, the next message can be commanded; the next batch is that of
/// this message.
fn round_trips(plugins: &Plugins, window: Duration) -> Result<Vec<Duration>> {
    let builder = plugins.tiny();
    let mut consumer = Consumer::warm(builder.workers(1).slots(1))?;
    let mut batch = consumer.next()?;
    let (started, mut took) = (Instant::now(), Vec::new());
    while started.elapsed() < window {
        let commanded = Instant::now();
        drop(batch);
        batch = consumer.next()?;
        took.push(commanded.elapsed());
    }
    Ok(took)
}
