//! A commander whose code is Python.
//!
//! It is not linked with Python: its symbols are those of the interpreter that opens it, so it runs
//! in the processes of a Python fork server only. `cobuf.Loader` starts one.
//!
//! # Configuration
//! As the producer's: the entry `code`, and the arguments.
//!
//! # Messages
//! The dictionaries that the Python code gives.
#![forbid(unsafe_code)]

use cobuf_plugin_api::Value;
use cobuf_plugin_api::prelude::*;
use cobuf_python_values::{self as values, log_to_host, python, worker};
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// The version of a saved state: a pickled object.
const STATE: u32 = 1;

/// The commander.
#[derive(Debug)]
pub struct PythonCommander {
    object: Py<PyAny>,
    total: Option<u64>,
}

impl Commander for PythonCommander {
    type Config = Dictionary;
    type Message = Dictionary;

    fn new(config: Dictionary, context: &CommanderContext) -> Result<Self> {
        python(|py| {
            log_to_host(py)?;
            let class = worker(py)?.getattr("Commander")?;
            let object = class.call1((values::dict(py, &config)?, context.seed(), context.sequence()))?;
            let total = object.call_method0("total")?.extract()?;
            Ok(Self { object: object.unbind(), total })
        })
    }

    fn next(&mut self, context: &mut CommanderContext) -> Result<Option<Dictionary>> {
        python(|py| {
            let message = self.object.call_method1(py, "next", (context.sequence(),))?;
            let message: Option<Bound<'_, PyDict>> = message.extract(py)?;
            message.map(|dict| values::dictionary("the message", &dict)).transpose()
        })
    }

    fn total(&self) -> Option<u64> {
        self.total
    }

    fn skip(&mut self, context: &mut CommanderContext, to: u64) -> Result<()> {
        python(|py| self.object.call_method1(py, "skip", (context.sequence(), to)).map(drop))
    }

    fn save(&mut self, _context: &CommanderContext) -> Result<Option<SavedState>> {
        let state: Option<Vec<u8>> = python(|py| self.object.call_method0(py, "save")?.extract(py))?;
        let saved =
            |bytes: Vec<u8>| SavedState::new(STATE, &Dictionary::new().with("pickle", Value::Bytes(bytes)));
        Ok(state.map(saved).transpose()?)
    }

    fn restore(&mut self, _context: &CommanderContext, state: &SavedState) -> Result<()> {
        ensure!(
            state.version() == STATE,
            "a state of version {} cannot be restored, expected {STATE}",
            state.version()
        );
        let state: Dictionary = state.read()?;
        python(|py| self.object.call_method1(py, "restore", (values::dict(py, &state)?,)).map(drop))
    }
}

impl Drop for PythonCommander {
    fn drop(&mut self) {
        if let Err(error) = python(|py| self.object.call_method0(py, "close")) {
            log::error!("the commander cannot be closed: {error:#}");
        }
    }
}

cobuf_plugin_api::export_commander!(PythonCommander);
