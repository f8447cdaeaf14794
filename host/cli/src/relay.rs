//! The output of plugins, as lines above the progress bar.
//!
//! ```text
//!   workers, commander ──► pipe ──► the reader, a thread ── lines ──► the terminal's thread
//! ```
//!
//! Without it, a plugin's text would begin in the middle of the bar. Plugins see a pipe instead of a
//! terminal, so that they print no colours and no bars of their own. The reader never waits for the
//! terminal: lines that find its queue full are lost, and counted.

use std::io::{self, BufRead, BufReader, IsTerminal, PipeReader, PipeWriter, Read};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use crate::terminal::write_lines;

/// The longest line in bytes; a longer one is shown as several.
const LONGEST: u64 = 8 * 1024;
/// How long the end of the command waits for the end of the pipe, which a program may keep open that
/// a plugin has started.
const PATIENCE: Duration = Duration::from_millis(600);

/// The reader. Dropped after the host has stopped, it waits until all lines were handed on.
#[derive(Debug)]
pub struct Relay {
    /// It ends with the thread.
    reading: Receiver<()>,
}

impl Relay {
    /// The reader and the pipe's end for a run's plugins, if standard error is a terminal. `None` if
    /// it is not, or if the system refuses a pipe or a thread: then plugins print to standard error.
    #[must_use]
    pub fn to_terminal() -> Option<(Self, PipeWriter)> {
        io::stderr().is_terminal().then(Self::start)?.ok()
    }

    fn start() -> io::Result<(Self, PipeWriter)> {
        let (reader, writing) = io::pipe()?;
        let (open_until_read, reading) = channel();
        thread::Builder::new().name("cobuf-relay".to_owned()).spawn(move || {
            let _open_until_read = open_until_read;
            hand_on(reader, write_lines);
        })?;
        Ok((Self { reading }, writing))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // An error either way: the reader has ended, or it took too long.
        let _ = self.reading.recv_timeout(PATIENCE);
    }
}

/// Hands each line on, until the pipe's end.
fn hand_on(reader: PipeReader, mut line_to: impl FnMut(Vec<u8>)) {
    let mut reader = BufReader::new(reader);
    loop {
        let mut line = Vec::new();
        match reader.by_ref().take(LONGEST).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => line_to(shown(line)),
        }
    }
}

/// A line as a terminal would show it: what follows the last return to its start.
fn shown(mut line: Vec<u8>) -> Vec<u8> {
    while line.last().is_some_and(|byte| b"\r\n".contains(byte)) {
        line.pop();
    }
    if let Some(last) = line.iter().rposition(|&byte| byte == b'\r') {
        line.drain(..=last);
    }
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn each_line_is_handed_on_whole_and_the_last_one_too() {
        let (reader, mut writer) = io::pipe().unwrap();
        let mut lines = Vec::new();
        writer.write_all(b"one\r\n 10 %\r100 %\nno end of li").unwrap();
        writer.write_all(b"ne").unwrap();
        drop(writer);
        hand_on(reader, |line| lines.push(String::from_utf8(line).unwrap()));
        assert_eq!(lines, ["one\n", "100 %\n", "no end of line\n"]);
    }

    #[test]
    fn endless_line_is_shown_in_pieces() {
        let (reader, mut writer) = io::pipe().unwrap();
        let long = vec![b'x'; LONGEST as usize + 1];
        let writing = thread::spawn(move || writer.write_all(&long).unwrap());
        let mut lengths = Vec::new();
        hand_on(reader, |line| lengths.push(line.len()));
        writing.join().unwrap();
        assert_eq!(lengths, [LONGEST as usize + 1, 2]);
    }
}
