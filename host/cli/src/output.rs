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
use cobuf_host::printable;

/// The outermost text of the error if a report is lost; `anyhow::Error::is` finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportLost;

impl std::fmt::Display for ReportLost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cannot write the report")
    }
}

/// Writes a report and the end of its last line to standard output. Texts of plugins in it do not control
/// a terminal.
///
/// # Errors
/// [`ReportLost`], with its cause, unless the reader has closed its end.
pub fn report(text: &str) -> Result<()> {
    match write(&printable_in_colour(text.trim_end_matches('\n'))) {
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

/// A text of this command, in which nothing controls a terminal but the colours that it has itself.
pub(crate) fn printable_in_colour(text: &str) -> String {
    let mut pieces = text.split('\x1b');
    let mut shown = printable(pieces.next().unwrap_or_default()).into_owned();
    for piece in pieces {
        let colour = piece.strip_prefix('[').and_then(|rest| {
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != ';')?;
            rest[end..].starts_with('m').then_some(())
        });
        shown.push_str(if colour.is_some() { "\x1b" } else { "\\u001b" });
        shown.push_str(&printable(piece));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::printable_in_colour;

    #[test]
    fn only_colours_are_left_to_a_text() {
        let own = "\x1b[1mbold\x1b[0m \x1b[38;2;0;230;90mä\x1b[m\n";
        assert_eq!(printable_in_colour(own), own);
        let shown = printable_in_colour("\x1b]0;title\x07\x1b[2J\u{9b}31m\x1b[3\x1b");
        assert_eq!(shown, r"\u001b]0;title\u0007\u001b[2J\u009b31m\u001b[3\u001b");
    }
}
