//! Plugins by name: which there are in folders, such as those of `COBUF_PLUGIN_PATH`.
//!
//! ```text
//!   folders in their order ─► in each, the .so files ─► their manifests ─► the first of a name wins
//!                             lib<name>.so before others, then by file name
//! ```
//!
//! A plugin's name is that in its manifest, which is its package's. Manifests are read, and no code of a plugin runs. The first of
//! its name wins even where it would not load: what is meant should not depend on the machine.

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
    /// Its name: that in its manifest, or after its file where the manifest cannot be read.
    pub name: String,
    /// Its manifest, where it can be read.
    pub manifest: Option<ManifestInfo>,
    /// Why this host would not load it.
    pub refusal: Option<PluginError>,
    /// Whether another one of its name comes first.
    pub shadowed: bool,
}

/// The folders that `COBUF_PLUGIN_PATH` names, each once; none where it is not set.
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

/// All plugins in these folders, in the order in which a name is looked for. Files that are no plugins are left out.
///
/// # Errors
/// [`PluginError::Folder`], where a folder cannot be read.
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

/// The file of the plugin of this name, the first in these folders. Folders that cannot be read have none, as with `PATH`.
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

/// What cargo calls the library of a package.
fn file_name(package: &str) -> String {
    format!("lib{}.so", package.replace('-', "_"))
}

/// The plugin in a file; `None` where there is none.
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
        // Of a damaged library, or one for another machine, a manifest may be left that says that it is a plugin.
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

/// A plugin's folder may be given relative to a folder that is not that of a pipeline file.
fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

fn nearest_first(name: &str, there: BTreeSet<String>) -> Vec<String> {
    let mut there: Vec<String> = there.into_iter().collect();
    there.sort_by(|a, b| strsim::jaro_winkler(name, b).total_cmp(&strsim::jaro_winkler(name, a)));
    there
}
