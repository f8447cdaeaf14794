//! What jailed processes print, on its way to the application.
//!
//! ```text
//!   worker 0 ──► pipe ─┐
//!   worker 1 ──► pipe ─┼──► the relay, a thread ──► standard error, or `plugin_output`
//!   probe    ──► pipe ─┘    control characters are written out
//! ```
//!
//! A jailed process never has the destination, where it could cut a file, or set flags that hold for
//! the application, too. It has a pipe that no other process has: its flags, its size, and what is read from it
//! through `/proc/self/fd` are its own affair. A socket could not be opened that way, but then nor could
//! `/dev/stderr`.
//!
//! The relay reads a pipe only when it has written what it read before, so a process that prints without
//! an end waits as it would for the destination. It ends when it was told to and the pipes are empty,
//! whether a program has one open or not, and no later than its patience: a destination that nobody reads holds
//! up no stop.

use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd};
use rustix::fs::{FileType, Mode, OFlags, fcntl_setfl, fstat, open};
use rustix::io::Errno;
use rustix::net::SendFlags;
use rustix::pipe::{PipeFlags, pipe_with};

use super::system;
use crate::protocol::channel::wait;
use crate::text::push_printable;

/// How long the relay goes on after its end was asked for.
const PATIENCE: Duration = Duration::from_millis(600);
/// How much longer its thread is waited for. It may be in a write to a destination that waits.
const MARGIN: Duration = Duration::from_millis(100);
/// What is read from a pipe before the next one has its turn.
const PIECE: usize = 4096;
/// What is written at a time. A pipe that takes something takes so much without a wait.
const WRITTEN: usize = rustix::pipe::PIPE_BUF;

/// The relay of a run. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Relay {
    shared: Arc<Shared>,
    /// `None` after the end.
    thread: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    handle: JoinHandle<()>,
    /// It ends with the thread.
    until_end: Receiver<()>,
}

impl Relay {
    /// A relay to this destination, or to nowhere: an application may have closed its standard error.
    ///
    /// # Errors
    /// If the system refuses a descriptor or a thread.
    pub(crate) fn start(destination: Option<OwnedFd>) -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let shared = Arc::new(Shared { event, wishes: Mutex::default() });
        let (open_until_end, until_end) = channel();
        let of_thread = shared.clone();
        let sink = destination.map(Sink::new);
        let handle = thread::Builder::new().name("cobuf-output".to_owned()).spawn(move || {
            let _open_until_end = open_until_end;
            system::survive_broken_pipes();
            relay(&of_thread, sink.as_ref());
        })?;
        Ok(Self { shared, thread: Mutex::new(Some(Running { handle, until_end })) })
    }

    /// The end of a new pipe that a process prints to.
    ///
    /// # Errors
    /// If no descriptor is left.
    pub(crate) fn pipe(&self) -> io::Result<OwnedFd> {
        let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
        // Of this end only. A process may read its pipe before the relay does.
        fcntl_setfl(&ours, OFlags::NONBLOCK)?;
        self.shared.wishes.lock().pipes.push(ours);
        self.shared.wake();
        Ok(theirs)
    }

    /// Ends the relay, once no process prints any more, and waits until it has handed everything on. A
    /// thread that is in a write to a destination that waits is left behind.
    pub(crate) fn end(&self) {
        let Some(Running { handle, until_end }) = self.thread.lock().take() else { return };
        self.shared.wishes.lock().end_by = Some(Instant::now() + PATIENCE);
        self.shared.wake();
        if until_end.recv_timeout(PATIENCE + MARGIN) == Err(RecvTimeoutError::Disconnected) {
            // It panicked if this is an error, which the panic has said.
            let _ = handle.join();
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.end();
    }
}

/// What the thread is told.
#[derive(Debug)]
struct Shared {
    /// Readable if there is a wish that the thread has not seen.
    event: OwnedFd,
    wishes: Mutex<Wishes>,
}

#[derive(Debug, Default)]
struct Wishes {
    /// New ones.
    pipes: Vec<OwnedFd>,
    /// When the relay ends at the latest, once it is to end.
    end_by: Option<Instant>,
}

impl Shared {
    fn wake(&self) {
        // It fails only if the counter is full, and then the thread is awake.
        let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
    }

    /// Lowers the event, before the wishes are looked at.
    fn heard(&self) {
        let _ = rustix::io::read(&self.event, &mut [0; 8]);
    }
}

/// Hands on what comes from the pipes, until the end.
fn relay(shared: &Shared, sink: Option<&Sink>) {
    let mut inlets: Vec<Inlet> = Vec::new();
    let mut bytes = [0; PIECE];
    loop {
        shared.heard();
        let end_by = {
            let mut wishes = shared.wishes.lock();
            inlets.extend(wishes.pipes.drain(..).map(|pipe| Inlet { pipe, rest: Vec::new() }));
            wishes.end_by
        };
        let mut polled: Vec<PollFd<'_>> =
            inlets.iter().map(|inlet| PollFd::new(&inlet.pipe, PollFlags::IN)).collect();
        polled.push(PollFd::new(&shared.event, PollFlags::IN));
        // What is in the pipes at the end is handed on; nothing is waited for.
        if wait(&mut polled, end_by.map(|_| Instant::now())).is_err() {
            return;
        }
        let ready: Vec<bool> = polled[..inlets.len()].iter().map(|fd| !fd.revents().is_empty()).collect();
        if end_by.is_some_and(|end_by| !ready.contains(&true) || end_by <= Instant::now()) {
            return;
        }
        let mut ready = ready.into_iter();
        inlets.retain_mut(|inlet| {
            if ready.next() != Some(true) {
                return true;
            }
            let read = rustix::io::read(&inlet.pipe, &mut bytes);
            let (text, goes_on) = match read {
                Ok(count) if count > 0 => (inlet.take(&bytes[..count], sink), true),
                Err(Errno::AGAIN | Errno::INTR) => return true,
                // No process prints there any more.
                Ok(_) | Err(_) => (inlet.last(), false),
            };
            sink.into_iter().for_each(|sink| sink.write(text.as_bytes(), shared));
            goes_on
        });
    }
}

/// A pipe to a process.
struct Inlet {
    pipe: OwnedFd,
    /// The beginning of a character.
    rest: Vec<u8>,
}

impl Inlet {
    /// What a process has printed, as it is handed on. It came from a process that its input may have taken
    /// over, and may be read in a terminal, now or later.
    fn take(&mut self, bytes: &[u8], sink: Option<&Sink>) -> String {
        let all = [&std::mem::take(&mut self.rest), bytes].concat();
        let mut text = String::with_capacity(all.len());
        // A bar that begins its line again and again is usual in files and pipes.
        let keeps_returns = sink.is_none_or(|sink| !sink.is_terminal);
        let mut chunks = all.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            push_printable(&mut text, chunk.valid(), |c| c == '\r' && keeps_returns);
            let invalid = chunk.invalid();
            let is_cut = std::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none());
            if is_cut && chunks.peek().is_none() {
                self.rest = invalid.to_vec();
            } else {
                push_bytes(&mut text, invalid);
            }
        }
        text
    }

    /// What is left at the end of the pipe.
    fn last(&mut self) -> String {
        let mut text = String::new();
        push_bytes(&mut text, &std::mem::take(&mut self.rest));
        text
    }
}

/// Adds bytes that are no text.
fn push_bytes(text: &mut String, bytes: &[u8]) {
    bytes.iter().for_each(|byte| text.extend(std::ascii::escape_default(*byte).map(char::from)));
}

/// The destination.
struct Sink {
    file: OwnedFd,
    is_terminal: bool,
    is_socket: bool,
}

impl Sink {
    fn new(destination: OwnedFd) -> Self {
        let is_terminal = destination.is_terminal();
        let kind = fstat(&destination).map(|status| FileType::from_raw_mode(status.st_mode)).ok();
        // The application's flags stay what they are: a second open file has flags of its own, by which no
        // write waits. The kernel may refuse it, if the file is another user's.
        let path = format!("/proc/self/fd/{}", destination.as_raw_fd());
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match open(path, flags, Mode::empty()) {
            // A file would be written from its beginning, and other devices may do something when they are opened.
            Ok(own) if is_terminal || kind == Some(FileType::Fifo) => own,
            _ => destination,
        };
        Self { file, is_terminal, is_socket: kind == Some(FileType::Socket) }
    }

    /// Writes it all, unless the end comes before. If the destination takes nothing any more, it is lost.
    fn write(&self, mut bytes: &[u8], shared: &Shared) {
        while !bytes.is_empty() {
            let end_by = shared.wishes.lock().end_by;
            if end_by.is_some_and(|end_by| end_by <= Instant::now()) {
                return;
            }
            let file = self.file.as_fd();
            let mut polled = [PollFd::new(&file, PollFlags::OUT), PollFd::new(&shared.event, PollFlags::IN)];
            if wait(&mut polled, end_by).is_err() {
                return;
            }
            let is_ready = !polled[0].revents().is_empty();
            if !polled[1].revents().is_empty() {
                shared.heard();
            }
            if !is_ready {
                continue;
            }
            let piece = &bytes[..bytes.len().min(WRITTEN)];
            let written = if self.is_socket {
                rustix::net::send(file, piece, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)
            } else {
                rustix::io::write(file, piece)
            };
            match written {
                Ok(count) => bytes = &bytes[count..],
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests;
