//! Finds plugins by name in folders, such as those of `COBUF_PLUGIN_PATH`.
//!
//! ```text
//!   folders in order ─► in each, the .so files ─► their manifests ─► the first of a name wins
//!                        lib<name>.so before others, then by file name
//! ```
//!
//! A plugin's name is the one in its manifest, which is that of its package. Finding plugins reads
//! manifests and runs no code of a plugin. The first plugin of a name wins even if it cannot be
//! loaded: which plugin a name means must not depend on the machine.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use cobuf_plugin_api::manifest::{MANIFEST_MAGIC, ManifestInfo};

use super::error::{PLUGIN_PATH, PluginError};
use super::{check, elf, file};

/// A plugin that was found in a folder.
#[derive(Debug)]
#[non_exhaustive]
pub struct FoundPlugin {
    /// Its file.
    pub path: PathBuf,
    /// Its name from its manifest, or from its file's name if the manifest cannot be read.
    pub name: String,
    /// Its manifest, if it can be read.
    pub manifest: Option<ManifestInfo>,
    /// The reason if this host refuses to load it.
    pub refusal: Option<PluginError>,
    /// Whether another plugin of the same name comes first.
    pub shadowed: bool,
}

/// The folders in `COBUF_PLUGIN_PATH`, each once; none if the variable is not set.
pub fn plugin_path() -> Vec<PathBuf> {
    let value = std::env::var_os(PLUGIN_PATH).unwrap_or_default();
    let mut folders = Vec::new();
    for folder in std::env::split_paths(&value).filter(|folder| !folder.as_os_str().is_empty()) {
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    folders
}

/// All plugins in these folders, in the order in which a name is looked for. Other files are left
/// out.
///
/// Reads the plugins' files in this process; no code of a plugin runs.
///
/// # Errors
/// [`PluginError::Folder`] if a folder cannot be read.
///
/// # Example
/// ```
/// for plugin in cobuf_host::find_plugins(&cobuf_host::plugin_path())? {
///     println!("{}: {}", plugin.name, plugin.path.display());
/// }
/// # Ok::<(), cobuf_host::PluginError>(())
/// ```
pub fn find_plugins(folders: &[PathBuf]) -> Result<Vec<FoundPlugin>, PluginError> {
    let mut found = Vec::new();
    for folder in folders {
        found.extend(in_folder(folder)?);
    }
    let mut names = BTreeSet::new();
    for plugin in &mut found {
        plugin.shadowed = !names.insert(plugin.name.clone());
    }
    Ok(found)
}

/// The file of the first plugin of this name in these folders. As with `PATH`, folders that cannot
/// be read are skipped.
pub(super) fn by_name(name: &str, folders: &[PathBuf]) -> Result<PathBuf, PluginError> {
    let mut names = BTreeSet::new();
    for folder in folders {
        let likely = folder.join(file_name(name));
        if look(likely.clone()).is_some_and(|plugin| plugin.name == name) {
            return Ok(absolute(likely));
        }
        for plugin in in_folder(folder).unwrap_or_default() {
            if plugin.name == name {
                return Ok(absolute(plugin.path));
            }
            names.insert(plugin.name);
        }
    }
    Err(PluginError::NotFound {
        name: name.to_owned(),
        folders: folders.to_vec(),
        there: nearest_first(name, names),
    })
}

/// The plugins in a folder, in the order in which a name is looked for.
fn in_folder(folder: &Path) -> Result<Vec<FoundPlugin>, PluginError> {
    let failed = |source| PluginError::Folder { folder: folder.to_owned(), source };
    let entries =
        std::fs::read_dir(folder).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let mut found: Vec<FoundPlugin> = entries.iter().filter_map(|entry| look(entry.path())).collect();
    found.sort_by_cached_key(|plugin| {
        let other_name = plugin.path.file_name() != Some(OsStr::new(&file_name(&plugin.name)));
        (other_name, plugin.path.clone())
    });
    Ok(found)
}

/// The file name that cargo gives to the library of a package.
fn file_name(package: &str) -> String {
    format!("lib{}.so", package.replace('-', "_"))
}

/// The plugin in a file; `None` if the file is not a plugin.
fn look(path: PathBuf) -> Option<FoundPlugin> {
    if path.extension() != Some(OsStr::new("so")) {
        return None;
    }
    let bytes = file::read_regular(&path).ok()?;
    let (manifest, refusal) = match elf::manifest_section(&bytes) {
        Ok(section) => match ManifestInfo::parse(section?) {
            Ok(manifest) => {
                let refusal = check::admit(&path, &manifest, None).err();
                (Some(manifest), refusal)
            }
            Err(source) => (None, Some(PluginError::Manifest { path: path.clone(), source })),
        },
        // A damaged library, or one for another machine, may still have a manifest that identifies
        // it as a plugin.
        Err(reason) => {
            let start = bytes.windows(MANIFEST_MAGIC.len()).position(|window| window == MANIFEST_MAGIC)?;
            let refusal = PluginError::Elf { path: path.clone(), reason };
            (ManifestInfo::parse(&bytes[start..]).ok(), Some(refusal))
        }
    };
    let name = manifest.as_ref().map_or_else(|| name_of_file(&path), |manifest| manifest.name.clone());
    Some(FoundPlugin { path, name, manifest, refusal, shadowed: false })
}

fn name_of_file(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    stem.strip_prefix("lib").unwrap_or(&stem).replace('_', "-")
}

/// A plugin's folder may be given relative to a folder other than that of a pipeline file.
fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

fn nearest_first(name: &str, there: BTreeSet<String>) -> Vec<String> {
    let mut there: Vec<String> = there.into_iter().collect();
    there.sort_by(|a, b| strsim::jaro_winkler(name, b).total_cmp(&strsim::jaro_winkler(name, a)));
    there
}
