//! What crosses the boundary between host and plugin: `repr(C)` types only, checked by abi_stable when a plugin is opened.
//!
//! ```text
//!   host (worker process)                              plugin (.so)
//!   ProducerModuleRef ── install(log sink) ─────────►  its own log, panic hook
//!                     ── open(configuration) ───────►  Instance (opaque)
//!                     ── produce(Instance, Job) ────►  arrays filled in place ─► Produced, or a report
//!                     ── close(Instance) ───────────►  dropped
//! ```
//!
//! Dictionaries, schemas and error reports cross as MessagePack bytes. The modules are frozen: growth goes through
//! `query`, which gives a pointer to an extension or null, as CLAP does; a field appended here would make every older plugin
//! unusable. `ABI.md` in this package has the promises. Authors of plugins and applications have nothing to do with this module.
#![allow(unsafe_code, reason = "abi_stable's derives implement unsafe traits that describe layouts")]
#![allow(
    missing_docs,
    reason = "abi_stable's derives generate undocumented accessors beside the documented fields"
)]

use abi_stable::StableAbi;
use abi_stable::library::RootModule;
use abi_stable::package_version_strings;
use abi_stable::sabi_types::VersionStrings;
use abi_stable::std_types::{RResult, RSlice, RStr, RString, RVec};

use crate::stop::StopFlag;

/// A plugin's object, owned by the host from `open` until it is given to `close`.
pub type Instance = *mut ();

/// A plugin's result; the error is an encoded [`Report`](crate::Report).
pub type Outcome<T> = RResult<T, RVec<u8>>;

/// The host's end of a plugin's log.
#[repr(C)]
#[derive(Clone, Copy, StableAbi)]
pub struct LogSink {
    /// Takes a record to the host: level as in [`log::Level`] (1 error … 5 trace), target, message. From any thread.
    pub emit: extern "C" fn(level: u8, target: RStr<'_>, message: RStr<'_>),
}

/// Which worker opens a producer.
#[repr(C)]
#[derive(Clone, Copy, StableAbi)]
pub struct WorkerInfo {
    /// The worker's number, from 0.
    pub worker: u32,
    /// The number of workers.
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
    /// Its length in bytes: that of the schema's array.
    pub bytes: usize,
}

/// One message for a producer, and the slot to fill.
#[repr(C)]
#[derive(StableAbi)]
pub struct Job<'slot> {
    /// The message's number in the stream.
    pub sequence: u64,
    /// The message's seed.
    pub seed: u64,
    /// How many attempts at the message ended in a worker's death before.
    pub attempt: u32,
    /// The message, a MessagePack map.
    pub message: RSlice<'slot, u8>,
    /// The arrays in the schema's order.
    pub arrays: RSlice<'slot, RawArray>,
}

/// What a producer said of a batch that it filled.
#[repr(C)]
#[derive(StableAbi)]
pub struct Produced {
    /// The batch's rows where they are fewer than the schema's; `usize::MAX` otherwise.
    pub rows: usize,
    /// The metadata, a MessagePack map; empty for none.
    pub metadata: RVec<u8>,
}

/// What a commander is told at its start.
#[repr(C)]
#[derive(Clone, Copy, StableAbi)]
pub struct CommanderInfo {
    /// The run's seed.
    pub seed: u64,
    /// Whether the host wants to stop.
    pub stop: StopFlag,
}

/// A commander that was opened.
#[repr(C)]
#[derive(StableAbi)]
pub struct OpenedCommander {
    /// The commander.
    pub instance: Instance,
    /// The number of messages in the whole stream; `u64::MAX` where it is not known.
    pub total: u64,
}

/// The root module of a producer plugin.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = ProducerModuleRef, prefix_fields = ProducerModulePrefix)))]
pub struct ProducerModule {
    /// Installs the log forwarder, with the most verbose level (0 off … 5 trace), and the panic hook.
    pub install: extern "C" fn(sink: LogSink, max_level: u8),
    /// The JSON Schema of the configuration.
    pub config_schema: extern "C" fn() -> Outcome<RString>,
    /// The encoded schema for an encoded configuration.
    pub schema: extern "C" fn(config: RSlice<'_, u8>) -> Outcome<RVec<u8>>,
    /// Makes a producer from an encoded configuration.
    pub open: extern "C" fn(config: RSlice<'_, u8>, worker: WorkerInfo) -> Outcome<Instance>,
    /// Fills a slot. The instance must come from `open`, and the job's arrays be writable and used by nobody else.
    pub produce: unsafe extern "C" fn(producer: Instance, job: Job<'_>) -> Outcome<Produced>,
    /// Drops a producer. The instance must come from `open`, and is not used again.
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
    /// The message `sequence`, encoded; empty at the end. The instance must come from `open`.
    pub next: unsafe extern "C" fn(commander: Instance, sequence: u64) -> Outcome<RVec<u8>>,
    /// Drops a commander. The instance must come from `open`, and is not used again.
    pub close: unsafe extern "C" fn(commander: Instance) -> Outcome<()>,
    /// A pointer to the extension called `id`, or null.
    #[sabi(last_prefix_field)]
    pub query: extern "C" fn(id: RStr<'_>) -> *const (),
}

/// The extension of a commander that can be resumed: what `query` gives for [`ID`](Self::ID). Frozen as the modules are.
#[repr(C)]
pub struct ResumeExtension {
    /// Goes from the message `from`, which would be next, on to the message `to`. The instance must come from `open`.
    pub skip: unsafe extern "C" fn(commander: Instance, from: u64, to: u64) -> Outcome<()>,
    /// The state before the message `sequence`. The instance must come from `open`.
    pub save: unsafe extern "C" fn(commander: Instance, sequence: u64) -> Outcome<RawState>,
    /// Takes over a state that was saved before the message `sequence`. The instance must come from `open`.
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
    /// Whether there is one.
    pub present: bool,
    /// The version of its form.
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
