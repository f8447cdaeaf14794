//! Plugins that are replaced under a running stream.

#[path = "../common/mod.rs"]
mod common;
#[path = "../harness/mod.rs"]
mod harness;

mod commander;
mod producer;
mod refused;
mod watch;
