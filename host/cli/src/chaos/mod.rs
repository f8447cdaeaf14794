//! `cobuf chaos`: a pipeline under random faults, and the check that its result is the same.
//!
//! ```text
//!   round 0   undisturbed: how many batches, which digest, how fast
//!   round n   in either order, with up to two workers more; meanwhile a thread injects faults:
//!             signals to processes, failpoints inside claim, write, commit and reclaim, forks of
//!             the application, standstills of the whole run, standard error that nobody reads
//!   after it  every sequence number once, in order, the same digest; no process, name, folder or
//!             descriptor is left
//!
//!   delivered the batches of one round
//!   faults    chooses and injects faults, and measures how long a message takes to come back
//!   forked    forks of this process
//!   remains   processes, descriptors, names and folders that a round has left
//!   report    the summary
//!   standstill a fork that stops the whole run and has it go on
//!   stderr    a pipe in place of standard error
//! ```

mod delivered;
mod faults;
mod forked;
mod remains;
mod report;
mod standstill;
mod stderr;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use cobuf_host::{
    Host, HostBuilder, Next, OnCommanderFailure, Pipeline, Rank, ReportKind, SandboxMode, StartError, limits,
};
use cobuf_plugin_api::Rng;
use cobuf_plugin_api::rand::{RngExt, SeedableRng};

use self::delivered::Delivered;
use self::faults::{Faults, Thrown};
use self::remains::Remains;
use self::report::Report;
use self::stderr::Pipe;
use crate::args::ChaosArgs;
use crate::pipeline;
use cobuf::output;
use cobuf::progress::{ended, say};
use cobuf::signals::{LOOK_AROUND, Signals};

/// The exit code if a round differed.
const FAILED: u8 = 1;
/// The batches of a round, if neither the pipeline nor the command line has an end.
const DEFAULT_BATCHES: u64 = 1000;
/// The time after which a round without a batch is given up, in deadlines.
const STUCK_AFTER_DEADLINES: u32 = 60;
/// The most workers that a round adds to the pipeline's.
const MORE_WORKERS: usize = 2;

pub(crate) fn chaos(args: &ChaosArgs) -> Result<ExitCode> {
    // A standstill stops the process of the rounds, which must not be the shell's own child.
    let code = forked::go_on_in_a_child().context("cannot fork this process")?;
    if let Some(code) = code {
        return Ok(code);
    }
    let signals = Signals::install()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seed = args.seed.unwrap_or(now.as_nanos() as u64);
    let mut chaos = Chaos {
        pipeline: signals.at_once(|| pipeline::read(&args.pipeline, &args.set, args.python.as_deref()))?,
        batches: args.batches,
        deadline: args.deadline,
        workers: args.workers,
        rate: args.kills_per_second,
        stderr: Pipe::replace_standard_error().context("cannot put a pipe in place of standard error")?,
        dice: Rng::seed_from_u64(seed),
        report: Report::new(seed, args),
        signals,
    };
    ensure!(
        chaos.pipeline.replay_ready().is_none(),
        "the pipeline delivers its first batches again and again (replay_ready), so its content cannot be compared; \
         leave that key out"
    );
    // Wrong settings are reported before the build, which may take minutes.
    chaos.builder()?.check()?;
    chaos.pipeline = chaos.pipeline.clone().built_unless(chaos.signals.cancel())?;
    // Orphans of killed fork servers become children of this process, which reaps them.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let ran = chaos.run(args.seconds);
    let Chaos { report, stderr, .. } = chaos;
    drop(stderr);
    ended(ran.and_then(|()| {
        if args.json {
            output::report(&serde_json::to_string(&report)?)?;
        } else {
            say(&report.to_string());
        }
        Ok(if report.passed { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
    }))
}

struct Chaos {
    pipeline: Pipeline,
    /// The number of batches in a round, once it is known.
    batches: Option<u64>,
    deadline: Duration,
    /// The number of workers of the undisturbed round, if it is not the pipeline's.
    workers: Option<usize>,
    rate: f64,
    stderr: Pipe,
    dice: Rng,
    report: Report,
    signals: Signals,
}

impl Chaos {
    fn run(&mut self, time: Duration) -> Result<()> {
        let host = self.builder()?.start()?;
        let total = host.batches().total();
        self.batches = self.batches.or(self.pipeline.batches()).or(total).or(Some(DEFAULT_BATCHES));
        let workers = host.workers();
        drop(host);
        let (expected, _) = self.round(&self.builder()?.start()?, None)?;
        ensure!(!self.is_interrupted(), "before the first round with faults");
        if let Some(error) = expected.errors.first() {
            bail!("the pipeline fails without any chaos: {error}");
        }
        self.report.expect(&expected);
        let started = Instant::now();
        while started.elapsed() < time && self.report.passed && !self.is_interrupted() {
            let (ordered, more) = (self.dice.random(), self.dice.random_range(0..=MORE_WORKERS));
            let builder = self.builder()?.ordered(ordered).workers(workers + more);
            let before = Remains::now()?;
            let host = match builder.start() {
                Err(StartError::Cancelled) => break,
                host => host?,
            };
            let faults = self.dice.random();
            let (delivered, thrown) = self.round(&host, Some(faults))?;
            let statistics = host.statistics();
            drop(host);
            if self.is_interrupted() {
                break;
            }
            let left = Remains::now_beyond(&before)?;
            let mut differences = differences(&expected, &delivered, ordered);
            differences.extend_from_slice(&thrown.failures);
            differences.extend(left.iter().map(|what| format!("left behind: {what}")));
            let order = if ordered { "in order" } else { "in any order" };
            self.report.fail(
                differences.iter().map(|what| format!("{order}, {workers} workers and {more} more: {what}")),
            );
            self.report.add(&delivered, &thrown, &statistics);
        }
        if self.is_interrupted() {
            say("stopped by a signal; a round that was under way does not count");
        }
        Ok(())
    }

    fn is_interrupted(&self) -> bool {
        self.signals.exit_code().is_some()
    }

    /// A host that retries everything, so that no injected fault counts as the pipeline's own.
    fn builder(&self) -> Result<HostBuilder> {
        // Processes of a run with a sandbox do not fail at places that a plugin could name, too.
        let mut builder = self.pipeline.builder()?.rank(Rank::none()).sandbox_mode(SandboxMode::Off);
        if let Some(batches) = self.batches {
            builder = builder.limit(batches);
        }
        if let Some(workers) = self.workers {
            builder = builder.workers(workers);
        }
        for kind in [ReportKind::Crash, ReportKind::Timeout] {
            builder = builder.on_commander_failure(kind, OnCommanderFailure::Restart);
        }
        Ok(builder
            .cancelled_by(self.signals.cancel())
            .max_attempts(limits::MAX_ATTEMPTS)
            .message_timeout(self.deadline)
            .commander_timeout(self.deadline))
    }

    /// Reads a stream to its end. With a seed, faults are injected meanwhile.
    fn round(&self, host: &Host, seed: Option<u64>) -> Result<(Delivered, Thrown)> {
        let (stop, stopped) = mpsc::channel();
        let outcome = thread::scope(|scope| {
            let thrower = seed.map(|seed| {
                let faults = Faults::new(host, &self.stderr, seed, self.rate, self.deadline);
                scope.spawn(move || faults.throw_until(&stopped))
            });
            let delivered = self.consume(host);
            // This ends the thread, which waits for it or for its next fault.
            drop(stop);
            let thrown = thrower.map(|thrower| thrower.join());
            (delivered, thrown)
        });
        let (delivered, thrown) = outcome;
        let thrown =
            thrown.transpose().map_err(|_| anyhow::anyhow!("the thread that injects faults panicked"))?;
        Ok((delivered, thrown.unwrap_or_default()))
    }

    fn consume(&self, host: &Host) -> Delivered {
        let (mut delivered, batches) = (Delivered::default(), host.batches());
        let started = Instant::now();
        let patience = self.deadline * STUCK_AFTER_DEADLINES;
        let mut last_item = started;
        while !self.is_interrupted() {
            let next = batches.next_timeout(LOOK_AROUND);
            if !matches!(next, Next::Pending(_)) {
                last_item = Instant::now();
            }
            match next {
                Next::Item(Ok(batch)) => {
                    delivered.sequences.push(batch.sequence());
                    delivered.digest.add(&batch);
                }
                Next::Item(Err(error)) => {
                    delivered.errors.push(format!("{:#}", anyhow::Error::new(error)));
                }
                Next::Pending(_) if last_item.elapsed() < patience => {}
                Next::Pending(_) => {
                    delivered
                        .errors
                        .push(format!("nothing came for {patience:?}, {}", batches.stall_report()));
                    break;
                }
                Next::Ended => break,
            }
        }
        delivered.seconds = started.elapsed().as_secs_f64();
        delivered
    }
}

/// The differences of a round from the undisturbed one.
fn differences(expected: &Delivered, delivered: &Delivered, ordered: bool) -> Vec<String> {
    let mut differences = delivered.errors.clone();
    let once: BTreeSet<u64> = delivered.sequences.iter().copied().collect();
    if once.len() != delivered.sequences.len() {
        differences.push(format!("{} batches came twice", delivered.sequences.len() - once.len()));
    }
    let all: BTreeSet<u64> = expected.sequences.iter().copied().collect();
    if once != all {
        let missing: Vec<_> = all.difference(&once).take(5).collect();
        let strange: Vec<_> = once.difference(&all).take(5).collect();
        differences
            .push(format!("batches are missing, {missing:?} …, or should not be there, {strange:?} …"));
    }
    if ordered && !delivered.sequences.is_sorted() {
        differences.push("batches came out of their order".to_owned());
    }
    if delivered.digest != expected.digest {
        differences.push(format!("the digest is {}, expected {}", delivered.digest, expected.digest));
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_difference_is_reported() {
        let delivered =
            |sequences: &[u64]| Delivered { sequences: sequences.to_vec(), ..Delivered::default() };
        let told = |sequences: &[u64], ordered: bool| {
            differences(&delivered(&[0, 1, 2]), &delivered(sequences), ordered).join("; ")
        };
        assert_eq!(told(&[0, 1, 2], true), "");
        assert_eq!(told(&[2, 0, 1], false), "");
        assert_eq!(told(&[2, 0, 1], true), "batches came out of their order");
        assert_eq!(told(&[0, 1, 1, 2], true), "1 batches came twice");
        assert_eq!(told(&[0, 1, 9], true), "batches are missing, [2] …, or should not be there, [9] …");
        let mut other = delivered(&[0, 1, 2]);
        other.digest = String::from("1").try_into().unwrap();
        other.errors.push("batch 2 failed".to_owned());
        let all = differences(&delivered(&[0, 1, 2]), &other, true);
        assert_eq!(all[0], "batch 2 failed");
        assert!(
            all[1].starts_with("the digest is 00000000000000000000000000000001, expected 0000"),
            "{all:?}"
        );
    }
}
