//! The summary of a run, for people and for programs.

use std::fmt;
use std::time::Duration;

use cobuf_host::{
    Batch, ContentDigest, LimitedBy, Rank, SandboxReport, Statistics, TraceError, TraceSummary, Verdict,
};
use serde::{Deserialize, Serialize};

use crate::save::Saved;

/// The summary. The names of the fields are those of the JSON report.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Batches that were delivered, including those before a resumed checkpoint.
    pub(crate) batches: u64,
    /// Batches that were delivered before a resumed checkpoint.
    pub(crate) resumed_batches: u64,
    /// The rows of the batches. A batch without a common first axis counts as one row.
    pub(crate) rows: u64,
    /// The bytes of the batches' arrays.
    pub(crate) bytes: u64,
    /// The part of `bytes` before a resumed checkpoint.
    pub(crate) resumed_bytes: u64,
    /// The time from the start of the processes to the end of the stream.
    pub(crate) seconds: f64,
    /// The time from the start of the processes to the first batch; null if there was none.
    pub(crate) first_batch_seconds: Option<f64>,
    /// The digest of all batches, the same for any order; null if batches were delivered again and again.
    pub(crate) content_digest: Option<String>,
    /// Errors: batches that failed, and the stream's own.
    pub(crate) errors: u64,
    /// Messages that could not be produced and that the policy skips.
    pub(crate) skipped: u64,
    /// Messages that were retried because their worker died.
    pub(crate) retries: u64,
    /// Processes that were killed because they missed a deadline.
    pub(crate) timeouts: u64,
    /// Workers, commanders and fork servers that were started again.
    pub(crate) worker_restarts: u64,
    pub(crate) commander_restarts: u64,
    pub(crate) fork_server_restarts: u64,
    /// Swaps of a plugin during the run.
    pub(crate) swaps: u64,
    pub(crate) workers: usize,
    pub(crate) slots: usize,
    pub(crate) ordered: bool,
    /// The old name of `ordered`, for programs that read older reports.
    pub(crate) deterministic: bool,
    /// Times of waiting, for workers summed over all of them.
    pub(crate) consumer_wait_seconds: f64,
    pub(crate) worker_wait_seconds: f64,
    pub(crate) commander_wait_seconds: f64,
    /// The time in which at least one thread waited for a batch.
    pub(crate) exposed_wait_seconds: f64,
    pub(crate) limited_by: LimitedBy,
    /// The same with the worker that is a straggler, the share of the time that the application waited,
    /// and a sentence for people.
    pub(crate) verdict: Verdict,
    /// Whether a signal ended the run early.
    pub(crate) interrupted: bool,
    /// The rank, if the run has one; the counts and the digest are then of its part.
    pub(crate) rank: Option<u32>,
    /// The number of ranks.
    pub(crate) world_size: u32,
    /// Batches that another rank delivers as well, because of `--remainder repeat`. They are in no
    /// other count, nor in the digest.
    pub(crate) repeated: u64,
    /// What of the sandbox was enforced, if there was one.
    pub(crate) sandbox: Option<SandboxReport>,
    /// The trace, if one was asked for.
    pub(crate) trace: Option<TraceReport>,
    /// Batches as files; null without `--save`.
    pub(crate) saved: Option<Saved>,
}

/// What became of the trace.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum TraceReport {
    Written(TraceSummary),
    Failed {
        /// The reason, with its causes.
        error: String,
    },
}

impl From<Result<TraceSummary, TraceError>> for TraceReport {
    fn from(written: Result<TraceSummary, TraceError>) -> Self {
        match written {
            Ok(summary) => Self::Written(summary),
            Err(error) => Self::Failed { error: format!("{:#}", anyhow::Error::from(error)) },
        }
    }
}

impl fmt::Display for TraceReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Written(TraceSummary { batches, left_out: 0, .. }) => write!(f, "{batches} batches"),
            Self::Written(TraceSummary { batches, left_out, .. }) => write!(
                f,
                "the last {batches} batches; {left_out} before them were left out: raise --trace-batches to have them"
            ),
            Self::Failed { error } => write!(f, "none: {error}"),
        }
    }
}

/// The counts of the loop over the batches; kept in checkpoints.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub(crate) batches: u64,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) errors: u64,
    pub(crate) skipped: u64,
    pub(crate) digest: ContentDigest,
}

/// The course of the run in this process.
#[derive(Debug, Default)]
pub(crate) struct Course {
    /// The tally at the start of this process.
    pub(crate) resumed: Tally,
    pub(crate) first_batch: Option<Duration>,
    pub(crate) interrupted: bool,
    /// Errors of the stream, not of a message. A resumed run does not count them.
    pub(crate) stream_errors: u64,
    pub(crate) rank: Option<Rank>,
    /// The deliveries of the ranks before, if this run goes on from them alone.
    pub(crate) before: Tally,
    pub(crate) repeated: u64,
    /// Whether batches were delivered again and again.
    pub(crate) again: bool,
}

impl Tally {
    /// The counts of both.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            batches: self.batches + other.batches,
            rows: self.rows + other.rows,
            bytes: self.bytes + other.bytes,
            errors: self.errors + other.errors,
            skipped: self.skipped + other.skipped,
            digest: self.digest + other.digest,
        }
    }
}

impl Report {
    pub(crate) fn new(
        tally: &Tally,
        course: &Course,
        statistics: &Statistics,
        elapsed: Duration,
        ordered: bool,
    ) -> Self {
        let tally = tally.clone().plus(course.before.clone());
        let resumed = course.resumed.clone().plus(course.before.clone());
        let ranked = course.rank.filter(|rank| !rank.is_none());
        let verdict = statistics.verdict();
        Self {
            batches: tally.batches,
            resumed_batches: resumed.batches,
            rows: tally.rows,
            bytes: tally.bytes,
            resumed_bytes: resumed.bytes,
            seconds: elapsed.as_secs_f64(),
            first_batch_seconds: course.first_batch.map(|after| after.as_secs_f64()),
            content_digest: (!course.again).then(|| tally.digest.to_string()),
            errors: tally.errors + course.stream_errors,
            skipped: tally.skipped,
            retries: statistics.retries,
            timeouts: statistics.timeouts,
            worker_restarts: statistics.worker_restarts,
            commander_restarts: statistics.commander_restarts,
            fork_server_restarts: statistics.fork_server_restarts,
            swaps: statistics.swaps,
            workers: statistics.workers,
            slots: statistics.slots.total(),
            ordered,
            deterministic: ordered,
            consumer_wait_seconds: statistics.consumer_wait.as_secs_f64(),
            worker_wait_seconds: statistics.worker_wait.as_secs_f64(),
            commander_wait_seconds: statistics.commander_wait.as_secs_f64(),
            exposed_wait_seconds: statistics.exposed_wait.as_secs_f64(),
            limited_by: verdict.limited_by,
            verdict,
            interrupted: course.interrupted,
            rank: ranked.map(|rank| rank.rank()),
            world_size: ranked.map_or(1, |rank| rank.of()),
            repeated: course.repeated,
            sandbox: None,
            trace: None,
            saved: None,
        }
    }
}

/// The bytes of a batch's arrays, counting only its own rows.
pub(crate) fn bytes_of(batch: &Batch) -> u64 {
    let arrays = 0..batch.schema().arrays().len();
    arrays.filter_map(|index| batch.bytes_at(index).ok()).map(|(_, bytes)| bytes.len() as u64).sum()
}

/// Several lines for people.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = if self.ordered { "in order" } else { "in any order" };
        let interrupted = if self.interrupted { " (stopped early)" } else { "" };
        let per_second = |n: u64| if self.seconds > 0.0 { n as f64 / self.seconds } else { 0.0 };
        let mb = self.bytes as f64 / 1e6;
        let mb_per_second = per_second(self.bytes - self.resumed_bytes) / 1e6;
        writeln!(
            f,
            "{} batches{interrupted}, {} rows, {mb:.1} MB in {:.3} s: {:.1} batches/s, {mb_per_second:.1} MB/s",
            self.batches,
            self.rows,
            self.seconds,
            per_second(self.batches - self.resumed_batches)
        )?;
        if self.resumed_batches > 0 {
            writeln!(f, "  resumed        after {} batches", self.resumed_batches)?;
        }
        if let Some(first) = self.first_batch_seconds {
            writeln!(f, "  first batch    after {first:.3} s")?;
        }
        if self.swaps > 0 {
            writeln!(f, "  swapped        {} plugins", self.swaps)?;
        }
        let rank = self.rank.map(|rank| format!(", rank {rank} of {}", self.world_size)).unwrap_or_default();
        writeln!(f, "  ran with       {} workers, {} slots, {order}{rank}", self.workers, self.slots)?;
        if self.repeated > 0 {
            writeln!(f, "  repeated       {} batches of another rank", self.repeated)?;
        }
        writeln!(
            f,
            "  waited         consumer {:.3} s, workers {:.3} s, commander {:.3} s",
            self.consumer_wait_seconds, self.worker_wait_seconds, self.commander_wait_seconds
        )?;
        writeln!(f, "  limited by     {}: {}", self.verdict.part(), self.verdict.sentence)?;
        writeln!(
            f,
            "  trouble        {} errors, {} skipped, {} retries, {} timeouts, {} worker restarts, {} of the commander, \
             {} of the fork server",
            self.errors,
            self.skipped,
            self.retries,
            self.timeouts,
            self.worker_restarts,
            self.commander_restarts,
            self.fork_server_restarts
        )?;
        if let Some(sandbox) = &self.sandbox {
            writeln!(f, "  sandbox        {sandbox}")?;
        }
        if let Some(trace) = &self.trace {
            writeln!(f, "  trace          {trace}")?;
        }
        if let Some(saved) = &self.saved {
            writeln!(f, "  saved          {saved}")?;
        }
        match &self.content_digest {
            Some(digest) => write!(f, "  content digest {digest}"),
            None => {
                f.write_str("  content digest none, since the same batches were delivered again and again")
            }
        }
    }
}
