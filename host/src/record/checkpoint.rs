//! Checkpoints: what a run has delivered so far, as a value from which another run goes on.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::identity::Identity;
use super::ledger::Ledger;
use super::state::StateAt;

/// The version of a checkpoint's form.
const FORMAT: u32 = 1;

/// What a run has delivered, and what it was: enough to go on without a batch twice or left out, with any number of workers and
/// slots, in either order.
///
/// Delivered is what the application has given back: a [`Batch`](crate::Batch) that was dropped, an error that was handed over, a
/// message that was skipped. A batch that is still held is delivered again.
///
/// It is a `serde` value, of some hundred bytes; [`write`](Self::write) and [`read`](Self::read) keep it in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    format: u32,
    pub(crate) identity: Identity,
    pub(crate) done: Ledger,
    pub(crate) commander: Option<StateAt>,
    application: Option<serde_json::Value>,
}

/// Why a checkpoint cannot be written, read or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The file cannot be written or read.
    #[error("cannot {what} the checkpoint {}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It is not a checkpoint.
    #[error("{} is no checkpoint of cobuf", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The application's own state in it cannot be written or read.
    #[error("the application's state in the checkpoint is of another form")]
    Application {
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// It was written by a version of cobuf that this one does not understand.
    #[error(
        "the checkpoint is of format {found}, expected {FORMAT}; resume it with the version of cobuf that wrote it"
    )]
    Format {
        /// Its format.
        found: u32,
    },
    /// It is another run's.
    #[error(
        "the checkpoint is another run's: {difference}; start with what it was, or without the checkpoint"
    )]
    OtherRun {
        /// The first difference.
        difference: String,
    },
}

impl Checkpoint {
    pub(crate) fn new(identity: Identity, done: Ledger, commander: Option<StateAt>) -> Self {
        Self { format: FORMAT, identity, done, commander, application: None }
    }

    /// The same with something of the application's, such as a sum over what was delivered: it is written in the same step, so that the
    /// two can never disagree.
    ///
    /// # Errors
    /// [`CheckpointError::Application`] where it cannot be written as JSON.
    pub fn with_application_state(mut self, state: &impl Serialize) -> Result<Self, CheckpointError> {
        let state = serde_json::to_value(state).map_err(|source| CheckpointError::Application { source })?;
        self.application = Some(state);
        Ok(self)
    }

    /// What was given to [`with_application_state`](Self::with_application_state); `None` where nothing was.
    ///
    /// # Errors
    /// [`CheckpointError::Application`] where it is not of this type.
    pub fn application_state<T: DeserializeOwned>(&self) -> Result<Option<T>, CheckpointError> {
        let state = self.application.clone().map(serde_json::from_value).transpose();
        state.map_err(|source| CheckpointError::Application { source })
    }

    /// How many messages are delivered.
    pub fn delivered(&self) -> u64 {
        self.done.count_below(u64::MAX)
    }

    /// The first message that is not delivered: all before it are.
    pub fn first_missing(&self) -> u64 {
        self.done.next_missing(0)
    }

    /// Writes it to a file (JSON), which at every moment is either the old one or the new one, also where the machine fails.
    ///
    /// # Errors
    /// [`CheckpointError::File`].
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), CheckpointError> {
        let path = path.as_ref();
        // A struct of numbers, texts and lists can always be written.
        let text = serde_json::to_vec(self).unwrap_or_default();
        replace(path, &text).map_err(|source| CheckpointError::File {
            what: "write",
            path: path.to_owned(),
            source,
        })
    }

    /// Reads what [`write`](Self::write) has written.
    ///
    /// # Errors
    /// [`CheckpointError::File`], [`CheckpointError::Content`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self, CheckpointError> {
        let path = path.as_ref().to_owned();
        let text = std::fs::read(&path);
        let text =
            text.map_err(|source| CheckpointError::File { what: "read", path: path.clone(), source })?;
        serde_json::from_slice(&text).map_err(|source| CheckpointError::Content { path, source })
    }

    /// Whether a run with this identity can go on from it.
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

/// Puts a file in the place of the one with this name, in one step.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Always the same name: what a death has left there is written over by the next.
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let new = path.with_file_name(name);
    let mut file = File::create(&new)?;
    let written = file.write_all(content).and_then(|()| file.sync_all());
    written.and_then(|()| std::fs::rename(&new, path)).inspect_err(|_| drop(std::fs::remove_file(&new)))?;
    // The new name is on the disk once its folder is.
    File::open(folder)?.sync_all()
}
