//! A producer whose code is Python.
//!
//! ```text
//!   Python fork server ── fork ──► worker, an interpreter ── dlopen ──► this plugin
//!                                    cobuf._worker.Producer  ◄── calls ──┘
//! ```
//!
//! It is not linked with Python: its symbols are those of the interpreter that opens it, so it runs
//! in the workers of a Python fork server only. `cobuf.Loader` starts one.
//!
//! # Configuration
//! The entry `code` comes from the host, see `cobuf_host::Plugin::with_code`: `object`, the text
//! `module:name`, or `pickle`, the object's bytes. All other entries are the arguments of the
//! object's class. `cobuf._worker` says what is wrong with them.
//!
//! # Messages
//! Any dictionary.
#![deny(unsafe_code)]

mod memory;

use cobuf_plugin_api::prelude::*;
use cobuf_python_values::{self as values, log_to_host, python, worker};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

/// The producer.
#[derive(Debug)]
pub struct PythonProducer {
    object: Py<PyAny>,
}

/// An array as Python names it: name, element type, shape, axes that are at most as long.
type Declared = (String, String, Vec<usize>, Vec<usize>);
/// What Python says of a batch: rows, metadata, and the shapes that were set, by the arrays' names.
type Said<Metadata> = (Option<usize>, Option<Metadata>, Vec<(String, Vec<usize>)>);

impl Producer for PythonProducer {
    type Config = Dictionary;
    type Message = Dictionary;

    fn schema(config: &Dictionary) -> Result<Schema> {
        let declared: Vec<Declared> =
            python(|py| worker(py)?.call_method1("arrays", (values::dict(py, config)?,))?.extract())?;
        let array = |(name, dtype, shape, at_most): Declared| {
            let known = DType::ALL.iter().find(|known| known.name() == dtype);
            let dtype =
                *known.with_context(|| format!("array {name:?} has the unknown element type {dtype}"))?;
            Ok(ArraySpec::new(name, dtype, shape).at_most(at_most))
        };
        Ok(Schema::new(declared.into_iter().map(array).collect::<Result<Vec<_>>>()?)?)
    }

    fn new(config: Dictionary, context: &WorkerContext) -> Result<Self> {
        python(|py| {
            log_to_host(py)?;
            let this = (context.worker(), context.workers(), context.incarnation());
            let object = worker(py)?.getattr("Producer")?.call1((values::dict(py, &config)?, this))?;
            Ok(Self { object: object.unbind() })
        })
    }

    fn produce(
        &mut self,
        message: Dictionary,
        slot: &mut Slot<'_>,
        context: &mut ProduceContext<'_>,
    ) -> Result<()> {
        let mut arrays = slot.bytes()?;
        let (rows, metadata, shapes): Said<Dictionary> = python(|py| {
            let views = memory::arrays(py, &mut arrays)?;
            let job = (context.sequence(), context.seed(), context.attempt());
            let arguments = (values::dict(py, &message)?, PyList::new(py, &views)?, job);
            let said = self.object.call_method1(py, "produce", arguments);
            // What an exception's traceback holds goes with it.
            let said = said.map_err(|error| values::error(py, error));
            memory::end(py, &views)?;
            Ok(said.and_then(|said| {
                let read = || -> PyResult<_> {
                    let (rows, metadata, shapes): Said<Bound<'_, PyDict>> = said.extract(py)?;
                    let metadata = metadata.map(|dict| values::dictionary("metadata", &dict)).transpose()?;
                    Ok((rows, metadata, shapes))
                };
                read().map_err(|error| values::error(py, error))
            }))
        })??;
        rows.map(|rows| slot.set_rows(rows)).transpose()?;
        shapes.iter().try_for_each(|(name, shape)| slot.set_shape(name, shape))?;
        metadata.map(|metadata| slot.set_metadata(&metadata)).transpose()?;
        Ok(())
    }
}

impl Drop for PythonProducer {
    fn drop(&mut self) {
        if let Err(error) = python(|py| self.object.call_method0(py, "close")) {
            log::error!("the producer cannot be closed: {error:#}");
        }
    }
}

cobuf_plugin_api::export_producer!(PythonProducer);
