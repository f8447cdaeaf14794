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

use crate::case::Case;

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
