//! The check that a test leaves nothing behind.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, WaitOptions, getpid, set_child_subreaper, waitpid};

use super::LONG;
use super::processes::Process;

/// How long a name may be in /dev/shm that is another test's. A run gives its segment a name for the
/// moment in which it maps it.
const FOREIGN: Duration = Duration::from_secs(20);

/// Notes what is there, and when it is dropped, asserts that nothing has been added: no process, no
/// zombie, no descriptor, no mapping, no name in /dev/shm, no run's folder. A host that was stopped
/// must have removed all of that: nothing of its own is waited for.
///
/// It comes first in a test, so that it is dropped last.
#[must_use = "the check is made when it is dropped"]
pub(crate) struct Leaks {
    before: State,
}

impl Leaks {
    /// Begins to watch this process, which must be the test's own.
    pub(crate) fn watch() -> Self {
        // What loses its parent becomes this process's child, instead of the machine's.
        set_child_subreaper(Some(getpid())).expect("this process can adopt orphans");
        Self { before: State::now() }
    }

    /// After the SIGKILL of a fork server, or of a host's process, its processes become orphans. Waits
    /// until all of them have ended, and reaps them; none may be alive after [`LONG`].
    pub(crate) fn bury_orphans(&self) {
        let deadline = Instant::now() + LONG;
        loop {
            let all = Process::descendants_of(Process::own_pid());
            let Some(process) =
                all.iter().find(|process| !self.before.processes.contains(process.pid.to_string().as_str()))
            else {
                return;
            };
            let ended = process.wait_for_end(deadline.saturating_duration_since(Instant::now()));
            assert!(ended, "{process:?} outlives its run; all: {all:?}");
            // It is not this process's child yet if its parent is a zombie of ours: that is reaped first.
            for zombie in Process::children_of(Process::own_pid()).iter().filter(|process| process.zombie) {
                let _ = waitpid(Pid::from_raw(zombie.pid), WaitOptions::NOHANG);
            }
        }
    }
}

impl Drop for Leaks {
    fn drop(&mut self) {
        let mut left = State::now().beyond(&self.before);
        left.wait_for_foreign_segments();
        if std::thread::panicking() {
            eprintln!("left behind by the failed test: {left:?}");
        } else {
            assert!(left.is_empty(), "the test has left behind: {left:?}");
        }
    }
}

/// What can be left behind.
#[derive(Debug, Default)]
struct State {
    /// Children and their descendants, by number.
    processes: BTreeSet<String>,
    /// This process's descriptors.
    descriptors: BTreeSet<String>,
    /// Mapped segments.
    mappings: BTreeSet<String>,
    /// Names of segments that belong to no living run of this test.
    segments: BTreeSet<String>,
    /// Runs' folders that no process holds.
    folders: BTreeSet<String>,
}

impl State {
    fn now() -> Self {
        let processes = Process::descendants_of(Process::own_pid());
        let maps = fs::read_to_string("/proc/self/maps").expect("/proc can be read");
        let mapped = maps.lines().filter(|line| line.contains("/dev/shm/cobuf-"));
        Self {
            processes: processes.iter().map(|process| process.pid.to_string()).collect(),
            descriptors: descriptors(),
            mappings: mapped.filter_map(|line| Some(line.split_once("/dev/shm/")?.1.to_owned())).collect(),
            segments: dead(Path::new("/dev/shm")),
            folders: dead(&std::env::temp_dir()),
        }
    }

    fn beyond(&self, before: &Self) -> Self {
        let beyond =
            |now: &BTreeSet<String>, before: &BTreeSet<String>| now.difference(before).cloned().collect();
        let processes: BTreeSet<String> = beyond(&self.processes, &before.processes);
        Self {
            // With their names, which are not compared: they change.
            processes: processes
                .iter()
                .map(|pid| format!("{:?}", pid.parse().ok().and_then(Process::get)))
                .collect(),
            descriptors: beyond(&self.descriptors, &before.descriptors),
            mappings: beyond(&self.mappings, &before.mappings),
            segments: beyond(&self.segments, &before.segments),
            folders: beyond(&self.folders, &before.folders),
        }
    }

    /// Forgets the names in /dev/shm that are not this test's. They are others' if they disappear, or
    /// if a process has mapped them that is none of this test's.
    fn wait_for_foreign_segments(&mut self) {
        let deadline = Instant::now() + FOREIGN;
        loop {
            self.segments.retain(|name| Path::new("/dev/shm").join(name).exists());
            if self.segments.is_empty() || Instant::now() > deadline {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        if self.segments.is_empty() {
            return;
        }
        let own = Process::descendants_of(Process::own_pid());
        let others = Process::all().into_iter().filter(|process| !own.contains(process));
        let others = others.filter(|process| process.pid != Process::own_pid());
        let maps: Vec<String> = others
            .filter_map(|process| fs::read_to_string(format!("/proc/{}/maps", process.pid)).ok())
            .collect();
        self.segments.retain(|name| !maps.iter().any(|maps| maps.contains(&format!("/dev/shm/{name}"))));
    }

    fn is_empty(&self) -> bool {
        let Self { processes, descriptors, mappings, segments, folders } = self;
        [processes, descriptors, mappings, segments, folders].iter().all(|set| set.is_empty())
    }
}

/// This process's descriptors, with what they are.
fn descriptors() -> BTreeSet<String> {
    let entries = fs::read_dir("/proc/self/fd").expect("/proc can be read").filter_map(Result::ok);
    let named = entries.filter_map(|entry| {
        let target = fs::read_link(entry.path()).ok()?;
        Some(format!("{} -> {}", entry.file_name().display(), target.display()))
    });
    // The descriptor by which the folder is being read is in its own list.
    named.filter(|name| !name.contains("/fd")).collect()
}

/// The names of runs in a folder, without those that are alive. A run's folder is locked as long as
/// its host lives; one of this process's own would be among the descriptors.
fn dead(parent: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(parent).into_iter().flatten().filter_map(Result::ok);
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("cobuf-") && !is_alive(name)).collect()
}

fn is_alive(run: &str) -> bool {
    let folder = File::open(std::env::temp_dir().join(run));
    folder.is_ok_and(|folder| flock(&folder, FlockOperation::NonBlockingLockExclusive).is_err())
}
