//! Whether producers that compute get all of the cores, or the buffer takes some of them.

use std::time::Duration;

use anyhow::Result;
use cobuf_host::conformance::Examination;
use cobuf_host::{Dictionary, Value};

use super::{Case, FILLING};
use crate::bench::consumer::Consumer;
use crate::bench::figure::{Bound, Figure};
use crate::bench::machine::cores;
use crate::bench::plan::Plan;
use crate::bench::plugins::{Plugins, bytes};

pub(super) const CASE: Case =
    Case { name: "cpu", title: "producers that compute, on all cores", plugins: FILLING, measure };

const BURN: Duration = Duration::from_millis(1);
/// Bytes for whose random numbers a core takes about a millisecond.
const RANDOM_BYTES: usize = 600_000;

#[derive(Clone, Copy)]
enum Thing {
    Burn,
    Random,
    Loop,
}

fn measure(plan: &Plan, plugins: &Plugins) -> Result<Vec<Figure>> {
    let burn = || Dictionary::new().with("burn_seconds", BURN.as_secs_f64());
    let random = || Dictionary::new().with("random", true);
    let things = [Thing::Burn, Thing::Random, Thing::Loop];
    let [burn_share, random_rate, loop_rate] = plan.samples(things, |thing, window| match thing {
        Thing::Burn => {
            let rate = by_host(plugins, &[16], burn(), window)?;
            Ok(rate * BURN.as_secs_f64() / cores() as f64)
        }
        Thing::Random => by_host(plugins, &[RANDOM_BYTES], random(), window),
        Thing::Loop => {
            let arrays: Vec<Value> = vec![bytes(&[RANDOM_BYTES]).into()];
            let examination = Examination::of(plugins.get("fill-producer"))
                .config(Dictionary::new().with("arrays", arrays))
                .messages([random()]);
            Ok(examination.plain_loop(cores(), window)?)
        }
    })?;
    let goal = Bound::AtLeast(0.98);
    Ok(vec![
        Figure::new("1 ms by the clock", "of ideal", burn_share).should_be(goal),
        Figure::new("random numbers, about 1 ms", "batches/s", random_rate)
            .beside("the producer in a plain loop on each core", loop_rate)
            .ratio_should_be(goal),
    ])
}

/// Batches a second, with a worker a core.
fn by_host(plugins: &Plugins, shape: &[usize], message: Dictionary, window: Duration) -> Result<f64> {
    let builder = plugins.filling(&[bytes(shape)], message).workers(cores());
    Ok(Consumer::warm(builder)?.take_for(window, cores(), |_| ())?.batches_a_second())
}
