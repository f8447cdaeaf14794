//! Dead letters: a file of the messages that were given up, for people to read and for a run to
//! replay.
//!
//! ```text
//!   {"cobuf_dead_letters":1,"identity":{"seed":0,…}}
//!   {"sequence":17,"kind":"crash","message":{"path":"scan.png"},"error":["the worker …"],"attempts":[…],"encoded":"81a4…"}
//! ```
//!
//! JSON, one line for each message. `message` is for people; `encoded` is the same in MessagePack,
//! which loses nothing.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use super::error::BatchError;
use crate::record::identity::Identity;
use crate::record::letter::{Letter, from_hex, to_hex};
use crate::{files, ulimit};

/// The version of the file's format.
const FORMAT: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    cobuf_dead_letters: u32,
    identity: Identity,
}

#[derive(Debug, Serialize)]
struct Line<'a> {
    sequence: u64,
    kind: cobuf_plugin_api::ReportKind,
    message: &'a cobuf_plugin_api::Dictionary,
    error: &'a [String],
    attempts: &'a [crate::stream::failure::Attempt],
    encoded: String,
}

#[derive(Debug, Deserialize)]
struct ReadLine {
    sequence: u64,
    encoded: String,
}

/// The error of a dead-letter file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeadLettersError {
    /// The file cannot be written or read.
    #[error("cannot {what} the dead letters {}", path.display())]
    File {
        /// The operation: `write` or `read`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A line of the file is no dead letter.
    #[error("line {line} of {} is no dead letter of cobuf: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The line's number, from 1.
        line: usize,
        /// The fault in it.
        reason: String,
    },
    /// The dead letters belong to a different run.
    #[error("the dead letters {} belong to a different run: {difference}; restore that setting, or use another file", path.display())]
    OtherRun {
        /// The file.
        path: PathBuf,
        /// The first difference.
        difference: String,
    },
}

/// A file to which messages that were given up are added.
#[derive(Debug)]
pub(crate) struct DeadLetters {
    path: PathBuf,
    file: Mutex<File>,
}

impl DeadLetters {
    /// Opens the file to add to it. An existing file must belong to this run. A pipe or a device
    /// takes letters too; none of them is waited for.
    pub(crate) fn open(path: &Path, identity: &Identity) -> Result<Self, DeadLettersError> {
        let failed = |source| DeadLettersError::File { what: "write", path: path.to_owned(), source };
        // A pipe that no process reads is an error instead of a wait for a reader.
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let opened = OpenOptions::new().create(true).append(true).custom_flags(flags).open(path);
        let mut file = opened.map_err(without_reader).map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        if bytes == 0 {
            let head = Head { cobuf_dead_letters: FORMAT, identity: identity.clone() };
            write_line(&mut file, &head).inspect_err(|_| drop(file.set_len(0))).map_err(failed)?;
        } else {
            read(path, identity)?;
            // Otherwise the next line would begin inside a line that was cut.
            let whole = whole_lines(&files::read(path).map_err(failed)?) as u64 + 1;
            if whole < bytes {
                tracing::warn!(path = %path.display(), "the last dead letter was cut off by a host's death; it is left out");
                file.set_len(whole).map_err(failed)?;
            }
        }
        Ok(Self { path: path.to_owned(), file: Mutex::new(file) })
    }

    /// Adds a message. If the file cannot be written, this is logged and the stream goes on.
    pub(crate) fn add(&self, error: &BatchError, encoded: &[u8]) {
        let line = Line {
            sequence: error.sequence,
            kind: error.report.kind,
            message: &error.message,
            error: &error.report.chain,
            attempts: &error.attempts,
            encoded: to_hex(encoded),
        };
        let mut file = self.file.lock();
        let before = file.metadata().map(|metadata| metadata.len());
        if let Err(reason) = write_line(&mut file, &line) {
            // A part of a line would spoil the next one.
            let _ = before.and_then(|bytes| file.set_len(bytes));
            tracing::error!(sequence = line.sequence, path = %self.path.display(), %reason, "a dead letter is lost");
        }
    }
}

/// Writes a line at once: several threads, and a death in the middle, leave whole lines and at most
/// a cut last one.
fn write_line(file: &mut File, line: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    ulimit::check_file_size(file.metadata()?.len().saturating_add(text.len() as u64))?;
    file.write_all(&text)
}

/// The error of a file that cannot be opened. The system's own, "no such device or address", says
/// little of a pipe.
fn without_reader(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::ENXIO) => io::Error::other("it is a pipe that no process reads, or a socket; give a file"),
        _ => error,
    }
}

/// The letters in a file of this run, by ascending number, each once.
pub(crate) fn read(path: &Path, identity: &Identity) -> Result<Vec<Letter>, DeadLettersError> {
    let failed = |source| DeadLettersError::File { what: "read", path: path.to_owned(), source };
    let wrong =
        |line: usize, reason: String| DeadLettersError::Content { path: path.to_owned(), line, reason };
    let text = files::read(path).map_err(failed)?;
    let mut lines = text[..whole_lines(&text)].split(|&byte| byte == b'\n');
    let head = lines.next().unwrap_or_default();
    let head: Head = serde_json::from_slice(head).map_err(|error| wrong(1, error.to_string()))?;
    if head.cobuf_dead_letters != FORMAT {
        return Err(wrong(1, format!("its format is {}, expected {FORMAT}", head.cobuf_dead_letters)));
    }
    if let Some(difference) = identity.difference(&head.identity) {
        return Err(DeadLettersError::OtherRun { path: path.to_owned(), difference });
    }
    let mut letters = Vec::new();
    for (number, line) in (2..).zip(lines) {
        let line: ReadLine =
            serde_json::from_slice(line).map_err(|error| wrong(number, error.to_string()))?;
        let encoded = from_hex(&line.encoded)
            .ok_or_else(|| wrong(number, "\"encoded\" is not in hexadecimal digits".to_owned()))?;
        letters.push(Letter { sequence: line.sequence, encoded });
    }
    letters.sort_by_key(|letter| letter.sequence);
    letters.dedup_by_key(|letter| letter.sequence);
    Ok(letters)
}

/// The length of all whole lines, without the last line's end: a host that died may have left a cut
/// line after them.
fn whole_lines(text: &[u8]) -> usize {
    text.iter().rposition(|&byte| byte == b'\n').unwrap_or_default()
}
