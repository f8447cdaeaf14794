//! Measures whether many slots cost more than few, because a search for a slot may have to look at
//! all of them. With very few slots, processes switch after a few batches each; the bare relay's
//! figure shows the cost of that.

use std::array;

use anyhow::Result;

use crate::case::{Case, FILLING, FLAT};
use crate::consumer::{Consumer, MANY};
use crate::plugins::Plugins;
use crate::relay;
use cobuf::measure::figure::Figure;
use cobuf::measure::plan::Plan;

pub(super) const CASE: Case = Case {
    name: "slots",
    title: "hand-over of a batch of 16 bytes with 8 to 4,096 slots; 2 workers",
    plugins: FILLING,
    measure,
};

const WORKERS: usize = 2;
const SLOTS: [usize; 4] = [32, 8, 512, 4096];
/// In both orders.
const HOSTS: usize = 2 * SLOTS.len();

#[derive(Clone, Copy)]
enum Thing {
    Host { slots: usize, ordered: bool },
    Relay { slots: usize },
}

fn measure(plan: &Plan, plugins: &Plugins) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let [few, very_few, ..] = SLOTS;
    let things: [_; HOSTS + 2] = array::from_fn(|index| match index {
        0..HOSTS => Thing::Host { slots: SLOTS[index % SLOTS.len()], ordered: index < SLOTS.len() },
        HOSTS => Thing::Relay { slots: few },
        _ => Thing::Relay { slots: very_few },
    });
    let samples = plan.samples(things, |thing, window| match thing {
        Thing::Host { slots, ordered } => {
            let builder = plugins.tiny().workers(WORKERS).slots(slots).ordered(ordered);
            Ok(Consumer::warm(builder)?.take_for(window, MANY, |_| ())?.micros_a_batch())
        }
        Thing::Relay { slots } => relay::micros_a_batch(slots, window, &plan.signals),
    })?;
    let (hosts, relays) = samples.split_at(HOSTS);
    for (order, samples) in ["in order", "any order"].iter().zip(hosts.chunks(SLOTS.len())) {
        for (slots, measured) in SLOTS.iter().zip(samples) {
            let figure = Figure::new(format!("{slots} slots, {order}"), "µs a batch", measured.clone());
            figures.push(if *slots == few {
                figure
            } else {
                figure.beside(format!("{few} slots"), samples[0].clone()).ratio_should_be(FLAT)
            });
        }
    }
    let name = format!("{very_few} slots, a bare relay of processes, without messages");
    let figure = Figure::new(name, "µs a batch", relays[1].clone());
    figures.push(figure.beside(format!("{few} slots of it"), relays[0].clone()));
    Ok(figures)
}
