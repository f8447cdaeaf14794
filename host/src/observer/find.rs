//! Which runs there are: processes that have a segment open.
//!
//! A segment has no name any more, but each process of its run has it open, and `/proc` shows the
//! name that it had. The host has made it, so the host is the oldest process that has it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use rustix::process::Pid;

use crate::procfs;

/// How the names of segments begin, see `host::run_folder`.
const SEGMENTS: &str = "/dev/shm/cobuf-run-";

/// A run of this user, or of any if the caller is root.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FoundRun {
    /// The process of the host.
    pub pid: u32,
    /// The run's name, unique on the machine.
    pub run: String,
    /// The name of the host's program.
    pub program: String,
    pub(super) file: PathBuf,
    /// The host and all other processes that have the segment.
    members: Vec<u32>,
}

impl FoundRun {
    /// Whether it is of this process, which may be the host, or one that belongs to the run.
    pub fn has_process(&self, pid: u32) -> bool {
        self.members.contains(&pid)
    }
}

/// The runs on this machine that the caller may look into, by the host's process number.
///
/// ```
/// for found in cobuf_host::observer::find_runs() {
///     println!("{} in process {}, {}", found.run, found.pid, found.program);
/// }
/// ```
pub fn find_runs() -> Vec<FoundRun> {
    let mut runs: BTreeMap<Inode, Vec<Member>> = BTreeMap::new();
    for pid in procfs::processes() {
        for (inode, member) in segments_of(pid) {
            runs.entry(inode).or_default().push(member);
        }
    }
    let mut found: Vec<FoundRun> = runs.into_values().filter_map(run).collect();
    found.sort_by(|a, b| (a.pid, &a.run).cmp(&(b.pid, &b.run)));
    found
}

/// The identity of a file, by which several descriptors of it are known: device and number.
type Inode = (u64, u64);

/// A process that has a segment open.
struct Member {
    /// When it was started.
    started: u64,
    pid: u32,
    /// The descriptor, as a file that can be opened.
    file: PathBuf,
    /// The segment's former name.
    name: String,
}

fn run(mut members: Vec<Member>) -> Option<FoundRun> {
    members.sort_by_key(|member| (member.started, member.pid));
    let Member { pid, file, name, .. } = members.first()?;
    Some(FoundRun {
        pid: *pid,
        run: name.trim_start_matches("/dev/shm/").trim_end_matches(" (deleted)").to_owned(),
        program: procfs::name(*pid).unwrap_or_default(),
        file: file.clone(),
        members: members.iter().map(|member| member.pid).collect(),
    })
}

/// The segments that a process has open.
fn segments_of(pid: Pid) -> Vec<(Inode, Member)> {
    let folder = format!("/proc/{}/fd", pid.as_raw_nonzero());
    let entries = fs::read_dir(folder).into_iter().flatten().map_while(Result::ok);
    entries
        .filter_map(|entry| {
            let name = fs::read_link(entry.path()).ok()?.into_os_string().into_string().ok()?;
            name.starts_with(SEGMENTS).then_some(())?;
            let metadata = fs::metadata(entry.path()).ok()?;
            let number = pid.as_raw_nonzero().get().cast_unsigned();
            let member = Member { started: procfs::started(pid)?, pid: number, file: entry.path(), name };
            Some(((metadata.dev(), metadata.ino()), member))
        })
        .collect()
}
