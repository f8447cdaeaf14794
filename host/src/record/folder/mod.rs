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

#[cfg(all(test, not(cobuf_loom)))]
mod tests;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::files;
use crate::record::checkpoint::{Checkpoint, CheckpointError};
use crate::record::folder_error::FolderError;
use crate::record::part::Part;
use crate::record::rank::{Rank, Seat};

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
    path: PathBuf,
}

/// One rank's file in a [`CheckpointFolder`]. No other process can have it at the same time.
#[derive(Debug)]
pub struct RankFile {
    folder: CheckpointFolder,
    seat: Seat,
    /// The generation to which the part belongs.
    generation: u64,
    /// Whether the generation's file is there, and agrees with this rank.
    joined: bool,
    /// The fingerprint of the deliveries with which the generation began, once it is joined.
    beginning: String,
    /// Whether the next rank's part was seen.
    neighbour: bool,
    _lock: File,
}

/// The content of a generation's file.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Generation {
    generation: u64,
    /// The number of ranks.
    of: u32,
    beginning: Checkpoint,
}

/// The content of a rank's file.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct RankPart {
    generation: u64,
    /// The fingerprint of the deliveries with which the generation began.
    beginning: String,
    /// Whether this rank has seen the part of the next rank.
    neighbour: bool,
    part: Part,
}

impl CheckpointFolder {
    /// The folder at this path; it need not exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The newest parts, by ascending ranks. A rank that has not written one has delivered nothing.
    ///
    /// # Errors
    /// [`FolderError`]: there is no checkpoint, or a file is damaged, lost, or of another job.
    pub fn parts(&self) -> Result<Vec<Checkpoint>, FolderError> {
        self.settled(|newest| self.parts_of(newest))
    }

    /// The parts as one checkpoint. `add` adds up the application's states, see
    /// [`Checkpoint::merge_with`].
    ///
    /// # Errors
    /// As [`parts`](Self::parts), and [`FolderError::Merge`].
    pub fn merged<S: Serialize + DeserializeOwned>(
        &self,
        add: impl FnMut(S, S) -> S,
    ) -> Result<Checkpoint, FolderError> {
        Ok(Checkpoint::merge_with(self.parts()?, add)?)
    }

    /// The file of a rank of a new job, which has delivered nothing. Other ranks of the job may have
    /// begun. The folder is made if it does not exist.
    ///
    /// # Errors
    /// [`FolderError::Exists`] if the folder has a checkpoint already,
    /// [`FolderError::Claimed`] if another process is this rank.
    pub fn begin(&self, rank: Rank) -> Result<RankFile, FolderError> {
        let seat = rank.seat().unwrap_or_default();
        let lock = self.claim(seat)?;
        let generation = match self.newest()? {
            None => 1,
            Some(newest) if newest.of == seat.of && self.read_part(seat, &newest)?.is_none() => {
                newest.generation
            }
            Some(_) => return Err(FolderError::Exists { folder: self.path.clone() }),
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
        if self.newest()?.is_none() {
            return Err(self.empty());
        }
        let lock = self.claim(seat)?;
        let (checkpoint, generation, neighbour) = self.settled(|newest| {
            if newest.of != seat.of {
                let merged = Checkpoint::merge_with(self.parts_of(newest)?, &mut add)?;
                return Ok((merged.part_of(seat)?, newest.generation + 1, None));
            }
            let own = self.read_part(seat, newest)?;
            if own.as_ref().is_none_or(|own| own.part.step.is_some()) {
                // It may be lost, or of another step than the others.
                Checkpoint::merge(self.parts_of(newest)?)?;
            }
            let neighbour = own.as_ref().is_some_and(|own| own.neighbour);
            let part = own.map_or_else(|| Part::empty(seat), |own| own.part);
            let (beginning, identity) = (newest.beginning.clone(), newest.beginning.identity.clone());
            Ok((beginning.with_part(identity, part), newest.generation, Some(neighbour)))
        })?;
        let mut file = self.rank_file(seat, generation, lock);
        (file.joined, file.neighbour) = (neighbour.is_some(), neighbour == Some(true));
        file.beginning = fingerprint(&checkpoint);
        Ok((checkpoint, file))
    }

    /// Writes a whole checkpoint as the parts of as many ranks, into a folder without checkpoints.
    ///
    /// # Errors
    /// [`FolderError::Exists`] if there are any; otherwise as [`Checkpoint::split`].
    pub fn split(&self, checkpoint: &Checkpoint, of: u32) -> Result<(), FolderError> {
        let parts = checkpoint.split(of)?;
        let mut first = self.begin(Rank::new(0, of).map_err(CheckpointError::from)?)?;
        if let Some(part) = parts.first() {
            first.write(part)?;
        }
        let mut others = parts.iter().skip(1).filter_map(|checkpoint| checkpoint.part.as_ref());
        others.try_for_each(|part| first.put(part))
    }

    fn rank_file(&self, seat: Seat, generation: u64, lock: File) -> RankFile {
        RankFile {
            folder: self.clone(),
            seat,
            generation,
            joined: false,
            beginning: String::new(),
            neighbour: false,
            _lock: lock,
        }
    }

    fn empty(&self) -> FolderError {
        FolderError::Empty { folder: self.path.clone() }
    }

    /// Reads the newest generation by this function, and again if there is a newer one meanwhile: then
    /// files may have been removed during the look.
    fn settled<T>(
        &self,
        mut read: impl FnMut(&Generation) -> Result<T, FolderError>,
    ) -> Result<T, FolderError> {
        let mut newest = self.newest()?.ok_or_else(|| self.empty())?;
        loop {
            let result = read(&newest);
            let now = self.newest()?.ok_or_else(|| self.empty())?;
            if now.generation == newest.generation {
                return result;
            }
            newest = now;
        }
    }

    fn parts_of(&self, newest: &Generation) -> Result<Vec<Checkpoint>, FolderError> {
        let seats = (0..newest.of).map(|rank| Seat { rank, of: newest.of });
        let read: Vec<_> = seats.map(|seat| self.read_part(seat, newest)).collect::<Result<_, _>>()?;
        for (at, part) in read.iter().enumerate() {
            let before = &read[at.checked_sub(1).unwrap_or(read.len() - 1)];
            if part.is_none() && before.as_ref().is_some_and(|before| before.neighbour) {
                let seat = Seat { rank: at as u32, of: newest.of };
                return Err(FolderError::Lost { part: self.part_path(seat), rank: seat.rank, of: seat.of });
            }
        }
        let with_part = |(rank, read): (u32, Option<RankPart>)| {
            let part = read.map_or_else(|| Part::empty(Seat { rank, of: newest.of }), |read| read.part);
            newest.beginning.clone().with_part(newest.beginning.identity.clone(), part)
        };
        Ok((0..).zip(read).map(with_part).collect())
    }

    /// The part of a rank in this generation; `None` if it has not written one.
    fn read_part(&self, seat: Seat, newest: &Generation) -> Result<Option<RankPart>, FolderError> {
        let path = self.part_path(seat);
        let Some(read) = read_file::<RankPart>(&path)? else { return Ok(None) };
        if read.generation > newest.generation {
            let generation = self.generation_path(read.generation);
            return Err(FolderError::NoGeneration { part: path, generation });
        }
        if read.generation < newest.generation {
            return Ok(None);
        }
        if read.beginning != fingerprint(&newest.beginning) || read.part.seat != seat {
            let generation = self.generation_path(read.generation);
            return Err(FolderError::Foreign { part: path, generation });
        }
        Ok(Some(read))
    }

    /// The newest generation; `None` if the folder has none, or does not exist.
    fn newest(&self) -> Result<Option<Generation>, FolderError> {
        loop {
            let numbers = self.names()?.into_iter().filter_map(|name| generation_of(&name));
            let Some(number) = numbers.max() else { return Ok(None) };
            // It is gone if a newer one came meanwhile.
            if let Some(found) = read_file::<Generation>(&self.generation_path(number))? {
                found.beginning.check_format()?;
                return Ok(Some(found));
            }
        }
    }

    fn names(&self) -> Result<Vec<String>, FolderError> {
        let names = || -> io::Result<Vec<String>> {
            let entries = fs::read_dir(&self.path)?;
            entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
        };
        match names() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            names => names.map_err(|source| file_error("read", &self.path, source)),
        }
    }

    fn generation_path(&self, generation: u64) -> PathBuf {
        self.path.join(format!("generation-{generation}.json"))
    }

    fn part_path(&self, Seat { rank, of }: Seat) -> PathBuf {
        self.path.join(format!("rank-{rank}-of-{of}.json"))
    }

    /// Makes sure that no other process is this rank, as long as the result lives.
    fn claim(&self, seat: Seat) -> Result<File, FolderError> {
        fs::create_dir_all(&self.path).map_err(|source| file_error("make", &self.path, source))?;
        let path = self.part_path(seat).with_extension("lock");
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|source| file_error("make", &path, source))?;
        match rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(file),
            Err(Errno::AGAIN | Errno::ACCESS) => {
                Err(FolderError::Claimed { part: self.part_path(seat), rank: seat.rank, of: seat.of })
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the file system has no locks: nothing keeps another process from being the same rank");
                Ok(file)
            }
        }
    }

    /// Removes the files of earlier generations, as far as they have other names than this one's.
    fn clean(&self, generation: u64, of: u32) -> Result<(), FolderError> {
        for name in self.names()? {
            let old_generation = generation_of(&name).is_some_and(|number| number < generation);
            let old_part = world_of(&name).is_some_and(|world| world != of);
            if old_generation || old_part {
                // What stays counts no more.
                let _ = fs::remove_file(self.path.join(name));
            }
        }
        Ok(())
    }
}

impl RankFile {
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
    fn put(&self, part: &Part) -> Result<(), FolderError> {
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
        let content = Generation { generation: self.generation, of, beginning: beginning.clone() };
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

/// The number in the name of a generation's file.
fn generation_of(name: &str) -> Option<u64> {
    name.strip_prefix("generation-")?.strip_suffix(".json")?.parse().ok()
}

/// The number of ranks in the name of a rank's file, of whichever kind.
fn world_of(name: &str) -> Option<u32> {
    let (rank, of) = name.strip_prefix("rank-")?.split_once("-of-")?;
    rank.parse::<u32>().ok()?;
    of.split_once('.')?.0.parse().ok()
}

/// The fingerprint of the deliveries with which a job began.
fn fingerprint(checkpoint: &Checkpoint) -> String {
    format!("{:016x}", xxh3_64(&encoded(&checkpoint.done)))
}

/// Structs of numbers, texts and lists can always be written.
fn encoded(content: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(content).unwrap_or_default()
}

/// The content of a file; `None` if there is none.
fn read_file<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, FolderError> {
    match files::read(path) {
        Ok(text) => match serde_json::from_slice(&text) {
            Ok(content) => Ok(Some(content)),
            Err(source) => Err(FolderError::Damaged { path: path.to_owned(), source }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(file_error("read", path, source)),
    }
}

fn file_error(what: &'static str, path: &Path, source: io::Error) -> FolderError {
    FolderError::File { what, path: path.to_owned(), source }
}
