//! What a plugin needs of a sandbox, from the calls that a watched process makes.
//!
//! ```text
//!   Ground   what needs no setting: what every program reads, and the plugin's own parts
//!   Needs    what it asked for beside that ──► fitting ──► the tightest sandbox that allows it
//! ```
//!
//! A file that is not there is no need: in a jail it is not there either.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::calls::SOCKET_KIND;
use super::lists::{self, Done, PathArgument};
use super::settings::Sandbox;
use super::watched::Call;
use super::{files, folders};

/// The longest path, with the zero byte at its end.
const LONGEST_PATH: usize = libc::PATH_MAX as usize;
/// Memory is read up to the next such border, since nothing may be mapped behind it.
const PAGE: usize = 4096;

/// What a plugin asked for that the tightest sandbox refuses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SandboxNeeds {
    /// The files and folders that it read.
    pub read: BTreeSet<PathBuf>,
    /// The files that it wrote, and the folders in which it made, moved or removed files.
    pub write: BTreeSet<PathBuf>,
    /// The calls by which it wanted to reach the network, by their names.
    pub network: BTreeSet<String>,
    /// The programs that it started; the name of a call if it started a process without one.
    pub programs: BTreeSet<String>,
    /// Whether it started threads.
    pub threads: bool,
    /// The other calls, with their first two arguments.
    pub calls: BTreeSet<String>,
    /// What no setting allows, or only one that allows to read everything.
    pub never: BTreeSet<String>,
}

/// What a process may do without a setting.
#[derive(Debug)]
pub(crate) struct Ground {
    read: Vec<PathBuf>,
    process: u32,
}

impl Ground {
    /// For a process whose plugin has these parts.
    pub(crate) fn new(process: u32, parts: &[PathBuf]) -> Self {
        let usual = files::usual(&Sandbox::default());
        let all = usual.into_iter().filter(|path| !path.starts_with("/proc/self")).chain(parts.to_vec());
        Self { read: all.filter_map(|path| path.canonicalize().ok()).collect(), process }
    }

    /// A thread's path as it is for other processes.
    fn seen(&self, path: PathBuf, thread: u32) -> PathBuf {
        let [of_process, of_thread] = [self.process, thread].map(|id| PathBuf::from(format!("/proc/{id}")));
        match (path.strip_prefix("/proc/self"), path.strip_prefix("/proc/thread-self")) {
            (Ok(below), _) => of_process.join(below),
            (_, Ok(below)) => of_thread.join(below),
            _ => path,
        }
    }

    /// Whether a path without links is in the process's own part of `/proc`.
    fn is_own(&self, path: &Path) -> bool {
        path.starts_with(format!("/proc/{}", self.process))
    }
}

impl SandboxNeeds {
    /// Notes a call that waits.
    pub(crate) fn note(&mut self, call: &Call, ground: &Ground) {
        let Some(name) = call.call.map(|call| call.name()) else {
            self.never.insert(format!("system call {}", call.number));
            return;
        };
        if let Some((_, paths)) = lists::FILES.iter().find(|(file, _)| *file == name) {
            paths.iter().for_each(|path| self.note_path(call, *path, ground));
        } else if name == "clone" && call.arguments[0] & libc::CLONE_THREAD as u64 != 0 {
            self.threads = true;
        } else if matches!(name, "execve" | "execveat") {
            let at = if name == "execve" { 0 } else { 1 };
            let program = text_at(call.thread, call.arguments[at]);
            let program = program.unwrap_or_else(|| name.into()).to_string_lossy().into_owned();
            self.programs.insert(program);
        } else if matches!(name, "clone" | "fork" | "vfork") {
            self.programs.insert(name.to_owned());
        } else if lists::NETWORK.contains(&name) || is_allowed_with_network(name, call) {
            self.network.insert(name.to_owned());
        } else {
            let [first, second, ..] = call.arguments;
            self.calls.insert(format!("{name}({first:#x}, {second:#x})"));
        }
    }

    fn note_path(&mut self, call: &Call, argument: PathArgument, ground: &Ground) {
        let Some(path) = path_of(call, argument).map(|path| ground.seen(path, call.thread)) else { return };
        let flags = match argument.done {
            Done::Open(flags) => call.arguments[flags] as i32,
            Done::OpenAsStructured(how) => flags_at(call.thread, call.arguments[how]).unwrap_or_default(),
            Done::Make => libc::O_WRONLY | libc::O_CREAT,
            Done::Write => libc::O_WRONLY,
            Done::Name => return self.note_write(path.parent().unwrap_or(&path), ground),
        };
        if flags & libc::O_PATH != 0 {
            return;
        }
        let writes = flags & libc::O_ACCMODE != libc::O_RDONLY || flags & libc::O_TRUNC != 0;
        match path.canonicalize() {
            Err(_) if flags & libc::O_CREAT != 0 => {
                self.note_write(path.parent().unwrap_or(&path), ground);
            }
            Err(_) => {}
            Ok(there) if writes => self.note_write(&there, ground),
            Ok(there) if ground.is_own(&there) || there == Path::new("/dev/null") => {}
            Ok(there) if there == Path::new("/") => {
                self.never.insert("to list the root folder".to_owned());
            }
            Ok(there) => {
                if !ground.read.iter().any(|usual| there.starts_with(usual)) {
                    self.read.insert(there);
                }
            }
        }
    }

    fn note_write(&mut self, path: &Path, ground: &Ground) {
        let Ok(there) = path.canonicalize() else { return };
        if ground.is_own(&there) {
            self.never.insert(format!("to write to {}", there.display()));
        } else if there != Path::new("/dev/null") {
            self.write.insert(there);
        }
    }

    /// The tightest sandbox that allows all of it. Several files of one folder are that folder.
    pub fn fitting(&self) -> Sandbox {
        let write = folders::folded(&self.write);
        let read = folders::folded(&self.read).into_iter();
        let name = |call: &String| call.split('(').next().unwrap_or_default().to_owned();
        Sandbox {
            read: read.filter(|path| !write.iter().any(|written| path.starts_with(written))).collect(),
            write,
            network: !self.network.is_empty(),
            exec: !self.programs.is_empty(),
            threads: self.threads,
            extra_syscalls: self.calls.iter().map(name).collect::<BTreeSet<_>>().into_iter().collect(),
            ..Sandbox::default()
        }
    }
}

impl Sandbox {
    /// Allows no reading of the system's files.
    pub(crate) fn forget_system(&mut self) {
        self.read.retain(|path| !folders::is_of_system(path));
    }
}

/// Whether a call is refused because of its arguments, and allowed with the network.
fn is_allowed_with_network(name: &str, call: &Call) -> bool {
    let [first, second, ..] = call.arguments;
    match name {
        "socket" => lists::FAMILIES.contains(&(first as i32)) || first as i32 == libc::AF_NETLINK,
        "socketpair" => second & SOCKET_KIND == libc::SOCK_DGRAM as u64,
        _ => false,
    }
}

/// The path of a call, absolute.
fn path_of(call: &Call, argument: PathArgument) -> Option<PathBuf> {
    let path = text_at(call.thread, call.arguments[argument.path])?;
    if path.is_absolute() {
        return Some(path);
    }
    let folder = argument.folder.map_or(libc::AT_FDCWD, |folder| call.arguments[folder] as i32);
    let folder = match folder {
        libc::AT_FDCWD => format!("/proc/{}/cwd", call.thread),
        number => format!("/proc/{}/fd/{number}", call.thread),
    };
    Some(fs::read_link(folder).ok()?.join(path))
}

/// The path in a waiting thread's memory.
fn text_at(thread: u32, address: u64) -> Option<PathBuf> {
    let memory = File::open(format!("/proc/{thread}/mem")).ok()?;
    let mut text = Vec::new();
    while text.len() < LONGEST_PATH {
        let from = address + text.len() as u64;
        let mut piece = vec![0; PAGE - from as usize % PAGE];
        memory.read_exact_at(&mut piece, from).ok()?;
        match piece.iter().position(|&byte| byte == 0) {
            Some(end) => {
                text.extend(&piece[..end]);
                return Some(std::ffi::OsString::from_vec(text).into());
            }
            None => text.extend(piece),
        }
    }
    None
}

/// The flags with which the structure of `openat2` begins.
fn flags_at(thread: u32, address: u64) -> Option<i32> {
    let mut flags = [0; 8];
    File::open(format!("/proc/{thread}/mem")).ok()?.read_exact_at(&mut flags, address).ok()?;
    Some(u64::from_ne_bytes(flags) as i32)
}
