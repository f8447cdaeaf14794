//! `cobuf run`: takes every batch of a pipeline, and prints a summary.

use std::process::ExitCode;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use cobuf_host::{Batch, Host, Next, Pipeline, PluginKind, Source, StartError, StreamError};

use crate::args::RunArgs;
use crate::failure;
use crate::kept::Kept;
use crate::pipeline;
use crate::report::{Course, Report, Tally, bytes_of};
use crate::save::Folder;
use crate::watch;
use cobuf::output;
use cobuf::progress::{Progress, say};
use cobuf::relay::Relay;
use cobuf::signals::{self, LOOK_AROUND, Signals};

/// The time without an item after which the stall report is printed; then after twice that time,
/// and so on.
const STALL_SAID_AFTER: Duration = Duration::from_secs(5);
/// How long a command that was ended by a signal waits for a reader of its report.
const PATIENCE: Duration = Duration::from_millis(600);
/// The number of errors that are printed.
const SHOWN_ERRORS: u64 = 10;
/// The exit code if batches failed.
const FAILED: u8 = 1;

pub(crate) fn run(args: &RunArgs) -> Result<ExitCode> {
    let signals = Signals::install()?;
    // Files may be pipes that nobody writes to.
    let (mut kept, saving, pipeline) = signals.at_once(|| read(args))?;
    let kinds = [PluginKind::Commander, PluginKind::Producer];
    let sources = kinds.map(|kind| pipeline.plugin(kind));
    let pipeline = match pipeline.built_unless(signals.cancel()) {
        // Cargo may have got the signal as well.
        Err(_) if signals.received_within(LOOK_AROUND) => return Ok(stopped_early(&signals)),
        built => built?,
    };
    let watched = kinds.into_iter().zip(sources).map(|(kind, source)| (kind, source, pipeline.plugin(kind)));
    let mut builder = pipeline::builder_to_run(&pipeline, args)?.cancelled_by(signals.cancel());
    if let Some(rank) = kept.rank {
        builder = builder.rank(rank);
    }
    if let Some(checkpoint) = kept.resumed.take() {
        builder = builder.source(Source::Resume(checkpoint));
    }
    if let Some(path) = &args.replay {
        builder = builder.source(Source::Replay(path.clone()));
    }
    let relay = match Relay::to_terminal() {
        Some((relay, output)) => {
            builder = builder.plugin_output(output);
            Some(relay)
        }
        None => None,
    };
    let started = Instant::now();
    let host = match builder.start() {
        Err(StartError::Cancelled) => return Ok(stopped_early(&signals)),
        host => host?,
    };
    if let Some(address) = host.metrics_address() {
        say(&format!("metrics at http://{address}/metrics"));
    }
    if let Some(saving) = &saving {
        saving.check(host.schema())?;
    }
    let (tally, before) = (kept.tally.clone(), kept.before.clone());
    let replay_ready = args.replay_ready.or(pipeline.replay_ready());
    let (resumed, again) = (tally.clone(), replay_ready.is_some());
    let course = Course { resumed, rank: kept.rank, before, again, ..Course::default() };
    let mut consumer = Consumer {
        host: &host,
        signals: &signals,
        kept,
        saving,
        started,
        tally,
        course,
        shown_errors: 0,
        replays: args.replay.is_some(),
        again: replay_ready.map(|_| args.batches.or(pipeline.batches())),
    };
    // The first checkpoint precedes the first batch, so that there is one whenever the run is
    // killed.
    consumer.kept.write(&host, &consumer.tally)?;
    let (report, unwritten) = thread::scope(|scope| -> Result<_> {
        let _watching =
            args.watch.then(|| watch::start(scope, &host, watched, signals.cancel())).transpose()?;
        consumer.consume();
        consumer.count_skipped();
        let unwritten = !consumer.write_checkpoint();
        let Consumer { tally, course, saving, .. } = consumer;
        let (statistics, ordered) = (host.statistics(), host.ordered());
        let mut report = Report::new(&tally, &course, &statistics, started.elapsed(), ordered);
        report.sandbox = host.sandbox().copied();
        report.saved = saving.map(|saving| saving.summary());
        // This ends a swap in progress, too.
        host.stop();
        report.trace = host.written_trace().map(Into::into);
        Ok((report, unwritten))
    })?;
    // No plugin prints any more: what they have printed stands above the summary.
    drop(relay);
    let told = if args.json() {
        report_on_stdout(&serde_json::to_string(&report)?)
    } else {
        say(&report.to_string());
        Ok(())
    };
    if let Err(error) = &told {
        say(&format!("error: {error:#}"));
    }
    Ok(match signals.exit_code() {
        Some(code) => code,
        None if report.errors > 0 || unwritten || told.is_err() => ExitCode::from(FAILED),
        None => ExitCode::SUCCESS,
    })
}

/// Everything that is read before something runs.
fn read(args: &RunArgs) -> Result<(Kept, Option<Folder>, Pipeline)> {
    let pipeline = pipeline::read(&args.pipeline, &args.set, args.python.as_deref())?;
    // Wrong settings are reported before the build, which may take minutes.
    pipeline::builder_to_run(&pipeline, args)?.check()?;
    let kept = args.checkpoint.is_some() || args.resume.is_some() || args.replay.is_some();
    ensure!(
        !(kept || args.save.is_some()) || pipeline.replay_ready().is_none(),
        "the pipeline delivers its first batches again and again (replay_ready), so there is no checkpoint to write or \
         resume, no dead letter to replay, and no batch to save; leave one of the two out"
    );
    let kept = Kept::open(args, args.rank.or(pipeline.rank()))?;
    let batches = kept.before.batches + kept.tally.batches;
    let saving = Folder::open(args, kept.rank, batches)?;
    Ok((kept, saving, pipeline))
}

/// A signal came before there was a host.
fn stopped_early(signals: &Signals) -> ExitCode {
    say("stopped before the first batch; no checkpoint was changed");
    signals.exit_code().unwrap_or(ExitCode::from(FAILED))
}

/// Prints the report. If nobody reads standard output, a signal ends the wait.
fn report_on_stdout(text: &str) -> Result<()> {
    let (text, (done, written)) = (text.to_owned(), channel());
    thread::Builder::new().name("cobuf-report".to_owned()).spawn(move || done.send(output::report(&text)))?;
    let mut left = PATIENCE;
    loop {
        match written.recv_timeout(LOOK_AROUND) {
            Ok(result) => return result,
            Err(RecvTimeoutError::Timeout) if signals::exit_code().is_none() => {}
            Err(RecvTimeoutError::Timeout) if !left.is_zero() => left = left.saturating_sub(LOOK_AROUND),
            Err(_) => bail!("cannot write the report: nobody reads standard output"),
        }
    }
}

/// The loop over the batches.
struct Consumer<'a> {
    host: &'a Host,
    signals: &'a Signals,
    kept: Kept,
    saving: Option<Folder>,
    started: Instant,
    tally: Tally,
    course: Course,
    shown_errors: u64,
    replays: bool,
    /// If batches are delivered again and again, the number of deliveries, if it is limited.
    again: Option<Option<u64>>,
}

impl Consumer<'_> {
    /// Takes every batch until the end of the stream or a signal.
    fn consume(&mut self) {
        let batches = self.host.batches();
        // The total of the stream is not that of a replay.
        let total = || self.host.total_of_rank().filter(|_| !self.replays);
        let progress = Progress::start(self.again.unwrap_or_else(total));
        let mut last_item = Instant::now();
        let mut stalled_for = STALL_SAID_AFTER;
        loop {
            if self.signals.exit_code().is_some() {
                self.course.interrupted = true;
                break;
            }
            match batches.next_timeout(LOOK_AROUND) {
                Next::Item(item) => {
                    self.take(item);
                    (last_item, stalled_for) = (Instant::now(), STALL_SAID_AFTER);
                }
                Next::Pending(_) if last_item.elapsed() >= stalled_for => {
                    stalled_for *= 2;
                    say(&format!(
                        "nothing came for {:.0} s, {}",
                        last_item.elapsed().as_secs_f64(),
                        batches.stall_report()
                    ));
                }
                Next::Pending(_) => {}
                Next::Ended => break,
            }
            progress.show(self.tally.batches + self.tally.errors, || self.host.statistics());
        }
    }

    fn take(&mut self, item: Result<Batch, StreamError>) {
        match item {
            Ok(batch) => {
                self.count(&batch);
                self.save(&batch);
            }
            Err(error) => self.note(error),
        }
        // The batch was dropped: the checkpoint counts it, as the tally does.
        if self.kept.is_due(self.tally.batches + self.tally.errors) {
            self.write_checkpoint();
        }
    }

    /// Writes a checkpoint, if there is a file for it. If it cannot be written, or a batch was not
    /// saved that it would count, the last one stays and the run goes on.
    fn write_checkpoint(&mut self) -> bool {
        if self.saving.as_mut().is_some_and(|saving| !saving.is_on_disk()) {
            return false;
        }
        // Statistics read a file for each worker, which is too dear if there is no checkpoint to write.
        if self.kept.is_nowhere() {
            return true;
        }
        self.count_skipped();
        let written = self.kept.write(self.host, &self.tally);
        if let Err(error) = &written {
            say(&format!("error: {error:#}"));
        }
        written.is_ok()
    }

    fn count_skipped(&mut self) {
        self.tally.skipped = self.course.resumed.skipped + self.host.statistics().skipped;
    }

    fn count(&mut self, batch: &Batch) {
        self.course.first_batch.get_or_insert_with(|| self.started.elapsed());
        if batch.is_repeated() {
            self.course.repeated += 1;
            return;
        }
        self.tally.batches += 1;
        self.tally.rows += batch.rows().unwrap_or(1) as u64;
        self.tally.bytes += bytes_of(batch);
        // The same content again and again has none.
        if self.again.is_none() {
            self.tally.digest.add(batch);
        }
    }

    fn save(&mut self, batch: &Batch) {
        // Another rank saves a repeated one.
        if let Some(saving) = self.saving.as_mut().filter(|_| !batch.is_repeated()) {
            saving.save(batch);
        }
    }

    fn note(&mut self, error: StreamError) {
        match &error {
            StreamError::Batch(_) => self.tally.errors += 1,
            _ => self.course.stream_errors += 1,
        }
        self.shown_errors += 1;
        if self.shown_errors > SHOWN_ERRORS {
            if self.shown_errors == SHOWN_ERRORS + 1 {
                say("error: further errors are counted, not shown");
            }
            return;
        }
        say(&failure::told(error));
    }
}
