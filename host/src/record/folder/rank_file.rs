//! The file that one rank writes.

use std::fs::File;
use std::io;

use super::layout::{Generation, Layout, RankPart, encoded, file_error, fingerprint, read_file};
use crate::files;
use crate::record::checkpoint::Checkpoint;
use crate::record::folder_error::FolderError;
use crate::record::part::Part;
use crate::record::rank::Seat;

/// One rank's file in a [`CheckpointFolder`](crate::CheckpointFolder). No other process can have it
/// at the same time.
#[derive(Debug)]
pub struct RankFile {
    folder: Layout,
    seat: Seat,
    /// The generation to which the part belongs.
    generation: u64,
    /// Whether the generation's file is there, and agrees with this rank.
    pub(super) joined: bool,
    /// The fingerprint of the deliveries with which the generation began, once it is joined.
    beginning: String,
    /// Whether the next rank's part was seen.
    neighbour: bool,
    _lock: File,
}

impl RankFile {
    /// The file of a rank that has not written its part in this generation.
    pub(super) fn new(folder: Layout, seat: Seat, generation: u64, lock: File) -> Self {
        let beginning = String::new();
        Self { folder, seat, generation, joined: false, beginning, neighbour: false, _lock: lock }
    }

    /// The file of a rank whose generation is there. `neighbour`: it has seen the next rank's part.
    pub(super) fn joined(self, beginning: &Checkpoint, neighbour: bool) -> Self {
        Self { joined: true, beginning: fingerprint(beginning), neighbour, ..self }
    }

    /// Writes the rank's part, as [`Checkpoint::write`] writes a checkpoint. The first time, which
    /// must be before the run delivers anything, it also agrees with the other ranks on the
    /// beginning.
    ///
    /// # Errors
    /// [`FolderError::OtherRun`] and [`FolderError::OtherBeginning`] if another rank has begun with
    /// other settings or deliveries, [`FolderError::Superseded`] if another job has gone on from the
    /// folder.
    pub fn write(&mut self, checkpoint: &Checkpoint) -> Result<(), FolderError> {
        let part = checkpoint.part.as_ref().filter(|part| part.seat == self.seat);
        let part = part.ok_or(FolderError::NotOurs { rank: self.seat.rank, of: self.seat.of })?;
        if self.folder.generation_path(self.generation + 1).exists() {
            return Err(FolderError::Superseded { folder: self.folder.path.clone() });
        }
        if self.joined {
            self.look_for_neighbour()?;
        } else {
            self.join(&checkpoint.beginning())?;
        }
        self.put(part)
    }

    /// Writes the file of this part, which belongs to the generation.
    pub(super) fn put(&self, part: &Part) -> Result<(), FolderError> {
        let content = RankPart {
            generation: self.generation,
            beginning: self.beginning.clone(),
            neighbour: self.neighbour,
            part: part.clone(),
        };
        let path = self.folder.part_path(part.seat);
        files::replace(&path, &encoded(&content)).map_err(|source| file_error("write", &path, source))
    }

    /// Agrees with the other ranks on the generation's beginning.
    fn join(&mut self, beginning: &Checkpoint) -> Result<(), FolderError> {
        let (folder, of) = (&self.folder, self.seat.of);
        let path = folder.generation_path(self.generation);
        let content = Generation::new(self.generation, of, beginning.clone());
        match files::create(&path, &encoded(&content)) {
            Ok(()) => folder.clean(self.generation, of)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // A listing of a network's file system may be old; a file that is opened is not.
                let found = read_file::<Generation>(&path)?.filter(|found| found.of == of);
                let found = found.ok_or_else(|| FolderError::Superseded { folder: folder.path.clone() })?;
                if let Some(difference) = beginning.identity.difference(&found.beginning.identity) {
                    return Err(FolderError::OtherRun { generation: path, difference });
                }
                if found.beginning.done != beginning.done {
                    let (here, there) = (beginning.delivered(), found.beginning.delivered());
                    return Err(FolderError::OtherBeginning { generation: path, here, there });
                }
            }
            Err(source) => return Err(file_error("write", &path, source)),
        }
        self.joined = true;
        self.beginning = fingerprint(beginning);
        Ok(())
    }

    fn look_for_neighbour(&mut self) -> Result<(), FolderError> {
        let Seat { rank, of } = self.seat;
        if self.neighbour || of == 1 {
            return Ok(());
        }
        let next = self.folder.part_path(Seat { rank: (rank + 1) % of, of });
        let read = read_file::<RankPart>(&next)?;
        self.neighbour = read.is_some_and(|read| read.generation == self.generation);
        Ok(())
    }
}
