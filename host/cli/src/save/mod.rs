//! `cobuf run --save DIR`: each batch as a file of its own, named by its number.
//!
//! ```text
//!   batch 42 ──► DIR/.unfinished ── rename ──► DIR/000000042.npz         then the batch is released
//!                                                 ⋮
//!                          all files on the disk (syncfs) ──► checkpoint
//! ```
//!
//! So a file is whole or not there, whenever the run is killed, and a checkpoint counts a batch only
//! if its file is on the disk. If a batch cannot be saved, the run goes on, but writes no more
//! checkpoints: a run that resumes from the last one makes what is missing. Files that were written
//! after the last checkpoint are then written again, under the same names.
//!
//! ```text
//!   content      a batch as it is written
//!   npz          NumPy's format, through quiet, a file that keeps its error
//!   safetensors  the format of Hugging Face
//! ```

mod content;
mod npz;
mod quiet;
mod safetensors;

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use cobuf_host::{Batch, Rank, Schema};
use serde::Serialize;

use crate::args::{RunArgs, SaveFormat};
use cobuf::progress::say;
use content::Content;

/// The number of errors that are printed.
const SHOWN_ERRORS: u64 = 3;

/// The folder that the batches of a run are saved in.
pub(crate) struct Folder {
    path: PathBuf,
    format: SaveFormat,
    /// The file that is being written.
    unfinished: PathBuf,
    /// Open since the start, so that the system tells this run about writes that fail later.
    handle: File,
    saved: u64,
    /// Batches whose files could not be written.
    unsaved: u64,
    /// Whether all files reached the disk, as far as this is known.
    synced: bool,
}

/// What became of the batches. The names of the fields are those of the JSON report.
#[derive(Debug, Serialize)]
pub(crate) struct Saved {
    pub(crate) folder: String,
    pub(crate) format: SaveFormat,
    /// Files that this process has written.
    pub(crate) files: u64,
    /// Batches that were delivered, and whose files could not be written.
    pub(crate) unsaved: u64,
}

impl Folder {
    /// Makes the folder, or checks that it is this run's; `None` without `--save`. `batches` were
    /// delivered before.
    pub(crate) fn open(args: &RunArgs, rank: Option<Rank>, batches: u64) -> Result<Option<Self>> {
        let Some(path) = args.save.clone() else { return Ok(None) };
        let (format, rank) = (args.format, rank.unwrap_or_else(Rank::none));
        let cannot = || format!("--save: the folder {} cannot be used", path.display());
        fs::create_dir_all(&path).with_context(cannot)?;
        let files = files(&path).with_context(cannot)?;
        if let Some((_, other)) = files.iter().find(|(_, extension)| extension != format.extension()) {
            anyhow::bail!(
                "--save: {} has files of the format {other}; name another folder, or give --format {other}",
                path.display()
            );
        }
        if args.resume.is_some() {
            // The files of ranks are in one folder, and each rank knows its own number only.
            let found = files.len() as u64;
            if rank.is_none() && found < batches {
                say(&format!(
                    "warning: {batches} batches were delivered before the checkpoint, and {} has {found} files: \
                     the others are not saved again",
                    path.display()
                ));
            }
        } else if args.replay.is_none() {
            let own = |number: &u64| number % u64::from(rank.of()) == u64::from(rank.rank());
            let taken = files.iter().map(|(number, _)| number).find(|number| own(number));
            ensure!(
                taken.is_none(),
                "--save: {} has batches of another run, such as {}; name another folder, or go on with that run by \
                 --resume",
                path.display(),
                format.name(*taken.unwrap_or(&0))
            );
        }
        let suffix = if rank.is_none() { String::new() } else { format!("-{}", rank.rank()) };
        let unfinished = path.join(format!(".unfinished{suffix}"));
        // A run that was killed may have left it.
        remove(&unfinished).with_context(cannot)?;
        let handle = File::open(&path).with_context(cannot)?;
        Ok(Some(Self { path, format, unfinished, handle, saved: 0, unsaved: 0, synced: true }))
    }

    /// Refuses arrays that the format cannot hold.
    pub(crate) fn check(&self, schema: &Schema) -> Result<()> {
        match self.format {
            SaveFormat::Npz => npz::check(schema),
            SaveFormat::Safetensors => safetensors::check(schema),
        }
    }

    /// Writes the batch's file. If that fails, the user is told, and the run goes on.
    pub(crate) fn save(&mut self, batch: &Batch) {
        let Err(error) = self.write(batch) else {
            self.saved += 1;
            return;
        };
        self.unsaved += 1;
        // It may be what fills the disk.
        let _ = remove(&self.unfinished);
        if self.unsaved > SHOWN_ERRORS {
            return;
        }
        say(&format!("error: {error:#}"));
        if self.unsaved == 1 {
            say(
                "the run goes on, and writes no more checkpoints: a run that resumes from the last one makes the batches \
                 that are missing",
            );
        }
        if self.unsaved == SHOWN_ERRORS {
            say("error: further batches that are not saved are counted, not shown");
        }
    }

    fn write(&self, batch: &Batch) -> Result<()> {
        let name = self.format.name(batch.sequence());
        let write = || -> Result<()> {
            let content = Content::of(batch)?;
            let file = BufWriter::new(File::create_new(&self.unfinished)?);
            match self.format {
                SaveFormat::Npz => npz::write(file, &content)?,
                SaveFormat::Safetensors => safetensors::write(file, &content)?,
            }
            Ok(fs::rename(&self.unfinished, self.path.join(&name))?)
        };
        write().with_context(|| {
            format!("batch {} is not saved as {}", batch.sequence(), self.path.join(&name).display())
        })
    }

    /// Waits until every file is on the disk. Whether a checkpoint may count the batches: none is
    /// missing.
    pub(crate) fn is_on_disk(&mut self) -> bool {
        if self.unsaved > 0 || !self.synced {
            return false;
        }
        // One call for all files; a call for each would make small batches much slower.
        if let Err(error) = rustix::fs::syncfs(&self.handle) {
            self.synced = false;
            say(&format!(
                "error: files in {} may be damaged: {error}; no more checkpoints are written",
                self.path.display()
            ));
        }
        self.synced
    }

    pub(crate) fn summary(&self) -> Saved {
        Saved {
            folder: self.path.display().to_string(),
            format: self.format,
            files: self.saved,
            unsaved: self.unsaved,
        }
    }
}

impl fmt::Display for Saved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} batches in {}", self.files, self.folder)?;
        match self.unsaved {
            0 => Ok(()),
            unsaved => write!(f, "; {unsaved} could not be written, and no checkpoint counts them"),
        }
    }
}

impl SaveFormat {
    fn extension(self) -> &'static str {
        match self {
            Self::Npz => "npz",
            Self::Safetensors => "safetensors",
        }
    }

    /// The name of a batch's file. It has as many digits that names are in the order of batches.
    fn name(self, sequence: u64) -> String {
        format!("{sequence:09}.{}", self.extension())
    }
}

/// The numbers and extensions of the batches in a folder.
fn files(folder: &Path) -> io::Result<Vec<(u64, String)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if !entry.file_type()?.is_file() {
            continue;
        }
        let name = PathBuf::from(entry.file_name());
        let Some(extension) = name.extension().and_then(OsStr::to_str) else { continue };
        let number = name.file_stem().and_then(OsStr::to_str).and_then(|stem| stem.parse().ok());
        let formats = [SaveFormat::Npz, SaveFormat::Safetensors].map(SaveFormat::extension);
        if let Some(number) = number.filter(|_| formats.contains(&extension)) {
            found.push((number, extension.to_owned()));
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
