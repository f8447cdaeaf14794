//! Why a folder of parts cannot be written, read or used.

use std::io;
use std::path::PathBuf;

use super::checkpoint::CheckpointError;
use super::merge::MergeError;

/// Why a [`CheckpointFolder`](crate::CheckpointFolder) cannot be written, read or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// A file or the folder cannot be made, written or read.
    #[error("cannot {what} {}", path.display())]
    File {
        /// The operation: `make`, `write` or `read`.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The folder has no checkpoint.
    #[error("the folder {} has no checkpoint of ranks: there is no file generation-N.json in it", folder.display())]
    Empty {
        /// The folder.
        folder: PathBuf,
    },
    /// The folder has a checkpoint, and a new job was to begin.
    #[error("the folder {} has a checkpoint already; go on from it (--resume), or take another folder", folder.display())]
    Exists {
        /// The folder.
        folder: PathBuf,
    },
    /// A file is not what its name says, such as half-written.
    #[error("{} is damaged or half-written; put a copy of it back, or go on from an older checkpoint", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        source: serde_json::Error,
    },
    /// A part was written, and is not there.
    #[error(
        "the part of rank {rank} of {of} is missing: {} was written before; put it back, and check that all ranks use the same folder",
        part.display()
    )]
    Lost {
        /// The file.
        part: PathBuf,
        /// The rank.
        rank: u32,
        /// The number of ranks.
        of: u32,
    },
    /// The beginning of a part's generation is not there.
    #[error("{} belongs to {}, which is missing; put that file back", part.display(), generation.display())]
    NoGeneration {
        /// The part.
        part: PathBuf,
        /// The missing file.
        generation: PathBuf,
    },
    /// A part is of another job.
    #[error(
        "{} is the part of another job: it began with other deliveries than {}; put the right file there",
        part.display(), generation.display()
    )]
    Foreign {
        /// The part.
        part: PathBuf,
        /// The generation's file.
        generation: PathBuf,
    },
    /// Another rank of the job has other settings.
    #[error("the ranks' settings differ: {difference} in {}; start all ranks with the same settings", generation.display())]
    OtherRun {
        /// The file in which another rank wrote its settings.
        generation: PathBuf,
        /// The first difference, such as `the seed is 1, it was 0`.
        difference: String,
    },
    /// Another rank of the job began with other deliveries.
    #[error(
        "this rank goes on after {here} delivered messages, and {} says {there}, or others: a process of the job before still ran; \
         end all of them, then resume", generation.display()
    )]
    OtherBeginning {
        /// The file in which another rank wrote its beginning.
        generation: PathBuf,
        /// How many messages this rank found delivered.
        here: u64,
        /// How many the other one found.
        there: u64,
    },
    /// Another process is this rank.
    #[error("another process is rank {rank} of {of} and writes {}; give each process a rank of its own, and end old processes", part.display())]
    Claimed {
        /// The rank's file.
        part: PathBuf,
        /// The rank.
        rank: u32,
        /// The number of ranks.
        of: u32,
    },
    /// Another job has gone on from the folder: it delivers what this one would.
    #[error("another job has gone on from {}, so this rank's deliveries do not count there; end this process", folder.display())]
    Superseded {
        /// The folder.
        folder: PathBuf,
    },
    /// The checkpoint that was to be written is not a part of the file's rank.
    #[error("the checkpoint is not the part of rank {rank} of {of}; start the host with that rank")]
    NotOurs {
        /// The rank.
        rank: u32,
        /// The number of ranks.
        of: u32,
    },
    /// The parts do not belong together.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// A checkpoint cannot be used.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}
