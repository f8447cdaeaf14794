//! A run's own folder for private copies of plugins, and the sweep of folders that dead runs left.
//!
//! The host locks the folder (flock) as long as the run lives; the kernel releases the lock with
//! the process. So a folder that can be locked belongs to a dead run, even if a process has its number
//! again: the next start removes it, and the shared memory of the same name. Usually nothing is left: the
//! host removes its folder, or the fork server does if the host was killed, and the segment has no
//! name by then.
//!
//! If the file system has no locks, a run goes on without one, and never sweeps: no folder can be
//! known to be a dead run's. The file [`UNLOCKED`] in its folder makes other processes' sweeps pass it
//! over.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, StatVfsMountFlags, flock, statvfs};
use rustix::io::Errno;

use super::error::StartError;

/// How the names of runs begin, in the temporary folder and in /dev/shm.
const PREFIX: &str = "cobuf-run-";

/// The file in a folder that could not be locked.
const UNLOCKED: &str = "unlocked";

/// How many folders are made until one is this run's. Each further one was swept by another start
/// before it could be locked, which is rare.
const ATTEMPTS: u32 = 100;

/// A run's folder; removed when it is dropped.
#[derive(Debug)]
pub(crate) struct RunFolder {
    path: PathBuf,
    name: String,
    /// Holds the lock, if there are locks.
    _locked: Option<File>,
}

impl RunFolder {
    /// Makes a folder of a new name, after sweeping those of dead runs.
    pub(crate) fn create() -> Result<Self, StartError> {
        let parent = parent()?;
        Self::create_in(&parent).map_err(|source| StartError::RunFolder { parent, source })
    }

    fn create_in(parent: &Path) -> io::Result<Self> {
        sweep(parent);
        for _ in 0..ATTEMPTS {
            // tempfile chooses the name only, because the folder's removal depends on which process
            // dies first.
            let path = tempfile::Builder::new()
                .prefix(PREFIX)
                .make_in(parent, |path| fs::DirBuilder::new().mode(0o700).create(path))?
                .into_temp_path()
                .keep()?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            match lock(&path) {
                Lock::Ours(locked) => return Ok(Self { path, name, _locked: Some(locked) }),
                Lock::Impossible(reason) => {
                    tracing::debug!(folder = %path.display(), %reason, "the run's folder cannot be locked");
                    let folder = Self { path, name, _locked: None };
                    File::create_new(folder.path.join(UNLOCKED))?;
                    return Ok(folder);
                }
                // Before the lock, the sweep of another start may take the folder for a dead run's.
                Lock::Taken => {}
                Lock::Unreadable(error) => {
                    let _ = fs::remove_dir(&path);
                    return Err(error);
                }
            }
        }
        Err(io::Error::other(format!("{ATTEMPTS} new folders were removed at once by other processes")))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The run's name, unique on this machine; also its segment's.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        // The folder is gone already if a fork server took the host for dead.
        let _ = fs::remove_dir_all(&self.path);
        // The segment has no name by now, unless that could not be removed.
        let _ = rustix::shm::unlink(&self.name);
    }
}

/// The folder in which runs' folders are made, if plugins can be loaded from it. Asked before
/// anything is built or started.
pub(crate) fn parent() -> Result<PathBuf, StartError> {
    let mut parent = std::env::temp_dir();
    if parent.as_os_str().is_empty() {
        // An empty variable counts as one that is not set, as in shells.
        parent = PathBuf::from("/tmp");
    }
    // Absolute, because processes of the run may change their working directory.
    let parent = std::path::absolute(&parent)
        .map_err(|source| StartError::RunFolder { parent: parent.clone(), source })?;
    let flags = match statvfs(&parent) {
        Ok(stat) => stat.f_flag,
        Err(error) => return Err(StartError::RunFolder { parent, source: error.into() }),
    };
    if flags.contains(StatVfsMountFlags::NOEXEC) {
        return Err(StartError::NoExec { parent });
    }
    if flags.contains(StatVfsMountFlags::RDONLY) {
        return Err(StartError::RunFolder { parent, source: Errno::ROFS.into() });
    }
    Ok(parent)
}

/// Removes folders and names of dead runs. Those that cannot be removed, such as other users',
/// stay.
fn sweep(parent: &Path) {
    let entries = fs::read_dir(parent).into_iter().flatten().map_while(Result::ok);
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX)) {
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let ours = entry.metadata().is_ok_and(|data| data.uid() == rustix::process::geteuid().as_raw());
        if !is_folder || !ours {
            continue;
        }
        let Lock::Ours(_locked) = lock(&entry.path()) else { continue };
        if !has_only_copies(&entry.path()) {
            continue;
        }
        let name = entry.file_name();
        tracing::debug!(run = %name.display(), "removing the folder of a killed run");
        let _ = rustix::shm::unlink(name.as_encoded_bytes());
        let _ = fs::remove_dir_all(entry.path());
    }
}

/// Whether a folder has private copies of plugins only, which is all that a run with a lock puts
/// there. A folder with any other file stays, since it may be a user's own.
fn has_only_copies(folder: &Path) -> bool {
    let mut entries = fs::read_dir(folder).into_iter().flatten().map_while(Result::ok);
    entries.all(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("lib") && name.ends_with(".so")
    })
}

/// The result of an attempt to lock a folder.
enum Lock {
    /// This process holds the lock of a folder that still exists.
    Ours(File),
    /// Another process has locked or removed the folder.
    Taken,
    /// There are no locks in this file system.
    Impossible(Errno),
    /// The folder is there, and cannot be opened.
    Unreadable(io::Error),
}

fn lock(path: &Path) -> Lock {
    let folder = match File::open(path) {
        Ok(folder) => folder,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Lock::Taken,
        Err(error) => return Lock::Unreadable(error),
    };
    match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Lock::Taken,
        Err(error) => return Lock::Impossible(error),
    }
    let number = |data: io::Result<fs::Metadata>| data.map(|data| (data.dev(), data.ino())).ok();
    match (number(fs::metadata(path)), number(folder.metadata())) {
        (Some(now), Some(opened)) if now == opened => Lock::Ours(folder),
        _ => Lock::Taken,
    }
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;

    #[test]
    fn only_folders_of_dead_runs_are_removed() {
        let alive = RunFolder::create().unwrap();
        let parent = tempfile::tempdir().unwrap();
        let folder = |name: &str, file: &str| {
            let folder = parent.path().join(name);
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join(file), "").unwrap();
            folder
        };
        let dead = folder("cobuf-run-dead", "libdigits-producer-1f.so");
        let others = [folder("other", "libx.so"), folder("cobuf-run-mine", "thesis.tex")];
        sweep(parent.path());
        sweep(alive.path().parent().unwrap());
        assert!(!dead.exists());
        assert!(others.iter().all(|folder| folder.exists()));
        assert!(alive.path().exists());
        let path = alive.path().to_owned();
        drop(alive);
        assert!(!path.exists());
    }
}
