//! The common part of both Python plugins: they call the package's code, and give its log records to
//! the host.

use std::ffi::OsString;

use cobuf_plugin_api::{anyhow, log};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// The module that does a plugin's work.
///
/// # Errors
/// If the package is not there.
pub fn worker(py: Python<'_>) -> PyResult<&Bound<'_, PyModule>> {
    // Kept, because a plugin's code may empty `sys.modules`.
    static WORKER: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    let module = WORKER.get_or_try_init(py, || -> PyResult<_> {
        let module = py.import("cobuf._worker")?;
        // The interpreter has read them before this process was given its own.
        let variables: Vec<(OsString, OsString)> = std::env::vars_os().collect();
        module.call_method1("take_environment", (variables,))?;
        Ok(module.unbind())
    })?;
    Ok(module.bind(py))
}

/// Runs Python code; an exception becomes an error, see [`error`].
///
/// # Errors
/// The exception.
pub fn python<T>(body: impl FnOnce(Python<'_>) -> PyResult<T>) -> anyhow::Result<T> {
    Python::attach(|py| body(py).map_err(|raised| error(py, raised)))
}

/// An exception as an error: its type and text with the place that raised it, then the traceback.
pub fn error(py: Python<'_>, error: PyErr) -> anyhow::Error {
    // With its traceback, which the exception itself lacks before Python 3.12.
    let exception = error.into_value(py);
    let text =
        || -> PyResult<(String, String)> { worker(py)?.call_method1("explain", (&exception,))?.extract() };
    match text() {
        Ok((short, traceback)) if traceback.is_empty() => anyhow::anyhow!(short),
        Ok((short, traceback)) => anyhow::anyhow!(traceback).context(short),
        // Without the package's own code, the exception alone.
        Err(_) => anyhow::anyhow!("{exception}"),
    }
}

/// Has Python's `logging` give its records to the host, as far as that wants them.
///
/// # Errors
/// If the package's code is not there.
pub fn log_to_host(py: Python<'_>) -> PyResult<()> {
    let emit = wrap_pyfunction!(emit, py)?;
    worker(py)?.call_method1("log_to", (emit, log::max_level() as u8)).map(drop)
}

/// Python's `logging` gives its records here.
#[pyfunction]
fn emit(level: u8, origin: &str, text: &str) {
    let level = log::Level::iter().nth(usize::from(level).saturating_sub(1)).unwrap_or(log::Level::Trace);
    log::log!(target: origin, level, "{text}");
}
