//! Measures what the hand-over itself costs, with batches so small that nothing else takes time.

use std::hint::black_box;
use std::time::Duration;

use anyhow::Result;
use cobuf_host::{Batch, HostBuilder};

use crate::case::{Case, FILLING};
use crate::consumer::{Consumer, MANY};
use crate::plugins::Plugins;
use crate::relay;
use cobuf::measure::figure::{Bound, Figure};
use cobuf::measure::plan::Plan;

pub(super) const CASE: Case = Case {
    name: "tiny",
    title: "hand-over of a batch of 16 bytes, commander → worker → consumer; 2 workers, 32 slots",
    plugins: FILLING,
    measure,
};

const WORKERS: usize = 2;
const SLOTS: usize = 32;

#[derive(Clone, Copy)]
enum Thing {
    InOrder,
    AnyOrder,
    Task,
    Read,
    WithLength,
    Relay,
}

fn measure(plan: &Plan, plugins: &Plugins) -> Result<Vec<Figure>> {
    let things = [Thing::InOrder, Thing::AnyOrder, Thing::Read, Thing::WithLength, Thing::Task, Thing::Relay];
    let [ordered, any, read, with_length, task, relay] =
        plan.samples(things, |thing, window| match thing {
            Thing::InOrder => by_host(plugins.tiny(), true, window, look),
            Thing::AnyOrder => by_host(plugins.tiny(), false, window, look),
            Thing::Read => by_host(plugins.tiny(), true, window, read_all),
            Thing::WithLength => by_host(plugins.tiny_with_length(), true, window, read_all),
            Thing::Task => by_task(plugins, window),
            Thing::Relay => relay::micros_a_batch(SLOTS, window, &plan.signals),
        })?;
    Ok(vec![
        Figure::new("in order", "µs a batch", ordered.clone())
            .beside("a bare relay of processes, without messages", relay)
            .should_be(Bound::AtMost(1.0)),
        Figure::new("any order", "µs a batch", any)
            .beside("in order", ordered.clone())
            .ratio_should_be(Bound::AtMost(1.0)),
        Figure::new("in order, with a length of each batch's own, read", "µs a batch", with_length)
            .beside("in order, of one shape, read", read)
            .ratio_should_be(Bound::AtMost(1.03)),
        Figure::new("in order, by a task", "µs a batch", task)
            .beside("in order, by the iterator", ordered)
            .ratio_should_be(Bound::AtMost(1.5)),
    ])
}

fn by_host(builder: HostBuilder, ordered: bool, window: Duration, look: fn(&Batch)) -> Result<f64> {
    Ok(consumer(builder, ordered)?.take_for(window, MANY, look)?.micros_a_batch())
}

fn by_task(plugins: &Plugins, window: Duration) -> Result<f64> {
    Ok(consumer(plugins.tiny(), true)?.take_as_task_for(window, MANY, look)?.micros_a_batch())
}

fn consumer(builder: HostBuilder, ordered: bool) -> Result<Consumer> {
    Consumer::warm(builder.workers(WORKERS).slots(SLOTS).ordered(ordered))
}

fn look(batch: &Batch) {
    drop(black_box(batch.bytes_at(0)));
}

/// A length lies beside the elements, so it is compared with batches whose elements are read, too.
fn read_all(batch: &Batch) {
    black_box(batch.bytes_at(0).map_or(0, |(_, bytes)| bytes.iter().copied().map(u32::from).sum::<u32>()));
}
