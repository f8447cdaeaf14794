//! The sources of a plugin: the folders of its package and of local packages that it depends on, or
//! its `.so` file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cargo_metadata::{MetadataCommand, PackageId};
use cobuf_host::Plugin;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};

/// The sources of a plugin.
pub(super) enum Sources {
    /// The folders of packages; cargo's outputs do not count.
    Packages(BTreeSet<PathBuf>),
    File(PathBuf),
}

impl Sources {
    pub(super) fn of(plugin: &Plugin) -> Result<Self> {
        match plugin {
            Plugin::Package(folder) => Ok(Self::Packages(packages(folder)?)),
            file => {
                let file = file.built()?;
                let path = std::path::absolute(file.path());
                Ok(Self::File(path.with_context(|| format!("cannot find {}", file.path().display()))?))
            }
        }
    }

    /// Watches all folders that exist now.
    pub(super) fn watch(&self, watcher: &mut RecommendedWatcher) -> Result<()> {
        let mut watch = |folder: &Path, mode| {
            watcher.watch(folder, mode).with_context(|| format!("cannot watch {}", folder.display()))
        };
        match self {
            // The folders, not the file: linkers replace the file, and `cargo clean` even its
            // folder. If the file is a link, its target's folder as well.
            Self::File(file) => {
                let target = file.canonicalize().ok();
                let folders = file
                    .ancestors()
                    .skip(1)
                    .take(2)
                    .chain(target.iter().filter_map(|target| target.parent()));
                folders.map(|folder| watch(folder, RecursiveMode::NonRecursive)).fold(Ok(()), Result::and)
            }
            Self::Packages(folders) => folders.iter().try_for_each(|folder| {
                watch(folder, RecursiveMode::NonRecursive)?;
                subfolders(folder).iter().try_for_each(|folder| watch(folder, RecursiveMode::Recursive))
            }),
        }
    }

    /// Whether a changed file is one of the sources.
    pub(super) fn has(&self, path: &Path) -> bool {
        match self {
            Self::File(file) => {
                let leads_here = file.canonicalize().is_ok_and(|target| target == path);
                leads_here || path == file || file.parent() == Some(path)
            }
            Self::Packages(folders) => folders.iter().any(|folder| {
                let inside = path.strip_prefix(folder).ok().and_then(|inside| inside.iter().next());
                inside.is_some_and(|first| is_source(folder, Path::new(first)))
            }),
        }
    }
}

/// The folders of a package and of all local packages that it depends on.
fn packages(folder: &Path) -> Result<BTreeSet<PathBuf>> {
    let failed = || format!("cannot find out what the package {} depends on", folder.display());
    let metadata =
        MetadataCommand::new().manifest_path(folder.join("Cargo.toml")).exec().with_context(failed)?;
    let root = metadata.resolve.as_ref().and_then(|resolve| resolve.root.clone()).with_context(failed)?;
    let mut found: BTreeSet<PackageId> = BTreeSet::new();
    let mut open = vec![root];
    while let Some(id) = open.pop() {
        if metadata[&id].source.is_none() && found.insert(id.clone()) {
            let nodes = metadata.resolve.iter().flat_map(|resolve| &resolve.nodes);
            open.extend(nodes.filter(|node| node.id == id).flat_map(|node| node.dependencies.clone()));
        }
    }
    let folder = |id: &PackageId| metadata[id].manifest_path.parent().map(|folder| folder.into());
    Ok(found.iter().filter_map(folder).collect())
}

/// The folders in a package's folder that may have sources.
fn subfolders(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().map_while(Result::ok);
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let names = folders.map(|entry| entry.file_name());
    names.filter(|name| is_source(folder, Path::new(name))).map(|name| folder.join(name)).collect()
}

/// Whether this name in a package's folder belongs to the sources, not to cargo, version control or
/// an editor.
fn is_source(folder: &Path, name: &Path) -> bool {
    let hidden = name.to_string_lossy().starts_with('.');
    let built = folder.join(name).join("CACHEDIR.TAG").exists();
    !hidden && !built && name != Path::new("Cargo.lock")
}
