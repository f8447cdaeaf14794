//! The host: a run's owner in the application.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use cobuf_plugin_api::Schema;

use crate::batches::Batches;
use crate::builder::HostBuilder;
use crate::process::launch::ForkServer;
use crate::process::protocol::Request;
use crate::run_folder::RunFolder;
use crate::startup::SERVER_MARGIN;
use crate::statistics::Statistics;
use crate::stream::Stream;

/// A running buffer: a commander, workers, and the slots that they fill.
///
/// Dropping it stops everything, within the time that the builder's `stop_grace` gives, whatever the plugins do. Batches that
/// the application holds stay valid.
#[derive(Debug)]
pub struct Host {
    stream: Arc<Stream>,
    server: Arc<ForkServer>,
    supervisor: Option<JoinHandle<()>>,
    folder: Option<RunFolder>,
    stop_grace: Duration,
}

impl Host {
    /// A host to be set up.
    pub fn builder() -> HostBuilder {
        HostBuilder::new()
    }

    pub(crate) fn new(
        stream: Arc<Stream>,
        server: Arc<ForkServer>,
        supervisor: JoinHandle<()>,
        folder: RunFolder,
        stop_grace: Duration,
    ) -> Self {
        Self { stream, server, supervisor: Some(supervisor), folder: Some(folder), stop_grace }
    }

    /// The stream of batches. Every call gives another handle of the same stream.
    pub fn batches(&self) -> Batches {
        Batches::new(self.stream.clone())
    }

    /// The arrays of every slot, as the producer declared them.
    pub fn schema(&self) -> &Schema {
        &self.stream.segment.layout().sizes.schema
    }

    /// The number of workers.
    pub fn workers(&self) -> usize {
        self.stream.segment.layout().sizes.workers
    }

    /// The number of slots.
    pub fn slots(&self) -> usize {
        self.stream.segment.layout().sizes.slots
    }

    /// Whether batches come in the order of their messages.
    pub fn deterministic(&self) -> bool {
        self.stream.deterministic
    }

    /// What the run did so far.
    pub fn statistics(&self) -> Statistics {
        Statistics::of(&self.stream)
    }

    /// The process number of the fork server, the parent of commander and workers.
    pub fn fork_server_pid(&self) -> u32 {
        self.server.pid()
    }

    /// Stops the run and waits until all of its processes are gone. Waiting consumers see the end of the stream. A
    /// second call does nothing.
    pub fn stop(&mut self) {
        let Some(supervisor) = self.supervisor.take() else { return };
        self.stream.table().request_stop();
        // Where the fork server is dead already, there is nobody to stop.
        let _ = self.server.request(&Request::Stop { grace: self.stop_grace });
        self.server.wait(self.stop_grace + SERVER_MARGIN);
        if supervisor.join().is_err() {
            tracing::error!("the supervisor panicked; please report this as a bug of cobuf");
        }
        self.folder = None;
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop();
    }
}
