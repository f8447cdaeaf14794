//! The built-in cases, each in a module of its own.

mod cores;
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
mod submit;
mod tiny;
mod uneven;

use anyhow::{Context, Result};

use crate::case::Case;

/// All cases, in the order in which they are measured.
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
    submit::CASE,
    cores::CASE,
];

/// The cases of these names; all cases if there are no names.
pub(crate) fn named(names: &[String]) -> Result<Vec<&'static Case>> {
    if names.is_empty() {
        return Ok(CASES.iter().collect());
    }
    let find = |name: &String| {
        CASES.iter().find(|case| case.name == name).with_context(|| {
            let known: Vec<_> = CASES.iter().map(|case| case.name).collect();
            format!("there is no case {name:?}; the cases are {}", known.join(", "))
        })
    };
    names.iter().map(find).collect()
}

/// One line for each case.
pub(crate) fn list() -> String {
    let lines: Vec<_> = CASES.iter().map(|case| format!("{:<12} {}", case.name, case.title)).collect();
    lines.join("\n")
}
