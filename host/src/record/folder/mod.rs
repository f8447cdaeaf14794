//! A folder with the parts of a job's ranks, which any number of ranks resumes.
//!
//! ```text
//!   generation-2.json      how many ranks, and the checkpoint with which they began
//!   rank-0-of-3.json       what rank 0 has delivered since: replaced again and again, by rank 0 only
//!   rank-2-of-3.json       (rank 1 has not come yet: it has delivered nothing)
//!   rank-1-of-4.json       of generation 1: superseded
//!   rank-0-of-3.lock       held by the process that is rank 0
//! ```
//!
//! The rules, by which ranks that cannot talk to each other agree:
//!
//! - **The newest generation counts, and nothing else.** Its file is made whole, once, by the first
//!   rank that comes, and is never changed. It contains the merged deliveries of the generation
//!   before, so from that moment on older files are of no use, and are removed by the rank that
//!   made it. A part says to which generation it belongs; one of another generation counts as absent.
//! - **As many ranks as before go on in the same generation**: each with its own part, whenever it
//!   comes back, whatever the others do. So one rank can be restarted alone.
//! - **Another number of ranks begins the next generation.** Each of them merges the parts of the
//!   one before, which nobody writes any more, to the same result; the first one to write keeps it.
//!   A rank that finds another result than its own is refused: then processes of the earlier job
//!   still ran.
//! - **A rank writes its part before it delivers anything.** So a part that was never written means
//!   that nothing was delivered. A part that was written and is lost is refused: each rank notes in
//!   its own part that it has seen the part of the rank after it.
//!
//! A death at any moment loses no message: before the new generation's file is there, the old
//! generation is complete; after that, each rank has delivered what its part says, or more, as with
//! any checkpoint.

mod layout;
mod rank_file;
#[cfg(all(test, not(cobuf_loom)))]
mod tests;

use std::fs::File;
use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;

use self::layout::{Generation, Layout, RankPart};
use crate::record::checkpoint::{Checkpoint, CheckpointError};
use crate::record::folder_error::FolderError;
use crate::record::merge::{joined, joined_with};
use crate::record::part::Part;
use crate::record::rank::{Rank, Seat};

pub use self::rank_file::RankFile;

/// A folder of checkpoints, one for each rank of a job.
///
/// All ranks name the same folder, on a file system that all of them see. Each writes its own file.
/// Whoever resumes merges them, with any number of ranks. See [`guide`](crate::guide).
///
/// ```no_run
/// # use cobuf_host::{CheckpointFolder, Host, HostBuilder, Rank, Source};
/// # fn settings() -> HostBuilder { Host::builder() }
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (folder, rank) = (CheckpointFolder::new("runs/ckpt"), Rank::from_env()?);
/// let (checkpoint, mut file) = folder.resume(rank, |one: u64, other| one + other)?;
/// let host = settings().rank(rank).source(Source::Resume(checkpoint)).start()?;
/// file.write(&host.checkpoint())?; // before the first batch
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct CheckpointFolder {
    layout: Layout,
}

impl CheckpointFolder {
    /// The folder at this path; it need not exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { layout: Layout { path: path.into() } }
    }

    /// The newest parts, by ascending ranks. A rank that has not written one has delivered nothing.
    ///
    /// # Errors
    /// [`FolderError`]: there is no checkpoint, or a file is damaged, lost, or of another job.
    pub fn parts(&self) -> Result<Vec<Checkpoint>, FolderError> {
        self.settled(|newest| {
            let (beginning, identity) = (&newest.beginning, &newest.beginning.identity);
            let parts = self.parts_of(newest)?.into_iter();
            Ok(parts.map(|part| beginning.clone().with_part(identity.clone(), part)).collect())
        })
    }

    /// The parts as one checkpoint. `add` adds up the application's states, see
    /// [`Checkpoint::merge_with`].
    ///
    /// # Errors
    /// As [`parts`](Self::parts), and [`FolderError::Merge`].
    pub fn merged<S: Serialize + DeserializeOwned>(
        &self,
        mut add: impl FnMut(S, S) -> S,
    ) -> Result<Checkpoint, FolderError> {
        self.settled(|newest| self.merged_of(newest, &mut add))
    }

    /// The file of a rank of a new job, which has delivered nothing. Other ranks of the job may have
    /// begun. The folder is made if it does not exist.
    ///
    /// # Errors
    /// [`FolderError::Exists`] if the folder has a checkpoint already,
    /// [`FolderError::Claimed`] if another process is this rank.
    pub fn begin(&self, rank: Rank) -> Result<RankFile, FolderError> {
        let seat = rank.seat().unwrap_or_default();
        let lock = self.layout.claim(seat)?;
        let generation = match self.layout.newest()? {
            None => 1,
            Some(newest) if newest.of == seat.of && self.layout.read_part(seat, &newest)?.is_none() => {
                newest.generation
            }
            Some(_) => return Err(FolderError::Exists { folder: self.layout.path.clone() }),
        };
        Ok(self.rank_file(seat, generation, lock))
    }

    /// What a rank goes on from, and its file. `add` adds up the application's states if there were
    /// other ranks before; they are then the [state of the job](Checkpoint::job_state).
    ///
    /// # Errors
    /// As [`merged`](Self::merged), and [`FolderError::Claimed`] if another process is this rank.
    pub fn resume<S: Serialize + DeserializeOwned>(
        &self,
        rank: Rank,
        mut add: impl FnMut(S, S) -> S,
    ) -> Result<(Checkpoint, RankFile), FolderError> {
        let seat = rank.seat().unwrap_or_default();
        if self.layout.newest()?.is_none() {
            return Err(self.layout.empty());
        }
        let lock = self.layout.claim(seat)?;
        let (checkpoint, generation, neighbour) = self.settled(|newest| {
            if newest.of != seat.of {
                let merged = self.merged_of(newest, &mut add)?;
                return Ok((merged.part_of(seat)?, newest.generation + 1, None));
            }
            let own = self.layout.read_part(seat, newest)?;
            if own.as_ref().is_none_or(|own| own.part.step.is_some()) {
                // It may be lost, or of another step than the others.
                let parts = self.parts_of(newest)?;
                joined(&newest.beginning, &parts.iter().collect::<Vec<_>>())?;
            }
            let neighbour = own.as_ref().is_some_and(|own| own.neighbour);
            let part = own.map_or_else(|| Part::empty(seat), |own| own.part);
            let (beginning, identity) = (newest.beginning.clone(), newest.beginning.identity.clone());
            Ok((beginning.with_part(identity, part), newest.generation, Some(neighbour)))
        })?;
        let file = self.rank_file(seat, generation, lock);
        let file = match neighbour {
            Some(neighbour) => file.joined(&checkpoint, neighbour),
            None => file,
        };
        Ok((checkpoint, file))
    }

    /// Writes a whole checkpoint as the parts of as many ranks, into a folder without checkpoints.
    ///
    /// # Errors
    /// [`FolderError::Exists`] if there are any; otherwise as [`Checkpoint::split`].
    pub fn split(&self, checkpoint: &Checkpoint, of: u32) -> Result<(), FolderError> {
        let seat = |rank| Seat { rank, of };
        let mut first = self.begin(Rank::new(0, of).map_err(CheckpointError::from)?)?;
        first.write(&checkpoint.part_of(seat(0))?)?;
        (1..of).try_for_each(|rank| first.put(&Part::empty(seat(rank))))
    }

    fn rank_file(&self, seat: Seat, generation: u64, lock: File) -> RankFile {
        RankFile::new(self.layout.clone(), seat, generation, lock)
    }

    /// Reads the newest generation by this function, and again if there is a newer one meanwhile: then
    /// files may have been removed during the look.
    fn settled<T>(
        &self,
        mut read: impl FnMut(&Generation) -> Result<T, FolderError>,
    ) -> Result<T, FolderError> {
        let mut newest = self.layout.newest()?.ok_or_else(|| self.layout.empty())?;
        loop {
            let result = read(&newest);
            let now = self.layout.newest()?.ok_or_else(|| self.layout.empty())?;
            if now.generation == newest.generation {
                return result;
            }
            newest = now;
        }
    }

    /// The parts of all ranks, ascending.
    fn parts_of(&self, newest: &Generation) -> Result<Vec<Part>, FolderError> {
        let seats = (0..newest.of).map(|rank| Seat { rank, of: newest.of });
        let read_part = |seat| self.layout.read_part(seat, newest);
        let mut read: Vec<Option<RankPart>> = seats.clone().map(read_part).collect::<Result<_, _>>()?;
        for (at, seat) in seats.enumerate() {
            let before = &read[at.checked_sub(1).unwrap_or(read.len() - 1)];
            if read[at].is_none() && before.as_ref().is_some_and(|before| before.neighbour) {
                // It may have been written during this look.
                let Seat { rank, of } = seat;
                let lost = || FolderError::Lost { part: self.layout.part_path(seat), rank, of };
                read[at] = Some(read_part(seat)?.ok_or_else(lost)?);
            }
        }
        let part = |(rank, read): (u32, Option<RankPart>)| {
            read.map_or_else(|| Part::empty(Seat { rank, of: newest.of }), |read| read.part)
        };
        Ok((0..).zip(read).map(part).collect())
    }

    fn merged_of<S: Serialize + DeserializeOwned>(
        &self,
        newest: &Generation,
        add: impl FnMut(S, S) -> S,
    ) -> Result<Checkpoint, FolderError> {
        let parts = self.parts_of(newest)?;
        Ok(joined_with(&newest.beginning, &parts.iter().collect::<Vec<_>>(), add)?)
    }
}
