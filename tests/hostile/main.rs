//! A producer that was taken over by its input, in the jail of `HostBuilder::sandbox`: one attack a
//! test.
//!
//! ```text
//!   producer/*.c   the attacks, by kind; one is made, in one message, by the worker that has it
//!   scene.rs       a run with it, and what must hold afterwards
//!   messages.rs    its messages, with what the attacker is told, and its batches
//!   files … resources   attacks that the jail refuses, or that have no effect
//!   segment.rs     attacks on what a worker shares with its host, which no jail can refuse
//!   watched.rs     attacks on the host's look at a worker that hangs
//!   everywhere.rs  the jail holds in each process that opens the plugin
//!   allowed.rs     what the settings of a sandbox allow
//!   needs.rs       what is found out of a plugin's needs, in no jail
//! ```
//!
//! Each kind also has a test that makes its attacks without a jail, where they succeed: so a test of a
//! refusal can fail. Attacks that would harm the machine are never made without one.

#[path = "../common/mod.rs"]
mod common;
#[path = "../harness/mod.rs"]
mod harness;

mod messages;
mod scene;

mod allowed;
mod everywhere;
mod files;
mod inherited;
mod kernel;
mod memory;
mod needs;
mod network;
mod output;
mod processes;
mod resources;
mod segment;
mod watched;
