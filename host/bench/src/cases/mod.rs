//! The built-in cases, a module each.

mod cpu;
mod first_batch;
mod idle;
mod images;
mod large;
mod latency;
mod memory;
mod messages;
mod scaling;
mod slots;
mod tiny;
mod uneven;

use anyhow::{Context, Result};

use super::plugins::Plugins;
use cobuf::measure::figure::{Bound, Figure};
use cobuf::measure::plan::Plan;

/// A thing that is measured.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// The plugins that it needs, by their names.
    pub(crate) plugins: &'static [&'static str],
    pub(crate) measure: fn(&Plan, &Plugins) -> Result<Vec<Figure>>,
}

/// All of them, in the order in which they are measured.
const CASES: &[Case] = &[
    tiny::CASE,
    large::CASE,
    first_batch::CASE,
    latency::CASE,
    scaling::CASE,
    cpu::CASE,
    uneven::CASE,
    idle::CASE,
    memory::CASE,
    slots::CASE,
    images::CASE,
    messages::CASE,
];

/// The plugins of the cases that fill arrays.
const FILLING: &[&str] = &["fill-producer", "list-commander"];

/// What counts as flat: the noise of a shared machine.
const FLAT: Bound = Bound::AtMost(1.25);

/// The cases of these names; all where there is none.
pub(crate) fn named(names: &[String]) -> Result<Vec<&'static Case>> {
    if names.is_empty() {
        return Ok(CASES.iter().collect());
    }
    let find = |name: &String| {
        CASES.iter().find(|case| case.name == name).with_context(|| {
            let known: Vec<_> = CASES.iter().map(|case| case.name).collect();
            format!("there is no case {name:?}, and no such file; the cases are {}", known.join(", "))
        })
    };
    names.iter().map(find).collect()
}

/// A line for each case.
pub(crate) fn list() -> String {
    let lines: Vec<_> = CASES.iter().map(|case| format!("{:<12} {}", case.name, case.title)).collect();
    lines.join("\n")
}
