//! How processes fail, and what the user wants to become of it.

use std::fmt;
use std::time::Duration;

use cobuf_plugin_api::ReportKind;
use serde::{Deserialize, Serialize};

use crate::process::protocol::Exit;
use crate::process::stack::RawStack;
use crate::stack::{self, Stack};

/// What becomes of a batch that could not be produced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// Its error is handed to the application in its place, and the stream goes on.
    #[default]
    Raise,
    /// It is left out: counted in [`Statistics::skipped`](crate::Statistics::skipped), and recorded where there is a dead-letter
    /// file.
    Skip,
    /// Its error is the last item of the stream.
    Stop,
}

/// What becomes of the stream when the commander fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnCommanderFailure {
    /// It is started again, and goes on at the message at which it failed; where it fails there again and again, the stream ends.
    Restart,
    /// The stream ends with the error, after everything that was commanded before.
    End,
}

/// One choice for each kind of failure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PerKind<T>([T; 4]);

impl<T: Copy> PerKind<T> {
    pub(crate) fn new(error: T, panic: T, crash: T, timeout: T) -> Self {
        Self([error, panic, crash, timeout])
    }

    pub(crate) fn of(&self, kind: ReportKind) -> T {
        self.0[Self::index(kind)]
    }

    pub(crate) fn set(&mut self, kind: ReportKind, choice: T) {
        self.0[Self::index(kind)] = choice;
    }

    fn index(kind: ReportKind) -> usize {
        match kind {
            ReportKind::Error => 0,
            ReportKind::Panic => 1,
            ReportKind::Crash => 2,
            ReportKind::Timeout => 3,
        }
    }
}

/// What ended a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Death {
    /// It ended itself, or a signal did.
    Exit(Exit),
    /// It was killed because it had more memory of its own than its limit allows.
    MemoryLimit {
        /// The limit.
        limit_bytes: u64,
        /// What it had.
        used_bytes: u64,
    },
    /// It was killed because it took more processor time for a message than its limit allows.
    CpuLimit {
        /// The limit.
        limit_seconds: u64,
    },
    /// It was killed because it did not come back within the deadline.
    Timeout {
        /// The deadline.
        limit: Duration,
    },
}

impl Death {
    /// The kind of failure that it is to the message.
    pub(crate) fn kind(&self) -> ReportKind {
        match self {
            Self::Timeout { .. } => ReportKind::Timeout,
            _ => ReportKind::Crash,
        }
    }
}

/// `signal 9 (SIGKILL)`, `its memory limit of 256 MB (it had 301 MB)`: to be read after "ended by".
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

/// One attempt at a message that ended its worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Attempt {
    /// The worker.
    pub worker: u32,
    /// What ended it.
    pub death: Death,
    /// The last lines of the plugin's log in that worker, oldest first.
    pub log: Vec<String>,
    /// Where the worker was, as far as it was seen: of one that crashed, or was killed at its deadline.
    pub stack: Option<Stack>,
}

/// An attempt as the supervisor notes it: naming the functions of its stack takes a while, and most messages are done at the next.
#[derive(Debug, Clone)]
pub(crate) struct NotedAttempt {
    pub(crate) worker: u32,
    pub(crate) death: Death,
    pub(crate) log: Vec<String>,
    pub(crate) stack: Option<RawStack>,
}

impl From<NotedAttempt> for Attempt {
    fn from(noted: NotedAttempt) -> Self {
        let NotedAttempt { worker, death, log, stack } = noted;
        Self { worker, death, log, stack: stack.as_ref().map(stack::resolve) }
    }
}

/// In several lines: what ended the worker, its log, its stack.
impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {} was ended by {}", self.worker, self.death)?;
        self.log.iter().try_for_each(|line| write!(f, "\n  log: {line}"))?;
        match &self.stack {
            Some(stack) => write!(f, "\n  {}", stack.to_string().replace('\n', "\n  ")),
            None => Ok(()),
        }
    }
}
