//! A command in a terminal, and what a person sees there.
//!
//! ```text
//!   the command ──► terminal's end of a pty ──► reader's thread ──► vt100's screen ──► pictures
//!   keys ─────────► (Ctrl-C, Ctrl-S … as the kernel takes them)
//! ```
//!
//! After each piece of output the reader keeps a [`Picture`] of the screen, so a test can also ask
//! what was never shown. The terminal has more rows than the tests write, unless they flood it.
#![expect(unsafe_code, reason = "the leader of a session is made between fork and exec")]

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};

use rustix::fs::{Mode, OFlags};
use rustix::process::{ioctl_tiocsctty, setsid};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, OptionalActions, Winsize, tcgetattr, tcsetattr, tcsetwinsize};

use super::{LONG, Process};

/// The rows of a terminal.
const ROWS: u16 = 60;

/// Keys, as a terminal sends them.
pub(crate) const CTRL_C: u8 = 0x03;
pub(crate) const CTRL_Q: u8 = 0x11;
pub(crate) const CTRL_S: u8 = 0x13;
pub(crate) const CTRL_Z: u8 = 0x1a;

/// What the progress bar of a stream with a known length is drawn with.
const BAR: [char; 2] = ['█', '░'];

/// The screen at one time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Picture {
    /// The text as it was written: a line that goes over several rows is one.
    pub(crate) lines: Vec<String>,
    /// Whether some line goes over several rows.
    pub(crate) wrapped: bool,
    /// Whether some text has a colour or weight of its own.
    pub(crate) coloured: bool,
}

impl Picture {
    fn of(screen: &vt100::Screen) -> Self {
        let (rows, columns) = screen.size();
        let mut cells = (0..rows.get())
            .flat_map(|row| (0..columns.get()).filter_map(move |column| screen.cell(row, column)));
        let plain =
            |cell: &vt100::Cell| cell.fgcolor() == vt100::Color::Default && !cell.bold() && !cell.dim();
        Self {
            lines: screen.contents().lines().map(|line| line.trim_end().to_owned()).collect(),
            wrapped: (0..rows.get()).any(|row| screen.row_wrapped(row)),
            coloured: !cells.all(plain),
        }
    }

    /// The lines with the bar of a stream with a known length, or its remains.
    pub(crate) fn bars(&self) -> Vec<&str> {
        self.lines.iter().map(String::as_str).filter(|line| line.contains(BAR)).collect()
    }

    /// Whether some line has this text.
    pub(crate) fn shows(&self, text: &str) -> bool {
        self.lines.iter().any(|line| line.contains(text))
    }
}

/// A terminal with a command in it.
pub(crate) struct Terminal {
    keyboard: File,
    child: Child,
    pictures: Arc<(Mutex<Vec<Picture>>, Condvar)>,
    reader: JoinHandle<()>,
}

impl Terminal {
    /// Starts a command in a terminal with so many columns, as a shell would that then waits for it.
    pub(crate) fn start(columns: u16, command: Command) -> Self {
        Self::start_with(columns, command, LocalModes::empty())
    }

    /// The same, with these modes of the terminal set as well.
    pub(crate) fn start_with(columns: u16, mut command: Command, modes: LocalModes) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        tcsetwinsize(&master, Winsize { ws_row: ROWS, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let mut settings = tcgetattr(&master).unwrap();
        settings.local_modes |= modes;
        tcsetattr(&master, OptionalActions::Now, &settings).unwrap();

        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let end = rustix::fs::open(ptsname(&master, Vec::new()).unwrap(), flags, Mode::empty()).unwrap();
        let copy = || OwnedFd::try_clone(&end).unwrap();
        command.stdin(copy()).stdout(copy()).stderr(copy());
        let lead = || {
            setsid()?;
            // Standard input is the terminal by now.
            Ok(ioctl_tiocsctty(rustix::stdio::stdin())?)
        };
        // SAFETY: the closure makes two system calls and nothing else.
        unsafe { command.pre_exec(lead) };
        let child = command.spawn().unwrap();
        // The command's copies of the terminal's end are closed, so its last process ends the output.
        drop((command, end));
        let keyboard = File::from(master);
        let pictures = Arc::new((Mutex::default(), Condvar::new()));
        let reader = {
            let (mut output, pictures) = (keyboard.try_clone().unwrap(), pictures.clone());
            thread::spawn(move || watch(&mut output, columns, &pictures))
        };
        Self { keyboard, child, pictures, reader }
    }

    /// Types a key.
    pub(crate) fn type_key(&mut self, key: u8) {
        self.keyboard.write_all(&[key]).unwrap();
    }

    /// Waits until the screen is so; gives it.
    #[track_caller]
    pub(crate) fn wait_for(&self, what: &str, is_so: impl Fn(&Picture) -> bool) -> Picture {
        let (pictures, changed) = &*self.pictures;
        let not_yet = |pictures: &mut Vec<Picture>| !pictures.last().is_some_and(&is_so);
        let pictures = pictures.lock().unwrap();
        let (pictures, late) = changed.wait_timeout_while(pictures, LONG, not_yet).unwrap();
        let seen = pictures.last().cloned().unwrap_or_default();
        drop(pictures);
        assert!(!late.timed_out(), "in {LONG:?} the screen did not come to this: {what}; it shows {seen:#?}");
        seen
    }

    /// How often the screen has changed.
    pub(crate) fn changes(&self) -> usize {
        self.pictures.0.lock().unwrap().len()
    }

    /// The command's process.
    pub(crate) fn process(&self) -> Process {
        Process::get(self.child.id() as i32).expect("it was not waited for")
    }

    /// Waits for the end; gives the exit code and all pictures, the last one last.
    #[track_caller]
    pub(crate) fn end(mut self) -> (Option<i32>, Vec<Picture>) {
        let ended = self.process().wait_for_end(LONG);
        let seen = self.pictures.0.lock().unwrap().last().cloned();
        assert!(ended, "it hangs; the screen shows {seen:#?}");
        let code = self.child.wait().unwrap().code();
        // A paused terminal is read to its end, too.
        self.reader.join().unwrap();
        let pictures = std::mem::take(&mut *self.pictures.0.lock().unwrap());
        (code, pictures)
    }
}

/// Reads until no process has the terminal any more.
fn watch(output: &mut File, columns: u16, (pictures, changed): &(Mutex<Vec<Picture>>, Condvar)) {
    let size = |number| NonZeroU16::new(number).expect("a terminal has rows and columns");
    let mut terminal = vt100::Parser::new(size(ROWS), size(columns), 0);
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = output.read(&mut bytes) {
        terminal.process(&bytes[..count]);
        pictures.lock().unwrap().push(Picture::of(terminal.screen()));
        changed.notify_all();
    }
}
