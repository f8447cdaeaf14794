//! Standard error as the progress bar's library sees it.
//!
//! ```text
//!   █████░░░░░░░░░░░░░░░ 25/100 batches  50.0/s  2s left  slots: … ^C
//!                                                                  └─ the cursor waits here
//! ```
//!
//! A picture is written in one piece, and the last columns stay free. So the `^C` that the terminal
//! shows by itself stands in the bar's own row, and is removed with it; at the last column it would
//! begin a new row, and the bar would stay on the screen.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::sync::{Mutex, PoisonError};

use indicatif::TermLike;
use rustix::termios::tcgetwinsize;

/// The columns that the bar leaves free, for a key that the terminal shows.
const FREE: u16 = 2;
/// The columns of a terminal that does not know its size.
const USUAL: u16 = 80;
const USUAL_HEIGHT: u16 = 24;

/// Removes the row of the cursor.
const CLEAR_ROW: &str = "\r\x1b[2K";

/// The picture that is being made.
#[derive(Debug, Default)]
pub(super) struct Screen(Mutex<String>);

impl Screen {
    fn add(&self, text: &str) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_str(text);
        Ok(())
    }

    fn move_cursor(&self, count: usize, direction: char) -> io::Result<()> {
        let mut picture = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if count > 0 {
            // A text takes everything.
            let _ = write!(picture, "\x1b[{count}{direction}");
        }
        Ok(())
    }
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        let known = tcgetwinsize(io::stderr()).ok().map(|size| size.ws_col).filter(|&columns| columns > 0);
        known.unwrap_or(USUAL).saturating_sub(FREE).max(1)
    }

    fn height(&self) -> u16 {
        let known = tcgetwinsize(io::stderr()).ok().map(|size| size.ws_row).filter(|&rows| rows > 0);
        known.unwrap_or(USUAL_HEIGHT)
    }

    fn move_cursor_up(&self, count: usize) -> io::Result<()> {
        self.move_cursor(count, 'A')
    }

    fn move_cursor_down(&self, count: usize) -> io::Result<()> {
        self.move_cursor(count, 'B')
    }

    fn move_cursor_right(&self, count: usize) -> io::Result<()> {
        self.move_cursor(count, 'C')
    }

    fn move_cursor_left(&self, count: usize) -> io::Result<()> {
        self.move_cursor(count, 'D')
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.add(text)?;
        self.add("\n")
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.add(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.add(CLEAR_ROW)
    }

    /// Writes the picture, but not the blanks at its end: what a plugin prints past the log stands
    /// behind the bar then, not at the end of the row.
    fn flush(&self) -> io::Result<()> {
        let picture = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let shown = picture.trim_end_matches(' ').len();
        let picture = &picture[..picture.len().min(shown + 1)];
        io::stderr().lock().write_all(picture.as_bytes())
    }
}
