//! Reports on standard output, and whether a stream is written in colour.
//!
//! Everything that a verb is asked for goes through [`report`], so that a report is never lost
//! without a word: a reader that has seen enough, such as `head`, is quiet success, and every other
//! failure is an error.

use std::env;
use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;

use anyhow::{Context, Result};

/// The outermost text of the error if a report is lost; `anyhow::Error::is` finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportLost;

impl std::fmt::Display for ReportLost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cannot write the report")
    }
}

/// Writes a report and the end of its last line to standard output.
///
/// # Errors
/// [`ReportLost`], with its cause, unless the reader has closed its end.
pub fn report(text: &str) -> Result<()> {
    match write(text.trim_end_matches('\n')) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context(ReportLost),
        _ => Ok(()),
    }
}

/// Writes past the standard library's stream, which takes a descriptor that cannot be written for a
/// success.
fn write(text: &str) -> io::Result<()> {
    let mut stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    stdout.write_all(format!("{text}\n").as_bytes())
}

/// Whether a stream is written in colour: it is a terminal, and neither `NO_COLOR` nor a dumb
/// terminal forbids it.
pub fn in_colour(stream: &impl IsTerminal) -> bool {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
    stream.is_terminal() && set("NO_COLOR").is_none() && set("TERM").is_none_or(|name| name != "dumb")
}
