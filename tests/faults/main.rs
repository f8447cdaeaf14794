//! Processes that die, hang or fail, and what a run makes of it.

#[path = "../common/mod.rs"]
mod common;
#[path = "../harness/mod.rs"]
mod harness;

mod chaos;
mod commander;
mod dead_letters;
mod deadlines;
mod fork_server;
mod forked;
mod host;
mod limits;
mod odd_files;
mod odd_plugins;
mod poison;
mod sandbox;
mod standstill;
mod submit;
mod system_calls;
mod worker;
