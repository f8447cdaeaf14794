//! Checkpoints: what a run has delivered so far, as a value from which another run resumes.

use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::identity::Identity;
use super::ledger::Ledger;
use super::letter::Letter;
use super::part::Part;
use super::portion::{Given, Portion, Remainder};
use super::rank::Seat;
use super::rank_error::RankError;
use super::state::StateAt;
use crate::files;

/// The version of a checkpoint's format.
const FORMAT: u32 = 1;
/// That of a rank's part, which a version of before would take for the whole.
const PART_FORMAT: u32 = 2;

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
    /// What a rank delivered. Then all of the above is the checkpoint with which its job began, the
    /// same for each of its ranks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) part: Option<Part>,
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
        "the checkpoint is of format {found}, expected {expected}; resume it with the version of cobuf that wrote it"
    )]
    Format {
        /// The checkpoint's format.
        found: u32,
        /// The format of this version: for the whole of a run, or for the part of a rank.
        expected: u32,
    },
    /// The checkpoint belongs to a different run.
    #[error(
        "this checkpoint belongs to a different run: {difference}; restore that setting or start without the checkpoint"
    )]
    OtherRun {
        /// The first difference.
        difference: String,
    },
    /// The checkpoint is the part of another rank, or of a rank at all.
    #[error(
        "this checkpoint is the part of rank {rank} of {of}, and {wanted}; merge the parts of all ranks into one"
    )]
    OtherRank {
        /// The rank.
        rank: u32,
        /// The number of ranks.
        of: u32,
        /// What it was to be, such as `this run is rank 0 of 3`.
        wanted: String,
    },
    /// There is no such rank.
    #[error(transparent)]
    Rank(#[from] RankError),
}

impl Checkpoint {
    pub(crate) fn new(
        identity: Identity,
        done: Ledger,
        commander: Option<StateAt>,
        submitted: Vec<Letter>,
    ) -> Self {
        Self { format: FORMAT, identity, done, commander, submitted, application: None, part: None }
    }

    /// The part of a rank that has delivered nothing since this checkpoint, which is whole.
    pub(crate) fn part_of(&self, seat: Seat) -> Result<Self, CheckpointError> {
        self.expect_whole("a whole one was expected")?;
        Ok(self.clone().with_part(self.identity.clone(), Part::empty(seat)))
    }

    /// The part of a run that began with this checkpoint, which is whole.
    pub(crate) fn with_part(self, identity: Identity, part: Part) -> Self {
        Self { format: PART_FORMAT, identity, part: Some(part), ..self }
    }

    /// The checkpoint with which the job of this part began; the checkpoint itself if it is whole.
    pub(crate) fn beginning(&self) -> Self {
        Self { format: FORMAT, part: None, ..self.clone() }
    }

    /// The newest state that a commander saved before a message that is not delivered.
    pub(crate) fn newest_state(&self) -> Option<&StateAt> {
        let own = self.part.as_ref().and_then(|part| part.commander.as_ref());
        own.or(self.commander.as_ref())
    }

    fn expect_whole(&self, wanted: &str) -> Result<(), CheckpointError> {
        match &self.part {
            Some(Part { seat: Seat { rank, of }, .. }) => {
                Err(CheckpointError::OtherRank { rank: *rank, of: *of, wanted: wanted.to_owned() })
            }
            None => Ok(()),
        }
    }

    /// The messages that are left for a run that goes on from the checkpoint: those of the part's
    /// rank, or all.
    pub(crate) fn portion(&self, remainder: Remainder) -> Portion {
        let earlier = self.done.clone();
        let (seat, done) =
            self.part.as_ref().map_or_else(Default::default, |part| (part.seat, part.done.clone()));
        Given { earlier, seat, done, remainder }.into()
    }

    /// Returns the checkpoint with a state of the application's own, such as a sum over the
    /// delivered batches. Both are written to the file in one step, so they can never disagree.
    ///
    /// # Errors
    /// [`CheckpointError::Application`] if the state cannot be written as JSON.
    pub fn with_application_state(mut self, state: &impl Serialize) -> Result<Self, CheckpointError> {
        let state = serde_json::to_value(state).map_err(|source| CheckpointError::Application { source })?;
        match &mut self.part {
            Some(part) => part.application = Some(state),
            None => self.application = Some(state),
        }
        Ok(self)
    }

    /// The state that was given to [`with_application_state`](Self::with_application_state); `None`
    /// if there is none.
    ///
    /// # Errors
    /// [`CheckpointError::Application`] if the state is not of this type.
    pub fn application_state<T: DeserializeOwned>(&self) -> Result<Option<T>, CheckpointError> {
        let state = self.part.as_ref().map_or(&self.application, |part| &part.application);
        typed(state)
    }

    /// The application's state in the checkpoint with which the job of this part began; `None` if
    /// there was none, or if this is no rank's part.
    ///
    /// # Errors
    /// [`CheckpointError::Application`] if the state is not of this type.
    pub fn job_state<T: DeserializeOwned>(&self) -> Result<Option<T>, CheckpointError> {
        if self.part.is_some() { self.state_of_beginning() } else { Ok(None) }
    }

    /// The application's state beside a part, or in a whole checkpoint.
    pub(crate) fn state_of_beginning<T: DeserializeOwned>(&self) -> Result<Option<T>, CheckpointError> {
        typed(&self.application)
    }

    /// The rank whose part this is, and the number of ranks; `None` if the checkpoint is whole.
    pub fn rank(&self) -> Option<(u32, u32)> {
        self.part.as_ref().map(|part| (part.seat.rank, part.seat.of))
    }

    /// A rank's part with the application's step, so that parts of different steps are not merged.
    /// A checkpoint that is no part stays as it is.
    pub fn with_step(mut self, step: u64) -> Self {
        if let Some(part) = &mut self.part {
            part.step = Some(step);
        }
        self
    }

    /// The step that was given to [`with_step`](Self::with_step).
    pub fn step(&self) -> Option<u64> {
        self.part.as_ref().and_then(|part| part.step)
    }

    /// The number of messages that are delivered. In a rank's part: by this rank since the job began.
    pub fn delivered(&self) -> u64 {
        self.part.as_ref().map_or(&self.done, |part| &part.done).count_below(u64::MAX)
    }

    /// The sequence number of the first message that is not delivered: all before it are. In a
    /// rank's part: the first of its own messages.
    pub fn first_missing(&self) -> u64 {
        self.portion(Remainder::default()).next(0)
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

    pub(crate) fn check_format(&self) -> Result<(), CheckpointError> {
        let expected = if self.part.is_some() { PART_FORMAT } else { FORMAT };
        if self.format == expected {
            Ok(())
        } else {
            Err(CheckpointError::Format { found: self.format, expected })
        }
    }

    /// What a run in this seat, if it has one, goes on from: the checkpoint itself, as a part if
    /// there is a seat.
    pub(crate) fn seated(&self, seat: Option<Seat>) -> Result<Self, CheckpointError> {
        match (&self.part, seat) {
            (Some(part), Some(seat)) if part.seat == seat => Ok(self.clone()),
            (Some(_), Some(seat)) => self.expect_whole(&format!("this run is {seat}")).map(|()| self.clone()),
            (Some(_), None) => self.expect_whole("this run has no rank").map(|()| self.clone()),
            (None, Some(seat)) => self.part_of(seat),
            (None, None) => Ok(self.clone()),
        }
    }

    /// Checks that a run with this identity can resume from the checkpoint.
    pub(crate) fn check(&self, identity: &Identity) -> Result<(), CheckpointError> {
        self.check_format()?;
        match identity.difference(&self.identity) {
            Some(difference) => Err(CheckpointError::OtherRun { difference }),
            None => Ok(()),
        }
    }
}

pub(super) fn typed<T: DeserializeOwned>(
    state: &Option<serde_json::Value>,
) -> Result<Option<T>, CheckpointError> {
    let state = state.clone().map(serde_json::from_value).transpose();
    state.map_err(|source| CheckpointError::Application { source })
}
