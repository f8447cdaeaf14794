//! What the user wants to become of failures.

use cobuf_plugin_api::ReportKind;
use serde::{Deserialize, Serialize};

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
