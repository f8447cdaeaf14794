//! A run's counters for Prometheus, in a file or at an address.
//!
//! ```text
//!   target   a file's path, or an address ─► opened when the run starts
//!   series   the counters as Prometheus' series ─► text, in one of its two formats
//!   file     writes the text into a file, every few seconds and at the end
//!   server   gives the text to each client that asks for it, over HTTP
//! ```
//!
//! One thread of the host does either, from the start of the run to its end. It only reads what the
//! run counts anyway: without a scrape, an address costs nothing. A fork of the application does not
//! have the thread.

mod error;
mod file;
mod series;
mod server;
mod target;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

pub use error::{MetricsError, MetricsTargetError};
pub(crate) use series::RunLabels;
pub use target::MetricsTarget;
pub(crate) use target::Outlet;

use crate::cancel::Cancel;
use crate::stream::delivery::Stream;
use series::Series;

/// How long a stop waits for the last writing of the file, whose disk may hang.
const END_LIMIT: Duration = Duration::from_secs(1);

/// The thread that reports a run's counters.
#[derive(Debug)]
pub(crate) struct Reporter {
    address: Option<SocketAddr>,
    end: Cancel,
    thread: JoinHandle<()>,
    /// Closed once the thread has done its last work.
    done: Receiver<()>,
}

impl Reporter {
    /// Starts the thread.
    pub(crate) fn start(outlet: Outlet, stream: Arc<Stream>, labels: &RunLabels) -> io::Result<Self> {
        let (end, address) = (Cancel::new()?, outlet.address());
        let (series, ended) = (Series::new(stream, labels), end.clone());
        let (open_until_done, done) = channel();
        let thread = thread::Builder::new().name("cobuf-metrics".to_owned()).spawn(move || {
            match outlet {
                Outlet::File(path) => file::keep_written(&path, &series, &ended),
                Outlet::Listener(listener) => server::serve(listener, &series, &ended),
            }
            drop(series);
            drop::<Sender<()>>(open_until_done);
        })?;
        Ok(Self { address, end, thread, done })
    }

    /// The address at which it listens, if it does.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Ends it. A file has the last values then, unless its disk hangs.
    pub(crate) fn end(self) {
        self.end.cancel();
        if self.done.recv_timeout(END_LIMIT) == Err(RecvTimeoutError::Timeout) {
            return;
        }
        if self.thread.join().is_err() {
            tracing::error!("the thread of the metrics panicked; please report this as a bug of cobuf");
        }
    }
}
