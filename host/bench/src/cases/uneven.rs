//! Measures what is lost if some messages take much longer than others: nothing in any order; in
//! order, what the slots cannot bridge.

use std::time::Duration;

use anyhow::Result;
use cobuf_host::{Dictionary, Value};

use crate::case::{Case, FILLING};
use crate::consumer::{Consumer, Pace};
use crate::plugins::{Plugins, bytes};
use crate::simulation::{Simulation, exponential};
use cobuf::measure::figure::{Bound, Figure};
use cobuf::measure::plan::Plan;
use cobuf::measure::samples::Samples;

pub(super) const CASE: Case = Case {
    name: "uneven",
    title: "producers that sleep for exponential times, mean 10 ms; 8 workers, 32 slots",
    plugins: FILLING,
    measure,
};

const WORKERS: usize = 8;
const SLOTS: usize = 32;
const MEAN: Duration = Duration::from_millis(10);

/// Batches a second, measured, and computed as if only the producers took time.
#[derive(Clone, Copy)]
struct Rates {
    measured: f64,
    computed: f64,
}

fn measure(plan: &Plan, plugins: &Plugins) -> Result<Vec<Figure>> {
    let times = exponential(MEAN);
    let rounds = plan.rounds(&[false, true], |in_order, window| run(plugins, &times, in_order, window))?;
    let [[any, ideal], [ordered, allowed]] = [0, 1].map(|order: usize| {
        let samples = |of: fn(&Rates) -> f64| rounds[order].iter().map(of).collect::<Samples>();
        [samples(|rates| rates.measured), samples(|rates| rates.computed)]
    });
    let goal = Bound::AtLeast(0.97);
    Ok(vec![
        Figure::new("any order", "batches/s", any.clone())
            .beside("workers that are never without work, computed", ideal)
            .ratio_should_be(goal),
        Figure::new("in order", "batches/s", ordered)
            .beside("what its slots allow, computed", allowed)
            .ratio_should_be(goal)
            .beside("any order", any),
    ])
}

fn run(plugins: &Plugins, times: &[Duration], in_order: bool, window: Duration) -> Result<Rates> {
    let message = |time: &Duration| Dictionary::new().with("sleep_seconds", time.as_secs_f64());
    let messages: Vec<Value> = times.iter().map(|time| message(time).into()).collect();
    let builder = plugins
        .filling(&[bytes(&[16])], Dictionary::new())
        .commander_config(Dictionary::new().with("messages", messages).with("repeat", 0))
        .workers(WORKERS)
        .slots(SLOTS)
        .ordered(in_order);
    let mut consumer = Consumer::start(builder)?;
    let before = consumer.take(2 * SLOTS as u64, |_| ())?.batches as usize;
    let pace = consumer.take_for(window, WORKERS, |_| ())?;
    let simulation = Simulation { times, workers: WORKERS, slots: SLOTS, in_order };
    let deliveries = simulation.deliveries(before + pace.batches as usize);
    let computed = deliveries[deliveries.len() - 1] - deliveries[before - 1];
    let computed = Pace { elapsed: computed, ..pace };
    Ok(Rates { measured: pace.batches_a_second(), computed: computed.batches_a_second() })
}
