//! The progress bar, and logs that are printed above it. Both go to standard error; the bar only to
//! a terminal.

use std::cell::Cell;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use cobuf_host::{Occupancy, Statistics};
use indicatif::{ProgressBar, ProgressStyle};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::output;
use crate::signals::{Stopped, exit_code};
use crate::terminal;
pub use crate::terminal::{finish, say};

/// Sends logs to standard error: the host's warnings, cargo's information and, with `plugins`, the
/// information of plugins. More with `verbose`.
pub fn log_to_stderr(verbose: u8, plugins: bool) {
    let default = match verbose {
        0 if !plugins => "warn,cobuf::build=info,cobuf::start=info",
        0 => "warn,cobuf::plugin=info,cobuf::build=info,cobuf::start=info",
        1 => "info,cobuf_host=debug,cobuf::plugin=debug",
        _ => "trace",
    };
    let asked = std::env::var("RUST_LOG").ok().filter(|text| !text.is_empty());
    let filter = asked.as_deref().unwrap_or(default).parse::<Targets>();
    let wrong = filter.as_ref().err().map(ToString::to_string);
    let lines = fmt::layer().with_writer(AboveBar).with_ansi(output::in_colour(&io::stderr()));
    let lines = lines.with_target(false).without_time();
    let filter = filter.unwrap_or_else(|_| Targets::new().with_default(LevelFilter::WARN));
    Registry::default().with(lines).with(filter).init();
    if let Some(reason) = wrong {
        tracing::warn!(
            "RUST_LOG cannot be read: {reason}; expected levels such as info, or target=level, with commas"
        );
    }
}

/// The end of a command that a signal may have stopped: its code is the signal's then, and its error
/// is only told.
///
/// # Errors
/// The command's, if there was no signal.
pub fn ended(result: Result<ExitCode>) -> Result<ExitCode> {
    match (exit_code(), result) {
        (Some(code), Err(error)) => {
            let told = if error.is::<Stopped>() {
                error.to_string()
            } else {
                // Such as a start or a build that was given up.
                format!("{Stopped}: {error:#}")
            };
            say(&told);
            Ok(code)
        }
        (Some(code), Ok(_)) => Ok(code),
        (None, result) => result,
    }
}

/// Hands each record to the terminal's thread. Its texts were made harmless by the layer that gives it its colours,
/// but for some control characters.
#[derive(Clone, Copy)]
struct AboveBar;

impl<'a> MakeWriter<'a> for AboveBar {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        *self
    }
}

impl Write for AboveBar {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(lines);
        terminal::write_lines(output::printable_in_colour(&text).into_bytes());
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A run's progress, which is shown until this is dropped.
pub struct Progress {
    /// When the states of the slots are next looked at, if a bar is shown.
    next_look: Option<Cell<Instant>>,
}

impl Progress {
    /// A bar up to `total` batches, or a counter if the total is unknown. Nothing is shown if
    /// standard error is no terminal.
    pub fn start(total: Option<u64>) -> Self {
        let bar = total.map_or_else(ProgressBar::no_length, ProgressBar::new);
        // A line that is wider than the terminal would stay there: the message gets what is left.
        let template = if total.is_some() { "{bar:20} {wide_msg}" } else { "{spinner} {wide_msg}" };
        // The templates are constants, so they are valid or every run would show it.
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style);
        terminal::begin(bar);
        let next_look = io::stderr().is_terminal().then(|| Cell::new(Instant::now()));
        Self { next_look }
    }

    /// Shows the progress of the run, and the states of the slots.
    pub fn show(&self, done: u64, statistics: impl FnOnce() -> Statistics) {
        let now = Instant::now();
        if let Some(next_look) = self.next_look.as_ref().filter(|at| at.get() <= now) {
            next_look.set(now + terminal::TICK);
            let Occupancy { free, writing, ready, .. } = statistics().slots;
            terminal::show(done, format!("slots: {ready} ready, {writing} writing, {free} free"));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        terminal::end();
    }
}
