//! How much shared memory there is room for: what is free in `/dev/shm`, and below the limits of
//! this process's memory cgroup and of all cgroups above it, to which shared memory counts.
//!
//! A process that exceeds a cgroup's limit is killed by the kernel, without a word.

use std::fs;
use std::path::{Path, PathBuf};

/// A place with too little or enough room.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Room {
    /// The bytes that are free.
    pub(crate) bytes: u64,
    /// The name of the place: `/dev/shm`, or `the memory cgroup /…`.
    pub(crate) place: String,
}

/// The place with the least room.
pub(crate) fn least() -> Room {
    let free = rustix::fs::statvfs("/dev/shm").map_or(u64::MAX, |stat| stat.f_bavail * stat.f_frsize);
    let shared = Room { bytes: free, place: "/dev/shm".to_owned() };
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let (mounts, own) = (text("/proc/self/mountinfo"), text("/proc/self/cgroup"));
    let hierarchies = [Version::V2, Version::V1].into_iter().filter_map(|version| {
        let cgroup = version.own_cgroup(&own)?;
        let (root, point) = version.mount(&mounts)?;
        version.least_below(&point, &point.join(below(cgroup, &root)))
    });
    hierarchies.fold(shared, |least, room| if room.bytes < least.bytes { room } else { least })
}

/// The two kinds of cgroup hierarchies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

impl Version {
    /// The path of the cgroup in the text of `/proc/self/cgroup`: `0::/a/b`, or `7:memory:/a/b`.
    fn own_cgroup(self, text: &str) -> Option<&str> {
        text.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':');
            let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
            let found = match self {
                Self::V2 => number == "0" && controllers.is_empty(),
                Self::V1 => controllers.split(',').any(|name| name == "memory"),
            };
            found.then_some(path)
        })
    }

    /// In the text of `/proc/self/mountinfo` (see proc(5)): which cgroup is the root of the mount,
    /// and where it is mounted.
    fn mount(self, text: &str) -> Option<(String, PathBuf)> {
        text.lines().find_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            let mut before = before.split(' ').skip(3);
            let (root, point) = (before.next()?, before.next()?);
            let mut after = after.split(' ');
            let (kind, options) = (after.next()?, after.nth(1)?);
            let found = match self {
                Self::V2 => kind == "cgroup2",
                Self::V1 => kind == "cgroup" && options.split(',').any(|option| option == "memory"),
            };
            found.then(|| (root.to_owned(), PathBuf::from(point)))
        })
    }

    /// The least room in a cgroup and those above it, up to the mount point.
    fn least_below(self, point: &Path, cgroup: &Path) -> Option<Room> {
        let folders = cgroup.ancestors().take_while(|folder| folder.starts_with(point));
        let rooms = folders.filter_map(|folder| {
            let bytes = self.free_in(folder)?;
            Some(Room { bytes, place: format!("the memory cgroup {}", folder.display()) })
        });
        rooms.min_by_key(|room| room.bytes)
    }

    /// The bytes that are free below a cgroup's limit; `None` if it has none.
    fn free_in(self, folder: &Path) -> Option<u64> {
        let (limit, usage, prefix) = match self {
            Self::V2 => ("memory.max", "memory.current", ""),
            Self::V1 => ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
        };
        let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
        // The text "max" is no number.
        let number = |name: &str| read(name)?.trim().parse::<u64>().ok();
        let limit = number(limit)?;
        let used = number(usage)?.saturating_sub(reclaimable(&read("memory.stat")?, prefix));
        Some(limit.saturating_sub(used))
    }
}

/// The bytes of files' pages, which the kernel drops before it kills. Shared memory is not among
/// them, although it counts as `file`.
fn reclaimable(stat: &str, prefix: &str) -> u64 {
    let lists = ["inactive_file", "active_file"].map(|list| format!("{prefix}{list}"));
    let lines = stat.lines().filter_map(|line| line.split_once(' '));
    lines
        .filter(|(name, _)| lists.iter().any(|list| list == name))
        .filter_map(|(_, bytes)| bytes.trim().parse::<u64>().ok())
        .sum()
}

/// The path of a cgroup from the root of the mount. A cgroup outside of it, which a namespace shows
/// as `/../…`, is not in the mount: then the mount's root alone is looked at.
fn below(cgroup: &str, root: &str) -> PathBuf {
    let inside = Path::new(cgroup).strip_prefix(root).unwrap_or(Path::new(""));
    if inside.components().any(|part| part.as_os_str() == "..") { PathBuf::new() } else { inside.to_owned() }
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;

    const MIXED: &str = "\
24 29 0:22 / /sys rw,nosuid - sysfs sysfs rw
30 24 0:26 / /sys/fs/cgroup/unified rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate
33 24 0:29 /docker/abc /sys/fs/cgroup/memory ro shared:15 - cgroup cgroup rw,memory
34 24 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
";

    #[test]
    fn cgroup_and_its_mount_are_found_in_both_hierarchies() {
        let own = "9:name=systemd:/x\n7:cpu,memory:/docker/abc/job\n0::/user.slice/a:b\n";
        assert_eq!(Version::V2.own_cgroup(own), Some("/user.slice/a:b"));
        assert_eq!(Version::V1.own_cgroup(own), Some("/docker/abc/job"));
        assert_eq!(Version::V1.own_cgroup("0::/\n"), None);
        let mount = |version: Version| version.mount(MIXED).unwrap();
        assert_eq!(mount(Version::V2), ("/".to_owned(), "/sys/fs/cgroup/unified".into()));
        assert_eq!(mount(Version::V1), ("/docker/abc".to_owned(), "/sys/fs/cgroup/memory".into()));
        assert_eq!(Version::V2.mount("24 29 0:22 / /sys rw - sysfs sysfs rw\n"), None);
    }

    #[test]
    fn path_in_the_mount_is_relative_to_its_root() {
        for (cgroup, root, expected) in [
            ("/a/b", "/", "a/b"),
            ("/docker/abc/job", "/docker/abc", "job"),
            ("/elsewhere", "/docker/abc", ""),
            ("/../sibling", "/", ""),
            ("/", "/", ""),
        ] {
            assert_eq!(below(cgroup, root), Path::new(expected), "{cgroup} {root}");
        }
    }

    #[test]
    fn pages_of_files_are_reclaimable() {
        let stat =
            "anon 5\nfile 900\nshmem 700\ninactive_file 30\nactive_file 12\ntotal_inactive_file 1000\n";
        assert_eq!(reclaimable(stat, ""), 42);
        assert_eq!(reclaimable(stat, "total_"), 1000);
    }

    /// A hierarchy with these files.
    fn hierarchy(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let file = folder.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, content).unwrap();
        }
        folder
    }

    #[test]
    fn smallest_limit_of_all_ancestors_counts() {
        let tree = hierarchy(&[
            ("memory.stat", ""),
            ("a/memory.max", "1000\n"),
            ("a/memory.current", "900\n"),
            ("a/memory.stat", "inactive_file 300\nactive_file 0\n"),
            ("a/b/memory.max", "500\n"),
            ("a/b/memory.current", "50\n"),
            ("a/b/memory.stat", "inactive_file 0\n"),
            ("a/b/c/memory.max", "max\n"),
            ("a/b/c/memory.current", "50\n"),
            ("a/b/c/memory.stat", ""),
        ]);
        let least = Version::V2.least_below(tree.path(), &tree.path().join("a/b/c")).unwrap();
        let place = format!("the memory cgroup {}", tree.path().join("a").display());
        assert_eq!(least, Room { bytes: 400, place });
        assert_eq!(Version::V2.least_below(tree.path(), tree.path()), None);
    }

    #[test]
    fn old_hierarchy_has_other_names() {
        let tree = hierarchy(&[
            ("job/memory.limit_in_bytes", "1000\n"),
            ("job/memory.usage_in_bytes", "700\n"),
            ("job/memory.stat", "inactive_file 5\ntotal_inactive_file 100\ntotal_active_file 50\n"),
            ("memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory.usage_in_bytes", "700\n"),
            ("memory.stat", ""),
        ]);
        let least = Version::V1.least_below(tree.path(), &tree.path().join("job")).unwrap();
        assert_eq!(least.bytes, 450);
    }
}
