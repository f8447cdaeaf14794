//! The host: a run's owner in the application.

#[cfg(feature = "metrics")]
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use cobuf_plugin_api::{PluginKind, Schema};
use parking_lot::Mutex;

use super::builder::HostBuilder;
use super::checks::in_range;
use super::error::OutOfRange;
#[cfg(feature = "metrics")]
use super::error::StartError;
use super::run_folder::RunFolder;
use super::swap::Swaps;
use super::trace::{TraceError, TraceFile};
#[cfg(feature = "sandbox")]
use crate::jail::SandboxReport;
use crate::limits;
#[cfg(feature = "metrics")]
use crate::metrics::{Outlet, Reporter, RunLabels};
use crate::plugin::Plugin;
#[cfg(feature = "sandbox")]
use crate::process::relay::Relay;
use crate::record::checkpoint::Checkpoint;
#[cfg(feature = "failpoints")]
use crate::segment::failpoint::{Failpoint, Fault};
use crate::segment::sync::Ordering;
use crate::stream::batches::Batches;
use crate::stream::delivery::Stream;
use crate::stream::roster::ProcessInfo;
use crate::stream::stall::StallReport;
use crate::stream::statistics::Statistics;
use crate::stream::submitter::Submitter;
use crate::stream::timeline::TraceSummary;
use crate::supervisor::mailbox::{Mailbox, Wish};
use crate::supervisor::swap_error::SwapError;

/// A running buffer: a commander, workers, and the slots that they fill.
///
/// Every method takes `&self` and may be called from any thread, also while other threads wait for
/// batches. Only [`stop`](Self::stop), the swaps and [`roll_back`](Self::roll_back) wait for
/// processes; all others return at once.
///
/// Dropping the host stops the run within the builder's [`stop_grace`](HostBuilder::stop_grace),
/// whatever the plugins do. Batches that the application holds stay valid.
///
/// The host belongs to the process that started it. In a process that is forked from it, handles do
/// nothing: a stop, a drop and a change of the number of workers have no effect, a swap is
/// [`SwapError::Ended`], and the next batch is [`StreamError::Forked`](crate::StreamError::Forked).
///
/// | Group | Methods |
/// | --- | --- |
/// | start | [`builder`](Self::builder) |
/// | batches | [`batches`](Self::batches), [`total`](Self::total), [`total_of_rank`](Self::total_of_rank), [`schema`](Self::schema), [`ordered`](Self::ordered) |
/// | messages | [`submitter`](Self::submitter), if the application is the commander |
/// | size | [`workers`](Self::workers), [`set_workers`](Self::set_workers), [`slots`](Self::slots) |
/// | swaps | [`swap_producer`](Self::swap_producer), [`swap_commander`](Self::swap_commander), [`roll_back`](Self::roll_back), [`edition`](Self::edition) |
/// | what happens | [`statistics`](Self::statistics), [`stall_report`](Self::stall_report), [`processes`](Self::processes), [`fork_server_pid`](Self::fork_server_pid) |
/// | end | [`checkpoint`](Self::checkpoint), [`stop`](Self::stop), [`stop_within`](Self::stop_within), [`written_trace`](Self::written_trace) |
///
/// ```no_run
/// # use cobuf_host::{Host, Plugin};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let host = Host::builder()
///     .commander(Plugin::named("index-commander"))
///     .producer(Plugin::named("digits-producer"))
///     .start()?;
/// for batch in host.batches() {
///     println!("batch {}", batch?.sequence());
/// }
/// println!("limited by {}", host.statistics().limited_by());
/// # Ok(())
/// # }
/// ```
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
    trace: Option<TraceFile>,
    #[cfg(feature = "sandbox")]
    jail: Option<(SandboxReport, Arc<Relay>)>,
    /// `None` after a stop, or if there is none.
    #[cfg(feature = "metrics")]
    reporter: Mutex<Option<Reporter>>,
}

impl Host {
    /// The settings of a host to be; [`HostBuilder::start`] starts it.
    pub fn builder() -> HostBuilder {
        HostBuilder::new()
    }

    pub(crate) fn new(
        stream: Arc<Stream>,
        (supervisor, mailbox): (JoinHandle<()>, Arc<Mailbox>),
        folder: RunFolder,
        stop_grace: Duration,
        swaps: Swaps,
        trace: Option<TraceFile>,
    ) -> Self {
        let (supervisor, folder) = (Mutex::new(Some(supervisor)), Mutex::new(Some(folder)));
        Self {
            stream,
            mailbox,
            supervisor,
            folder,
            stop_grace,
            swaps: Mutex::new(swaps),
            trace,
            #[cfg(feature = "sandbox")]
            jail: None,
            #[cfg(feature = "metrics")]
            reporter: Mutex::new(None),
        }
    }

    /// The same host, whose workers are in a jail of which this is enforced, and print by this relay.
    #[cfg(feature = "sandbox")]
    pub(crate) fn jailed(mut self, jail: Option<(SandboxReport, Arc<Relay>)>) -> Self {
        self.jail = jail;
        self
    }

    /// What of the sandbox is enforced, and by which means; `None` if there is no sandbox.
    #[cfg(feature = "sandbox")]
    pub fn sandbox(&self) -> Option<&SandboxReport> {
        self.jail.as_ref().map(|(report, _)| report)
    }

    /// The same host, which reports its metrics.
    #[cfg(feature = "metrics")]
    pub(crate) fn reporting(self, outlet: Outlet, labels: &RunLabels) -> Result<Self, StartError> {
        let reporter = Reporter::start(outlet, self.stream.clone(), labels);
        let reporter =
            reporter.map_err(|source| StartError::Io { what: "start the thread of the metrics", source })?;
        *self.reporter.lock() = Some(reporter);
        Ok(self)
    }

    /// The stream of batches. Each call gives another handle of the same stream: a batch goes to
    /// one of them.
    ///
    /// ```
    /// # fn consume(host: &cobuf_host::Host) {
    /// std::thread::scope(|scope| {
    ///     for mut batches in [host.batches(), host.batches()] {
    ///         scope.spawn(move || batches.by_ref().flatten().for_each(drop));
    ///     }
    /// });
    /// # }
    /// ```
    pub fn batches(&self) -> Batches {
        Batches::new(self.stream.clone())
    }

    /// The application's way to submit messages, if it is the
    /// [commander](crate::Commander::Application). Each call gives another handle of the same run.
    pub fn submitter(&self) -> Submitter {
        Submitter::new(self.stream.clone())
    }

    /// The number of batches in the whole stream, if the commander knows it. If the application is
    /// the commander: the limit, and once the messages are closed, their number.
    pub fn total(&self) -> Option<u64> {
        self.stream.table().total()
    }

    /// The number of batches for this host's rank since its job began, if the commander knows the
    /// [`total`](Self::total), which it is without a rank.
    pub fn total_of_rank(&self) -> Option<u64> {
        self.total().map(|total| self.stream.history.total_of_rank(total))
    }

    /// The arrays of each slot, as the producer declared them. The same for the whole run.
    pub fn schema(&self) -> &Schema {
        &self.stream.segment.layout().sizes.schema
    }

    /// The number of workers that the host keeps alive, as set or found last. While workers start
    /// or end, there may be fewer or more processes.
    pub fn workers(&self) -> usize {
        self.stream.settled.workers.load(Ordering::Relaxed) as usize
    }

    /// Changes the number of workers, 1 to [`limits::MAX_WORKERS`], and returns at once.
    ///
    /// The supervisor starts new workers. Surplus workers end after the message that they hold, so
    /// nothing is lost. A search by [`Workers::Auto`](crate::Workers::Auto) that is not over may
    /// change the number again.
    ///
    /// # Errors
    /// [`OutOfRange`]: the number stays as it is.
    ///
    /// ```
    /// # fn change(host: &cobuf_host::Host) -> Result<(), cobuf_host::OutOfRange> {
    /// host.set_workers(8)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_workers(&self, workers: usize) -> Result<(), OutOfRange> {
        let workers = in_range("the number of workers", workers, 1, limits::MAX_WORKERS)?;
        self.stream.settled.workers.store(workers as u32, Ordering::Relaxed);
        self.mailbox.send(Wish::Workers(workers));
        Ok(())
    }

    /// Replaces the producer under the running stream, with the same configuration, and returns the
    /// number of the first batch that the new code makes.
    ///
    /// Every batch before it comes from the old code, that one and all after it from the new code,
    /// in either order of delivery; [`Batch::edition`](crate::Batch::edition) tells. Only the
    /// caller waits. The call takes no batch, so the thread that takes the batches may make it.
    /// Swaps are done one after the other.
    ///
    /// The plugin is a file, or a name that is looked up. For a package, give [`Plugin::built`].
    ///
    /// The steps: the file is checked; a rehearsal in a process that is thrown away produces a
    /// message of the stream; workers of the new code start beside the old ones; after the cut the
    /// old ones end with the message that they hold. Meanwhile there are two workers of each
    /// number, and the rehearsal is worker 0: a plugin that derives a port or a lock from its
    /// number must allow for that. See [`guide::swapping`](crate::guide::swapping).
    ///
    /// # Errors
    /// [`SwapError`]: the old producer goes on as if nothing had been asked for.
    ///
    /// ```no_run
    /// # use cobuf_host::{Host, Plugin};
    /// # fn roll_out(host: &Host) -> Result<(), Box<dyn std::error::Error>> {
    /// let plugin = Plugin::package("plugins/slides").built()?;
    /// let first = host.swap_producer(&plugin)?;
    /// println!("from batch {first} on, edition {}", host.edition());
    /// # Ok(())
    /// # }
    /// ```
    pub fn swap_producer(&self, plugin: &Plugin) -> Result<u64, SwapError> {
        self.swap(PluginKind::Producer, Some(plugin))
    }

    /// Replaces the commander under the running stream, with the same configuration, and returns
    /// the number of the first message that the new one makes.
    ///
    /// The new commander is rehearsed beside the old one: it is asked for the next message. Then
    /// the old one ends between two messages, and the new one goes on with the state that the old
    /// one saves there, or reaches the message as after a restart. An old commander that does not
    /// return within the start timeout is killed. From its end until the new one is ready no
    /// message is made: batches come as long as slots are filled.
    ///
    /// # Errors
    /// [`SwapError`]: the old commander goes on.
    pub fn swap_commander(&self, plugin: &Plugin) -> Result<u64, SwapError> {
        self.swap(PluginKind::Commander, Some(plugin))
    }

    /// Swaps in the plugin that ran before the last swap of this kind, as it was then, even if its
    /// file has changed since. A second roll-back brings the newer plugin again.
    ///
    /// Returns the first message of the plugin that is back, and waits as a swap does.
    ///
    /// # Errors
    /// [`SwapError`]: the plugin that runs goes on. [`SwapError::NothingBefore`] if there was no
    /// swap.
    pub fn roll_back(&self, kind: PluginKind) -> Result<u64, SwapError> {
        self.swap(kind, None)
    }

    /// Swaps this plugin in, or the one that ran before.
    fn swap(&self, kind: PluginKind, plugin: Option<&Plugin>) -> Result<u64, SwapError> {
        if self.stream.is_foreign() {
            return Err(SwapError::Ended);
        }
        if kind == PluginKind::Commander && self.stream.is_submitted() {
            return Err(SwapError::Application);
        }
        let mut swaps = self.swaps.lock();
        let folder = self.folder.lock().as_ref().map(|folder| folder.path().to_owned());
        let folder = folder.ok_or(SwapError::Ended)?;
        swaps.swap(kind, plugin, &folder, &self.mailbox).map_err(|error| match error {
            // The folder is gone after a stop.
            SwapError::Copy { .. } if self.stream.table().stop_requested() => SwapError::Ended,
            other => other,
        })
    }

    /// The edition of the producer that takes new messages: the number of swaps and roll-backs of
    /// the producer so far.
    pub fn edition(&self) -> u32 {
        self.stream.settled.edition.load(Ordering::Relaxed)
    }

    /// The number of slots. The same for the whole run.
    pub fn slots(&self) -> usize {
        self.stream.segment.layout().sizes.slots
    }

    /// Whether batches are delivered in the order of their messages.
    pub fn ordered(&self) -> bool {
        self.stream.ordered
    }

    /// Counts and times of the run so far. They stay readable after a stop.
    ///
    /// The kernel's count of a worker's time on a CPU, which the verdict looks at, is read from `/proc`:
    /// some 10 µs for each worker. Once a step of a training is nothing, once a batch of microseconds is
    /// too often.
    pub fn statistics(&self) -> Statistics {
        Statistics::of(&self.stream)
    }

    /// The deliveries up to now, for [`Source::Resume`](crate::Source::Resume). At any moment,
    /// also after a stop.
    ///
    /// A batch counts as delivered once it is dropped. If the application is the commander, the
    /// messages that it submitted and that were not delivered are in the checkpoint; no other thread
    /// submits one meanwhile. See [`guide::checkpoints`](crate::guide::checkpoints).
    pub fn checkpoint(&self) -> Checkpoint {
        self.stream.checkpoint()
    }

    /// Which process holds each slot, and since when: to find out why no batch comes.
    pub fn stall_report(&self) -> StallReport {
        StallReport::of(&self.stream)
    }

    /// The address at which the run's metrics are, if it was asked for one by
    /// [`metrics`](HostBuilder::metrics); `None` after a stop.
    #[cfg(feature = "metrics")]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.reporter.lock().as_ref().and_then(Reporter::address)
    }

    /// The process number of the fork server, the parent of commander and workers.
    pub fn fork_server_pid(&self) -> u32 {
        self.stream.settled.fork_server.load(Ordering::Relaxed)
    }

    /// The processes that run now: the fork server, the commander as long as it has messages to
    /// make, the workers. There is no commander if the application is it. For debuggers, profilers
    /// and tests.
    ///
    /// All of them are known once [`start`](HostBuilder::start) has returned; after a stop there are
    /// none.
    pub fn processes(&self) -> Vec<ProcessInfo> {
        self.stream.roster.processes()
    }

    /// Makes the next process that passes this place fail, once: to test that an application
    /// survives it. Without effect in a run with a sandbox, whose workers could arm one, too.
    #[cfg(feature = "failpoints")]
    pub fn arm(&self, point: Failpoint, fault: Fault) {
        self.stream.table().control.armed.arm(point, fault);
    }

    /// Whether no process has passed the failpoint that was armed last.
    #[cfg(feature = "failpoints")]
    pub fn is_armed(&self) -> bool {
        self.stream.table().control.armed.is_armed()
    }

    /// Stops the run and waits until all of its processes are gone, at most a little longer than
    /// the builder's [`stop_grace`](HostBuilder::stop_grace).
    ///
    /// Waiting consumers and tasks see the end of the stream; a swap in progress ends with
    /// [`SwapError::Ended`]. A second call waits for the first one.
    pub fn stop(&self) {
        self.stop_within(self.stop_grace);
    }

    /// What became of the [`trace`](HostBuilder::trace), which a stop writes. `None` before a stop, or
    /// if no trace was asked for.
    ///
    /// ```
    /// # fn tell(host: &cobuf_host::Host) {
    /// host.stop();
    /// match host.written_trace() {
    ///     Some(Ok(trace)) => println!("a trace of {} batches", trace.batches),
    ///     Some(Err(error)) => eprintln!("{error}"),
    ///     None => {}
    /// }
    /// # }
    /// ```
    pub fn written_trace(&self) -> Option<Result<TraceSummary, TraceError>> {
        self.trace.as_ref()?.written()
    }

    /// [`stop`](Self::stop) with a grace of its own, which also holds for a stop that is under way.
    /// None at all kills the processes at once, for an application that is interrupted.
    pub fn stop_within(&self, grace: Duration) {
        if self.stream.is_foreign() {
            return;
        }
        self.stream.table().control.armed.disarm();
        self.stream.mark_end();
        self.stream.table().request_stop();
        self.mailbox.send(Wish::Stop(grace));
        let mut running = self.supervisor.lock();
        let Some(supervisor) = running.take() else { return };
        if supervisor.join().is_err() {
            tracing::error!("the supervisor panicked; please report this as a bug of cobuf");
        }
        #[cfg(feature = "sandbox")]
        self.jail.iter().for_each(|(_, relay)| relay.end());
        *self.folder.lock() = None;
        self.trace.iter().for_each(|trace| trace.write(&self.stream));
        #[cfg(feature = "metrics")]
        {
            let reporter = self.reporter.lock().take();
            reporter.into_iter().for_each(Reporter::end);
        }
        // A waker that the watch calls may stop the host, too.
        drop(running);
        self.stream.watch.close();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if self.stream.is_foreign() {
            // The thread and the folder belong to the process that started the run.
            std::mem::forget((self.supervisor.get_mut().take(), self.folder.get_mut().take()));
            #[cfg(feature = "sandbox")]
            std::mem::forget(self.jail.take());
            #[cfg(feature = "metrics")]
            std::mem::forget(self.reporter.get_mut().take());
        } else {
            self.stop();
        }
    }
}
