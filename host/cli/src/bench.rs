//! `cobuf bench PIPELINE`: how fast a pipeline is on this machine, over several runs, and what
//! limits each.

use std::fmt;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use cobuf::measure::figure::Figure;
use cobuf::measure::machine::Machine;
use cobuf::measure::plan::Plan;
use cobuf::output;
use cobuf::progress::{ended, say};
use cobuf::signals::{LOOK_AROUND, Signals};
use cobuf_host::{LimitedBy, Next, Pipeline, StreamError, Verdict};
use serde::Serialize;

use crate::args::BenchArgs;
use crate::pipeline;
use crate::report::bytes_of;

/// The results of all runs. A list has one entry for each run.
#[derive(Debug, Serialize)]
struct BenchReport {
    #[serde(flatten)]
    machine: Machine,
    /// The time that was planned for all runs together.
    seconds: f64,
    pipeline: String,
    workers: usize,
    slots: usize,
    /// The seed, if the command line or the pipeline gives one.
    seed: Option<u64>,
    ordered: bool,
    /// The old name of `ordered`, for programs that read older reports.
    deterministic: bool,
    batches: Vec<u64>,
    errors: Vec<u64>,
    limited_by: Vec<LimitedBy>,
    verdicts: Vec<Verdict>,
    figures: Vec<Figure>,
}

/// The results of one run.
struct Run {
    workers: usize,
    slots: usize,
    ordered: bool,
    first_batch: Duration,
    batches: u64,
    errors: u64,
    /// The time from the first batch to the last, and the bytes of all batches but the first: the
    /// start is no part of the pipeline's pace.
    elapsed: Duration,
    bytes: u64,
    verdict: Verdict,
}

pub(crate) fn bench(args: &BenchArgs) -> Result<ExitCode> {
    let plan = Plan::new(args.seconds.as_secs_f64(), args.runs)?;
    let measured = measure(args, &plan).and_then(|report| {
        let report = if args.json { serde_json::to_string(&report)? } else { report.to_string() };
        output::report(&report)?;
        Ok(ExitCode::SUCCESS)
    });
    ended(measured)
}

/// Builds the plugins once, then runs the pipeline several times.
fn measure(args: &BenchArgs, plan: &Plan) -> Result<BenchReport> {
    let path = &args.pipeline;
    say(&format!("measuring {}, for about {} s", path.display(), args.seconds.as_secs_f64()));
    let pipeline = plan.signals.at_once(|| pipeline::read(path, &args.set, args.python.as_deref()))?;
    // Wrong settings are reported before the build, which may take minutes.
    pipeline::builder_to_measure(&pipeline, args)?.check()?;
    let pipeline = pipeline.built_unless(plan.signals.cancel())?;
    let rounds = plan.rounds(&[()], |(), window| run(&pipeline, args, window, &plan.signals))?;
    let runs = &rounds[0];
    let samples = |of: fn(&Run) -> f64| runs.iter().map(of).collect();
    let last = &runs[runs.len() - 1];
    Ok(BenchReport {
        machine: Machine::here(),
        seconds: args.seconds.as_secs_f64(),
        pipeline: path.display().to_string(),
        workers: last.workers,
        slots: last.slots,
        seed: args.seed.or(pipeline.seed()),
        ordered: last.ordered,
        deterministic: last.ordered,
        batches: runs.iter().map(|run| run.batches).collect(),
        errors: runs.iter().map(|run| run.errors).collect(),
        limited_by: runs.iter().map(|run| run.verdict.limited_by).collect(),
        verdicts: runs.iter().map(|run| run.verdict.clone()).collect(),
        figures: vec![
            Figure::new("first batch after", "ms", samples(|run| run.first_batch.as_secs_f64() * 1e3)),
            Figure::new("batches", "batches/s", samples(|run| 1.0 / run.seconds_a_batch())),
            Figure::new("bytes", "MB/s", samples(|run| run.bytes as f64 / 1e6 / run.elapsed.as_secs_f64())),
            Figure::new("time", "µs a batch", samples(|run| run.seconds_a_batch() * 1e6)),
        ],
    })
}

/// One run, to its end, or for this long after its first batch.
fn run(pipeline: &Pipeline, args: &BenchArgs, window: Duration, signals: &Signals) -> Result<Run> {
    let started = Instant::now();
    let host = pipeline::builder_to_measure(pipeline, args)?.cancelled_by(signals.cancel()).start()?;
    let (mut batches, mut errors, mut bytes) = (0, 0, 0);
    let (mut first, mut last) = (started, started);
    let stream = host.batches();
    loop {
        let item = match stream.next_timeout(LOOK_AROUND) {
            Next::Item(item) => item,
            Next::Pending(_) => {
                signals.check()?;
                continue;
            }
            Next::Ended => break,
        };
        match item {
            Ok(batch) => {
                last = Instant::now();
                batches += 1;
                if batches == 1 {
                    first = last;
                } else {
                    bytes += bytes_of(&batch);
                }
            }
            Err(StreamError::Batch(_)) => errors += 1,
            Err(error) => return Err(error.into()),
        }
        signals.check()?;
        if batches > 1 && last - first >= window {
            break;
        }
    }
    ensure!(
        batches > 1,
        "the pipeline gave {batches} batches and {errors} errors, expected at least 2 batches"
    );
    Ok(Run {
        workers: host.workers(),
        slots: host.slots(),
        ordered: host.ordered(),
        first_batch: first - started,
        batches,
        errors,
        elapsed: last - first,
        bytes,
        verdict: host.statistics().verdict(),
    })
}

impl Run {
    fn seconds_a_batch(&self) -> f64 {
        self.elapsed.as_secs_f64() / (self.batches - 1) as f64
    }
}

impl fmt::Display for BenchReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = if self.ordered { "in order" } else { "in any order" };
        let Self { machine, pipeline, workers, slots, .. } = self;
        write!(
            f,
            "{machine}\n\n{pipeline}: {workers} workers, {slots} slots, {order}, {} runs",
            self.batches.len()
        )?;
        self.figures.iter().try_for_each(|figure| write!(f, "\n{figure}"))?;
        let limited_by: Vec<String> = self.verdicts.iter().map(Verdict::part).collect();
        write!(f, "\n  limited by, run by run: {}", limited_by.join(", "))?;
        if let Some(last) = self.verdicts.last() {
            write!(f, "\n  the last run: {last}")?;
        }
        match self.errors.iter().sum::<u64>() {
            0 => Ok(()),
            errors => write!(f, "\n  {errors} errors in the place of batches, all runs together"),
        }
    }
}
