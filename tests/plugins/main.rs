//! Plugins from outside: which are loaded, which are refused, and what is said of their errors.

#[path = "../common/mod.rs"]
mod common;
#[path = "../harness/mod.rs"]
mod harness;

mod abi;
mod c_lengths;
mod c_plugin;
mod commander_errors;
mod config_errors;
mod conformance;
mod damage;
mod files;
mod manifests;
mod names;
mod new_crate;
mod output;
mod packages;
mod producer_errors;
mod python;
mod start_errors;
