//! The signals that end a command in order: SIGINT (Ctrl-C), SIGTERM, and SIGHUP (the terminal was
//! closed).
//!
//! ```text
//!   first signal                  another within half a second      a later one
//!   the command ends in order     the same wish: a person or a      ends the command at once;
//!   (at once if nothing runs)     service manager sent it twice     the fork server cleans up
//! ```
//!
//! A signal that is ignored when the command starts stays ignored: `nohup` and shells without job
//! control ask for that.

use std::io;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use cobuf_host::Cancel;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;
use signal_hook::iterator::Signals as Received;
use signal_hook::low_level;

/// The convention of shells: 128 plus the signal.
const SIGNAL_BASE: u8 = 128;
/// How long another signal is the same wish.
const SAME_WISH: Duration = Duration::from_millis(500);

/// The first signal that the thread has taken; 0 before it.
static RECEIVED: AtomicU8 = AtomicU8::new(0);
/// The signals that have come: set by their handler, before the thread is awake.
static CAME: OnceLock<Vec<(u8, Arc<AtomicBool>)>> = OnceLock::new();
/// Whether nothing runs that would have to be ended in order.
static AT_ONCE: AtomicBool = AtomicBool::new(false);

/// Takes signals that would get in the way, at the start of a command.
///
/// If the parent has SIGCHLD ignored, nobody can wait for a child such as cargo. SIGXFSZ would end
/// the command at the limit of `ulimit -f` without a word; if it is taken, the write fails.
pub fn take_harmless() {
    for signal in [SIGCHLD, SIGXFSZ] {
        // If the system refuses a handler, all is as without one.
        let _ = flag::register(signal, Arc::new(AtomicBool::new(false)));
    }
}

/// The time between two looks for a signal, in a wait for something else.
pub const LOOK_AROUND: Duration = Duration::from_millis(100);

/// The error of a command that a signal has stopped; `anyhow::Error::is` finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped;

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("stopped by a signal")
    }
}

impl std::error::Error for Stopped {}

/// The signals of this process. It listens once.
#[derive(Debug)]
pub struct Signals {
    cancel: Cancel,
}

/// The exit code of the command, if a signal was received.
#[must_use]
pub fn exit_code() -> Option<ExitCode> {
    let came = || CAME.get()?.iter().find(|(_, came)| came.load(Ordering::SeqCst)).map(|(signal, _)| *signal);
    let signal = match RECEIVED.load(Ordering::SeqCst) {
        0 => came()?,
        signal => signal,
    };
    Some(ExitCode::from(SIGNAL_BASE + signal))
}

impl Signals {
    /// Listens from now on, in a thread.
    ///
    /// # Errors
    /// If the system refuses a handler or the thread.
    pub fn install() -> Result<Self> {
        let listen = || -> io::Result<Self> {
            let cancel = Cancel::new()?;
            let wanted = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|&signal| !is_ignored(signal));
            let wanted: Vec<i32> = wanted.collect();
            let came = wanted.iter().map(|&signal| {
                let came = Arc::new(AtomicBool::new(false));
                flag::register(signal, came.clone())?;
                Ok((u8::try_from(signal).unwrap_or_default(), came))
            });
            let came = came.collect::<io::Result<_>>()?;
            let received = Received::new(&wanted)?;
            let _ = CAME.set(came);
            let wish = cancel.clone();
            thread::Builder::new().name("cobuf-signals".to_owned()).spawn(move || serve(received, &wish))?;
            Ok(Self { cancel })
        };
        listen().map_err(|error| {
            // One thread too many.
            let limit = if error.kind() == io::ErrorKind::WouldBlock {
                "; raise the limit of processes and threads (ulimit -u)"
            } else {
                ""
            };
            anyhow::Error::new(error).context(format!("cannot listen for signals{limit}"))
        })
    }

    /// The exit code of the command, if a signal was received.
    #[must_use]
    pub fn exit_code(&self) -> Option<ExitCode> {
        exit_code()
    }

    /// Fails once a signal was received.
    ///
    /// # Errors
    /// [`Stopped`].
    pub fn check(&self) -> Result<(), Stopped> {
        if exit_code().is_some() { Err(Stopped) } else { Ok(()) }
    }

    /// The wish to give up what is under way: made by the first signal.
    #[must_use]
    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// Whether a signal is received within this time. A child of the same group may have ended by it
    /// before this process has seen it.
    #[must_use]
    pub fn received_within(&self, limit: Duration) -> bool {
        let limit = Timespec { tv_sec: 0, tv_nsec: limit.subsec_nanos().into() };
        poll(&mut [PollFd::new(&self.cancel, PollFlags::IN)], Some(&limit)).is_ok_and(|ready| ready > 0)
    }

    /// Does something that a signal may end at once, such as the reading of a file that is a pipe.
    pub fn at_once<T>(&self, work: impl FnOnce() -> T) -> T {
        AT_ONCE.store(true, Ordering::SeqCst);
        // A signal that came before saw that something runs.
        if RECEIVED.load(Ordering::SeqCst) != 0 {
            exit();
        }
        let done = work();
        AT_ONCE.store(false, Ordering::SeqCst);
        done
    }
}

fn serve(mut signals: Received, cancel: &Cancel) {
    let mut first: Option<Instant> = None;
    for signal in signals.forever() {
        let since = *first.get_or_insert_with(Instant::now);
        // The first signal says how the command ends.
        let signal = u8::try_from(signal).unwrap_or_default();
        let _ = RECEIVED.compare_exchange(0, signal, Ordering::SeqCst, Ordering::SeqCst);
        cancel.cancel();
        if AT_ONCE.load(Ordering::SeqCst) || since.elapsed() > SAME_WISH {
            exit();
        }
    }
}

fn exit() -> ! {
    low_level::exit((SIGNAL_BASE + RECEIVED.load(Ordering::SeqCst)).into())
}

/// Whether this process was started with this signal ignored.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}
