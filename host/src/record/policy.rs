//! The user's choices for failures.

use cobuf_plugin_api::ReportKind;
use serde::{Deserialize, Serialize};

/// The treatment of a batch that could not be produced. The default is [`Raise`](Self::Raise).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// The application receives its error in its place, and the stream continues.
    #[default]
    Raise,
    /// It is left out: counted in [`Statistics::skipped`](crate::Statistics::skipped), and recorded
    /// if there is a dead-letter file.
    Skip,
    /// Its error is the last item of the stream.
    Stop,
}

/// The treatment of the stream if the commander fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnCommanderFailure {
    /// The commander is started again and continues at the message at which it failed. If it fails
    /// at the same message [`max_attempts`](crate::HostBuilder::max_attempts) times, the stream
    /// ends.
    Restart,
    /// The stream ends with the error, after all batches of the earlier messages.
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
