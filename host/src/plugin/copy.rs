//! The run's own copy of a plugin's file, which the run's processes load.
//!
//! It lies in the run's folder, below the temporary folder. A cleaner of temporary files may remove
//! it under a long run, so the host keeps it open and puts it back before a process needs it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;

#[cfg(feature = "sandbox")]
use cobuf_plugin_api::{Dictionary, Value, codec};
use parking_lot::Mutex;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::interface::Interface;

/// One plugin of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PluginPlan {
    pub(crate) name: String,
    pub(crate) version: String,
    /// The interface that the plugin is called through.
    pub(crate) interface: Interface,
    /// The file that the user named.
    #[serde(with = "crate::path_bytes")]
    pub(crate) origin: PathBuf,
    /// The run's own copy of the plugin's file.
    #[serde(with = "crate::path_bytes")]
    pub(crate) library: PathBuf,
    /// Code that is not in the file: an encoded dictionary; usually empty.
    pub(crate) code: Vec<u8>,
    /// In the host only.
    #[serde(skip)]
    pub(crate) kept: Option<Arc<Kept>>,
}

/// The facts that are needed to put a copy back.
#[derive(Debug)]
pub(crate) struct Kept {
    content: Mutex<File>,
    /// The lock of the folder, if that had to be made anew.
    folder: Mutex<Option<File>>,
}

impl Kept {
    /// Keeps this file, which was just written.
    pub(super) fn new(content: File) -> Arc<Self> {
        Arc::new(Self { content: Mutex::new(content), folder: Mutex::default() })
    }
}

impl PluginPlan {
    /// The files and folders that the plugin is made of: what it can read in the tightest sandbox. The code
    /// of a script names the folders of its interpreter.
    #[cfg(feature = "sandbox")]
    pub(crate) fn parts(&self) -> Vec<PathBuf> {
        let code: Option<Dictionary> = codec::decode("the code", &self.code).ok();
        let folders = code.as_ref().and_then(|code| code.get("folders"));
        let Some(Value::List(folders)) = folders else { return vec![self.library.clone()] };
        let named = folders.iter().filter_map(|folder| match folder {
            Value::String(path) => Some(PathBuf::from(path)),
            _ => None,
        });
        std::iter::once(self.library.clone()).chain(named).collect()
    }

    /// Puts the copy back if it is gone.
    pub(crate) fn restore(&self) -> io::Result<()> {
        let Some(kept) = &self.kept else { return Ok(()) };
        let mut content = kept.content.lock();
        let known = content.metadata()?;
        if fs::metadata(&self.library).is_ok_and(|now| (now.dev(), now.ino()) == (known.dev(), known.ino())) {
            return Ok(());
        }
        tracing::warn!(
            copy = %self.library.display(),
            "the run's copy of a plugin was removed, and is put back; are temporary files cleaned too early?"
        );
        if let Some(folder) = self.library.parent().filter(|folder| !folder.exists()) {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            let made = File::open(folder)?;
            // As for the first one: a file system without locks has none.
            let _ = flock(&made, FlockOperation::NonBlockingLockExclusive);
            *kept.folder.lock() = Some(made);
        }
        let mut bytes = vec![0; known.len() as usize];
        content.read_exact_at(&mut bytes, 0)?;
        *content = write(&self.library, &bytes)?;
        Ok(())
    }
}

/// Writes a copy; returns it, readable. Nothing is left of one that cannot be written whole.
pub(super) fn write(path: &std::path::Path, bytes: &[u8]) -> io::Result<File> {
    let written = || {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600).open(path)?.write_all(bytes)?;
        File::open(path)
    };
    written().inspect_err(|_| drop(fs::remove_file(path)))
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;

    #[test]
    fn copy_that_was_removed_with_its_folder_is_put_back() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("cobuf-run-1");
        fs::create_dir(&folder).unwrap();
        let library = folder.join("libx.so");
        let kept = Some(Kept::new(write(&library, b"code").unwrap()));
        let plan = PluginPlan {
            name: "x".to_owned(),
            version: "1".to_owned(),
            interface: Interface::Rust,
            origin: PathBuf::new(),
            library: library.clone(),
            code: Vec::new(),
            kept,
        };
        plan.restore().unwrap();
        for _ in 0..2 {
            fs::remove_dir_all(&folder).unwrap();
            plan.restore().unwrap();
            assert_eq!(fs::read(&library).unwrap(), b"code");
            assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
            assert_eq!(fs::metadata(&library).unwrap().mode() & 0o777, 0o600);
            let other = File::open(&folder).unwrap();
            let locked = flock(&other, FlockOperation::NonBlockingLockExclusive);
            assert_eq!(locked, Err(rustix::io::Errno::WOULDBLOCK), "no sweep removes it");
        }
        // Somebody else's file in its place is not loaded.
        fs::remove_file(&library).unwrap();
        fs::write(&library, "other").unwrap();
        plan.restore().unwrap();
        assert_eq!(fs::read(&library).unwrap(), b"code");
    }
}
