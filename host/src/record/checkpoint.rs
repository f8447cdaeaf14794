//! Checkpoints: what a run has delivered so far, as a value from which another run resumes.

use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::identity::Identity;
use super::ledger::Ledger;
use super::letter::Letter;
use super::state::StateAt;
use crate::files;

/// The version of a checkpoint's format.
const FORMAT: u32 = 1;

/// The messages that a run has delivered, and the settings that identify the run. Another run can
/// resume from it with any number of workers and slots, in order or in any order, and delivers
/// every remaining batch exactly once.
///
/// A message is delivered once the application has dropped its [`Batch`](crate::Batch), has
/// received its error, or the message was skipped. A batch that the application still holds is
/// delivered again.
///
/// If the application is the commander, the checkpoint also has the messages that were submitted and
/// not delivered, at most one for each slot and those that an earlier run left: the resumed run
/// delivers them before all that is submitted to it.
///
/// A checkpoint is a `serde` value of some hundred bytes, beside these messages. [`write`](Self::write) and
/// [`read`](Self::read) keep it in a file.
///
/// # Example
/// ```no_run
/// use cobuf_host::{Checkpoint, Host, HostBuilder, Source};
///
/// # fn settings() -> HostBuilder { Host::builder() }
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let host = settings().start()?;
/// host.checkpoint().write("run.checkpoint")?;
/// drop(host);
/// let checkpoint = Checkpoint::read("run.checkpoint")?;
/// let host = settings().source(Source::Resume(checkpoint)).start()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    format: u32,
    pub(crate) identity: Identity,
    pub(crate) done: Ledger,
    pub(crate) commander: Option<StateAt>,
    /// The submitted messages that are not done, by ascending number, if the application is the
    /// commander. No number below the last of them is neither here nor done. A run with a plugin has
    /// none, nor has a checkpoint of before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) submitted: Vec<Letter>,
    application: Option<serde_json::Value>,
}

/// Why a checkpoint cannot be written, read or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The file cannot be written or read.
    #[error("cannot {what} the checkpoint {}", path.display())]
    File {
        /// The operation: `write` or `read`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file is not a checkpoint.
    #[error("{} is no checkpoint of cobuf", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: serde_json::Error,
    },
    /// The application's own state in the checkpoint cannot be written or read.
    #[error(
        "the application's state in the checkpoint cannot be converted; use the type that it was saved with"
    )]
    Application {
        /// The reason.
        source: serde_json::Error,
    },
    /// The checkpoint was written by a version of cobuf with another format.
    #[error(
        "the checkpoint is of format {found}, expected {FORMAT}; resume it with the version of cobuf that wrote it"
    )]
    Format {
        /// The checkpoint's format.
        found: u32,
    },
    /// The checkpoint belongs to a different run.
    #[error(
        "this checkpoint belongs to a different run: {difference}; restore that setting or start without the checkpoint"
    )]
    OtherRun {
        /// The first difference.
        difference: String,
    },
}

impl Checkpoint {
    pub(crate) fn new(
        identity: Identity,
        done: Ledger,
        commander: Option<StateAt>,
        submitted: Vec<Letter>,
    ) -> Self {
        Self { format: FORMAT, identity, done, commander, submitted, application: None }
    }

    /// Returns the checkpoint with a state of the application's own, such as a sum over the
    /// delivered batches. Both are written to the file in one step, so they can never disagree.
    ///
    /// # Errors
    /// [`CheckpointError::Application`] if the state cannot be written as JSON.
    pub fn with_application_state(mut self, state: &impl Serialize) -> Result<Self, CheckpointError> {
        let state = serde_json::to_value(state).map_err(|source| CheckpointError::Application { source })?;
        self.application = Some(state);
        Ok(self)
    }

    /// The state that was given to [`with_application_state`](Self::with_application_state); `None`
    /// if there is none.
    ///
    /// # Errors
    /// [`CheckpointError::Application`] if the state is not of this type.
    pub fn application_state<T: DeserializeOwned>(&self) -> Result<Option<T>, CheckpointError> {
        let state = self.application.clone().map(serde_json::from_value).transpose();
        state.map_err(|source| CheckpointError::Application { source })
    }

    /// The number of messages that are delivered.
    pub fn delivered(&self) -> u64 {
        self.done.count_below(u64::MAX)
    }

    /// The sequence number of the first message that is not delivered: all before it are.
    pub fn first_missing(&self) -> u64 {
        self.done.next_missing(0)
    }

    /// Writes the checkpoint to a file, as JSON. At every moment the file is either the old one or
    /// the new one, even if the machine fails. If the path is a symbolic link, the link stays, and
    /// the file that it leads to is replaced.
    ///
    /// # Errors
    /// [`CheckpointError::File`] if the file cannot be written, or is a folder, a pipe or a device.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), CheckpointError> {
        let path = path.as_ref();
        // A struct of numbers, texts and lists can always be written.
        let text = serde_json::to_vec(self).unwrap_or_default();
        files::replace(path, &text).map_err(|source| CheckpointError::File {
            what: "write",
            path: path.to_owned(),
            source,
        })
    }

    /// Reads a checkpoint that [`write`](Self::write) has written. The path may be a pipe.
    ///
    /// # Errors
    /// [`CheckpointError::File`] if the file cannot be read, [`CheckpointError::Content`] if it is
    /// not a checkpoint.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, CheckpointError> {
        let path = path.as_ref().to_owned();
        let text = files::read(&path);
        let text =
            text.map_err(|source| CheckpointError::File { what: "read", path: path.clone(), source })?;
        serde_json::from_slice(&text).map_err(|source| CheckpointError::Content { path, source })
    }

    /// Checks that a run with this identity can resume from the checkpoint.
    pub(crate) fn check(&self, identity: &Identity) -> Result<(), CheckpointError> {
        if self.format != FORMAT {
            return Err(CheckpointError::Format { found: self.format });
        }
        match identity.difference(&self.identity) {
            Some(difference) => Err(CheckpointError::OtherRun { difference }),
            None => Ok(()),
        }
    }
}
