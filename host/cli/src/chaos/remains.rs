//! The remains of a round, if there are any: processes, descriptors, names in shared memory,
//! folders.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, WaitOptions, waitpid};

/// Processes, descriptors, names and folders at one moment.
pub(super) struct Remains(BTreeSet<String>);

impl Remains {
    /// Reaps processes that have ended, then looks.
    pub(super) fn now() -> Result<Self> {
        let mut found = BTreeSet::new();
        // Orphans of killed fork servers are children of this process by now.
        loop {
            match waitpid(None::<Pid>, WaitOptions::NOHANG) {
                Ok(Some(_)) => {}
                Ok(None) => {
                    found.insert("a process that is still alive".to_owned());
                    break;
                }
                Err(_) => break,
            }
        }
        let descriptors = fs::read_dir("/proc/self/fd").context("cannot read /proc")?.count();
        found.insert(format!("{descriptors} open descriptors"));
        found.extend(dead_runs(Path::new("/dev/shm")).map(|name| format!("/dev/shm/{name}")));
        found.extend(dead_runs(&std::env::temp_dir()).map(|name| format!("the folder {name}")));
        Ok(Self(found))
    }

    /// Everything that is there now and was not there before.
    pub(super) fn now_beyond(before: &Self) -> Result<Vec<String>> {
        Ok(Self::now()?.0.difference(&before.0).cloned().collect())
    }
}

/// The names of runs without a lock: their hosts are dead.
fn dead_runs(parent: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(parent).into_iter().flatten().filter_map(Result::ok);
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| {
        let folder = File::open(std::env::temp_dir().join(name));
        let alive =
            folder.is_ok_and(|folder| flock(&folder, FlockOperation::NonBlockingLockExclusive).is_err());
        name.starts_with("cobuf-run-") && !alive
    })
}
