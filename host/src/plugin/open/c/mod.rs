//! Plugins in C: the table of `plugin-api/include/cobuf.h`, called behind safe methods.
//!
//! ```text
//!   mod.rs ── Call, Dict, Job ──► the plugin's function ──► host.rs ──► call.rs, dictionary.rs
//!          ◄─ Call::end: the error, or what was said ─────┘
//! ```
//!
//! Plugins in Rust are protected by abi_stable's layout check; plugins in C, by the manifest's
//! version and the sizes in the export.
//!
//! The tables are frozen. Functions that came later have tables of their own: the plugin has a
//! variable for each, null at first, in which the host writes the table's address when it opens the
//! plugin. An older plugin lacks the variable, and a newer plugin finds null in an older host's
//! place.
#![expect(unsafe_code, reason = "calls through the table's function pointers")]

mod abi;
mod call;
mod config;
mod dictionary;
mod head;
mod host;

use std::ffi::{CStr, CString, c_void};
use std::path::Path;
use std::ptr;

use abi_stable::std_types::RVec;
use cobuf_plugin_api::abi::{Job, Produced, WorkerInfo};
use cobuf_plugin_api::lengths::Lengths;
use cobuf_plugin_api::{DType, Report, Schema, StopFlag};

use super::library::{LoadError, Logging, library, symbol};
use abi::{Array, CloseFn, Export, OpenFn, ProduceFn, SIZES, SchemaFn, VERSION};
use call::{Call, Part};
use config::ConfigSchema;
use dictionary::Dict;
use head::OK;
use host::{HOST, LENGTHS};

/// The symbol that a plugin exports in addition to its manifest.
const EXPORT: &str = "cobuf_producer_export";
/// The symbol of the plugin's variable for the functions for axes that are at most n.
const LENGTHS_TABLE: &str = "cobuf_producer_lengths";

/// A plugin's table, checked.
#[derive(Clone, Copy)]
struct Functions {
    schema: SchemaFn,
    open: OpenFn,
    produce: ProduceFn,
    close: Option<CloseFn>,
}

/// A producer plugin that was opened.
pub(crate) struct ProducerPlugin {
    functions: Functions,
    config_schema: ConfigSchema,
    logging: Logging,
}

impl ProducerPlugin {
    pub(super) fn open(path: &Path, logging: Logging) -> Result<Self, LoadError> {
        let library = library(path, logging)?;
        // SAFETY: `COBUF_EXPORT_PRODUCER` exports a `cobuf_export` under this name; its beginning
        // is the same in all versions.
        let export = unsafe { symbol::<*const Export>(library, EXPORT) }?;
        // SAFETY: as above; it is a constant, and the library stays open.
        let export = unsafe { &*export };
        if (export.version, export.sizes) != (VERSION, SIZES) {
            return Err(LoadError(format!(
                "it was compiled with a cobuf.h of version {} and sizes {:?}, expected {VERSION} and {SIZES:?}; \
                 compile it with an unchanged cobuf.h of this version, and without options that change layouts",
                export.version, export.sizes
            )));
        }
        let missing = |what: &str| LoadError(format!("its cobuf_producer has no {what}; give it one"));
        let table = export.producer.ok_or_else(|| missing("table of functions"))?;
        let functions = Functions {
            schema: table.schema.ok_or_else(|| missing("function schema"))?,
            open: table.open.ok_or_else(|| missing("function open"))?,
            produce: table.produce.ok_or_else(|| missing("function produce"))?,
            close: table.close,
        };
        // SAFETY: by `cobuf.h` it is null or a text that ends with a zero and stays valid.
        let text = (!table.config_schema.is_null()).then(|| unsafe { CStr::from_ptr(table.config_schema) });
        // SAFETY: `COBUF_EXPORT_PRODUCER` exports a pointer to a `cobuf_lengths` under this name,
        // if the header has it.
        if let Ok(place) = unsafe { symbol::<*mut *const abi::Lengths>(library, LENGTHS_TABLE) } {
            // SAFETY: as above; it is a variable, and the plugin reads it in calls only.
            unsafe { place.write(&raw const LENGTHS) };
        }
        let config_schema = ConfigSchema::parse(text).map_err(LoadError)?;
        Ok(Self { functions, config_schema, logging })
    }

    pub(super) fn config_schema(&self) -> Result<String, Report> {
        Ok(self.config_schema.to_string())
    }

    pub(super) fn schema(&self, config: &[u8]) -> Result<Schema, Report> {
        self.config_schema.check(config).map_err(|error| Report::from_error(&error.into()))?;
        let call = Call::new((&raw const HOST).cast(), Part::Schema, self.logging, None);
        // SAFETY: by `cobuf.h`, the function can be called with these, which live as long as the
        // call.
        let returned = unsafe { (self.functions.schema)(&call, &Dict::new("the configuration", config)) };
        let declared = call.end(returned)?.arrays;
        Schema::new(declared).map_err(|error| Report::from_error(&error.into()))
    }

    pub(super) fn construct(&self, config: &[u8], info: WorkerInfo) -> Result<OpenProducer, Report> {
        let schema = self.schema(config)?;
        let call = Call::new((&raw const HOST).cast(), Part::Open, self.logging, Some(info.stop));
        let worker =
            abi::Worker { worker: info.worker, workers: info.workers, incarnation: info.incarnation };
        let (config, mut instance) = (Dict::new("the configuration", config), ptr::null_mut());
        // SAFETY: by `cobuf.h`, the function can be called with these, which live as long as the
        // call.
        let returned = unsafe { (self.functions.open)(&call, &config, &worker, &mut instance) };
        call.end(returned)?;
        Ok(OpenProducer {
            functions: self.functions,
            logging: self.logging,
            stop: info.stop,
            instance,
            slot: Slot::new(schema),
        })
    }
}

/// A constructed producer. It stays on the thread that made it.
pub(crate) struct OpenProducer {
    functions: Functions,
    logging: Logging,
    stop: StopFlag,
    instance: *mut c_void,
    slot: Slot,
}

impl OpenProducer {
    /// Fills a slot; see the enum's method.
    ///
    /// # Safety
    /// The job's arrays are those of the producer's schema, writable, aligned, initialised, and
    /// used by nothing else.
    pub(super) unsafe fn produce(
        &mut self,
        job: &Job<'_>,
        lengths: &mut [usize],
    ) -> Result<Produced, Report> {
        let message = Dict::new("the message", job.message.as_slice());
        let call = Call::new(
            (&raw const HOST).cast(),
            Part::Produce(&self.slot.schema, job.seed),
            self.logging,
            Some(self.stop),
        )
        .with_lengths(Lengths::new(&self.slot.schema, lengths));
        for (array, memory) in self.slot.arrays.iter_mut().zip(job.arrays.iter()) {
            array.data = memory.data;
        }
        let job = abi::Job {
            sequence: job.sequence,
            seed: job.seed,
            message: &message,
            arrays: self.slot.arrays.as_ptr(),
            array_count: self.slot.arrays.len() as u32,
            attempt: job.attempt,
        };
        // SAFETY: by `cobuf.h`, the function can be called with the instance that `open` gave,
        // until `close`, and with these, which live as long as the call; the arrays meet this
        // method's own contract.
        let returned = unsafe { (self.functions.produce)(&call, self.instance, &job) };
        let said = call.end(returned)?;
        Ok(Produced { rows: said.rows.unwrap_or(usize::MAX), metadata: RVec::from(said.metadata) })
    }

    /// Drops the producer.
    pub(super) fn close(self) -> Result<(), Report> {
        let Some(close) = self.functions.close else { return Ok(()) };
        let call = Call::new((&raw const HOST).cast(), Part::Close, self.logging, Some(self.stop));
        // SAFETY: by `cobuf.h`, the function can be called once with the instance that `open` gave;
        // `self` is consumed here.
        unsafe { close(&call, self.instance) };
        call.end(OK).map(drop)
    }
}

/// The arrays of a slot as C sees them. Their addresses differ from message to message.
struct Slot {
    schema: Schema,
    arrays: Vec<Array>,
    /// The arrays' names point into these.
    _names: Vec<CString>,
}

impl Slot {
    fn new(schema: Schema) -> Self {
        // The names came from C texts, so there is no zero in them.
        let names: Vec<CString> =
            schema.arrays().iter().map(|array| CString::new(array.name()).unwrap_or_default()).collect();
        let arrays = schema.arrays().iter().zip(&names).map(|(array, name)| Array {
            data: ptr::null_mut(),
            bytes: array.bytes(),
            elements: array.elements(),
            name: name.as_ptr(),
            shape: array.shape().as_ptr(),
            dimensions: array.shape().len() as u32,
            dtype: dtype_number(array.dtype()),
        });
        Self { arrays: arrays.collect(), schema, _names: names }
    }
}

/// The element type's number in `cobuf.h`: its index among all element types.
fn dtype_number(dtype: DType) -> u32 {
    DType::ALL.iter().take_while(|&&other| other != dtype).count() as u32
}
