//! The summary of `cobuf chaos`.

use std::collections::BTreeMap;
use std::fmt;

use cobuf_host::Statistics;
use serde::Serialize;

use super::delivered::Delivered;
use super::faults::Thrown;
use crate::args::ChaosArgs;

/// The summary. The names of the fields are those of the JSON report.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Whether no round differed.
    pub(super) passed: bool,
    /// The differences.
    failures: Vec<String>,
    seed: u64,
    kills_per_second: f64,
    rounds: u64,
    /// The number of faults that hit a process of the run.
    kills: u64,
    /// The number of all faults, by kind.
    faults: BTreeMap<String, u64>,
    /// Batches of the disturbed rounds.
    batches: u64,
    retries: u64,
    timeouts: u64,
    worker_restarts: u64,
    commander_restarts: u64,
    fork_server_restarts: u64,
    content_digest: String,
    /// Throughput without and with faults.
    undisturbed_batches_per_second: f64,
    disturbed_batches_per_second: f64,
    /// The second as a share of the first.
    throughput_share: f64,
    /// Times from a worker's SIGKILL until another worker had its message: their number, and
    /// quantiles.
    recoveries: usize,
    recovery_seconds_median: Option<f64>,
    recovery_seconds_p90: Option<f64>,
    recovery_seconds_most: Option<f64>,
    #[serde(skip)]
    recovery_seconds: Vec<f64>,
    #[serde(skip)]
    disturbed_seconds: f64,
}

impl Report {
    pub(super) fn new(seed: u64, args: &ChaosArgs) -> Self {
        Self {
            passed: true,
            failures: Vec::new(),
            seed,
            kills_per_second: args.kills_per_second,
            rounds: 0,
            kills: 0,
            faults: BTreeMap::new(),
            batches: 0,
            retries: 0,
            timeouts: 0,
            worker_restarts: 0,
            commander_restarts: 0,
            fork_server_restarts: 0,
            content_digest: String::new(),
            undisturbed_batches_per_second: 0.0,
            disturbed_batches_per_second: 0.0,
            throughput_share: 0.0,
            recoveries: 0,
            recovery_seconds_median: None,
            recovery_seconds_p90: None,
            recovery_seconds_most: None,
            recovery_seconds: Vec::new(),
            disturbed_seconds: 0.0,
        }
    }

    /// Notes the undisturbed round.
    pub(super) fn expect(&mut self, undisturbed: &Delivered) {
        self.content_digest = undisturbed.digest.to_string();
        self.undisturbed_batches_per_second = undisturbed.sequences.len() as f64 / undisturbed.seconds;
    }

    /// Notes the differences of the round that is added next.
    pub(super) fn fail(&mut self, differences: impl Iterator<Item = String>) {
        self.failures.extend(differences.map(|what| format!("round {}, {what}", self.rounds + 1)));
        self.passed = self.failures.is_empty();
    }

    /// Adds a disturbed round.
    pub(super) fn add(&mut self, delivered: &Delivered, thrown: &Thrown, statistics: &Statistics) {
        self.rounds += 1;
        self.batches += delivered.sequences.len() as u64;
        self.disturbed_seconds += delivered.seconds;
        for (what, times) in &thrown.faults {
            *self.faults.entry(what.clone()).or_default() += times;
        }
        self.kills += thrown.kills;
        self.retries += statistics.retries;
        self.timeouts += statistics.timeouts;
        self.worker_restarts += statistics.worker_restarts;
        self.commander_restarts += statistics.commander_restarts;
        self.fork_server_restarts += statistics.fork_server_restarts;
        self.disturbed_batches_per_second = self.batches as f64 / self.disturbed_seconds;
        self.throughput_share = self.disturbed_batches_per_second / self.undisturbed_batches_per_second;
        self.recovery_seconds.extend(&thrown.recoveries);
        self.recovery_seconds.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let last = self.recovery_seconds.len().checked_sub(1)?;
            self.recovery_seconds.get((last as f64 * share).round() as usize).copied()
        };
        self.recoveries = self.recovery_seconds.len();
        (self.recovery_seconds_median, self.recovery_seconds_p90, self.recovery_seconds_most) =
            (at(0.5), at(0.9), at(1.0));
    }
}

/// Several lines for people.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.passed { "no difference" } else { "FAILED" };
        writeln!(
            f,
            "{verdict}: {} kills in {} rounds, {} batches, seed {}",
            self.kills, self.rounds, self.batches, self.seed
        )?;
        for failure in &self.failures {
            writeln!(f, "  failure        {failure}")?;
        }
        for (what, times) in &self.faults {
            writeln!(f, "  {times:>6} x {what}")?;
        }
        writeln!(
            f,
            "  recovered      {} retries, {} timeouts, {} worker restarts, {} of the commander, {} of the fork server",
            self.retries,
            self.timeouts,
            self.worker_restarts,
            self.commander_restarts,
            self.fork_server_restarts
        )?;
        writeln!(
            f,
            "  throughput     {:.1} batches/s, {:.0} % of the undisturbed {:.1}",
            self.disturbed_batches_per_second,
            self.throughput_share * 100.0,
            self.undisturbed_batches_per_second
        )?;
        if let (Some(median), Some(p90), Some(most)) =
            (self.recovery_seconds_median, self.recovery_seconds_p90, self.recovery_seconds_most)
        {
            writeln!(
                f,
                "  recovery       median {:.1} ms, 90 % {:.1} ms, most {:.1} ms, from a worker's SIGKILL to its message being \
                 with another ({} seen)",
                median * 1e3,
                p90 * 1e3,
                most * 1e3,
                self.recoveries
            )?;
        }
        write!(f, "  content digest {}", self.content_digest)
    }
}
