//! The part that limits a run's throughput, judged by plain figures of an interval.
//!
//! The limiting part is the one that never waits: all others wait for it, directly or not.
//!
//! ```text
//!                        waits for        does not wait, so the run is limited by
//!   application          a batch          consumer
//!   commander            a free slot      commander, or submissions if the application commands
//!   workers              a message        producers: and why?  deaths, memory, a straggler
//!   all of them wait:                     a straggler in an ordered run, otherwise slots
//! ```
//!
//! So the verdict compares shares of time without a wait, not speeds. On a machine that is busy with
//! other work, the limiting part still finds its next piece of work ready and does not wait; the
//! others wait even longer. A share near 1 stays near 1, and only the parts that do not limit the run
//! look different. Two shares are the exception, and have wide margins: a worker's mean time, and the
//! bytes that workers write.
//!
//! # Memory bandwidth
//! Workers that do little but write memory gain nothing from more of them. The rule: in the time that
//! the workers were on a CPU, they wrote [`MEMORY_BYTES_PER_SECOND`] or more. That is not the time that
//! they were busy, in which other processes may have had the CPU; the kernel counts it, and if it does
//! not, the busy time has to do. One core of a server writes 10 to 25 GB/s to memory that is not in its cache (STREAM's "fill";
//! 16 GB/s measured with `examples/fill.toml` on an AMD EPYC of 2021), and code that computes each
//! byte seldom reaches 4. Cores that share the memory with others write less, hence a threshold well
//! below. The limits of the rule: it counts the bytes of full batches, so it is not applied to arrays of any
//! length; it does not see memory that is only read; small computers, whose cores write less than
//! that, and machines whose many cores share one memory that is full, look limited by producers.

use std::fmt;

use serde::Serialize;

use super::figures::{Figures, Shares, WorkerFigures, seconds};
use super::limit::{Limit, LimitedBy};

/// A part that was busy for this share of the time is the limit.
const FULL: f64 = 0.75;
/// Deaths limit a run if they took this share of the workers' time.
const LOST: f64 = 0.25;
/// In an ordered run one worker's death holds up all others: deaths limit it if they took this share
/// of the time that the application waited.
const LOST_OF_WAIT: f64 = 0.5;
/// A straggler's mean time is this multiple of the other workers' median. A scheduler can give a worker
/// a third of another one's time for a while.
const SLOWER: f64 = 4.0;
/// A straggler that does not hold up others limits a run if throughput would rise by this share.
const GAIN: f64 = 0.2;
/// The bytes a second at which a CPU does little but write memory.
const MEMORY_BYTES_PER_SECOND: f64 = 4e9;
/// Producers that want a CPU for this share of their time do not wait for much else.
const ON_CPU: f64 = 0.5;
/// Smaller batches stay in the cache of one core.
const MEMORY_BATCH_BYTES: u64 = 256 * 1024;

/// The limiting part, with the figures that say so and the change that helps. Its text is one sentence:
/// `limited by producers: the application waited 71 % of the time, …`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Verdict {
    /// The limiting part.
    pub limited_by: LimitedBy,
    /// The number of the straggler, if a worker is one.
    pub worker: Option<usize>,
    /// The share of the time in which the application waited for a batch, 0 to 1.
    pub waited: f64,
    /// The figures and the change, in words.
    pub sentence: String,
}

impl Verdict {
    /// The limiting part in words: that of [`LimitedBy`], or the straggler's name, `worker 3`.
    pub fn part(&self) -> String {
        self.worker.map_or_else(|| self.limited_by.to_string(), |worker| format!("worker {worker}"))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "limited by {}: {}", self.part(), self.sentence)
    }
}

/// A worker that holds the run up.
#[derive(Debug, Clone, Copy)]
struct Straggler {
    worker: usize,
    /// The other workers' median time for a message in seconds, if it is known.
    typical: Option<f64>,
}

impl Figures {
    /// The part that limits the run in this interval. An interval without any delivery or wait is
    /// limited by the application, which did not ask for a batch.
    pub fn verdict(&self) -> Verdict {
        let shares = Shares::of(self);
        let (by, straggler) = self.limited_by(shares);
        let worker = straggler.map(|straggler| straggler.worker);
        let typical = straggler.and_then(|straggler| straggler.typical);
        let limit = Limit { figures: self, shares, by, worker, typical, write_rate: self.write_rate() };
        Verdict { limited_by: by, worker, waited: 1.0 - shares.consumer, sentence: limit.sentence() }
    }

    fn limited_by(&self, shares: Shares) -> (LimitedBy, Option<Straggler>) {
        let Shares { consumer, commander, producers, .. } = shares;
        // The application submits when it likes: it is the limit if no other part is.
        let commander = if self.application_commands { 0.0 } else { commander };
        if self.replays || consumer >= FULL.max(producers).max(commander) {
            return (LimitedBy::Consumer, None);
        }
        if commander >= FULL.max(producers) {
            return (LimitedBy::Commander, None);
        }
        let busy = producers >= FULL;
        if self.loses(shares) {
            (LimitedBy::Deaths, None)
        } else if busy && self.writes_memory() {
            (LimitedBy::Memory, None)
        } else if let Some(straggler) = self.slower(busy).or_else(|| self.stuck(busy)) {
            (LimitedBy::Straggler, Some(straggler))
        } else if busy {
            (LimitedBy::Producers, None)
        } else if self.application_commands && shares.commander >= FULL {
            (LimitedBy::Submissions, None)
        } else {
            (LimitedBy::Slots, None)
        }
    }

    /// Whether deaths took much of the workers' time, or of the wait for the next batch in order.
    fn loses(&self, shares: Shares) -> bool {
        let lost = self.sum(|worker| worker.lost);
        let holds_up = self.ordered
            && lost >= LOST * seconds(self.elapsed)
            && lost >= LOST_OF_WAIT * seconds(self.consumer_wait);
        shares.lost >= LOST || shares.producers < FULL && holds_up
    }

    /// Whether the workers do little but write memory.
    fn writes_memory(&self) -> bool {
        self.batch_bytes >= MEMORY_BATCH_BYTES && self.write_rate() >= MEMORY_BYTES_PER_SECOND
    }

    /// The bytes a second that a CPU wrote while workers ran on it. 0 if producers mostly wait for other
    /// things than a CPU, such as a disk.
    fn write_rate(&self) -> f64 {
        let bytes = self.produced() as f64 * self.batch_bytes as f64;
        let [busy, running] = [self.sum(|worker| worker.busy), self.sum(|worker| worker.running)];
        let time = if running > 0.0 {
            let queued = self.sum(|worker| worker.queued);
            if running + queued < ON_CPU * busy { f64::INFINITY } else { running }
        } else {
            // More workers than CPUs take turns: together they have no more time than the CPUs.
            busy.min(self.cpus.max(1) as f64 * seconds(self.elapsed))
        };
        if time > 0.0 { bytes / time } else { 0.0 }
    }

    /// The worker whose messages take much longer than the others', if that limits the run: it holds up
    /// the others, or it is a good part of them.
    fn slower(&self, all_busy: bool) -> Option<Straggler> {
        let workers = self.by_worker.iter().enumerate();
        let mut means: Vec<(f64, usize)> =
            workers.filter_map(|(number, worker)| Some((worker.mean()?, number))).collect();
        means.sort_unstable_by(|(one, _), (other, _)| one.total_cmp(other));
        let (mean, worker) = means.pop()?;
        // The median.
        let typical = (means.get(means.len().checked_sub(1)? / 2)?.0 + means[means.len() / 2].0) / 2.0;
        let limits = if all_busy {
            let rate: f64 = means.iter().map(|(mean, _)| 1.0 / mean).sum();
            1.0 / typical - 1.0 / mean >= GAIN * (rate + 1.0 / mean)
        } else {
            self.ordered && seconds(self.by_worker[worker].busy) >= FULL * seconds(self.elapsed)
        };
        let straggler = Straggler { worker, typical: Some(typical) };
        (mean >= SLOWER * typical && limits).then_some(straggler)
    }

    /// The worker at whose batch an ordered run stands still: it is busy, all others wait, and
    /// batches behind it are ready.
    fn stuck(&self, all_busy: bool) -> Option<Straggler> {
        let elapsed = seconds(self.elapsed);
        if all_busy || !self.ordered || self.slots.ready == 0 || self.slots.total() / 2 < self.workers {
            return None;
        }
        let is_busy = |worker: &WorkerFigures| seconds(worker.busy) >= FULL * elapsed;
        let waits = |worker: &WorkerFigures| seconds(worker.wait) >= FULL * elapsed;
        let worker = self.by_worker.iter().position(is_busy)?;
        let others = (0..).zip(&self.by_worker).filter(|&(number, _)| number != worker);
        let alone = self.workers > 1 && others.take(self.workers - 1).all(|(_, worker)| waits(worker));
        alone.then_some(Straggler { worker, typical: None })
    }
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests;
