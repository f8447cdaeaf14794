//! Which folders stand for many files in a proposal.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::path::{Path, PathBuf};

/// Folders of the system and of all users: what is read there is named file by file.
const SYSTEM: &[&str] = &[
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/run", "/sbin", "/sys", "/usr", "/var/run",
];
/// Folders whose own files and folders have nothing to do with each other.
const SHARED: &[&str] =
    &["/", "/home", "/media", "/mnt", "/opt", "/root", "/srv", "/tmp", "/var", "/var/lib", "/var/tmp"];

/// The fewest paths of a folder for which the folder stands.
const SEVERAL: usize = 2;

/// The paths, with a folder in place of several of its files; then a folder in place of several such
/// folders, as in a collection of pictures with a folder a class.
pub(super) fn folded(paths: &BTreeSet<PathBuf>) -> Vec<PathBuf> {
    let once = fold(paths, Path::parent);
    let twice =
        fold(&once, |path| if paths.contains(path) { path.parent()?.parent() } else { path.parent() });
    twice.into_iter().collect()
}

/// Replaces paths by what `above` gives for them, if several have it in common.
fn fold(paths: &BTreeSet<PathBuf>, above: impl Fn(&Path) -> Option<&Path>) -> BTreeSet<PathBuf> {
    let mut below: BTreeMap<&Path, usize> = BTreeMap::new();
    let common = |path| above(path).filter(|folder| can_stand(folder));
    for folder in paths.iter().filter_map(|path| common(path)) {
        *below.entry(folder).or_default() += 1;
    }
    below.retain(|_, count| *count >= SEVERAL);
    let mut folded: BTreeSet<PathBuf> = paths.iter().cloned().collect();
    folded.extend(below.keys().map(|folder| folder.to_path_buf()));
    // What is below another one is allowed with it.
    let all = folded.clone();
    folded.retain(|path| !path.ancestors().skip(1).any(|folder| all.contains(folder)));
    folded
}

/// Whether it is the system's, such as `/etc/hosts`.
pub(super) fn is_of_system(path: &Path) -> bool {
    SYSTEM.iter().any(|system| path.starts_with(system))
}

/// Whether a folder may stand for what is in it.
fn can_stand(folder: &Path) -> bool {
    let home = env::var_os("HOME").is_some_and(|home| folder == Path::new(&home));
    let is_shared = SHARED.iter().any(|shared| folder == Path::new(shared));
    !home && !is_shared && !is_of_system(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(paths: &[&str]) -> Vec<String> {
        let folded = folded(&paths.iter().map(PathBuf::from).collect());
        folded.iter().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn several_files_of_a_folder_are_the_folder() {
        assert_eq!(of(&["/data/a.png"]), ["/data/a.png"]);
        assert_eq!(of(&["/data/a.png", "/data/b.png"]), ["/data"]);
        assert_eq!(of(&["/data", "/data/a.png"]), ["/data"]);
    }

    #[test]
    fn folders_with_a_class_each_are_the_folder_of_all() {
        let classes = ["/sets/train/cat/1.jpg", "/sets/train/cat/2.jpg", "/sets/train/dog/1.jpg"];
        assert_eq!(of(&classes), ["/sets/train"]);
        assert_eq!(of(&["/sets/train/cat/1.jpg", "/sets/train/dog/1.jpg"]), ["/sets/train"]);
    }

    #[test]
    fn folders_of_the_system_and_of_all_users_stand_for_nothing() {
        let system = ["/etc/hosts", "/etc/passwd", "/tmp/a", "/tmp/b"];
        assert_eq!(of(&system), system);
    }
}
