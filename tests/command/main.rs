//! The command `cobuf`, as people and scripts use it.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/figures.rs"]
mod figures;
#[path = "../harness/mod.rs"]
mod harness;

mod bench;
mod escapes;
mod faults;
mod inspect;
mod metrics;
mod options;
mod pipeline;
mod preview;
mod ranks;
mod reports;
mod run;
mod sandbox;
mod save;
mod signals;
mod stopped;
mod terminal;
mod top;
mod trace;
