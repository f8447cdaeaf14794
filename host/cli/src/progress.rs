//! The progress bar, and logs that are printed above it. Both go to standard error; the bar only to
//! a terminal.

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use std::time::Duration;

use cobuf_host::{Occupancy, Statistics};
use indicatif::{ProgressBar, ProgressStyle};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The bar, if there is one. Log lines are written above it.
static SHOWN: OnceLock<ProgressBar> = OnceLock::new();

/// Sends logs to standard error: the host's warnings, cargo's information and, with `plugins`, the
/// information of plugins. More with `verbose`.
pub fn log_to_stderr(verbose: u8, plugins: bool) {
    let default = match verbose {
        0 if !plugins => "warn,cobuf::build=info",
        0 => "warn,cobuf::plugin=info,cobuf::build=info",
        1 => "info,cobuf_host=debug,cobuf::plugin=debug",
        _ => "trace",
    };
    let asked = std::env::var("RUST_LOG").ok().filter(|text| !text.is_empty());
    let filter = asked.as_deref().unwrap_or(default).parse::<Targets>();
    let wrong = filter.as_ref().err().map(ToString::to_string);
    let lines = fmt::layer().with_writer(AboveBar).with_ansi(io::stderr().is_terminal());
    let lines = lines.with_target(false).without_time();
    let filter = filter.unwrap_or_else(|_| Targets::new().with_default(LevelFilter::WARN));
    Registry::default().with(lines).with(filter).init();
    if let Some(reason) = wrong {
        tracing::warn!(
            "RUST_LOG cannot be read: {reason}; expected levels such as info, or target=level, with commas"
        );
    }
}

/// Hides the bar while a log line is written.
#[derive(Clone, Copy)]
struct AboveBar;

impl<'a> MakeWriter<'a> for AboveBar {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        *self
    }
}

impl Write for AboveBar {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let write = || io::stderr().write_all(line);
        let written = SHOWN.get().map_or_else(write, |bar| bar.suspend(write));
        // If standard error is closed or full, the run goes on without the line.
        drop(written);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Prints a line to standard error, above the bar.
pub fn say(line: &str) {
    // If standard error is closed, the line is lost.
    let _ = writeln!(AboveBar, "{line}");
}

/// A run's progress.
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar up to `total` batches, or a counter if the total is unknown. Nothing is shown if
    /// standard error is no terminal.
    pub fn start(total: Option<u64>) -> Self {
        let bar = total.map_or_else(ProgressBar::no_length, ProgressBar::new);
        let template = match total {
            Some(_) => "{bar:30} {pos}/{len} batches  {per_sec}  {eta} left  {msg}",
            None => "{spinner} {pos} batches  {per_sec}  {elapsed}  {msg}",
        };
        // The templates are constants, so they are valid or every run would show it.
        bar.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        bar.enable_steady_tick(Duration::from_millis(200));
        let _ = SHOWN.set(bar.clone());
        Self { bar }
    }

    /// Shows the progress of the run, and the states of the slots.
    pub fn show(&self, done: u64, statistics: impl FnOnce() -> Statistics) {
        self.bar.set_position(done);
        if !self.bar.is_hidden() {
            let Occupancy { free, writing, ready, .. } = statistics().slots;
            self.bar.set_message(format!("slots: {ready} ready, {writing} writing, {free} free"));
        }
    }

    /// Removes the bar.
    pub fn finish(self) {
        self.bar.finish_and_clear();
    }
}
