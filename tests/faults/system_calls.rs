//! Each system call of host, fork server and plugins' processes fails once with each documented error.
//!
//! A first run notes which calls are made. Then each call of each kind of process is failed with each
//! of its errors, in a run of its own. Whatever fails, the run goes on with nothing lost, or ends with
//! an error that says why; it never hangs, panics or leaves anything behind.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use libc::{
    E2BIG, EACCES, EAGAIN, EBADF, ECHILD, EEXIST, EFBIG, EINTR, EINVAL, EIO, EMFILE, ENFILE, ENOBUFS, ENODEV,
    ENOENT, ENOLCK, ENOMEM, ENOSPC, ENOSYS, ENOTSUP, EPERM, EPIPE, EROFS, ESRCH, c_long,
};

use crate::common::interception::{self, Call};
use crate::common::{cobuf, isolated, plugin, refusals};

/// The calls that a run makes, with errors that their manual pages name, and those with which old
/// kernels and sandboxes refuse them.
#[rustfmt::skip]
const CALLS: &[(&str, c_long, &[i32])] = &[
    ("chdir", libc::SYS_chdir, &[EACCES, ENOENT]),
    ("clone", libc::SYS_clone, &[EAGAIN, ENOMEM]),
    ("clone3", libc::SYS_clone3, &[EAGAIN, ENOMEM, ENOSYS]),
    ("close_range", libc::SYS_close_range, &[ENOSYS, EPERM]),
    ("dup2", libc::SYS_dup2, &[EIO, EMFILE]),
    ("dup3", libc::SYS_dup3, &[EIO, EMFILE]),
    ("eventfd2", libc::SYS_eventfd2, &[EMFILE, ENFILE, ENODEV, ENOMEM]),
    ("execve", libc::SYS_execve, &[E2BIG, EACCES, ENOENT, ENOMEM]),
    ("fcntl", libc::SYS_fcntl, &[EMFILE, EPERM]),
    ("flock", libc::SYS_flock, &[EINTR, ENOLCK, ENOSYS, ENOTSUP]),
    ("fstat", libc::SYS_fstat, &[EBADF, ENOMEM]),
    ("fsync", libc::SYS_fsync, &[EIO, ENOSPC, EROFS]),
    ("ftruncate", libc::SYS_ftruncate, &[EFBIG, EINVAL, EIO, ENOSPC]),
    ("getdents64", libc::SYS_getdents64, &[ENOENT]),
    // EAGAIN is for callers that do not want to wait at the machine's start.
    ("getrandom", libc::SYS_getrandom, &[EINTR, ENOSYS]),
    ("getrlimit", libc::SYS_getrlimit, &[EPERM]),
    ("kill", libc::SYS_kill, &[EPERM, ESRCH]),
    ("lseek", libc::SYS_lseek, &[EINVAL]),
    ("madvise", libc::SYS_madvise, &[EAGAIN, EINVAL, EIO, ENOMEM, ENOSYS, EPERM]),
    ("memfd_create", libc::SYS_memfd_create, &[EMFILE, ENOSYS]),
    ("mkdir", libc::SYS_mkdir, &[EACCES, EEXIST, ENOSPC, EROFS]),
    ("mmap", libc::SYS_mmap, &[EACCES, EAGAIN, EINVAL, ENODEV, ENOMEM, EPERM]),
    ("mprotect", libc::SYS_mprotect, &[EACCES, ENOMEM]),
    ("munmap", libc::SYS_munmap, &[EINVAL]),
    ("newfstatat", libc::SYS_newfstatat, &[EACCES, ENOENT, ENOMEM]),
    ("open", libc::SYS_open, &[EACCES, EMFILE, ENOENT]),
    ("openat", libc::SYS_openat, &[EACCES, EINTR, EMFILE, ENFILE, ENOENT, ENOMEM, ENOSPC, EPERM]),
    ("pidfd_open", libc::SYS_pidfd_open, &[EMFILE, ENFILE, ENODEV, ENOMEM, ENOSYS, EPERM]),
    ("pidfd_send_signal", libc::SYS_pidfd_send_signal, &[ENOSYS, EPERM, ESRCH]),
    ("pipe2", libc::SYS_pipe2, &[EMFILE, ENFILE]),
    ("poll", libc::SYS_poll, &[EINTR, ENOMEM]),
    ("ppoll", libc::SYS_ppoll, &[EINTR, ENOMEM]),
    ("prctl", libc::SYS_prctl, &[EINVAL, EPERM]),
    ("pread64", libc::SYS_pread64, &[EINTR, EIO]),
    ("pwrite64", libc::SYS_pwrite64, &[EINTR, EIO, ENOSPC]),
    ("prlimit64", libc::SYS_prlimit64, &[EPERM]),
    ("read", libc::SYS_read, &[EAGAIN, EINTR, EIO]),
    ("readlink", libc::SYS_readlink, &[EACCES, ENOENT]),
    // Of signal-hook, which expects no other one.
    ("recvfrom", libc::SYS_recvfrom, &[EINTR]),
    ("recvmsg", libc::SYS_recvmsg, &[EINTR, ENOMEM]),
    ("rename", libc::SYS_rename, &[EACCES, ENOSPC, EROFS]),
    ("rmdir", libc::SYS_rmdir, &[EACCES, EROFS]),
    ("rt_sigaction", libc::SYS_rt_sigaction, &[EINVAL]),
    ("sched_getaffinity", libc::SYS_sched_getaffinity, &[ENOSYS, EPERM]),
    ("sendmsg", libc::SYS_sendmsg, &[EINTR, ENOBUFS, ENOMEM, EPIPE]),
    ("sendto", libc::SYS_sendto, &[EINTR, ENOBUFS, ENOMEM, EPIPE]),
    ("setsockopt", libc::SYS_setsockopt, &[ENOMEM, ENOTSUP]),
    ("setpgid", libc::SYS_setpgid, &[EACCES, EPERM]),
    ("sigaltstack", libc::SYS_sigaltstack, &[ENOMEM]),
    ("signalfd4", libc::SYS_signalfd4, &[EMFILE, ENFILE, ENODEV, ENOMEM]),
    ("socketpair", libc::SYS_socketpair, &[EMFILE, ENFILE, ENOTSUP]),
    ("statfs", libc::SYS_statfs, &[EIO, ENOSYS]),
    ("statx", libc::SYS_statx, &[EACCES, ENOENT, ENOMEM, ENOSYS]),
    ("uname", libc::SYS_uname, &[EPERM]),
    ("unlink", libc::SYS_unlink, &[EACCES, EROFS]),
    ("unlinkat", libc::SYS_unlinkat, &[EACCES, EROFS]),
    ("wait4", libc::SYS_wait4, &[ECHILD, EINTR]),
    ("waitid", libc::SYS_waitid, &[ECHILD, EINTR]),
    ("write", libc::SYS_write, &[EAGAIN, EINTR, EIO, ENOSPC, EPIPE]),
    ("writev", libc::SYS_writev, &[EAGAIN, EINTR, EIO, ENOSPC]),
];

/// Calls that cannot fail, or not for a reason that is anybody's but the C library's.
#[rustfmt::skip]
const NEVER: &[c_long] = &[
    libc::SYS_access, libc::SYS_arch_prctl, libc::SYS_brk, libc::SYS_clock_gettime, libc::SYS_clock_nanosleep,
    libc::SYS_close, libc::SYS_exit, libc::SYS_exit_group, libc::SYS_getpid, libc::SYS_getppid, libc::SYS_gettid,
    libc::SYS_geteuid, libc::SYS_getpgrp, libc::SYS_getcwd, libc::SYS_ioctl, libc::SYS_membarrier, libc::SYS_restart_syscall,
    libc::SYS_rseq, libc::SYS_rt_sigprocmask, libc::SYS_rt_sigreturn, libc::SYS_sched_setaffinity,
    libc::SYS_set_robust_list, libc::SYS_set_tid_address, libc::SYS_tgkill, libc::SYS_umask, libc::SYS_getuid,
    libc::SYS_getgid, libc::SYS_getegid, libc::SYS_sysinfo,
];

/// How long a run may take: it needs a fraction of a second.
const HUNG: Duration = Duration::from_secs(20);

/// The kinds of processes of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Host,
    ForkServer,
    Plugin,
}

impl Kind {
    fn of(process: &str) -> Option<Self> {
        match process {
            "cobuf" => Some(Self::Host),
            // Until it has given itself its name.
            "exe" | "cobuf-fork" => Some(Self::ForkServer),
            name if name.starts_with("cobuf-") => Some(Self::Plugin),
            _ => None,
        }
    }

    /// The first call that is the code's own, after those of the loader.
    fn first_call(self) -> Option<c_long> {
        match self {
            Self::Host => Some(libc::SYS_eventfd2),
            Self::ForkServer => Some(libc::SYS_signalfd4),
            Self::Plugin => None,
        }
    }
}

/// Counts the calls of each kind of process, from the first one of its own code on.
#[derive(Debug, Default)]
struct Counter {
    calls: BTreeMap<(Kind, c_long), usize>,
    begun: Vec<Kind>,
}

impl Counter {
    /// The number of this call among its like, if it counts.
    fn count(&mut self, call: &Call) -> Option<(Kind, usize)> {
        let kind = Kind::of(&call.process)?;
        if !self.begun.contains(&kind) {
            if kind.first_call().is_some_and(|first| first != call.number) {
                return None;
            }
            self.begun.push(kind);
        }
        let count = self.calls.entry((kind, call.number)).or_default();
        *count += 1;
        Some((kind, *count))
    }
}

/// The options of a run that keeps what can be kept.
const KEPT: &[&str] =
    &["--checkpoint", "checkpoint", "--checkpoint-every", "10", "--dead-letters", "letters"];

/// What a run was, seen from outside.
struct Seen {
    code: Option<i32>,
    report: String,
    said: String,
}

/// A pipeline of some messages, 40 unless a test says otherwise.
struct Setup {
    folder: tempfile::TempDir,
}

impl Setup {
    fn new() -> Self {
        Self::of(40)
    }

    /// With so many messages.
    fn of(messages: u64) -> Self {
        let folder = refusals::folder();
        let path = |name: &str| plugin(name).path().display().to_string();
        let pipeline = format!(
            "[commander]\nplugin = {:?}\nconfig = {{ messages = [{{ random = true }}], repeat = {messages} }}\n\
             [producer]\nplugin = {:?}\nconfig = {{ arrays = [{{ name = \"x\", dtype = \"u32\", shape = [4] }}] }}\n\
             [run]\nworkers = 2\nslots = 8\nstop_grace_seconds = 1\nmessage_timeout_seconds = 5\n",
            path("list-commander"),
            path("fill-producer")
        );
        fs::write(folder.path().join("run.toml"), pipeline).unwrap();
        Self { folder }
    }

    fn start(
        &self,
        kept: &[&str],
        calls: Option<&[c_long]>,
        judge: impl FnMut(Call) -> Option<i32> + Send + 'static,
    ) -> (Child, Receiver<()>) {
        for old in ["checkpoint", "letters"] {
            let _ = fs::remove_file(self.folder.path().join(old));
        }
        let mut command = cobuf();
        command.current_dir(self.folder.path()).args(["run", "run.toml", "--json"]).args(kept);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        interception::start(command, calls, judge)
    }

    /// Runs it to its end; an error says that it did not come to one.
    fn run(
        &self,
        kept: &[&str],
        calls: Option<&[c_long]>,
        judge: impl FnMut(Call) -> Option<i32> + Send + 'static,
    ) -> Result<Seen, String> {
        let (mut child, ended) = self.start(kept, calls, judge);
        let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let reader = std::thread::spawn(move || {
            let mut said = String::new();
            let _ = stderr.read_to_string(&mut said);
            said
        });
        // The channel is closed once no process of the run is left.
        if ended.recv_timeout(HUNG) == Err(RecvTimeoutError::Timeout) {
            crate::harness::Process::descendants_of(child.id() as i32)
                .iter()
                .for_each(|left| assert!(left.kill() || left.zombie));
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("hangs, or leaves processes behind; it said:\n{}", reader.join().unwrap()));
        }
        let mut report = String::new();
        let _ = stdout.read_to_string(&mut report);
        Ok(Seen { code: child.wait().unwrap().code(), report, said: reader.join().unwrap() })
    }
}

/// The part of a report that must be the same.
fn content(report: &str) -> Option<(u64, String)> {
    let report: serde_json::Value = serde_json::from_str(report).ok()?;
    Some((report["batches"].as_u64()?, report["content_digest"].as_str()?.to_owned()))
}

/// The folder of a run that should be gone, unless the call that failed was to remove it: then the next
/// run does.
fn left_behind(failed: c_long) -> Option<String> {
    const REMOVING: [c_long; 7] = [
        libc::SYS_openat,
        libc::SYS_newfstatat,
        libc::SYS_statx,
        libc::SYS_fstat,
        libc::SYS_getdents64,
        libc::SYS_unlinkat,
        libc::SYS_rmdir,
    ];
    let entries = fs::read_dir(std::env::temp_dir()).unwrap().map(|entry| entry.unwrap().path());
    let left: Vec<_> = entries.filter(|path| path.to_string_lossy().contains("cobuf-run-")).collect();
    left.iter().for_each(|folder| fs::remove_dir_all(folder).unwrap());
    (!left.is_empty() && !REMOVING.contains(&failed)).then(|| format!("leaves {left:?} behind"))
}

/// Why a run is wrong, if it is.
fn fault(seen: &Seen, expected: &(u64, String)) -> Option<String> {
    let Seen { code, report, said } = seen;
    let panics = said.lines().filter(|line| line.contains("panicked at "));
    let (of_std, own): (Vec<_>, Vec<_>) = panics.partition(|line| line.contains("/library/std/"));
    if !own.is_empty() {
        return Some("panics".to_owned());
    }
    // The standard library aborts if a new thread's stack cannot be guarded.
    if !of_std.is_empty() {
        return None;
    }
    match code {
        Some(0) if content(report).as_ref() != Some(expected) => Some(format!("loses work: {report}")),
        Some(0) => None,
        Some(1 | 2) if said.contains("error: ") => None,
        Some(1 | 2) => Some("ends without a reason".to_owned()),
        // The report was the call that failed.
        other => Some(format!("ends with {other:?}")),
    }
}

#[test]
fn each_system_call_that_fails_is_survived_or_named() {
    let leaks = isolated!();
    let setup = Setup::new();
    let counter = Arc::new(Mutex::new(Counter::default()));
    let noted = counter.clone();
    let seen = setup.run(KEPT, None, move |call| {
        noted.lock().unwrap().count(&call);
        None
    });
    let expected = content(&seen.unwrap().report).expect("an undisturbed run");
    assert_eq!(expected.0, 40);
    let calls = std::mem::take(&mut counter.lock().unwrap().calls);
    let known = |number: c_long| CALLS.iter().find(|&&(_, known, _)| known == number);
    let unknown: Vec<_> =
        calls.keys().filter(|(_, number)| known(*number).is_none() && !NEVER.contains(number)).collect();
    assert!(unknown.is_empty(), "calls that have no entry: {unknown:?}");
    let (mut tried, mut went_on, mut wrong) = (0, 0, Vec::new());
    for (&(kind, number), &count) in &calls {
        let Some((name, _, errors)) = known(number) else { continue };
        for (index, &error) in errors.iter().enumerate() {
            // Another one of its like for each error.
            let nth = 1 + index * count / errors.len();
            let mut counter = Counter::default();
            let marks = [number, libc::SYS_eventfd2, libc::SYS_signalfd4];
            let seen = setup.run(KEPT, Some(&marks), move |call| {
                let counted = counter.count(&call)?;
                (call.number == number && counted == (kind, nth)).then_some(error)
            });
            tried += 1;
            leaks.bury_orphans();
            let reason = match &seen {
                Ok(seen) => fault(seen, &expected).or_else(|| left_behind(number)),
                Err(reason) => Some(reason.clone()),
            };
            let what =
                format!("{kind:?} {name} {nth} of {count}: {}", std::io::Error::from_raw_os_error(error));
            let code = seen.as_ref().ok().and_then(|seen| seen.code);
            went_on += usize::from(code == Some(0));
            let said = seen.map(|seen| seen.said).unwrap_or_default();
            let named = said.lines().find(|line| line.starts_with("error: ")).unwrap_or_default();
            println!(
                "{what}: {}",
                reason.as_deref().unwrap_or(if code == Some(0) { "goes on" } else { named })
            );
            if let Some(reason) = reason {
                wrong.push(format!("{what}: {reason}\n{said}"));
            }
        }
    }
    println!("{tried} tried, {went_on} went on, {} named", tried - went_on - wrong.len());
    assert!(wrong.is_empty(), "{} of {tried} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// The number of calls of each kind in a run of so many messages that keeps nothing, those for yields
/// and waits left out.
fn calls_of(messages: u64) -> BTreeMap<(Kind, c_long), usize> {
    let counter = Arc::new(Mutex::new(Counter::default()));
    let noted = counter.clone();
    let seen = Setup::of(messages).run(&[], None, move |call| {
        noted.lock().unwrap().count(&call);
        None
    });
    let (batches, _) = content(&seen.unwrap().report).expect("an undisturbed run");
    assert_eq!(batches, messages);
    std::mem::take(&mut counter.lock().unwrap().calls)
}

#[test]
fn more_batches_make_no_more_system_calls() {
    let _leaks = isolated!();
    let (few, many) = (calls_of(1_000), calls_of(20_000));
    let more = |(key, &count): (&(Kind, c_long), &usize)| {
        let more = count.saturating_sub(few.get(key).copied().unwrap_or_default());
        // Waits end as time passes, whatever is delivered. Some calls at the start depend on who is first.
        let is_wait = [libc::SYS_poll, libc::SYS_ppoll].contains(&key.1);
        (!is_wait && more > 19_000 / 200)
            .then(|| format!("{:?} makes call {} {more} times more", key.0, key.1))
    };
    let grown: Vec<String> = many.iter().filter_map(more).collect();
    assert!(grown.is_empty(), "in a run of 20,000 batches rather than 1,000, {grown:?}");
}
