//! Opens a plugin in the process that will run it: dlopen, then calls behind safe methods.
//!
//! ```text
//!   ProducerPlugin ── construct ──► OpenProducer      what worker and probe see
//!     ├ Rust   rust.rs   abi_stable's root module, its layouts checked
//!     └ C      c/        the table of include/cobuf.h, its version and sizes checked
//!   CommanderPlugin ── construct ──► OpenCommander    in Rust only
//! ```
//!
//! Runs in forked processes only. A library is never closed: thread-local destructors of old code would be left
//! behind; the process ends instead.
#![expect(unsafe_code, reason = "dlopen and dlsym")]

mod c;
mod rust;

use std::path::Path;

use cobuf_plugin_api::abi::{Job, LogSink, Produced, WorkerInfo};
use cobuf_plugin_api::{Report, Schema};
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

use super::interface::Interface;
use crate::text::chain;
pub(crate) use rust::{CommanderPlugin, OpenCommander};

/// Why the loader, or the check of layouts, refused a plugin: the chain of reasons as text.
pub(crate) struct LoadError(pub(crate) String);

/// How a plugin's logs leave its process.
#[derive(Clone, Copy)]
pub(crate) struct Logging {
    pub(crate) sink: LogSink,
    /// 0 off … 5 trace.
    pub(crate) max_level: u8,
}

/// A producer plugin that was opened.
pub(crate) enum ProducerPlugin {
    Rust(rust::ProducerPlugin),
    C(c::ProducerPlugin),
}

impl ProducerPlugin {
    pub(crate) fn open(path: &Path, interface: Interface, logging: Logging) -> Result<Self, LoadError> {
        match interface {
            Interface::Rust => rust::ProducerPlugin::open(path, logging).map(Self::Rust),
            Interface::C => c::ProducerPlugin::open(path, logging).map(Self::C),
        }
    }

    pub(crate) fn config_schema(&self) -> Result<String, Report> {
        match self {
            Self::Rust(plugin) => plugin.config_schema(),
            Self::C(plugin) => plugin.config_schema(),
        }
    }

    pub(crate) fn schema(&self, config: &[u8]) -> Result<Schema, Report> {
        match self {
            Self::Rust(plugin) => plugin.schema(config),
            Self::C(plugin) => plugin.schema(config),
        }
    }

    /// Makes a producer. It takes slots of the schema that [`schema`](Self::schema) gives for this configuration.
    pub(crate) fn construct(&self, config: &[u8], worker: WorkerInfo) -> Result<OpenProducer, Report> {
        match self {
            Self::Rust(plugin) => plugin.construct(config, worker).map(OpenProducer::Rust),
            Self::C(plugin) => plugin.construct(config, worker).map(OpenProducer::C),
        }
    }
}

/// A producer, constructed. Stays on the thread that made it.
pub(crate) enum OpenProducer {
    Rust(rust::OpenProducer),
    C(c::OpenProducer),
}

impl OpenProducer {
    /// Fills a slot.
    ///
    /// # Safety
    /// The job's arrays are those of the producer's schema, writable, aligned, initialised and used by nobody else.
    pub(crate) unsafe fn produce(&mut self, job: Job<'_>) -> Result<Produced, Report> {
        match self {
            // SAFETY: the arrays by this method's own contract.
            Self::Rust(producer) => unsafe { producer.produce(job) },
            // SAFETY: as above.
            Self::C(producer) => unsafe { producer.produce(&job) },
        }
    }

    /// Drops the producer.
    pub(crate) fn close(self) -> Result<(), Report> {
        match self {
            Self::Rust(producer) => producer.close(),
            Self::C(producer) => producer.close(),
        }
    }
}

/// Opens the library, which stays open until the process ends.
fn library(path: &Path) -> Result<&'static Library, LoadError> {
    // SAFETY: the file is the run's own copy of bytes that the host has checked; running its initialisers is what the
    // user asked for, and nobody else runs in this process.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) };
    // Never closed, on purpose: see the module's documentation.
    library.map(|library| &*Box::leak(Box::new(library))).map_err(|error| LoadError(chain(&error)))
}

/// What the library has under a name.
///
/// # Safety
/// It is a `T`, or a `T` points to it.
unsafe fn symbol<T: Copy>(library: &Library, name: &str) -> Result<T, LoadError> {
    // SAFETY: by this function's own contract.
    let symbol = unsafe { library.get::<T>(name) };
    symbol.map(|symbol| *symbol).map_err(|error| LoadError(chain(&error)))
}
