//! Counts and times of a run so far, and what limits it.

use std::time::Duration;

use super::delivery::Stream;
use super::figures::{Figures, Occupancy, WorkerFigures};
use super::limit::LimitedBy;
use super::verdict::Verdict;
use crate::segment::memory::Segment;
use crate::segment::sync::{AtomicU64, Ordering};

/// Counts and times of a run so far.
///
/// ```
/// # fn report(host: &cobuf_host::Host) {
/// let statistics = host.statistics();
/// println!("{} batches, {}", statistics.delivered, statistics.verdict());
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Statistics {
    /// Batches that were delivered, errors not counted.
    pub delivered: u64,
    /// Errors that were delivered in the place of batches.
    pub errors: u64,
    /// Messages that were given up and left out by [`OnFailure::Skip`](crate::OnFailure::Skip).
    pub skipped: u64,
    /// Messages that were queued again because their worker died.
    pub retries: u64,
    /// Workers and commanders that were killed because they missed a deadline.
    pub timeouts: u64,
    /// Workers that were started again.
    pub worker_restarts: u64,
    /// Times that the commander was started again.
    pub commander_restarts: u64,
    /// Times that the fork server was replaced.
    pub fork_server_restarts: u64,
    /// Swaps of a plugin.
    pub swaps: u64,
    /// The number of workers that the host keeps alive.
    pub workers: usize,
    /// The slots now, by state.
    pub slots: Occupancy,
    /// The time since the start.
    pub elapsed: Duration,
    /// The time that consumers waited for batches, summed over all threads.
    pub consumer_wait: Duration,
    /// The time in which at least one thread waited for a batch: that of `consumer_wait` without the
    /// overlap, and with a wait that goes on.
    pub exposed_wait: Duration,
    /// The time that workers waited for messages, summed over all workers, with waits that go on.
    pub worker_wait: Duration,
    /// The time that workers produced, summed over all workers, with the messages that they have now.
    pub worker_busy: Duration,
    /// The workers' time that was lost by their deaths, summed over all workers.
    pub worker_lost: Duration,
    /// The time that the commander waited for a free slot. If the application is the commander,
    /// summed over its threads.
    pub commander_wait: Duration,
    /// Whether the application is the commander.
    pub application_commands: bool,
    /// The figures of the whole run so far, for [`since`](Self::since).
    figures: Figures,
    /// Those of the part by which the run is judged.
    pace: Figures,
}

impl Statistics {
    pub(crate) fn of(stream: &Stream) -> Self {
        let now = stream.figures();
        let pace = stream.pace(&now);
        Self::read(&stream.segment, now, pace)
    }

    /// Those of a segment, for figures that were read from it.
    pub(crate) fn read(segment: &Segment, figures: Figures, pace: Figures) -> Self {
        let counters = segment.counters();
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let consumer_now = counters.exposure.now().unwrap_or_default();
        let total = |of: fn(&WorkerFigures) -> Duration| figures.by_worker.iter().map(of).sum();
        Self {
            delivered: figures.delivered,
            errors: load(&counters.errors),
            skipped: load(&counters.skipped),
            retries: load(&counters.retries),
            timeouts: figures.timeouts,
            worker_restarts: figures.worker_restarts,
            commander_restarts: figures.commander_restarts,
            fork_server_restarts: load(&counters.fork_server_restarts),
            swaps: load(&counters.swaps),
            workers: figures.workers,
            slots: figures.slots,
            elapsed: figures.elapsed,
            consumer_wait: Duration::from_nanos(load(&counters.consumer_wait_nanos))
                .saturating_add(consumer_now),
            exposed_wait: figures.consumer_wait,
            worker_wait: total(|worker| worker.wait),
            worker_busy: total(|worker| worker.busy),
            worker_lost: total(|worker| worker.lost),
            commander_wait: Duration::from_nanos(load(&segment.table().control.progress.wait_nanos)),
            application_commands: figures.application_commands,
            figures,
            pace,
        }
    }

    /// The part that limits the run, with the figures that say so and the change that helps; judged by
    /// the run so far without its start, up to its end.
    ///
    /// ```
    /// # fn report(host: &cobuf_host::Host) {
    /// // limited by producers: the application waited 71 % of the time, …
    /// println!("{}", host.statistics().verdict());
    /// # }
    /// ```
    pub fn verdict(&self) -> Verdict {
        self.pace.verdict()
    }

    /// The part that limits the run: that of its [`verdict`](Self::verdict).
    pub fn limited_by(&self) -> LimitedBy {
        self.verdict().limited_by
    }

    /// The figures of the time since an earlier moment of the same run, which have a verdict of their
    /// own.
    ///
    /// ```
    /// # fn report(host: &cobuf_host::Host) {
    /// let before = host.statistics();
    /// std::thread::sleep(std::time::Duration::from_secs(1));
    /// println!("in the last second {}", host.statistics().since(&before).verdict());
    /// # }
    /// ```
    pub fn since(&self, earlier: &Self) -> Figures {
        self.figures.since(&earlier.figures)
    }
}
