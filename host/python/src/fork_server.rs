//! The fork server of a run with Python plugins: an interpreter, whose forks are the run's
//! processes. It is a new one, or a fork of the application.
#![expect(unsafe_code, reason = "the C API around a fork")]

use std::cell::Cell;
use std::ffi::c_int;
use std::os::fd::RawFd;

use cobuf_host::ForkHooks;
use pyo3::exceptions::PyOSError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyDict;

thread_local! {
    /// The state to go back to after a fork.
    static STATE: Cell<Option<ffi::PyGILState_STATE>> = const { Cell::new(None) };
}

/// The thread that forks is detached from the interpreter; it attaches for the fork alone, on both
/// sides.
pub(crate) const HOOKS: ForkHooks =
    ForkHooks { before, in_parent, in_child, trace_at_signal, trace_at_crash, trace_now };

fn before() {
    // SAFETY: the interpreter is initialised: it has imported this module.
    STATE.set(Some(unsafe { ffi::PyGILState_Ensure() }));
    // SAFETY: this thread is attached.
    unsafe { ffi::PyOS_BeforeFork() }
}

fn in_parent() {
    // SAFETY: this thread is attached, since `before`.
    unsafe { ffi::PyOS_AfterFork_Parent() };
    if let Some(state) = STATE.take() {
        // SAFETY: the state is that of `before`, on the same thread.
        unsafe { ffi::PyGILState_Release(state) };
    }
}

fn in_child() {
    // SAFETY: this is the only thread of the new process, and it is attached, since `before`.
    unsafe { ffi::PyOS_AfterFork_Child() };
    STATE.take();
    // It detaches but keeps its Python thread, which `before` may have made: this is the interpreter's
    // only one, and Python 3.11 cannot make another once it has none.
    // SAFETY: this thread is attached, since `before`.
    unsafe { ffi::PyEval_SaveThread() };
}

/// `faulthandler` takes no lock, and does not need the interpreter's: it answers also while a C
/// function holds that for ever.
fn trace_at_signal(file: RawFd, signal: c_int) {
    trace(file, |faulthandler, keywords| {
        // One that is enabled, as by PYTHONFAULTHANDLER, is without its handlers since the fork, and would
        // not get them back.
        faulthandler.call_method0("disable")?;
        keywords.set_item("chain", true)?;
        faulthandler.call_method("register", (signal,), Some(keywords)).map(drop)
    });
}

fn trace_at_crash(file: RawFd) {
    trace(file, |faulthandler, keywords| faulthandler.call_method("enable", (), Some(keywords)).map(drop));
}

/// For a fatal error of the interpreter, which ends `faulthandler` first.
fn trace_now(file: RawFd) {
    // SAFETY: it may be called without the interpreter, and then gives nothing.
    if !unsafe { ffi::PyThreadState_GetDict() }.is_null() {
        trace(file, |faulthandler, keywords| {
            faulthandler.call_method("dump_traceback", (), Some(keywords)).map(drop)
        });
    }
}

fn trace(file: RawFd, begin: impl FnOnce(&Bound<'_, PyModule>, &Bound<'_, PyDict>) -> PyResult<()>) {
    // Without it, stacks lack the frames of scripts.
    let _ = Python::attach(|py| {
        let keywords = PyDict::new(py);
        keywords.set_item("file", file)?;
        keywords.set_item("all_threads", true)?;
        begin(&py.import("faulthandler")?, &keywords)
    });
}

/// Becomes the fork server of the host with this process number, and returns once its run is over.
#[pyfunction]
pub(crate) fn serve_fork_server(py: Python<'_>, host: u32) -> PyResult<()> {
    let served = py.detach(|| cobuf_host::serve_fork_server(host, HOOKS));
    served.map_err(|error| PyOSError::new_err(format!("the fork server failed: {error}")))
}
