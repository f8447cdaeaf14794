//! A run's own folder for private copies of plugins, and the sweep of folders that dead runs left.
//!
//! The host locks the folder (flock) as long as the run lives; the kernel releases the lock with
//! the process. So a folder that can be locked belongs to a dead run, whatever process numbers say:
//! the next start removes it, and the shared memory of the same name. Usually nothing is left: the
//! host removes its folder, or the fork server does if the host was killed, and the segment has no
//! name by then.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// How the names of runs begin, in the temporary folder and in /dev/shm.
const PREFIX: &str = "cobuf-run-";

/// A run's folder; removed when it is dropped.
#[derive(Debug)]
pub(crate) struct RunFolder {
    path: PathBuf,
    name: String,
    /// Holds the lock.
    _locked: File,
}

impl RunFolder {
    /// Makes a folder of a new name, after sweeping those of dead runs.
    pub(crate) fn create() -> io::Result<Self> {
        // Absolute, because processes of the run may change their working directory.
        let parent = std::path::absolute(std::env::temp_dir())?;
        sweep(&parent);
        loop {
            // tempfile chooses the name only, because the folder's removal depends on which process
            // dies first.
            let path = tempfile::Builder::new()
                .prefix(PREFIX)
                .make_in(&parent, |path| fs::DirBuilder::new().mode(0o700).create(path))?
                .into_temp_path()
                .keep()?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // Before the lock, the sweep of another start may take the folder for a dead run's.
            if let Some(locked) = lock(&path) {
                return Ok(Self { path, name, _locked: locked });
            }
        }
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
    }
}

/// Removes folders and names of dead runs. Those that cannot be removed, such as other users',
/// stay.
fn sweep(parent: &Path) {
    let entries = fs::read_dir(parent).into_iter().flatten().map_while(Result::ok);
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX)) {
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let ours = entry.metadata().is_ok_and(|data| data.uid() == rustix::process::geteuid().as_raw());
        let Some(_locked) = (is_folder && ours).then(|| lock(&entry.path())).flatten() else { continue };
        let name = entry.file_name();
        tracing::debug!(run = %name.display(), "removing the folder of a killed run");
        let _ = rustix::shm::unlink(name.as_encoded_bytes());
        remove_copies(&entry.path());
    }
}

/// Removes a dead run's folder if it has private copies of plugins only, which is all that a run
/// puts there. A folder with any other file stays, since it may be a user's own.
fn remove_copies(folder: &Path) {
    let entries = || fs::read_dir(folder).into_iter().flatten().map_while(Result::ok);
    let is_copy = |entry: &fs::DirEntry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("lib") && name.ends_with(".so")
    };
    if entries().all(|entry| is_copy(&entry)) {
        let _ = fs::remove_dir_all(folder);
    }
}

/// Locks a folder that still exists; `None` if another process locked or removed it.
fn lock(path: &Path) -> Option<File> {
    let folder = File::open(path).ok()?;
    flock(&folder, FlockOperation::NonBlockingLockExclusive).ok()?;
    let (now, opened) = (fs::metadata(path).ok()?, folder.metadata().ok()?);
    (now.ino() == opened.ino()).then_some(folder)
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
