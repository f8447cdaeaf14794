//! Opens a plugin in the process that will run it: `dlopen`, then calls behind safe methods.
//!
//! ```text
//!   ProducerPlugin ── construct ──► OpenProducer      what workers and probes see
//!     ├ Rust   rust.rs   abi_stable's root module, its layouts checked
//!     └ C      c/        the table of include/cobuf.h, its version and sizes checked
//!   CommanderPlugin ── construct ──► OpenCommander    in Rust only
//! ```
//!
//! Runs in forked processes only. A library is never closed, because that would leave thread-local
//! destructors of its code behind; the process ends instead.
#![expect(unsafe_code, reason = "passes the contract on that a slot's arrays belong to the producer alone")]

mod c;
mod library;
mod rust;

use std::path::Path;

use cobuf_plugin_api::abi::{Job, Produced, WorkerInfo};
use cobuf_plugin_api::{Report, Schema};

use super::interface::Interface;
pub(crate) use library::{LoadError, Logging};
pub(crate) use rust::{CommanderPlugin, OpenCommander};

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

    /// Makes a producer. It takes slots of the schema that [`schema`](Self::schema) gives for this
    /// configuration.
    pub(crate) fn construct(&self, config: &[u8], worker: WorkerInfo) -> Result<OpenProducer, Report> {
        match self {
            Self::Rust(plugin) => plugin.construct(config, worker).map(OpenProducer::Rust),
            Self::C(plugin) => plugin.construct(config, worker).map(OpenProducer::C),
        }
    }
}

/// A constructed producer. It stays on the thread that made it.
pub(crate) enum OpenProducer {
    Rust(rust::OpenProducer),
    C(c::OpenProducer),
}

impl OpenProducer {
    /// Fills a slot. `lengths` are the longest that the batch may have, one for each axis that is
    /// at most n; afterwards they are those that the plugin has set, unchecked.
    ///
    /// # Safety
    /// The job's arrays are those of the producer's schema, writable, aligned, initialised, and
    /// used by nothing else.
    pub(crate) unsafe fn produce(&mut self, job: Job<'_>, lengths: &mut [usize]) -> Result<Produced, Report> {
        match self {
            // SAFETY: the arrays meet this method's own contract.
            Self::Rust(producer) => unsafe { producer.produce(job, lengths) },
            // SAFETY: as above.
            Self::C(producer) => unsafe { producer.produce(&job, lengths) },
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
