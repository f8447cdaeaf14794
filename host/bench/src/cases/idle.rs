//! Measures whether a buffer that has nothing to do uses the processor.

use std::thread;
use std::time::Duration;

use anyhow::Result;

use crate::case::{Case, FILLING};
use crate::consumer::Consumer;
use crate::plugins::Plugins;
use crate::processes::cpu_time;
use cobuf::measure::figure::{Bound, Figure};
use cobuf::measure::plan::Plan;

pub(super) const CASE: Case = Case {
    name: "idle",
    title: "the consumer pauses, all slots are full: processor time of all processes together, in --seconds; 4 workers, 16 slots",
    plugins: FILLING,
    measure,
};

const WORKERS: usize = 4;
/// The process that has just filled the last slot needs time to go to sleep.
const SETTLE: Duration = Duration::from_millis(100);
/// Rounds to 0.0 s.
const NOTHING: f64 = 0.05;

/// One pause for the whole time: a process that wakes up now and then is noticed only in a long
/// one.
fn measure(plan: &Plan, plugins: &Plugins) -> Result<Vec<Figure>> {
    let builder = plugins.tiny().workers(WORKERS);
    let consumer = Consumer::warm(builder)?;
    consumer.fill()?;
    thread::sleep(SETTLE);
    let before = cpu_time(&consumer.host)?;
    thread::sleep(plan.time);
    let used = cpu_time(&consumer.host)?.saturating_sub(before).as_secs_f64();
    let what = format!("in {} s", plan.time.as_secs_f64());
    Ok(vec![Figure::new(what, "CPU seconds", [used].into_iter().collect()).should_be(Bound::AtMost(NOTHING))])
}
