//! Standard error: log lines, errors and the progress bar, all written by one thread.
//!
//! ```text
//!   any thread ── say, log ──► queue of lines ──► the terminal's thread ──► standard error
//!   the loop ──── show ──────► what the bar shows ──┘      (lines above the bar)
//! ```
//!
//! Standard error may block: a paused terminal, a pipe that nobody reads. Then that thread waits,
//! and nobody else: deadlines hold, and a signal ends the command. Lines that find the queue full
//! are lost, and counted. If no thread can be had, there is no bar and each line is written by the
//! thread that says it.

mod screen;

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use cobuf_host::printable;
use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget};

use crate::signals;
use screen::Screen;

/// How many lines may wait.
const QUEUE: usize = 4096;
/// The time between two pictures of the bar.
pub(crate) const TICK: Duration = Duration::from_millis(200);

/// How long a command that was ended by a signal waits for standard error.
const PATIENCE: Duration = Duration::from_millis(600);

/// The queue, or `None` if each thread writes for itself.
static TERMINAL: OnceLock<Option<SyncSender<Word>>> = OnceLock::new();
/// The lines that were lost since the last one that was written.
static LOST: AtomicU64 = AtomicU64::new(0);
/// The content of the bar.
static SHOWN: Mutex<Option<(u64, String)>> = Mutex::new(None);

/// Something for the thread to do.
enum Word {
    Line(Vec<u8>),
    /// Show a bar from now on.
    Begin(ProgressBar),
    /// Remove the bar.
    End,
    /// Answer once everything before it is written.
    Flush(SyncSender<()>),
}

fn terminal() -> Option<&'static SyncSender<Word>> {
    let start = || {
        let (sender, receiver) = sync_channel(QUEUE);
        let thread = thread::Builder::new().name("cobuf-terminal".to_owned());
        thread.spawn(move || serve(&receiver)).ok().map(|_| sender)
    };
    TERMINAL.get_or_init(start).as_ref()
}

/// Writes a line above the bar. It never blocks. The line may have texts of plugins, which do not
/// control the terminal.
pub fn say(line: &str) {
    write_lines(format!("{}\n", printable(line)).into_bytes());
}

/// Writes whole lines above the bar.
pub(crate) fn write_lines(lines: Vec<u8>) {
    let Some(terminal) = terminal() else {
        // If standard error is closed, the lines are lost.
        return drop(io::stderr().write_all(&lines));
    };
    if terminal.try_send(Word::Line(lines)).is_err() {
        LOST.fetch_add(1, Ordering::Relaxed);
    }
}

/// Shows this bar from now on, if standard error is a terminal.
pub(crate) fn begin(bar: ProgressBar) {
    if let Some(terminal) = terminal().filter(|_| io::stderr().is_terminal()) {
        bar.set_draw_target(ProgressDrawTarget::term_like(Box::<Screen>::default()));
        let _ = terminal.try_send(Word::Begin(bar));
    }
}

/// Has the bar show so many batches, and the states of the slots, at its next picture.
pub(crate) fn show(done: u64, slots: String) {
    *SHOWN.lock().unwrap_or_else(PoisonError::into_inner) = Some((done, slots));
}

/// Removes the bar.
pub(crate) fn end() {
    if let Some(terminal) = terminal() {
        let _ = terminal.try_send(Word::End);
    }
}

/// Waits until everything that was said is written. After a signal it does not wait long.
pub fn finish() {
    let mut looks_after_signal = 0;
    flush(|| {
        looks_after_signal += u32::from(signals::exit_code().is_some());
        TICK * looks_after_signal < PATIENCE
    });
}

/// Waits until everything that was said is written, as long as `patient` holds.
fn flush(mut patient: impl FnMut() -> bool) {
    let Some(terminal) = terminal() else { return };
    let (answer, answered) = sync_channel(1);
    let mut question = Some(Word::Flush(answer));
    while let Some(word) = question.take() {
        match terminal.try_send(word) {
            Ok(()) => break,
            Err(std::sync::mpsc::TrySendError::Full(word)) if patient() => {
                // There is no event for a queue that has room again.
                thread::sleep(TICK);
                question = Some(word);
            }
            Err(_) => return,
        }
    }
    while answered.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) && patient() {}
}

fn serve(words: &Receiver<Word>) {
    let mut bar: Option<ProgressBar> = None;
    let mut next_picture = Instant::now();
    loop {
        let left = next_picture.saturating_duration_since(Instant::now());
        let word = match &bar {
            // Lines that come without a pause do not keep the bar from moving.
            Some(_) if left.is_zero() => Err(RecvTimeoutError::Timeout),
            Some(_) => words.recv_timeout(left),
            None => words.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match word {
            Ok(Word::Line(lines)) => write_above(bar.as_ref(), &lines),
            Ok(Word::Begin(new)) => bar = Some(new),
            Ok(Word::End) => drop(bar.take().inspect(ProgressBar::finish_and_clear)),
            Ok(Word::Flush(answer)) => drop(answer.try_send(())),
            Err(RecvTimeoutError::Timeout) => {
                draw(bar.as_ref());
                next_picture = Instant::now() + TICK;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn write_above(bar: Option<&ProgressBar>, lines: &[u8]) {
    let lost = LOST.swap(0, Ordering::Relaxed);
    let write = || {
        let mut stderr = io::stderr().lock();
        if signals::exit_code().is_some() && stderr.is_terminal() {
            // Over the `^C` that the terminal has shown.
            let _ = stderr.write_all(b"\r");
        }
        // If standard error is closed or full, the command goes on without the lines.
        if lost > 0 {
            let _ = writeln!(stderr, "{lost} lines were lost: standard error was not read");
        }
        let _ = stderr.write_all(lines);
    };
    bar.map_or_else(write, |bar| bar.suspend(write));
}

fn draw(bar: Option<&ProgressBar>) {
    let shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(bar) = bar {
        if let Some((done, slots)) = shown {
            bar.set_position(done);
            bar.set_message(beside(bar, &slots));
        }
        bar.tick();
    }
}

/// The text beside the bar. It is one text, because the bar's library cuts only one at the row's
/// end.
fn beside(bar: &ProgressBar, slots: &str) -> String {
    let (done, rate) = (bar.position(), bar.per_sec());
    match bar.length() {
        Some(total) => {
            let left = HumanDuration(bar.eta());
            format!("{done}/{total} batches  {rate:.1}/s  {left:#} left  {slots}")
        }
        None => format!("{done} batches  {rate:.1}/s  {:#}  {slots}", HumanDuration(bar.elapsed())),
    }
}
