//! The host: a run's owner in the application.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use cobuf_plugin_api::{PluginKind, Schema};
use parking_lot::Mutex;

use super::builder::HostBuilder;
use super::checks::in_range;
use super::error::OutOfRange;
use super::run_folder::RunFolder;
use super::swap::{self, Builds};
use crate::limits;
use crate::plugin::Plugin;
use crate::record::checkpoint::Checkpoint;
#[cfg(feature = "failpoints")]
use crate::segment::failpoint::{Failpoint, Fault};
use crate::segment::sync::Ordering;
use crate::stream::batches::Batches;
use crate::stream::delivery::Stream;
use crate::stream::roster::{ProcessInfo, ProcessRole};
use crate::stream::stall::StallReport;
use crate::stream::statistics::Statistics;
use crate::supervisor::mailbox::{Mailbox, Wish};
use crate::supervisor::swap_error::SwapError;

/// A running buffer: a commander, workers, and the slots that they fill.
///
/// Dropping it stops everything, within the time that the builder's `stop_grace` gives, whatever the plugins do. Batches that
/// the application holds stay valid.
#[derive(Debug)]
pub struct Host {
    stream: Arc<Stream>,
    mailbox: Arc<Mailbox>,
    /// `None` after a stop.
    supervisor: Mutex<Option<JoinHandle<()>>>,
    folder: Mutex<Option<RunFolder>>,
    stop_grace: Duration,
    /// Locked while a swap is going on.
    swaps: Mutex<Swaps>,
    builds: Builds,
}

/// What is known of the swaps of a run.
#[derive(Debug, Default)]
struct Swaps {
    /// How many were asked for.
    count: u32,
    /// The run's copies of the plugins before.
    commander: Option<PathBuf>,
    producer: Option<PathBuf>,
}

impl Swaps {
    fn before(&mut self, kind: PluginKind) -> &mut Option<PathBuf> {
        match kind {
            PluginKind::Commander => &mut self.commander,
            PluginKind::Producer => &mut self.producer,
        }
    }
}

impl Host {
    /// A host to be set up.
    pub fn builder() -> HostBuilder {
        HostBuilder::new()
    }

    pub(crate) fn new(
        stream: Arc<Stream>,
        (supervisor, mailbox): (JoinHandle<()>, Arc<Mailbox>),
        folder: RunFolder,
        stop_grace: Duration,
    ) -> Self {
        let (supervisor, folder) = (Mutex::new(Some(supervisor)), Mutex::new(Some(folder)));
        let swaps = Mutex::default();
        Self { stream, mailbox, supervisor, folder, stop_grace, swaps, builds: Builds::default() }
    }

    /// The stream of batches. Every call gives another handle of the same stream.
    pub fn batches(&self) -> Batches {
        Batches::new(self.stream.clone())
    }

    /// The arrays of every slot, as the producer declared them.
    pub fn schema(&self) -> &Schema {
        &self.stream.segment.layout().sizes.schema
    }

    /// The number of workers that there shall be.
    pub fn workers(&self) -> usize {
        self.stream.counters.workers.load(Ordering::Relaxed) as usize
    }

    /// Changes the number of workers, 1 to [`limits::MAX_WORKERS`]; returns at once. New ones are started; those that are too many end
    /// after the message that they hold. Nothing is lost or done twice.
    ///
    /// # Errors
    /// [`OutOfRange`]: the number stays as it is.
    pub fn set_workers(&self, workers: usize) -> Result<(), OutOfRange> {
        let workers = in_range("the number of workers", workers, 1, limits::MAX_WORKERS)?;
        self.stream.counters.workers.store(workers as u64, Ordering::Relaxed);
        self.mailbox.send(Wish::Workers(workers));
        Ok(())
    }

    /// Puts another producer in the place of the one that runs, with the same configuration, and gives the first message that is the new
    /// one's: every batch before comes from the old code, that one and all after it from the new, in both orders of delivery;
    /// [`Batch::edition`](crate::Batch::edition) tells. Nothing is lost or done twice, and nobody waits for it but the caller.
    ///
    /// A package is built first. The file is read and checked, opened in a process that is thrown away, and does there the newest message
    /// that is in a slot, or, where it fails at that, one of those before; then workers for it are started beside the old ones. Those take no
    /// new messages from the cut on, and end after what they have. An earlier swap's old workers are waited for. Takes no batch, so that
    /// the consumer's thread may call it.
    ///
    /// For that time there are twice as many workers, two with each number, and the rehearsal is told that it is worker 0: a plugin that
    /// derives a port or a lock from its number must bear that.
    ///
    /// # Errors
    /// [`SwapError`]: the old producer goes on as if nothing had been asked for.
    pub fn swap_producer(&self, plugin: &Plugin) -> Result<u64, SwapError> {
        self.swap(PluginKind::Producer, Some(plugin))
    }

    /// Puts another commander in the place of the one that runs, with the same configuration, and gives the first message that is the new
    /// one's. The new one is rehearsed beside the old one, as in [`swap_producer`](Self::swap_producer): brought to the message that is next,
    /// and asked for it. Then the old one ends between two messages; the new one goes on with the state that it saves there, where it
    /// saves any, or else goes to the message as after a restart. Where the old one does not come back within the start timeout, it is
    /// killed. From the old one's end until the new one is ready there are no new messages: batches come until the slots are used up.
    ///
    /// # Errors
    /// [`SwapError`]: the old commander goes on.
    pub fn swap_commander(&self, plugin: &Plugin) -> Result<u64, SwapError> {
        self.swap(PluginKind::Commander, Some(plugin))
    }

    /// Swaps the plugin that ran before the last swap of this kind in again, as it was then: its file may be another by now. Rolled back once
    /// more, it is the newer one again.
    ///
    /// # Errors
    /// [`SwapError`]: the plugin that runs goes on. [`SwapError::NothingBefore`], where there was no swap.
    pub fn roll_back(&self, kind: PluginKind) -> Result<u64, SwapError> {
        self.swap(kind, None)
    }

    /// Swaps this plugin in, or that which ran before.
    fn swap(&self, kind: PluginKind, plugin: Option<&Plugin>) -> Result<u64, SwapError> {
        // Others may swap, or roll back, while it is built.
        let built = plugin.map(|plugin| self.builds.build(plugin.clone())).transpose()?;
        let mut swaps = self.swaps.lock();
        let folder = self.folder.lock().as_ref().map(|folder| folder.path().to_owned());
        let folder = folder.ok_or(SwapError::Ended)?;
        let before = swaps.before(kind).clone().map(Plugin::File);
        let plugin = built.or(before).ok_or(SwapError::NothingBefore { kind })?;
        swaps.count += 1;
        let swapped =
            swap::swap(kind, &plugin, &folder, swaps.count, &self.mailbox).map_err(|error| match error {
                // The folder is gone after a stop.
                SwapError::Copy { .. } if self.stream.table().stop_requested() => SwapError::Ended,
                other => other,
            })?;
        *swaps.before(kind) = Some(swapped.before);
        Ok(swapped.first)
    }

    /// The edition of the producer's code that takes new messages: how often it was swapped.
    pub fn edition(&self) -> u32 {
        self.stream.counters.edition.load(Ordering::Relaxed) as u32
    }

    /// The number of slots.
    pub fn slots(&self) -> usize {
        self.stream.segment.layout().sizes.slots
    }

    /// Whether batches are delivered in the order of their messages.
    pub fn ordered(&self) -> bool {
        self.stream.ordered
    }

    /// What the run did so far.
    pub fn statistics(&self) -> Statistics {
        Statistics::of(&self.stream)
    }

    /// What was delivered up to now, for [`Source::Resume`](crate::Source::Resume). At any moment, from any thread, also after a stop.
    pub fn checkpoint(&self) -> Checkpoint {
        self.stream.history.checkpoint()
    }

    /// Who holds the slots, and since when.
    pub fn stall_report(&self) -> StallReport {
        StallReport::of(&self.stream)
    }

    /// The process number of the fork server, the parent of commander and workers.
    pub fn fork_server_pid(&self) -> u32 {
        self.stream.counters.fork_server.load(Ordering::Relaxed) as u32
    }

    /// The processes that run now: the fork server, the commander while it has messages to give, the workers.
    pub fn processes(&self) -> Vec<ProcessInfo> {
        let server = ProcessInfo { role: ProcessRole::ForkServer, pid: self.fork_server_pid() };
        [server].into_iter().chain(self.stream.roster.processes()).collect()
    }

    /// Has the next process that comes by this place fail, once: to test that an application, or cobuf, survives it.
    #[cfg(feature = "failpoints")]
    pub fn arm(&self, point: Failpoint, fault: Fault) {
        self.stream.table().control.armed.arm(point, fault);
    }

    /// Whether nobody has come by the failpoint that was armed last.
    #[cfg(feature = "failpoints")]
    pub fn is_armed(&self) -> bool {
        self.stream.table().control.armed.is_armed()
    }

    /// Stops the run and waits until all of its processes are gone. From any thread: waiting consumers see the end of the stream, a swap that
    /// is going on ends with [`SwapError::Ended`]. A second call waits for the first, and does nothing.
    pub fn stop(&self) {
        let mut running = self.supervisor.lock();
        let Some(supervisor) = running.take() else { return };
        self.builds.stop();
        self.stream.table().control.armed.disarm();
        self.stream.table().request_stop();
        self.mailbox.send(Wish::Stop(self.stop_grace));
        if supervisor.join().is_err() {
            tracing::error!("the supervisor panicked; please report this as a bug of cobuf");
        }
        *self.folder.lock() = None;
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop();
    }
}
