//! The host of cobuf, the concurrent buffer.
//!
//! Code that is slow, crashes, leaks or is not thread-safe runs in worker processes. The arrays
//! that it produces lie in shared memory, where the application reads them without a copy, in order
//! or as they become ready. A worker that crashes or hangs is replaced and its message retried;
//! every message is delivered exactly once.
//!
//! ```no_run
//! use cobuf_host::{Dictionary, Host, Plugin, ndarray::Ix3};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
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
//! # A run's life
//!
//! 1. **Settings.** [`Host::builder`] collects them, [`HostBuilder::start`] checks that each number
//!    is in its range. Defaults and maxima are in [`limits`].
//! 2. **Fork server.** A process with a single thread is started from this executable: in it, the
//!    fork server runs in place of `main`. It forks all other processes of the run, reaps them, and
//!    reports how they ended.
//! 3. **Plugins.** A package is built. Each plugin's file is read, checked without running its
//!    code, and copied into the run's own folder; later changes of the file do not matter.
//! 4. **Probes.** For each plugin a process that is thrown away opens the copy and checks the
//!    configuration. The producer's probe also answers which arrays a slot has.
//! 5. **Segment.** Shared memory for all slots is created, reserved, and mapped by the fork server.
//! 6. **Commander and workers.** They are forked, and open and construct their plugins. `start`
//!    returns once all are ready; from then on the supervisor, a thread of the application, looks
//!    after them.
//! 7. **Stream.** The commander writes a message into a free slot, a worker fills the slot's
//!    arrays, and the application takes the [`Batch`] and drops it, which frees the slot. Meanwhile
//!    the supervisor replaces processes that died or missed a deadline, and swaps plugins.
//! 8. **Stop.** At [`Host::stop`], or when the host is dropped, plugins get a time to finish; then
//!    their processes are killed.
//! 9. **What is left.** Nothing of the run: no process, no program that a plugin started, no name in
//!    `/dev/shm`, no file, even if the application is killed. Files that the application asked for
//!    stay: checkpoints and dead letters. Batches that it holds stay valid.
//!
//! # Settings
//! A commander and a producer are required, each a [`Plugin`]; or the application itself is the
//! [`Commander`], and submits messages by a [`Submitter`], see [`guide::submitting`].
//! [`HostBuilder`] groups all settings, each with default, range, errors and an example. A pipeline
//! file holds the same settings; see [`guide::pipeline_files`].
//!
//! # Batches
//! [`Host::batches`] is an iterator over `Result<Batch, StreamError>`, which can be cloned for
//! several threads. A [`Batch`] is a lease on its slot: views by name, number, message, metadata
//! and rows. [`guide::embedding`] shows the loop. A task takes batches from [`Batches::stream`], and
//! an event loop waits for the descriptor of [`Batches::readiness`].
//!
//! # Processes
//! The processes are the fork server, one commander, and workers. An application with threads is
//! never forked, unless it asks for [`StartMethod::Fork`]. [`Host::set_workers`] changes the number
//! of workers, [`Workers::auto`] finds it; see [`guide::tuning`]. In a process that is forked from
//! the application, copies of its handles do nothing.
//!
//! # Failures
//! A producer's error, panic, repeated crash or missed deadline is the [`StreamError`] in the place
//! of its batch, and the stream goes on, unless [`OnFailure`] says otherwise. A process that dies
//! is replaced; only [`Statistics`] and logs tell. [`HostBuilder::dead_letters`] keeps messages
//! that were given up, [`Source::Replay`] produces them again. See [`guide::faults_and_policies`].
//!
//! # Checkpoints
//! [`Host::checkpoint`] says at any moment what was delivered; [`Source::Resume`] delivers exactly
//! the rest, with any number of workers and slots, in either order. See [`guide::checkpoints`].
//!
//! # Swaps
//! [`Host::swap_producer`] and [`Host::swap_commander`] replace a plugin at one exact message, and
//! [`Host::roll_back`] brings the one before back. See [`guide::swapping`].
//!
//! # Traces
//! [`HostBuilder::trace`] writes what each part of the run did when, for Perfetto and other viewers.
//! See [`guide::traces`].
//!
//! # Logs
//! The host writes with `tracing`. Records of plugins have the target `cobuf::plugin` and the
//! fields `plugin` and `worker`. The subscriber's level at the start decides how verbose plugins
//! are.
//!
//! # Features
//! `build` (default): plugins given as packages are built. `stacks` (default): stacks of workers
//! that crash or miss a deadline. `pipeline`: pipeline files. `metrics`: a run's counters for
//! Prometheus. `sandbox`: workers in a jail. `stream`: [`BatchStream`] is a `futures_core::Stream`. `failpoints`: processes that fail on purpose, for tests.

pub mod conformance;
pub mod guide;
pub mod limits;
pub mod observer;
#[cfg(feature = "bench-parts")]
#[doc(hidden)]
pub mod parts;

mod cancel;
mod files;
#[cfg(all(any(test, fuzzing), not(cobuf_loom)))]
mod fuzzing;
mod host;
#[cfg(feature = "sandbox")]
mod jail;
#[cfg(feature = "metrics")]
mod metrics;
mod own;
mod path_bytes;
mod plugin;
mod process;
mod procfs;
mod protocol;
mod record;
mod segment;
mod stream;
mod supervisor;
mod text;
mod ulimit;

pub use cancel::Cancel;
pub use host::builder::{Commander, HostBuilder, Source, Workers};
pub use host::error::{OutOfRange, StartError};
pub use host::handle::Host;
pub use host::inspect::{Declarations, Inspection};
#[cfg(feature = "pipeline")]
pub use host::pipeline::{Pipeline, PipelineError, config_from_toml, set_entry};
pub use host::trace::TraceError;
#[cfg(feature = "sandbox")]
pub use jail::{Enforced, Sandbox, SandboxError, SandboxMode, SandboxNeeds, SandboxReport};
#[cfg(feature = "metrics")]
pub use metrics::{MetricsError, MetricsTarget, MetricsTargetError};
pub use plugin::{
    Code, FoundPlugin, ManifestInfo, PLUGIN_PATH, Plugin, PluginError, PythonPlugin, find_plugins,
    plugin_path,
};
pub use process::launch::{LaunchError, StartMethod, serve_fork_server};
pub use process::stack::names::{Stack, StackThread};
pub use process::system::ForkHooks;
pub use protocol::setup::{ProcessSetup, WorkerLimits};
pub use record::checkpoint::{Checkpoint, CheckpointError};
pub use record::death::{Death, Exit};
pub use record::folder::{CheckpointFolder, RankFile};
pub use record::folder_error::FolderError;
pub use record::merge::MergeError;
pub use record::policy::{OnCommanderFailure, OnFailure};
pub use record::portion::{Remainder, RemainderError};
pub use record::rank::Rank;
pub use record::rank_error::RankError;
#[cfg(feature = "failpoints")]
pub use segment::failpoint::{Failpoint, Fault};
pub use segment::notices::NoticeKind;
pub use stream::batch::{ArrayError, Batch};
pub use stream::batch_stream::BatchStream;
pub use stream::batches::{Batches, Next};
pub use stream::dead_letters::DeadLettersError;
pub use stream::delivery::WaitingFor;
pub use stream::digest::ContentDigest;
pub use stream::error::{BatchError, StreamError};
pub use stream::failure::Attempt;
pub use stream::figures::{Figures, Occupancy, WorkerFigures};
pub use stream::limit::LimitedBy;
pub use stream::readiness::{Readiness, ReadinessError};
pub use stream::roster::{ProcessInfo, ProcessRole};
pub use stream::stall::{Holder, SlotReport, StallReport};
pub use stream::statistics::Statistics;
pub use stream::submitter::{SubmitError, Submitter};
pub use stream::timeline::TraceSummary;
pub use stream::verdict::Verdict;
pub use supervisor::swap_error::SwapError;
pub use text::printable;

pub use cobuf_plugin_api::codec::CodecError;
pub use cobuf_plugin_api::manifest::ManifestError;
pub use cobuf_plugin_api::{
    ArraySpec, DType, Dictionary, Element, PluginKind, Report, ReportKind, Schema, Shape, Value, half,
    ndarray,
};

/// The programs of the README, compiled with the doctests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// For cargo-fuzz's target only, see `host/fuzz`.
#[cfg(fuzzing)]
#[doc(hidden)]
pub fn fuzz_segment(bytes: &[u8]) {
    fuzzing::play(bytes);
}
