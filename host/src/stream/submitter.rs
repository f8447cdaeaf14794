//! The application's way to submit messages, for which batches are then produced.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cobuf_plugin_api::codec::{self, CodecError};
use serde::Serialize;

use super::delivery::{Stream, WaitingFor};
use super::held::{warn_of_held, warn_of_untaken};
use super::submission::{Over, Submission};
use crate::limits::HELD_WARNING_AFTER;

/// Why a message was not submitted. It has no number, and no batch comes for it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// No slot was free for the message in time.
    #[error("no slot is free for the message{}: {}", after_waiting(*waited), said_of_slots(*slots, *waiting_for))]
    Full {
        /// How long the message was to wait: zero for [`Submitter::try_submit`].
        waited: Duration,
        /// The number of slots.
        slots: usize,
        /// What a consumer waits for.
        waiting_for: WaitingFor,
    },
    /// The encoded message does not fit a slot.
    #[error(
        "the message has {bytes} bytes, a slot has room for {capacity}; submit less (such as a path instead of data), \
         or give the host a message capacity of {bytes} or more"
    )]
    TooLarge {
        /// The bytes of the message.
        bytes: usize,
        /// The bytes that a slot has for one:
        /// [`message_capacity`](crate::HostBuilder::message_capacity).
        capacity: usize,
    },
    /// The value is no message: no dictionary, or it cannot be encoded.
    #[error(transparent)]
    Encode(#[from] CodecError),
    /// The messages were closed before, by [`Submitter::close`]; or the run replays dead letters, and
    /// so has messages.
    #[error(
        "the run takes no more messages: they were closed, or come from dead letters; start another run for more"
    )]
    Closed,
    /// The run has as many messages as the setting
    /// [`limit`](crate::HostBuilder::limit) allows.
    #[error("the run has its {limit} messages, which is the setting limit; give the host a greater one")]
    Limit {
        /// The limit.
        limit: u64,
    },
    /// The host was stopped or dropped.
    #[error("the host was stopped, so the message would not be produced; submit before the stop")]
    Stopped,
    /// The stream ended with an error, which its consumers get.
    #[error("the stream has ended with an error, which its consumers get; start another run")]
    Failed,
    /// This process was forked from the one that started the host.
    #[error(
        "the host was started by another process, of which this one is a fork; submit there, or start a host here"
    )]
    Forked,
    /// The run's commander is a plugin.
    #[error(
        "the messages of this run come from its commander, a plugin; start the host with Commander::Application to submit them"
    )]
    NotCommander,
}

fn after_waiting(waited: Duration) -> String {
    if waited.is_zero() { String::new() } else { format!(" after {} s", waited.as_secs_f64()) }
}

fn said_of_slots(slots: usize, waiting_for: WaitingFor) -> String {
    match waiting_for {
        WaitingFor::HeldBatches { held } => {
            format!("all {held} are held by batches of this application; drop one, or use more slots")
        }
        _ => format!("all {slots} are in use; take batches and drop them, wait longer, or use more slots"),
    }
}

/// Submits messages to a run for which the application is the
/// [commander](crate::Commander::Application).
///
/// Clones submit to the same run, and may be sent to other threads. Messages get their numbers in the
/// order in which they are submitted. A message is delivered as its batch or as its error, exactly
/// once. The stream ends after [`close`](Self::close); the drop of a submitter ends nothing.
///
/// A run takes as many messages as it has slots. After that a submitter waits until batches are
/// dropped, so another thread must take them, or this one must take turns: submit, take, drop. A
/// submitter that waits is woken once few messages are queued, as a commander is.
///
/// ```no_run
/// use cobuf_host::{Commander, Host, Plugin};
///
/// #[derive(serde::Serialize)]
/// struct Message {
///     items: Vec<u64>,
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let host = Host::builder()
///     .commander(Commander::Application)
///     .producer(Plugin::named("digits-producer"))
///     .start()?;
/// let (submitter, mut batches) = (host.submitter(), host.batches());
/// let number = submitter.submit(&Message { items: vec![3, 1, 4] })?;
/// if let Some(batch) = batches.next() {
///     assert_eq!(batch?.sequence(), number);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Submitter {
    stream: Arc<Stream>,
}

impl Submitter {
    pub(crate) fn new(stream: Arc<Stream>) -> Self {
        Self { stream }
    }

    /// Submits a message, a `serde` struct or map or a [`Dictionary`](crate::Dictionary), and gives
    /// its number. Waits until a slot is free for it, or until there will be none.
    ///
    /// If all slots have batches that the application has not taken or not dropped, and a second
    /// passes, the wait logs a warning, the first one once a run: only another thread can then end it.
    ///
    /// # Errors
    /// Each [`SubmitError`] but [`Full`](SubmitError::Full).
    pub fn submit(&self, message: &impl Serialize) -> Result<u64, SubmitError> {
        let (submission, message) = (self.submission()?, self.encode(message)?);
        let warn_at = Instant::now() + HELD_WARNING_AFTER;
        let mut submitted = self.queue(submission, &message, Some(warn_at))?;
        if submitted.is_none() {
            self.warn(submission);
            submitted = self.queue(submission, &message, None)?;
        }
        // A wait without a deadline ends with a number or an error.
        submitted.ok_or(SubmitError::Stopped)
    }

    /// Submits a message if a slot is free for it; never waits.
    ///
    /// # Errors
    /// Each [`SubmitError`]; [`Full`](SubmitError::Full) if no slot is free.
    pub fn try_submit(&self, message: &impl Serialize) -> Result<u64, SubmitError> {
        self.submit_timeout(message, Duration::ZERO)
    }

    /// Submits a message; waits at most this long for a free slot.
    ///
    /// # Errors
    /// Each [`SubmitError`]; [`Full`](SubmitError::Full) if no slot is free by then.
    pub fn submit_timeout(&self, message: &impl Serialize, timeout: Duration) -> Result<u64, SubmitError> {
        let (submission, message) = (self.submission()?, self.encode(message)?);
        let submitted = self.queue(submission, &message, Instant::now().checked_add(timeout))?;
        submitted.ok_or_else(|| SubmitError::Full {
            waited: timeout,
            slots: self.stream.segment.layout().sizes.slots,
            waiting_for: self.stream.waiting_for(),
        })
    }

    /// Ends the messages: the stream ends after those that were submitted, and a thread that waits to
    /// submit one gets [`SubmitError::Closed`]. A second call does nothing, nor does one after a stop.
    ///
    /// # Errors
    /// [`SubmitError::Forked`] and [`SubmitError::NotCommander`].
    pub fn close(&self) -> Result<(), SubmitError> {
        self.submission()?.close(&self.stream.segment, Over::Closed);
        Ok(())
    }

    /// Says so if only the application can end the wait.
    fn warn(&self, submission: &Submission) {
        match self.stream.table().occupancy() {
            [0, 0, 0, held] => warn_of_held("to submit a message", held),
            // Perhaps it is only slow, so once is enough.
            [0, 0, ready, held] if submission.is_first_warning() => warn_of_untaken(ready, held),
            _ => {}
        }
    }

    fn submission(&self) -> Result<&Submission, SubmitError> {
        if self.stream.is_foreign() {
            return Err(SubmitError::Forked);
        }
        self.stream.submission.as_ref().ok_or(SubmitError::NotCommander)
    }

    fn encode(&self, message: &impl Serialize) -> Result<Vec<u8>, SubmitError> {
        let (message, capacity) =
            (codec::encode("a message", message)?, self.stream.segment.layout().sizes.message_capacity);
        let bytes = message.len();
        if bytes <= capacity { Ok(message) } else { Err(SubmitError::TooLarge { bytes, capacity }) }
    }

    fn queue(
        &self,
        submission: &Submission,
        message: &[u8],
        deadline: Option<Instant>,
    ) -> Result<Option<u64>, SubmitError> {
        let Stream { segment, history, .. } = &*self.stream;
        let queued = submission.submit(segment, history.portion().earlier(), message, deadline);
        queued.transpose().map_err(|over| match over {
            Over::Stopped => SubmitError::Stopped,
            Over::Closed => SubmitError::Closed,
            Over::Limit(limit) => SubmitError::Limit { limit },
            Over::Failed => SubmitError::Failed,
        })
    }
}
