//! The thread that waits for batches on behalf of coroutines: one for each host, begun with the
//! first wait.
//!
//! ```text
//!   event loop ── callback ──► the thread: waits until something can be taken, and leaves it there
//!       ▲                          │
//!       └──── callback(0) ◄────────┘   it schedules the coroutine, which takes the batch
//! ```
//!
//! Since nothing is taken here, a coroutine that is cancelled meanwhile loses no batch.

use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use cobuf_host::{Batches, WaitingFor};
use pyo3::prelude::*;

/// How long a consumer waits while the application's own batches hold every slot, until it is told.
pub(crate) const ALL_HELD_FOR: Duration = Duration::from_millis(100);

/// The waiting thread.
pub(crate) struct Waiter {
    asked: Sender<Py<PyAny>>,
    thread: JoinHandle<()>,
    /// The process that has the thread; a fork of it has none.
    process: u32,
}

impl Waiter {
    pub(crate) fn start(batches: Batches) -> io::Result<Self> {
        let (asked, calls) = mpsc::channel();
        let thread =
            thread::Builder::new().name("cobuf-wait".to_owned()).spawn(move || serve(&batches, &calls))?;
        Ok(Self { asked, thread, process: std::process::id() })
    }

    /// Has the callback called once there is something to take: with 0, or with the number of slots
    /// if the application holds them all for a tenth of a second.
    pub(crate) fn ask(&self, callback: Py<PyAny>) {
        // The thread ends after the sender only.
        let _ = self.asked.send(callback);
    }

    /// Waits for the end of the thread, after that of the stream. The caller is detached from the
    /// interpreter.
    pub(crate) fn join(self) {
        drop(self.asked);
        // The thread itself may be the one that collects the loader.
        if self.process == std::process::id() && self.thread.thread().id() != thread::current().id() {
            let _ = self.thread.join();
        }
    }
}

fn serve(batches: &Batches, calls: &Receiver<Py<PyAny>>) {
    for callback in calls {
        let held = loop {
            match batches.wait_timeout(ALL_HELD_FOR) {
                Ok(()) => break 0,
                Err(WaitingFor::HeldBatches { held }) => break held,
                Err(WaitingFor::Producers | WaitingFor::Commander | WaitingFor::Submissions) => {}
            }
        };
        // Not once the interpreter ends: then nobody waits any more.
        Python::try_attach(|py| {
            if let Err(error) = callback.call1(py, (held,)) {
                error.write_unraisable(py, None);
            }
            drop(callback);
        });
    }
}
