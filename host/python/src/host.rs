//! A running host for Python. Every wait releases the interpreter and ends at a signal.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cobuf_host::{self as host, Batches, Next, PluginKind, StreamError, SubmitError, Submitter, WaitingFor};
use cobuf_python_values as values;
use pyo3::exceptions::{PyRuntimeError, PyTimeoutError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::batch::Batch;
use crate::failure::{failed, with_causes};
use crate::readiness::Readiness;
use crate::{logs, settings, state};

/// The time between two looks for signals.
const LOOK_AROUND: Duration = Duration::from_millis(20);
/// How long a consumer waits while the application's own batches hold every slot, until it is told.
const ALL_HELD_FOR: Duration = Duration::from_millis(100);

/// Does this on another thread, and looks for signals meanwhile. A signal's exception ends the wait,
/// after `interrupted`; the work goes on.
fn interruptible<T: Send + 'static>(
    py: Python<'_>,
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
    interrupted: impl FnOnce(&mpsc::Receiver<T>) + Send,
) -> PyResult<T> {
    let (done, result) = mpsc::channel();
    let work = move || drop(done.send(work()));
    std::thread::Builder::new().name(name.to_owned()).spawn(work)?;
    py.detach(move || {
        loop {
            match result.recv_timeout(LOOK_AROUND) {
                Ok(result) => return Ok(result),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(PyRuntimeError::new_err("cobuf panicked; please report this as a bug"));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            if let Err(error) = Python::attach(|py| py.check_signals()) {
                interrupted(&result);
                return Err(error);
            }
        }
    })
}

/// Gives up a start from another thread.
#[pyclass(frozen, module = "cobuf._native")]
pub(crate) struct Cancel(host::Cancel);

#[pymethods]
impl Cancel {
    #[new]
    fn new() -> PyResult<Self> {
        Ok(Self(host::Cancel::new()?))
    }

    /// Gives up what was begun with it, and what will be.
    fn cancel(&self) {
        self.0.cancel();
    }
}

/// A host; `cobuf.Loader` wraps it.
#[pyclass(frozen, module = "cobuf._native")]
pub(crate) struct Host {
    /// `None` after `stop`.
    host: Mutex<Option<Arc<host::Host>>>,
    batches: Batches,
    submitter: Submitter,
}

impl Host {
    fn running(&self) -> PyResult<Arc<host::Host>> {
        let host = self.host.lock().unwrap_or_else(PoisonError::into_inner).clone();
        host.ok_or_else(|| PyRuntimeError::new_err("the loader is closed"))
    }

    /// The found item, for Python: a batch, the error in the place of one as a dict, `None` at the
    /// end, or the reason why there is nothing yet.
    fn found<'py>(py: Python<'py>, next: Next) -> PyResult<Result<Bound<'py, PyAny>, WaitingFor>> {
        logs::drain(py)?;
        Ok(match next {
            Next::Item(Ok(batch)) => Ok(Bound::new(py, Batch(Arc::new(batch)))?.into_any()),
            Next::Item(Err(error)) => Ok(told(py, error)?.into_any()),
            Next::Ended => Ok(py.None().into_bound(py)),
            Next::Pending(reason) => Err(reason),
        })
    }
}

#[pymethods]
impl Host {
    /// Starts a host with these settings.
    #[staticmethod]
    fn start(py: Python<'_>, settings: &Bound<'_, PyDict>, cancel: &Bound<'_, Cancel>) -> PyResult<Self> {
        logs::collect(py)?;
        let cancel = cancel.get().0.clone();
        let builder = settings::builder(settings)?.cancelled_by(&cancel);
        builder.check().map_err(|error| PyValueError::new_err(with_causes(&error)))?;
        let give_up = |starting: &mpsc::Receiver<_>| {
            cancel.cancel();
            // Until nothing of the run is left.
            drop(starting.recv());
        };
        let started = interruptible(py, "cobuf-start", move || builder.start(), give_up)?;
        let started = started.map_err(|error| failed(&error))?;
        let (batches, submitter) = (started.batches(), started.submitter());
        let host = Mutex::new(Some(Arc::new(started)));
        Ok(Self { host, batches, submitter })
    }

    /// Checks what can be checked without plugins: numbers, the rank, and whether the checkpoint fits it.
    #[staticmethod]
    fn check(settings: &Bound<'_, PyDict>) -> PyResult<()> {
        let checked = settings::builder(settings)?.check();
        checked.map_err(|error| PyValueError::new_err(with_causes(&error)))
    }

    /// The next batch, the error in the place of one as a dict, or `None` at the end. Once the
    /// application has held all slots for a tenth of a second, their number instead.
    fn next<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let mut next = self.batches.try_next();
        let mut held_since = None;
        loop {
            match Self::found(py, next)? {
                Ok(found) => return Ok(found),
                Err(WaitingFor::HeldBatches { held }) => {
                    let since: &Instant = held_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= ALL_HELD_FOR {
                        return Ok(held.into_pyobject(py)?.into_any());
                    }
                }
                Err(WaitingFor::Producers | WaitingFor::Commander | WaitingFor::Submissions) => {
                    held_since = None;
                }
            }
            next = py.detach(|| self.batches.next_timeout(LOOK_AROUND));
            py.check_signals()?;
        }
    }

    /// As `next`, and does not wait: 0 if there is nothing yet, or the number of slots if the
    /// application holds them all now.
    fn try_next<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match Self::found(py, self.batches.try_next())? {
            Ok(found) => Ok(found),
            Err(WaitingFor::HeldBatches { held }) => Ok(held.into_pyobject(py)?.into_any()),
            Err(WaitingFor::Producers | WaitingFor::Commander | WaitingFor::Submissions) => {
                Ok(0_u8.into_pyobject(py)?.into_any())
            }
        }
    }

    /// A descriptor that is readable once `try_next` may find something.
    fn readiness(&self) -> PyResult<Readiness> {
        self.batches.readiness().map(Readiness).map_err(|error| failed(&error))
    }

    /// Waits for at most a tenth of a second until `try_next` may find something; whether it may.
    /// For event loops that watch no descriptors.
    fn wait(&self, py: Python<'_>) -> bool {
        py.detach(|| self.batches.wait_timeout(ALL_HELD_FOR)).is_ok()
    }

    /// Submits a message, and gives its number; waits so many seconds at most. Calls `held` with the
    /// number of slots each tenth of a second in which the application holds them all.
    fn submit(
        &self,
        py: Python<'_>,
        message: &Bound<'_, PyDict>,
        timeout: Option<f64>,
        held: &Bound<'_, PyAny>,
    ) -> PyResult<u64> {
        let message = values::dictionary("the message", message)?;
        let limit = timeout.map(|seconds| settings::duration("timeout", seconds)).transpose()?;
        let (started, mut held_since) = (Instant::now(), None);
        loop {
            let left = limit.map_or(LOOK_AROUND, |limit| limit.saturating_sub(started.elapsed()));
            let submitted = py.detach(|| self.submitter.submit_timeout(&message, left.min(LOOK_AROUND)));
            let (slots, waiting_for) = match submitted {
                Ok(number) => return Ok(number),
                Err(SubmitError::Full { slots, waiting_for, .. }) => (slots, waiting_for),
                Err(error @ (SubmitError::TooLarge { .. } | SubmitError::Encode(_))) => {
                    return Err(PyValueError::new_err(with_causes(&error)));
                }
                Err(error) => return Err(failed(&error)),
            };
            py.check_signals()?;
            if let Some(waited) = limit.filter(|limit| *limit <= started.elapsed()) {
                let full = SubmitError::Full { waited, slots, waiting_for };
                return Err(PyTimeoutError::new_err(full.to_string()));
            }
            let WaitingFor::HeldBatches { held: all } = waiting_for else {
                held_since = None;
                continue;
            };
            if held_since.get_or_insert_with(Instant::now).elapsed() >= ALL_HELD_FOR {
                held.call1((all,))?;
                held_since = None;
            }
        }
    }

    /// Ends the messages: the stream ends after those that were submitted.
    fn end(&self) -> PyResult<()> {
        self.submitter.close().map_err(|error| failed(&error))
    }

    /// The number of batches in the stream, of its rank's if it has one, if it is known.
    fn total(&self) -> PyResult<Option<u64>> {
        Ok(self.running()?.total_of_rank())
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
        let is_commander = kind == "commander";
        let swap = move || match is_commander {
            true => host.swap_commander(&plugin),
            false => host.swap_producer(&plugin),
        };
        interruptible(py, "cobuf-swap", swap, |_| ())?.map_err(|error| failed(&error))
    }

    /// Brings the plugin before the last swap back.
    fn roll_back(&self, py: Python<'_>, kind: &str) -> PyResult<u64> {
        let host = self.running()?;
        let kind = if kind == "commander" { PluginKind::Commander } else { PluginKind::Producer };
        interruptible(py, "cobuf-swap", move || host.roll_back(kind), |_| ())?.map_err(|error| failed(&error))
    }

    /// The messages delivered so far, as JSON, with the application's step if there is one.
    fn checkpoint(&self, step: Option<u64>) -> PyResult<String> {
        let checkpoint = self.running()?.checkpoint();
        state::text(&match step {
            Some(step) => checkpoint.with_step(step),
            None => checkpoint,
        })
    }

    /// Where the metrics are, if they are at an address.
    fn metrics_address(&self) -> PyResult<Option<String>> {
        Ok(self.running()?.metrics_address().map(|address| address.to_string()))
    }

    fn sandbox_report(&self) -> PyResult<Option<BTreeMap<String, String>>> {
        let host = self.running()?;
        let report =
            host.sandbox().map(|report| serde_json::to_value(report).and_then(serde_json::from_value));
        report.transpose().map_err(|error| PyRuntimeError::new_err(error.to_string()))
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
            ("worker_lost_seconds", it.worker_lost),
            ("commander_wait_seconds", it.commander_wait),
            ("exposed_wait_seconds", it.exposed_wait),
        ] {
            numbers.set_item(name, time.as_secs_f64())?;
        }
        let verdict = it.verdict();
        numbers.set_item("limited_by", verdict.limited_by.to_string())?;
        numbers.set_item("verdict", verdict.to_string())?;
        let pids: Vec<u32> = host.processes().iter().map(|process| process.pid).collect();
        numbers.set_item("processes", pids)?;
        numbers.set_item("fork_server", host.fork_server_pid())?;
        Ok(numbers)
    }

    /// Ends all processes, with another grace than the loader's if one is given, in seconds. Batches
    /// that are held stay valid. A signal's exception comes once they are killed.
    #[pyo3(signature = (grace=None))]
    fn stop(&self, py: Python<'_>, grace: Option<f64>) -> PyResult<()> {
        let grace = grace.map(|grace| settings::duration("grace", grace)).transpose()?;
        let host = self.host.lock().unwrap_or_else(PoisonError::into_inner).take();
        let stopped = host.map_or(Ok(()), |host| {
            let stopping = host.clone();
            let stop = move || grace.map_or_else(|| stopping.stop(), |grace| stopping.stop_within(grace));
            interruptible(py, "cobuf-stop", stop, |_| host.stop_within(Duration::ZERO))
        });
        // At the exit of the interpreter there may be no logging any more.
        let _ = logs::drain(py);
        stopped
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
