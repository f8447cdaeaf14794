//! The types that cross the boundary between host and plugin: `repr(C)` only, and checked by
//! abi_stable when a plugin is opened.
//!
//! ```text
//!   host (worker process)                              plugin (.so)
//!   ProducerModuleRef ── install(log sink) ─────────►  its own log, panic hook
//!                     ── open(configuration) ───────►  Instance (opaque)
//!                     ── produce(Instance, Job) ────►  fills arrays; Produced or a report
//!                     ── close(Instance) ───────────►  drops the instance
//! ```
//!
//! Dictionaries, schemas and error reports cross as MessagePack bytes.
//!
//! The modules are frozen: a field appended here would make every older plugin unusable. They grow
//! through `query`, as in CLAP: it returns a pointer to an extension, or null. `ABI.md` in this
//! package states the promises.
//!
//! Authors of plugins and applications do not need this module.
#![allow(unsafe_code, reason = "abi_stable's derives implement unsafe traits that describe layouts")]
#![allow(
    missing_docs,
    reason = "abi_stable's derives generate undocumented accessors beside the documented fields"
)]

use abi_stable::StableAbi;
use abi_stable::library::RootModule;
use abi_stable::package_version_strings;
use abi_stable::sabi_types::VersionStrings;
use abi_stable::std_types::{RResult, RSlice, RSliceMut, RStr, RString, RVec};

use crate::stop::StopFlag;

/// A plugin's object. The host owns it from `open` until it passes it to `close`.
pub type Instance = *mut ();

/// A plugin's result; the error is an encoded [`Report`](crate::Report).
pub type Outcome<T> = RResult<T, RVec<u8>>;

/// The host's receiver of a plugin's log records.
#[repr(C)]
#[derive(Clone, Copy, StableAbi)]
pub struct LogSink {
    /// Passes a record to the host: level as in [`log::Level`] (1 error … 5 trace), target,
    /// message. Any thread may call it.
    pub emit: extern "C" fn(level: u8, target: RStr<'_>, message: RStr<'_>),
}

/// The worker that opens a producer.
#[repr(C)]
#[derive(Clone, Copy, StableAbi)]
pub struct WorkerInfo {
    /// The worker's number, from 0.
    pub worker: u32,
    /// The number of workers that the host was started with.
    pub workers: u32,
    /// How often the worker was started before.
    pub incarnation: u32,
    /// Whether the host wants to stop.
    pub stop: StopFlag,
}

/// The memory of one array.
#[repr(C)]
#[derive(Clone, Copy, StableAbi)]
pub struct RawArray {
    /// Its first byte, aligned for every element type.
    pub data: *mut u8,
    /// Its length in bytes, which is that of the schema's array.
    pub bytes: usize,
}

/// One message for a producer, and the slot that it fills.
#[repr(C)]
#[derive(StableAbi)]
pub struct Job<'slot> {
    /// The message's number in the stream, from 0.
    pub sequence: u64,
    /// The message's seed.
    pub seed: u64,
    /// The number of earlier attempts at the message that ended with the death of a worker.
    pub attempt: u32,
    /// The message, a MessagePack map.
    pub message: RSlice<'slot, u8>,
    /// The arrays in the schema's order.
    pub arrays: RSlice<'slot, RawArray>,
}

/// The results that a producer sets beside the arrays.
#[repr(C)]
#[derive(StableAbi)]
pub struct Produced {
    /// The batch's number of rows if the producer set it; otherwise `usize::MAX`.
    pub rows: usize,
    /// The metadata, a MessagePack map; empty for none.
    pub metadata: RVec<u8>,
}

/// The run that a commander is opened for.
#[repr(C)]
#[derive(Clone, Copy, StableAbi)]
pub struct CommanderInfo {
    /// The run's seed.
    pub seed: u64,
    /// Whether the host wants to stop.
    pub stop: StopFlag,
}

/// A commander that is open.
#[repr(C)]
#[derive(StableAbi)]
pub struct OpenedCommander {
    /// The commander.
    pub instance: Instance,
    /// The number of messages in the whole stream; `u64::MAX` if it is unknown.
    pub total: u64,
}

/// The root module of a producer plugin.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = ProducerModuleRef, prefix_fields = ProducerModulePrefix)))]
pub struct ProducerModule {
    /// Installs the log forwarder, with the most verbose level to forward (0 off … 5 trace), and
    /// the panic hook.
    pub install: extern "C" fn(sink: LogSink, max_level: u8),
    /// The JSON Schema of the configuration.
    pub config_schema: extern "C" fn() -> Outcome<RString>,
    /// The encoded schema for an encoded configuration.
    pub schema: extern "C" fn(config: RSlice<'_, u8>) -> Outcome<RVec<u8>>,
    /// Makes a producer from an encoded configuration.
    pub open: extern "C" fn(config: RSlice<'_, u8>, worker: WorkerInfo) -> Outcome<Instance>,
    /// Fills a slot. The instance must come from `open`. The job's arrays must be writable, and
    /// nothing else may use them during the call.
    pub produce: unsafe extern "C" fn(producer: Instance, job: Job<'_>) -> Outcome<Produced>,
    /// Drops a producer. The instance must come from `open`, and must not be used again.
    pub close: unsafe extern "C" fn(producer: Instance) -> Outcome<()>,
    /// A pointer to the extension called `id`, or null.
    #[sabi(last_prefix_field)]
    pub query: extern "C" fn(id: RStr<'_>) -> *const (),
}

/// The root module of a commander plugin.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = CommanderModuleRef, prefix_fields = CommanderModulePrefix)))]
pub struct CommanderModule {
    /// As [`ProducerModule::install`].
    pub install: extern "C" fn(sink: LogSink, max_level: u8),
    /// The JSON Schema of the configuration.
    pub config_schema: extern "C" fn() -> Outcome<RString>,
    /// Checks an encoded configuration.
    pub check: extern "C" fn(config: RSlice<'_, u8>) -> Outcome<()>,
    /// Makes a commander from an encoded configuration.
    pub open: extern "C" fn(config: RSlice<'_, u8>, info: CommanderInfo) -> Outcome<OpenedCommander>,
    /// The message `sequence`, encoded; empty at the end of the stream. The instance must come from
    /// `open`.
    pub next: unsafe extern "C" fn(commander: Instance, sequence: u64) -> Outcome<RVec<u8>>,
    /// Drops a commander. The instance must come from `open`, and must not be used again.
    pub close: unsafe extern "C" fn(commander: Instance) -> Outcome<()>,
    /// A pointer to the extension called `id`, or null.
    #[sabi(last_prefix_field)]
    pub query: extern "C" fn(id: RStr<'_>) -> *const (),
}

/// The extension of producers whose arrays have axes that are at most n: `query` returns it for
/// [`ID`](Self::ID). It is frozen, as the modules are.
#[repr(C)]
pub struct LengthsExtension {
    /// As [`ProducerModule::produce`], for a schema with such axes. `lengths` has one number for
    /// each of them, array by array and axis by axis, at first the longest that the batch may have;
    /// the plugin writes those that it has. An array is then packed from its first byte. The host
    /// checks the numbers.
    pub produce: unsafe extern "C" fn(
        producer: Instance,
        job: Job<'_>,
        lengths: RSliceMut<'_, usize>,
    ) -> Outcome<Produced>,
}

impl LengthsExtension {
    /// Its name for `query`.
    pub const ID: &'static str = "cobuf.producer.lengths/1";
}

/// The extension of commanders that can be resumed: `query` returns it for [`ID`](Self::ID). It is
/// frozen, as the modules are.
#[repr(C)]
pub struct ResumeExtension {
    /// Skips from the message `from`, which would be next, to the message `to`. The instance must
    /// come from `open`.
    pub skip: unsafe extern "C" fn(commander: Instance, from: u64, to: u64) -> Outcome<()>,
    /// The state before the message `sequence`. The instance must come from `open`.
    pub save: unsafe extern "C" fn(commander: Instance, sequence: u64) -> Outcome<RawState>,
    /// Takes over a state that a commander saved before the message `sequence`. The instance must
    /// come from `open`.
    pub restore: unsafe extern "C" fn(
        commander: Instance,
        sequence: u64,
        version: u32,
        state: RSlice<'_, u8>,
    ) -> Outcome<()>,
}

impl ResumeExtension {
    /// Its name for `query`.
    pub const ID: &'static str = "cobuf.commander.resume/1";
}

/// A commander's state as it crosses the boundary.
#[repr(C)]
pub struct RawState {
    /// Whether the commander saved a state.
    pub present: bool,
    /// The version of its encoding.
    pub version: u32,
    /// The encoded state.
    pub bytes: RVec<u8>,
}

impl RootModule for ProducerModuleRef {
    abi_stable::declare_root_module_statics! {ProducerModuleRef}
    const BASE_NAME: &'static str = "cobuf_producer";
    const NAME: &'static str = "cobuf_producer";
    const VERSION_STRINGS: VersionStrings = package_version_strings!();
}

impl RootModule for CommanderModuleRef {
    abi_stable::declare_root_module_statics! {CommanderModuleRef}
    const BASE_NAME: &'static str = "cobuf_commander";
    const NAME: &'static str = "cobuf_commander";
    const VERSION_STRINGS: VersionStrings = package_version_strings!();
}
