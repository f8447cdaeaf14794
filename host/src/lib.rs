//! The host of cobuf, the concurrent buffer.
//!
//! Plugins that are slow, crash, leak or are not thread-safe run in worker processes; the arrays that they produce
//! lie in shared memory, where the application reads them, zero-copy, in order or as they come. What dies or hangs is
//! replaced and its message is done again: nothing is lost, nothing comes twice, the order stays.
//!
//! ```no_run
//! use cobuf_host::{Host, Plugin, ndarray::Ix3};
//! use cobuf_host::Dictionary;
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     cobuf_host::init(); // first in main: this executable is its own fork server
//!     let host = Host::builder()
//!         .commander(Plugin::package("plugins/index-commander"))
//!         .commander_config(Dictionary::new().with("length", 1797).with("batch_size", 32).with("epochs", 1))
//!         .producer(Plugin::package("plugins/digits-producer"))
//!         .producer_config(Dictionary::new().with("batch_size", 32))
//!         .start()?;
//!     for batch in host.batches() {
//!         let batch = batch?;
//!         let image = batch.array::<f32, Ix3>("image")?; // (rows, 8, 8), a view of shared memory
//!         println!("batch {}: mean {}", batch.sequence(), image.mean().unwrap_or_default());
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # Host and builder
//! [`Host::builder`] takes a commander and a producer, each a [`Plugin`], their configurations and the numbers of the run.
//! [`HostBuilder::start`] checks everything and gives a typed [`StartError`]. Defaults and maxima are in [`limits`].
//!
//! # Batches
//! [`Host::batches`] is an iterator over `Result<Batch, StreamError>`, to be cloned for several threads. A [`Batch`] is a
//! lease on its slot: views by name, sequence, message, metadata, rows. Dropping it gives the slot back.
//!
//! # Processes
//! A fork server, one commander process, and workers. The fork server is a process of its own ([`init`]), so that an
//! application with threads is never forked; [`StartMethod::Fork`] forks the application instead. None of them
//! outlives the host. [`Host::set_workers`] changes the number of workers, [`Workers::auto`] finds it.
//!
//! # Failures
//! A producer's error, panic, repeated crash or missed deadline is the [`StreamError`] in the place of its batch; the stream goes on,
//! unless [`OnFailure`] says otherwise. A worker, commander or fork server that dies is replaced, and nobody can tell but by
//! [`Statistics`]. A commander's own error ends the stream, after everything that it had commanded; see [`OnCommanderFailure`].
//! [`HostBuilder::dead_letters`] keeps what was given up, [`Source::Replay`] produces it again.
//!
//! # Checkpoints
//! [`Host::checkpoint`] says at any moment what was delivered; [`Source::Resume`] delivers exactly what is missing, with any number
//! of workers and slots, in either order.
//!
//! # Logs
//! The host writes with `tracing`; plugins' records come with the target `cobuf::plugin` and the fields `plugin` and `worker`.
//! How verbose they are is decided when the host starts, by the subscriber's level then.

pub mod conformance;
pub mod limits;
#[cfg(feature = "bench-parts")]
#[doc(hidden)]
pub mod parts;

#[cfg(all(any(test, fuzzing), not(cobuf_loom)))]
mod fuzzing;
mod host;
mod plugin;
mod process;
mod protocol;
mod record;
mod segment;
mod stream;
mod supervisor;
mod text;

pub use host::builder::{HostBuilder, Source, Workers};
pub use host::error::{OutOfRange, StartError};
pub use host::handle::Host;
pub use host::inspect::{Declarations, Inspection};
#[cfg(feature = "pipeline")]
pub use host::pipeline::{Pipeline, PipelineError, set_entry};
pub use plugin::{FoundPlugin, ManifestInfo, PLUGIN_PATH, Plugin, PluginError, find_plugins, plugin_path};
pub use process::launch::{LaunchError, StartMethod};
pub use process::stack::names::{Stack, StackThread};
pub use protocol::setup::{ProcessSetup, WorkerLimits};
pub use record::checkpoint::{Checkpoint, CheckpointError};
pub use record::death::{Death, Exit};
pub use record::policy::{OnCommanderFailure, OnFailure};
#[cfg(feature = "failpoints")]
pub use segment::failpoint::{Failpoint, Fault};
pub use stream::batch::{ArrayError, Batch};
pub use stream::batches::{Batches, Next};
pub use stream::dead_letters::DeadLettersError;
pub use stream::delivery::WaitingFor;
pub use stream::digest::ContentDigest;
pub use stream::error::{BatchError, StreamError};
pub use stream::failure::Attempt;
pub use stream::roster::{ProcessInfo, ProcessRole};
pub use stream::stall::{Holder, SlotReport, StallReport};
pub use stream::statistics::{LimitedBy, Occupancy, Statistics};
pub use supervisor::swap_error::SwapError;

pub use cobuf_plugin_api::codec::CodecError;
pub use cobuf_plugin_api::manifest::ManifestError;
pub use cobuf_plugin_api::{
    ArraySpec, DType, Dictionary, Element, PluginKind, Report, ReportKind, Schema, Shape, Value, half,
    ndarray,
};

/// The README's programs, compiled with the documentation's tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// For the target of cargo-fuzz only, see `host/fuzz`.
#[cfg(fuzzing)]
#[doc(hidden)]
pub fn fuzz_segment(bytes: &[u8]) {
    fuzzing::play(bytes);
}

/// Makes this executable its own fork server. Call it first in `main`, before threads, arguments and files.
///
/// In the application's process it only notes that it was called. In the process that a host starts from this
/// executable, it does not return: that process is the fork server. Without it a host needs the `cobuf` command, beside the
/// application, on the `PATH`, or named by [`HostBuilder::fork_server`].
pub fn init() {
    process::launch::serve_if_asked();
}
