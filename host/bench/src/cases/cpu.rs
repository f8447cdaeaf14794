//! Measures whether producers that compute get all of the cores, or the buffer takes a part of
//! them.

use std::time::Duration;

use anyhow::Result;
use cobuf_host::conformance::Examination;
use cobuf_host::{Dictionary, Value};

use crate::case::{Case, FILLING};
use crate::consumer::Consumer;
use crate::plugins::{Plugins, bytes};
use cobuf::measure::cores;
use cobuf::measure::figure::{Bound, Figure};
use cobuf::measure::plan::Plan;

pub(super) const CASE: Case =
    Case { name: "cpu", title: "producers that compute, on all cores", plugins: FILLING, measure };

const BURN: Duration = Duration::from_millis(1);
/// Bytes for whose random numbers a core takes about a millisecond.
const RANDOM_BYTES: usize = 600_000;

/// The producer's work, and whether a host or a plain loop has it done.
#[derive(Clone, Copy)]
enum Thing {
    Burn(By),
    Random(By),
}

#[derive(Clone, Copy)]
enum By {
    Host,
    Loop,
}

fn measure(plan: &Plan, plugins: &Plugins) -> Result<Vec<Figure>> {
    let things =
        [Thing::Burn(By::Host), Thing::Burn(By::Loop), Thing::Random(By::Host), Thing::Random(By::Loop)];
    let [burn_share, burn_loop, random_rate, random_loop] =
        plan.samples(things, |thing, window| match thing {
            Thing::Burn(by) => {
                let message = Dictionary::new().with("burn_seconds", BURN.as_secs_f64());
                let rate = batches_a_second(plugins, by, &[16], message, window)?;
                Ok(rate * BURN.as_secs_f64() / cores() as f64)
            }
            Thing::Random(by) => {
                let message = Dictionary::new().with("random", true);
                batches_a_second(plugins, by, &[RANDOM_BYTES], message, window)
            }
        })?;
    let (goal, baseline) = (Bound::AtLeast(0.98), "the producer in a plain loop on each core");
    Ok(vec![
        Figure::new("1 ms by the clock", "of ideal", burn_share).beside(baseline, burn_loop).should_be(goal),
        Figure::new("random numbers, about 1 ms", "batches/s", random_rate)
            .beside(baseline, random_loop)
            .ratio_should_be(goal),
    ])
}

/// Measures with one worker, or one loop, for each core.
fn batches_a_second(
    plugins: &Plugins,
    by: By,
    shape: &[usize],
    message: Dictionary,
    window: Duration,
) -> Result<f64> {
    let array = bytes(shape);
    match by {
        By::Host => {
            let builder = plugins.filling(&[array], message).workers(cores());
            Ok(Consumer::warm(builder)?.take_for(window, cores(), |_| ())?.batches_a_second())
        }
        By::Loop => {
            let arrays: Vec<Value> = vec![array.into()];
            let examination = Examination::of(plugins.get("fill-producer"))
                .config(Dictionary::new().with("arrays", arrays))
                .messages([message]);
            Ok(examination.plain_loop(cores(), window)?)
        }
    }
}
