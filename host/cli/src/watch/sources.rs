//! The sources of a plugin: the folders of its package and of local packages that it depends on, the
//! files of its Python modules, or its `.so` file.
//!
//! ```text
//!   rel/current/lib/libx.so, where current is a link to v1
//!     places   rel/current, rel/v1/lib/libx.so: a change of one of them is a change of the plugin
//!     watched  the folder of each place, and the folder of that one, which may be made anew
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};
use cargo_metadata::{MetadataCommand, PackageId};
use cobuf_host::Plugin;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};

/// The most links on the way to a file, as the system has it.
const MAX_LINKS: usize = 40;
/// The most folders in each other that are looked at without inotify: a link may lead in a circle.
const MAX_DEPTH: usize = 32;

/// The sources of a plugin.
pub(super) struct Sources {
    what: What,
    /// The links on the way to the sources and, for a file, the file itself, at the last watch.
    places: BTreeSet<PathBuf>,
}

enum What {
    /// The folders of packages; cargo's outputs do not count.
    Packages(BTreeSet<PathBuf>),
    Files(BTreeSet<PathBuf>),
}

/// The state of each file of the sources, by which a change is found without inotify: device,
/// number, size, time of the last change.
pub(super) type State = BTreeMap<PathBuf, (u64, u64, u64, i64, i64)>;

impl Sources {
    /// Those of a plugin that was built from them.
    pub(super) fn of(plugin: &Plugin, built: &Plugin) -> Result<Self> {
        let what = match (plugin, built) {
            (Plugin::Package(folder), _) => What::Packages(packages(folder)?),
            (_, Plugin::Coded { code, .. }) => What::Files(code.sources().iter().cloned().collect()),
            (_, file) => {
                let path = std::path::absolute(file.path());
                What::Files([path.with_context(|| format!("cannot find {}", file.path().display()))?].into())
            }
        };
        Ok(Self { what, places: BTreeSet::new() })
    }

    /// Goes on with those of the plugin as it was built now: Python code may import other modules.
    pub(super) fn follow(&mut self, built: &Plugin) {
        if let (What::Files(files), Plugin::Coded { code, .. }) = (&mut self.what, built) {
            *files = code.sources().iter().cloned().collect();
        }
    }

    /// Watches all folders that exist now.
    pub(super) fn watch(&mut self, watcher: &mut RecommendedWatcher) -> Result<()> {
        let mut watch = |folder: &Path, mode| {
            watcher.watch(folder, mode).with_context(|| format!("cannot watch {}", folder.display()))
        };
        self.places = match &self.what {
            What::Files(files) => files.iter().flat_map(|file| way(file)).collect(),
            What::Packages(folders) => folders.iter().flat_map(|folder| links(folder)).collect(),
        };
        // The folders, not the file: linkers replace the file, and `cargo clean` even its folder.
        let folders: BTreeSet<&Path> =
            self.places.iter().flat_map(|place| place.ancestors().skip(1).take(2)).collect();
        let places = folders.into_iter().map(|folder| watch(folder, RecursiveMode::NonRecursive));
        places.fold(Ok(()), Result::and)?;
        let What::Packages(folders) = &self.what else { return Ok(()) };
        folders.iter().try_for_each(|folder| {
            watch(folder, RecursiveMode::NonRecursive)?;
            subfolders(folder).iter().try_for_each(|folder| watch(folder, RecursiveMode::Recursive))
        })
    }

    /// Whether a changed file is one of the sources.
    pub(super) fn has(&self, path: &Path) -> bool {
        let on_the_way = self.places.iter().any(|place| place == path || place.parent() == Some(path));
        match &self.what {
            What::Files(_) => on_the_way,
            What::Packages(folders) => {
                on_the_way
                    || folders.iter().any(|folder| {
                        let inside = path.strip_prefix(folder).ok().and_then(|inside| inside.iter().next());
                        inside.is_some_and(|first| is_source(folder, Path::new(first)))
                    })
            }
        }
    }

    /// The state of all files that exist now.
    pub(super) fn state(&self) -> State {
        let mut state = State::new();
        match &self.what {
            What::Files(files) => files.iter().for_each(|file| note(file, 0, &mut state)),
            What::Packages(folders) => {
                for folder in folders {
                    let names = fs::read_dir(folder).into_iter().flatten().map_while(Result::ok);
                    names
                        .map(|entry| entry.file_name())
                        .filter(|name| is_source(folder, Path::new(name)))
                        .for_each(|name| note(&folder.join(name), MAX_DEPTH, &mut state));
                }
            }
        }
        state
    }
}

/// Notes the state of a file, or of all files in a folder.
fn note(path: &Path, depth: usize, state: &mut State) {
    let Ok(found) = fs::metadata(path) else { return };
    if !found.is_dir() {
        let times = (found.mtime(), found.mtime_nsec());
        state.insert(path.to_owned(), (found.dev(), found.ino(), found.size(), times.0, times.1));
    } else if depth > 0 {
        let entries = fs::read_dir(path).into_iter().flatten().map_while(Result::ok);
        entries.for_each(|entry| note(&entry.path(), depth - 1, state));
    }
}

/// The links on the way to a path, and the place at the end, whether or not it exists.
fn way(path: &Path) -> Vec<PathBuf> {
    let mut places = links(path);
    places.push(walk(path, |_| ()));
    places
}

/// The links on the way to a path, each by a path without links.
fn links(path: &Path) -> Vec<PathBuf> {
    let mut links = Vec::new();
    walk(path, |link| links.push(link.to_owned()));
    links
}

/// Follows an absolute path, and returns the place at its end.
fn walk(path: &Path, mut link: impl FnMut(&Path)) -> PathBuf {
    let parts = |path: &Path| -> Vec<OsString> {
        path.components()
            .rev()
            .filter(|part| *part != Component::RootDir)
            .map(|part| part.as_os_str().to_owned())
            .collect()
    };
    let (mut at, mut ahead, mut followed) = (PathBuf::from("/"), parts(path), 0);
    while let Some(part) = ahead.pop() {
        if part == ".." {
            at.pop();
            continue;
        }
        at.push(part);
        if let Some(target) = fs::read_link(&at).ok().filter(|_| followed < MAX_LINKS) {
            followed += 1;
            link(&at);
            at.pop();
            if target.is_absolute() {
                at = PathBuf::from("/");
            }
            ahead.extend(parts(&target));
        }
    }
    at
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
    let entries = fs::read_dir(folder).into_iter().flatten().map_while(Result::ok);
    // Also folders that are links.
    let folders = entries.filter(|entry| entry.path().is_dir());
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A folder of a test, by a path without links.
    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        (folder, path)
    }

    #[test]
    fn each_link_on_the_way_is_a_place() {
        let (_folder, top) = folder();
        fs::create_dir_all(top.join("v1/lib")).unwrap();
        symlink("v1", top.join("current")).unwrap();
        symlink(top.join("current"), top.join("latest")).unwrap();
        symlink("../lib/libx.so.1", top.join("v1/lib/libx.so")).unwrap();
        let places = way(&top.join("latest/lib/libx.so"));
        let expected = ["latest", "current", "v1/lib/libx.so", "v1/lib/libx.so.1"];
        assert_eq!(places, expected.map(|place| top.join(place)));
        // A plain path is one place, whether or not it exists.
        assert_eq!(way(&top.join("gone/libx.so")), [top.join("gone/libx.so")]);
    }

    #[test]
    fn links_in_a_circle_come_to_an_end() {
        let (_folder, top) = folder();
        symlink("b", top.join("a")).unwrap();
        symlink("a", top.join("b")).unwrap();
        assert!(way(&top.join("a")).len() <= MAX_LINKS + 1);
    }

    #[test]
    fn state_tells_a_flipped_link_and_a_changed_file() {
        let (_folder, top) = folder();
        for version in ["v1", "v2"] {
            fs::create_dir(top.join(version)).unwrap();
            fs::write(top.join(version).join("libx.so"), "same").unwrap();
        }
        symlink("v1", top.join("current")).unwrap();
        let file = top.join("current/libx.so");
        let sources = Sources { what: What::Files([file.clone()].into()), places: BTreeSet::new() };
        let first = sources.state();
        assert_eq!(sources.state(), first);
        fs::remove_file(top.join("current")).unwrap();
        symlink("v2", top.join("current")).unwrap();
        let second = sources.state();
        assert_ne!(second, first);
        fs::write(&file, "other").unwrap();
        assert_ne!(sources.state(), second);
    }

    #[test]
    fn state_of_a_package_is_that_of_its_sources() {
        let (_folder, top) = folder();
        let package = top.join("package");
        for folder in ["package/target/debug", "package/.git", "package/data", "elsewhere"] {
            fs::create_dir_all(top.join(folder)).unwrap();
        }
        fs::write(package.join("target/CACHEDIR.TAG"), "").unwrap();
        symlink("../elsewhere", package.join("src")).unwrap();
        let sources = Sources { what: What::Packages([package.clone()].into()), places: BTreeSet::new() };
        let changes = |file: &str| {
            let before = sources.state();
            fs::write(package.join(file), "new").unwrap();
            sources.state() != before
        };
        for source in ["Cargo.toml", "build.rs", "src/lib.rs", "data/table.bin"] {
            assert!(changes(source), "{source}");
        }
        for other in ["Cargo.lock", "target/debug/lib.so", ".git/index"] {
            assert!(!changes(other), "{other}");
        }
        // inotify watches the folder behind the link as well.
        let watched: BTreeSet<_> = subfolders(&package).into_iter().collect();
        assert_eq!(watched, ["data", "src"].map(|name| package.join(name)).into());
    }
}
