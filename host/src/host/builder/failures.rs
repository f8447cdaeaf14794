//! The settings of what happens if something fails or takes too long.

use std::path::PathBuf;
use std::time::Duration;

use cobuf_plugin_api::ReportKind;

use super::HostBuilder;
use crate::cancel::Cancel;
use crate::limits;
use crate::record::policy::{OnCommanderFailure, OnFailure};

/// # Failures
impl HostBuilder {
    /// The policy for a batch that fails in this way, after its last attempt.
    ///
    /// Default for each kind: [`OnFailure::Raise`].
    ///
    /// ```
    /// # use cobuf_host::{Host, OnFailure, ReportKind};
    /// let builder = Host::builder().on_failure(ReportKind::Crash, OnFailure::Skip);
    /// ```
    pub fn on_failure(mut self, kind: ReportKind, choice: OnFailure) -> Self {
        self.on_failure.set(kind, choice);
        self
    }

    /// The policy for the stream if the commander fails in this way.
    ///
    /// Default: an error or panic ends the stream; after a crash or a missed deadline the commander
    /// is restarted.
    ///
    /// ```
    /// # use cobuf_host::{Host, OnCommanderFailure, ReportKind};
    /// let builder = Host::builder()
    ///     .on_commander_failure(ReportKind::Panic, OnCommanderFailure::Restart);
    /// ```
    pub fn on_commander_failure(mut self, kind: ReportKind, choice: OnCommanderFailure) -> Self {
        self.on_commander_failure.set(kind, choice);
        self
    }

    /// How many times a message is tried if its worker dies, and how many times in a row the
    /// commander is started at one message.
    ///
    /// Default: [`limits::DEFAULT_MAX_ATTEMPTS`], 3. Range: 1 to [`limits::MAX_ATTEMPTS`],
    /// otherwise [`StartError::OutOfRange`](crate::StartError::OutOfRange). A producer's error or
    /// panic is not retried.
    ///
    /// ```
    /// # use cobuf_host::Host;
    /// let builder = Host::builder().max_attempts(1);
    /// ```
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// A file to which the supervisor adds each message that could not be produced: JSON, a line
    /// each. [`Source::Replay`](crate::Source::Replay) produces them again.
    ///
    /// Default: none. `start` fails with
    /// [`StartError::DeadLetters`](crate::StartError::DeadLetters) if the file cannot be written or
    /// belongs to a different run. Each rank of a job needs a file of its own.
    ///
    /// ```
    /// # use cobuf_host::Host;
    /// let builder = Host::builder().dead_letters("bad.jsonl");
    /// ```
    pub fn dead_letters(mut self, path: impl Into<PathBuf>) -> Self {
        self.dead_letters = Some(path.into());
        self
    }
}

/// # Deadlines
///
/// All are durations from 0 on; a longer one than 100 years counts as 100 years.
impl HostBuilder {
    /// How long a worker may take for one message. A worker that misses the deadline is killed
    /// after its stack is captured, and the message counts one attempt.
    ///
    /// Default: no deadline. At least [`limits::MIN_TIMEOUT`], 20 ms, otherwise
    /// [`StartError::OutOfRange`](crate::StartError::OutOfRange).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use cobuf_host::Host;
    /// let builder = Host::builder().message_timeout(Duration::from_secs(30));
    /// ```
    pub fn message_timeout(mut self, timeout: Duration) -> Self {
        self.message_timeout = Some(timeout.min(limits::LONGEST_WAIT));
        self
    }

    /// How long the commander may take for a message while a slot is free. A commander that misses
    /// the deadline is killed.
    ///
    /// Default: no deadline. Range as for [`message_timeout`](Self::message_timeout).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use cobuf_host::Host;
    /// let builder = Host::builder().commander_timeout(Duration::from_secs(5));
    /// ```
    pub fn commander_timeout(mut self, timeout: Duration) -> Self {
        self.commander_timeout = Some(timeout.min(limits::LONGEST_WAIT));
        self
    }

    /// How long plugins may take to be opened and constructed: all of them together at the start,
    /// each of them after a restart or at a swap.
    ///
    /// Default: 120 s. `start` fails with [`StartError::Timeout`](crate::StartError::Timeout) if it
    /// passes.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use cobuf_host::Host;
    /// let builder = Host::builder().start_timeout(Duration::from_secs(600));
    /// ```
    pub fn start_timeout(mut self, timeout: Duration) -> Self {
        self.start_timeout = timeout.min(limits::LONGEST_WAIT);
        self
    }

    /// Gives [`start`](Self::start) up once this is cancelled, within a second:
    /// [`StartError::Cancelled`](crate::StartError::Cancelled). Nothing of the run is left then.
    ///
    /// Default: a start goes on until it succeeds or fails. A running host is ended by
    /// [`stop`](crate::Host::stop).
    ///
    /// ```
    /// # use cobuf_host::{Cancel, Host};
    /// # fn main() -> std::io::Result<()> {
    /// let cancel = Cancel::new()?;
    /// let builder = Host::builder().cancelled_by(&cancel);
    /// # Ok(())
    /// # }
    /// ```
    pub fn cancelled_by(mut self, cancel: &Cancel) -> Self {
        self.cancel = Some(cancel.clone());
        self
    }

    /// How long plugins may take to finish after [`Host::stop`](crate::Host::stop) or the drop of
    /// the host. Processes that are left are then killed.
    ///
    /// Default: 2 s. Zero kills at once.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use cobuf_host::Host;
    /// let builder = Host::builder().stop_grace(Duration::ZERO);
    /// ```
    pub fn stop_grace(mut self, grace: Duration) -> Self {
        self.stop_grace = grace.min(limits::LONGEST_WAIT);
        self
    }
}
