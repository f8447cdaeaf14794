//! The files of a folder of parts: their names, what is in them, and which of them count.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::files;
use crate::record::checkpoint::Checkpoint;
use crate::record::folder_error::FolderError;
use crate::record::part::Part;
use crate::record::rank::Seat;

/// A folder of parts.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) path: PathBuf,
}

/// The content of a generation's file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Generation {
    pub(super) generation: u64,
    /// The number of ranks.
    pub(super) of: u32,
    pub(super) beginning: Checkpoint,
    /// That of the beginning, once the file was read.
    #[serde(skip)]
    fingerprint: String,
}

/// The content of a rank's file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct RankPart {
    pub(super) generation: u64,
    /// The fingerprint of the deliveries with which the generation began.
    pub(super) beginning: String,
    /// Whether this rank has seen the part of the next rank.
    pub(super) neighbour: bool,
    pub(super) part: Part,
}

impl Generation {
    pub(super) fn new(generation: u64, of: u32, beginning: Checkpoint) -> Self {
        Self { generation, of, beginning, fingerprint: String::new() }
    }
}

impl Layout {
    /// The part of a rank in this generation; `None` if it has not written one.
    pub(super) fn read_part(&self, seat: Seat, newest: &Generation) -> Result<Option<RankPart>, FolderError> {
        let path = self.part_path(seat);
        let Some(read) = read_file::<RankPart>(&path)? else { return Ok(None) };
        if read.generation > newest.generation {
            let generation = self.generation_path(read.generation);
            return Err(FolderError::NoGeneration { part: path, generation });
        }
        if read.generation < newest.generation {
            return Ok(None);
        }
        if read.beginning != newest.fingerprint || read.part.seat != seat {
            let generation = self.generation_path(read.generation);
            return Err(FolderError::Foreign { part: path, generation });
        }
        Ok(Some(read))
    }

    /// The newest generation; `None` if the folder has none, or does not exist.
    pub(super) fn newest(&self) -> Result<Option<Generation>, FolderError> {
        loop {
            let numbers = self.names()?.into_iter().filter_map(|name| generation_of(&name));
            let Some(number) = numbers.max() else { return Ok(None) };
            // It is gone if a newer one came meanwhile.
            if let Some(found) = read_file::<Generation>(&self.generation_path(number))? {
                found.beginning.check_format()?;
                let fingerprint = fingerprint(&found.beginning);
                return Ok(Some(Generation { fingerprint, ..found }));
            }
        }
    }

    pub(super) fn names(&self) -> Result<Vec<String>, FolderError> {
        let names = || -> io::Result<Vec<String>> {
            let entries = fs::read_dir(&self.path)?;
            entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
        };
        match names() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            names => names.map_err(|source| file_error("read", &self.path, source)),
        }
    }

    pub(super) fn generation_path(&self, generation: u64) -> PathBuf {
        self.path.join(format!("generation-{generation}.json"))
    }

    pub(super) fn part_path(&self, Seat { rank, of }: Seat) -> PathBuf {
        self.path.join(format!("rank-{rank}-of-{of}.json"))
    }

    /// Makes sure that no other process is this rank, as long as the result lives.
    pub(super) fn claim(&self, seat: Seat) -> Result<File, FolderError> {
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
    pub(super) fn clean(&self, generation: u64, of: u32) -> Result<(), FolderError> {
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

    pub(super) fn empty(&self) -> FolderError {
        FolderError::Empty { folder: self.path.clone() }
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
pub(super) fn fingerprint(checkpoint: &Checkpoint) -> String {
    format!("{:016x}", xxh3_64(&encoded(&checkpoint.done)))
}

/// Structs of numbers, texts and lists can always be written.
pub(super) fn encoded(content: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(content).unwrap_or_default()
}

/// The content of a file; `None` if there is none.
pub(super) fn read_file<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, FolderError> {
    match files::read(path) {
        Ok(text) => match serde_json::from_slice(&text) {
            Ok(content) => Ok(Some(content)),
            Err(source) => Err(FolderError::Damaged { path: path.to_owned(), source }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(file_error("read", path, source)),
    }
}

pub(super) fn file_error(what: &'static str, path: &Path, source: io::Error) -> FolderError {
    FolderError::File { what, path: path.to_owned(), source }
}
