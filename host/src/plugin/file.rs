//! A plugin's file as bytes that were read completely and checked. The run loads a copy of exactly
//! these bytes.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, thread};

use cobuf_plugin_api::PluginKind;
use cobuf_plugin_api::manifest::ManifestInfo;
use xxhash_rust::xxh3::xxh3_128;

use super::check;
use super::code::Code;
use super::copy::{self, Kept, PluginPlan};
use super::error::PluginError;
use super::interface::Interface;
use crate::ulimit;

/// How long a file may keep changing before reading it fails.
const SETTLE_LIMIT: Duration = Duration::from_secs(10);
/// The time between two reads of a file that is being written. A linker gives no notice when it is
/// done.
const SETTLE_PAUSE: Duration = Duration::from_millis(20);
/// The most characters of a plugin's name in that of its copy.
const MAX_NAME: usize = 40;

/// A plugin that may be loaded.
#[derive(Debug, Clone)]
pub(crate) struct PluginFile {
    /// The path that it was read from.
    pub(crate) path: PathBuf,
    pub(crate) manifest: ManifestInfo,
    /// Code that is not in the file.
    pub(crate) code: Code,
    bytes: Vec<u8>,
    hash: u128,
}

impl PluginFile {
    /// Reads and checks the file. If a kind is given, the plugin must be of that kind.
    pub(super) fn read(path: PathBuf, kind: Option<PluginKind>) -> Result<Self, PluginError> {
        let (bytes, hash) = read_settled(&path)?;
        let manifest = check::check(&path, &bytes, kind)?;
        Ok(Self { path, manifest, code: Code::default(), bytes, hash })
    }

    /// The same plugin with code that is not in the file, which may name it.
    pub(super) fn with_code(mut self, code: Code) -> Self {
        if let Some(name) = &code.name {
            self.manifest.name.clone_from(name);
        }
        Self { code, ..self }
    }

    /// Writes the bytes into `folder`, under a unique name, for the processes of a run to load. The
    /// file that they came from may then be rebuilt or removed. Two copies of the same bytes have
    /// different `number`s, so that each can be removed on its own.
    pub(crate) fn plan(self, folder: &Path, number: u32) -> std::io::Result<PluginPlan> {
        let Self { path: origin, manifest, code, bytes, hash } = self;
        // The name of code may be any text.
        let name = manifest.name.chars().take(MAX_NAME);
        let name: String =
            name.map(|one| if one.is_alphanumeric() || one == '-' { one } else { '_' }).collect();
        let library = folder.join(format!("lib{name}-{hash:032x}-{number}.so"));
        ulimit::check_file_size(bytes.len() as u64)?;
        let kept = Some(Kept::new(copy::write(&library, &bytes)?));
        let (interface, name, version) =
            (Interface::of(&manifest.api_version), manifest.name, manifest.version);
        Ok(PluginPlan { name, version, interface, origin, library, code: code.bytes, kept })
    }
}

/// Reads a file until two consecutive reads give the same bytes: a linker may still be writing it.
fn read_settled(path: &Path) -> Result<(Vec<u8>, u128), PluginError> {
    let read = || read_regular(path).map_err(|source| PluginError::Read { path: path.to_owned(), source });
    let limit = Instant::now() + SETTLE_LIMIT;
    let mut hash = xxh3_128(&read()?);
    loop {
        let bytes = read()?;
        let again = xxh3_128(&bytes);
        if again == hash {
            return Ok((bytes, hash));
        }
        if Instant::now() > limit {
            return Err(PluginError::Changing { path: path.to_owned() });
        }
        hash = again;
        thread::sleep(SETTLE_PAUSE);
    }
}

/// Reads a file that has an end; pipes and devices have none.
pub(super) fn read_regular(path: &Path) -> std::io::Result<Vec<u8>> {
    let kind = fs::metadata(path)?.file_type();
    // If it is a folder, the system's own error says so.
    if kind.is_file() || kind.is_dir() {
        fs::read(path)
    } else {
        Err(std::io::Error::other("it is not a regular file"))
    }
}
