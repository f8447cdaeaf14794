//! A running host for Python. Every wait releases the interpreter and ends at a signal.

use std::error::Error;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cobuf_host::{self as host, Batches, Next, PluginKind, StreamError};
use cobuf_python_values as values;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::batch::Batch;
use crate::{logs, settings};

/// The time between two looks for signals.
const LOOK_AROUND: Duration = Duration::from_millis(20);

/// An error of the host, with its causes.
fn failed(error: &dyn Error) -> PyErr {
    PyRuntimeError::new_err(with_causes(error))
}

fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// A host; `cobuf.Loader` wraps it.
#[pyclass(frozen, module = "cobuf._native")]
pub(crate) struct Host {
    /// `None` after `stop`.
    host: Mutex<Option<Arc<host::Host>>>,
    batches: Batches,
}

impl Host {
    fn running(&self) -> PyResult<Arc<host::Host>> {
        let host = self.host.lock().unwrap_or_else(PoisonError::into_inner).clone();
        host.ok_or_else(|| PyRuntimeError::new_err("the loader is closed"))
    }
}

#[pymethods]
impl Host {
    /// Starts a host with these settings.
    #[staticmethod]
    fn start(py: Python<'_>, settings: &Bound<'_, PyDict>) -> PyResult<Self> {
        logs::collect(py)?;
        let cancel = host::Cancel::new()?;
        let builder = settings::builder(settings)?.cancelled_by(&cancel);
        let (done, started) = mpsc::channel();
        let starting = move || drop(done.send(builder.start()));
        std::thread::Builder::new().name("cobuf-start".to_owned()).spawn(starting)?;
        let started = py.detach(move || {
            loop {
                match started.recv_timeout(LOOK_AROUND) {
                    Ok(started) => return started.map_err(|error| failed(&error)),
                    Err(RecvTimeoutError::Disconnected) => {
                        return Err(PyRuntimeError::new_err("the start panicked"));
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                }
                if let Err(error) = Python::attach(|py| py.check_signals()) {
                    cancel.cancel();
                    // Until nothing of the run is left.
                    drop(started.recv());
                    return Err(error);
                }
            }
        })?;
        let batches = started.batches();
        Ok(Self { host: Mutex::new(Some(Arc::new(started))), batches })
    }

    /// The next batch, the error in the place of one as a dict, or `None` at the end.
    fn next<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let mut next = self.batches.try_next();
        loop {
            logs::drain(py)?;
            match next {
                Next::Item(Ok(batch)) => return Ok(Bound::new(py, Batch(Arc::new(batch)))?.into_any()),
                Next::Item(Err(error)) => return Ok(told(py, error)?.into_any()),
                Next::Ended => return Ok(py.None().into_bound(py)),
                Next::Pending(_) => {}
            }
            next = py.detach(|| self.batches.next_timeout(LOOK_AROUND));
            py.check_signals()?;
        }
    }

    /// The number of batches in the stream, if it is known.
    fn total(&self) -> Option<u64> {
        self.batches.total()
    }

    fn workers(&self) -> PyResult<usize> {
        Ok(self.running()?.workers())
    }

    fn set_workers(&self, workers: usize) -> PyResult<()> {
        self.running()?.set_workers(workers).map_err(|error| failed(&error))
    }

    /// Replaces a plugin; the first batch of the new one.
    fn swap(&self, py: Python<'_>, kind: &str, plugin: &Bound<'_, PyAny>) -> PyResult<u64> {
        let (host, plugin) = (self.running()?, settings::plugin(kind, plugin)?);
        let swap = || match kind {
            "commander" => host.swap_commander(&plugin),
            _ => host.swap_producer(&plugin),
        };
        py.detach(swap).map_err(|error| failed(&error))
    }

    /// Brings the plugin before the last swap back.
    fn roll_back(&self, py: Python<'_>, kind: &str) -> PyResult<u64> {
        let host = self.running()?;
        let kind = if kind == "commander" { PluginKind::Commander } else { PluginKind::Producer };
        py.detach(|| host.roll_back(kind)).map_err(|error| failed(&error))
    }

    /// The messages delivered so far, as JSON.
    fn checkpoint(&self) -> PyResult<String> {
        serde_json::to_string(&self.running()?.checkpoint())
            .map_err(|error| PyRuntimeError::new_err(error.to_string()))
    }

    fn stall_report(&self) -> String {
        self.batches.stall_report().to_string()
    }

    /// Numbers, process numbers included.
    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let host = self.running()?;
        let it = host.statistics();
        let numbers = PyDict::new(py);
        for (name, number) in [
            ("delivered", it.delivered),
            ("errors", it.errors),
            ("skipped", it.skipped),
            ("retries", it.retries),
            ("timeouts", it.timeouts),
            ("worker_restarts", it.worker_restarts),
            ("commander_restarts", it.commander_restarts),
            ("fork_server_restarts", it.fork_server_restarts),
            ("swaps", it.swaps),
            ("workers", it.workers as u64),
        ] {
            numbers.set_item(name, number)?;
        }
        for (name, time) in [
            ("elapsed_seconds", it.elapsed),
            ("consumer_wait_seconds", it.consumer_wait),
            ("worker_wait_seconds", it.worker_wait),
            ("worker_busy_seconds", it.worker_busy),
        ] {
            numbers.set_item(name, time.as_secs_f64())?;
        }
        numbers.set_item("limited_by", it.limited_by().to_string())?;
        let pids: Vec<u32> = host.processes().iter().map(|process| process.pid).collect();
        numbers.set_item("processes", pids)?;
        numbers.set_item("fork_server", host.fork_server_pid())?;
        Ok(numbers)
    }

    /// Ends all processes. Batches that are held stay valid.
    fn stop(&self, py: Python<'_>) {
        let host = self.host.lock().unwrap_or_else(PoisonError::into_inner).take();
        py.detach(|| drop(host.inspect(|host| host.stop())));
        // At the exit of the interpreter there may be no logging any more.
        let _ = logs::drain(py);
    }
}

/// An error of the stream, for `cobuf._errors`.
fn told(py: Python<'_>, error: StreamError) -> PyResult<Bound<'_, PyDict>> {
    let told = PyDict::new(py);
    told.set_item("final", error.is_final())?;
    told.set_item("text", with_causes(&error))?;
    if let StreamError::Batch(batch) = &error {
        told.set_item("sequence", batch.sequence())?;
        told.set_item("worker", batch.worker())?;
        told.set_item("kind", batch.kind().to_string())?;
        told.set_item("chain", batch.chain())?;
        let attempts: Vec<String> = batch.attempts().iter().map(ToString::to_string).collect();
        told.set_item("attempts", attempts)?;
        told.set_item("message", values::dict(py, batch.message())?)?;
    }
    Ok(told)
}
