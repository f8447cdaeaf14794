//! The errors that a stream delivers.

use std::time::Duration;

use cobuf_plugin_api::{Dictionary, Report, ReportKind};

use super::failure::Attempt;
use crate::record::death::Death;

/// The error in the place of a batch, or the end of a stream that fails.
///
/// Its source, if any, is the plugin's own error with its causes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// One batch could not be produced. The stream goes on, unless the policy for it is
    /// [`OnFailure::Stop`](crate::OnFailure::Stop).
    #[error(transparent)]
    Batch(Box<BatchError>),
    /// The commander failed. All batches of its messages were delivered before; this is the last
    /// item.
    #[error("the commander {plugin} failed after {commanded} messages")]
    Commander {
        /// The commander's name.
        plugin: String,
        /// The number of messages that it had made.
        commanded: u64,
        /// Its error or panic.
        source: Report,
    },
    /// The commander's process died as often as it may at one message. All batches of its messages
    /// were delivered before; this is the last item.
    #[error("the commander {plugin} was ended after {commanded} messages by {death}{}{}", attempts_at(*attempts), in_place(place.as_deref()))]
    CommanderDied {
        /// The commander's name.
        plugin: String,
        /// The number of messages that it had made.
        commanded: u64,
        /// The cause of its last death.
        death: Death,
        /// The number of attempts at that message.
        attempts: u32,
        /// The function of a script that it was in, with file and line, if it runs one and its
        /// stack was captured.
        place: Option<String>,
    },
    /// No worker can be kept alive. This is the last item.
    #[error("all workers are lost; the last one: {reason}")]
    WorkersLost {
        /// The death of the last worker.
        reason: String,
    },
    /// The fork server died, with all processes of the run, and cannot be replaced. This is the
    /// last item.
    #[error("the fork server died, and the workers with it, and cannot be replaced: {reason}")]
    ForkServerDied {
        /// Why it cannot be replaced.
        reason: String,
    },
    /// No batch has come for so long, although no deadline was missed as far as the host could see: in a
    /// run with a sandbox and a deadline for messages. This is the last item.
    #[error(
        "no batch came for {} s, in which each process must have missed its deadlines: a plugin may have written \
         over the memory that it shares with the host; look at its input, and start another run",
        waited.as_secs()
    )]
    Silence {
        /// How long nothing came.
        waited: Duration,
    },
    /// This process was forked from the one that started the host, whose batches are delivered
    /// there. This is the last item.
    #[error(
        "the host was started by another process, of which this one is a fork; take batches there, or start a host here"
    )]
    Forked,
    /// The commander failed, and its messages could not be produced any more, for a second failure.
    /// This is the last item.
    #[error("{error}, after an earlier failure")]
    Twice {
        /// The second failure, which ended the stream.
        error: Box<StreamError>,
        /// The first failure.
        #[source]
        earlier: Box<StreamError>,
    },
}

impl StreamError {
    /// Whether this is the stream's last item. After any other error the stream goes on.
    ///
    /// An error of one batch is final only if the policy for it is
    /// [`OnFailure::Stop`](crate::OnFailure::Stop).
    pub fn is_final(&self) -> bool {
        match self {
            Self::Batch(error) => error.ends_stream,
            _ => true,
        }
    }

    /// This failure, which ends a stream that was to end with an earlier one.
    pub(crate) fn after(self, earlier: Self) -> Self {
        Self::Twice { error: Box::new(self), earlier: Box::new(earlier) }
    }
}

fn attempts_at(attempts: u32) -> String {
    if attempts > 1 { format!(", at each of {attempts} attempts") } else { String::new() }
}

fn in_place(place: Option<&str>) -> String {
    place.map_or_else(String::new, |place| format!(", in {place}"))
}

/// One batch that could not be produced.
///
/// Its text names batch and worker; its source is the producer's error with its causes. The message
/// may be long, so it is not part of the text: print [`message`](Self::message) after the causes.
///
/// ```
/// use cobuf_host::BatchError;
///
/// fn log(error: &BatchError) {
///     eprintln!("{error}: {}", error.chain().join(": "));
///     eprintln!("the message: {}", error.message());
///     error.attempts().iter().for_each(|attempt| eprintln!("{attempt}"));
/// }
/// ```
#[derive(Debug)]
pub struct BatchError {
    pub(crate) sequence: u64,
    pub(crate) worker: u32,
    pub(crate) edition: u32,
    pub(crate) message: Dictionary,
    pub(crate) report: Report,
    pub(crate) attempts: Vec<Attempt>,
    /// Whether the failure policy ends the stream with this error.
    pub(crate) ends_stream: bool,
}

impl BatchError {
    /// The batch's number in the stream.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The number of the worker that failed at the last attempt.
    pub fn worker(&self) -> u32 {
        self.worker
    }

    /// The edition of the producer's code, as [`Batch::edition`](crate::Batch::edition).
    pub fn edition(&self) -> u32 {
        self.edition
    }

    /// The message that could not be produced.
    pub fn message(&self) -> &Dictionary {
        &self.message
    }

    /// Whether the producer returned an error, panicked, crashed or missed its deadline. After
    /// several attempts, the kind of the last one.
    pub fn kind(&self) -> ReportKind {
        self.report.kind
    }

    /// The attempts that ended with their worker's death, in order; of more than 32, the first and
    /// the last ones. Empty if the producer returned an error or panicked at the first attempt.
    pub fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    /// The producer's error and its causes, outermost first. For a crash or a missed deadline, one
    /// text.
    pub fn chain(&self) -> &[String] {
        &self.report.chain
    }
}

impl std::fmt::Display for BatchError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "batch {} failed in worker {}", self.sequence, self.worker)
    }
}

impl std::error::Error for BatchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.report)
    }
}
