//! What the hand-over itself costs: batches so small that there is nothing else to do.

use std::hint::black_box;

use anyhow::Result;
use cobuf_host::Dictionary;

use super::{Case, FILLING};
use crate::bench::consumer::Consumer;
use crate::bench::figure::{Bound, Figure};
use crate::bench::plan::Plan;
use crate::bench::plugins::{Plugins, bytes};
use crate::bench::samples::Samples;

pub(super) const CASE: Case = Case {
    name: "tiny",
    title: "hand-over of a batch of 16 bytes, commander → worker → consumer; 2 workers, 32 slots",
    plugins: FILLING,
    measure,
};

const WORKERS: usize = 2;
const SLOTS: usize = 32;

fn measure(plan: &Plan, plugins: &Plugins) -> Result<Vec<Figure>> {
    let rounds = plan.rounds(&[true, false], |deterministic, window| {
        let builder = plugins.filling(&[bytes(&[16])], Dictionary::new().with("index", 7));
        let builder = builder.workers(WORKERS).slots(SLOTS).deterministic(deterministic);
        let pace = Consumer::warm(builder)?.take_for(window, |batch| drop(black_box(batch.bytes_at(0))))?;
        Ok(pace.micros_a_batch())
    })?;
    let [ordered, any] = [0, 1].map(|order: usize| rounds[order].iter().copied().collect::<Samples>());
    Ok(vec![
        Figure::new("in order", "µs a batch", ordered.clone()).should_be(Bound::AtMost(1.0)),
        Figure::new("any order", "µs a batch", any)
            .beside("in order", ordered)
            .ratio_should_be(Bound::AtMost(1.0)),
    ])
}
