//! Whether many slots cost more than few: whoever looks for one may have to look at all.

use std::array;

use anyhow::Result;

use super::{Case, FILLING, FLAT};
use crate::bench::consumer::{Consumer, MANY};
use crate::bench::figure::Figure;
use crate::bench::plan::Plan;
use crate::bench::plugins::Plugins;

pub(super) const CASE: Case = Case {
    name: "slots",
    title: "hand-over of a batch of 16 bytes with 8 to 4,096 slots; 2 workers",
    plugins: FILLING,
    measure,
};

const WORKERS: usize = 2;
const SLOTS: [usize; 4] = [32, 8, 512, 4096];

fn measure(plan: &Plan, plugins: &Plugins) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let things: [_; 2 * SLOTS.len()] =
        array::from_fn(|index| (SLOTS[index % SLOTS.len()], index < SLOTS.len()));
    let samples = plan.samples(things, |(slots, deterministic), window| {
        let builder = plugins.tiny();
        let builder = builder.workers(WORKERS).slots(slots).deterministic(deterministic);
        Ok(Consumer::warm(builder)?.take_for(window, MANY, |_| ())?.micros_a_batch())
    })?;
    for (order, samples) in ["in order", "any order"].iter().zip(samples.chunks(SLOTS.len())) {
        let [few, ..] = SLOTS;
        for (slots, measured) in SLOTS.iter().zip(samples) {
            let figure = Figure::new(format!("{slots} slots, {order}"), "µs a batch", measured.clone());
            figures.push(if *slots == few {
                figure
            } else {
                figure.beside(format!("{few} slots"), samples[0].clone()).ratio_should_be(FLAT)
            });
        }
    }
    Ok(figures)
}
