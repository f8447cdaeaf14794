//! How processes end.

use std::fmt;
use std::time::Duration;

use cobuf_plugin_api::ReportKind;
use serde::{Deserialize, Serialize};

/// Why a process died.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Death {
    /// It exited by itself, or a signal ended it.
    Exit(Exit),
    /// It was killed because it used more private memory than its limit allows.
    MemoryLimit {
        /// The limit, in bytes.
        limit_bytes: u64,
        /// The memory that it used, in bytes.
        used_bytes: u64,
    },
    /// It was killed because it used more processor time for a message than its limit allows.
    CpuLimit {
        /// The limit, in seconds.
        limit_seconds: u64,
    },
    /// It was killed because it missed its deadline.
    Timeout {
        /// The deadline.
        limit: Duration,
    },
}

impl Death {
    /// The kind of failure that this death means for the message.
    pub(crate) fn kind(&self) -> ReportKind {
        match self {
            Self::Timeout { .. } => ReportKind::Timeout,
            _ => ReportKind::Crash,
        }
    }
}

/// Such as `signal 9 (SIGKILL)` or `its memory limit of 256 MB (it had 301 MB)`: the text completes
/// "ended by".
impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mb = |bytes: &u64| *bytes as f64 / 1e6;
        match self {
            Self::Exit(exit) => exit.fmt(f),
            Self::MemoryLimit { limit_bytes, used_bytes } => {
                write!(f, "its memory limit of {:.0} MB (it had {:.0} MB)", mb(limit_bytes), mb(used_bytes))
            }
            Self::CpuLimit { limit_seconds } => {
                write!(f, "its limit of {limit_seconds} s of processor time for a message")
            }
            Self::Timeout { limit } => write!(f, "its deadline of {} s", limit.as_secs_f64()),
        }
    }
}

/// The exit code of a process that cannot tell the host anything any more.
pub(crate) const MUTE: i32 = 117;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// It was killed by this signal.
    Signal(i32),
}

/// The signals that end a process, with their names; see signal(7).
const SIGNALS: [(i32, &str); 23] = [
    (libc::SIGHUP, "SIGHUP"),
    (libc::SIGINT, "SIGINT"),
    (libc::SIGQUIT, "SIGQUIT"),
    (libc::SIGILL, "SIGILL"),
    (libc::SIGTRAP, "SIGTRAP"),
    (libc::SIGABRT, "SIGABRT"),
    (libc::SIGBUS, "SIGBUS"),
    (libc::SIGFPE, "SIGFPE"),
    (libc::SIGKILL, "SIGKILL"),
    (libc::SIGUSR1, "SIGUSR1"),
    (libc::SIGSEGV, "SIGSEGV"),
    (libc::SIGUSR2, "SIGUSR2"),
    (libc::SIGPIPE, "SIGPIPE"),
    (libc::SIGALRM, "SIGALRM"),
    (libc::SIGTERM, "SIGTERM"),
    (libc::SIGSTKFLT, "SIGSTKFLT"),
    (libc::SIGXCPU, "SIGXCPU"),
    (libc::SIGXFSZ, "SIGXFSZ"),
    (libc::SIGVTALRM, "SIGVTALRM"),
    (libc::SIGPROF, "SIGPROF"),
    (libc::SIGIO, "SIGIO"),
    (libc::SIGPWR, "SIGPWR"),
    (libc::SIGSYS, "SIGSYS"),
];

/// Such as `exit code 3` or `signal 9 (SIGKILL)`.
impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(MUTE) => write!(
                f,
                "exit code {MUTE}: it could not reach the host any more; does the plugin close descriptors that it has \
                 not opened?"
            ),
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => match SIGNALS.iter().find(|(number, _)| number == signal) {
                Some((_, name)) => write!(f, "signal {signal} ({name})"),
                None => write!(f, "signal {signal}"),
            },
        }
    }
}
