//! `cobuf run`: takes every batch of a pipeline, and says how it went.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use cobuf_host::{Batch, Host, Next, StreamError};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::args::{ReportFormat, RunArgs};
use crate::pipeline::Pipeline;
use crate::progress::{Progress, say};
use crate::report::{Report, Tally};

/// How often the loop looks for signals and refreshes the bar while no batch comes.
const LOOK_AROUND: Duration = Duration::from_millis(100);
/// How many errors are printed.
const SHOWN_ERRORS: u64 = 10;
/// The exit code where batches failed.
const FAILED: u8 = 1;
/// Shells' convention: 128 and the signal.
const SIGNAL_BASE: u8 = 128;

pub(crate) fn run(args: &RunArgs) -> Result<ExitCode> {
    let signals = Signals::install()?;
    let builder = Pipeline::read(args)?.into_builder()?;
    if let Some(signal) = signals.received() {
        return Ok(ExitCode::from(SIGNAL_BASE + signal)); // while plugins were built
    }
    let started = Instant::now();
    let mut host = builder.start()?;
    let tally = consume(&host, &signals, started);
    let (statistics, deterministic) = (host.statistics(), host.deterministic());
    let report = Report::new(&tally, &statistics, started.elapsed(), deterministic);
    host.stop();
    match args.report {
        ReportFormat::Text => say(&report.to_string()),
        ReportFormat::Json => writeln!(std::io::stdout(), "{}", serde_json::to_string(&report)?)?,
    }
    Ok(match signals.received() {
        Some(signal) if tally.interrupted => ExitCode::from(SIGNAL_BASE + signal),
        _ if tally.errors > 0 => ExitCode::from(FAILED),
        _ => ExitCode::SUCCESS,
    })
}

/// Takes every batch until the end of the stream or a signal.
fn consume(host: &Host, signals: &Signals, started: Instant) -> Tally {
    let mut tally = Tally::default();
    let batches = host.batches();
    let progress = Progress::start(batches.total());
    loop {
        if signals.received().is_some() {
            tally.interrupted = true;
            break;
        }
        match batches.next_timeout(LOOK_AROUND) {
            Next::Item(Ok(batch)) => count(&mut tally, &batch, started),
            Next::Item(Err(error)) => note(&mut tally, error),
            Next::Pending(_) => {}
            Next::Ended => break,
        }
        progress.show(tally.batches + tally.errors, || host.statistics());
    }
    progress.finish();
    tally
}

fn count(tally: &mut Tally, batch: &Batch, started: Instant) {
    tally.first_batch.get_or_insert_with(|| started.elapsed());
    tally.batches += 1;
    tally.rows += batch.rows().unwrap_or(1) as u64;
    let arrays = 0..batch.schema().arrays().len();
    tally.bytes += arrays
        .filter_map(|index| batch.bytes_at(index).ok())
        .map(|(_, bytes)| bytes.len() as u64)
        .sum::<u64>();
    tally.digest.add(batch);
}

fn note(tally: &mut Tally, error: StreamError) {
    tally.errors += 1;
    if tally.errors <= SHOWN_ERRORS {
        say(&format!("error: {:#}", anyhow::Error::new(error)));
    } else if tally.errors == SHOWN_ERRORS + 1 {
        say("error: further errors are counted, not shown");
    }
}

/// The signals that end a run in order. A second one ends it at once; the fork server then cleans up.
struct Signals {
    received: Arc<AtomicUsize>,
}

impl Signals {
    fn install() -> Result<Self> {
        let (received, again) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        for signal in [SIGINT, SIGTERM] {
            let code = i32::from(SIGNAL_BASE) + signal;
            // The order matters: the first signal finds `again` unset, and sets it.
            flag::register_conditional_shutdown(signal, code, again.clone())
                .and_then(|_| flag::register(signal, again.clone()))
                .and_then(|_| flag::register_usize(signal, received.clone(), signal as usize))
                .context("cannot listen for signals")?;
        }
        Ok(Self { received })
    }

    fn received(&self) -> Option<u8> {
        u8::try_from(self.received.load(Ordering::Relaxed)).ok().filter(|&signal| signal != 0)
    }
}
