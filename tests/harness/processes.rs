//! Processes as /proc shows them.

use std::fmt::Write;
use std::fs;
use std::os::fd::OwnedFd;
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, getpid, kill_process, pidfd_open};

/// A process, as it was when it was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    pub(crate) name: String,
    pub(crate) zombie: bool,
    /// When it was started, in clock ticks since boot: with the number it names one process for ever.
    pub(crate) started: u64,
}

impl Process {
    /// This process's number.
    pub(crate) fn own_pid() -> i32 {
        getpid().as_raw_nonzero().get()
    }

    /// All processes of the machine.
    pub(crate) fn all() -> Vec<Self> {
        let entries = fs::read_dir("/proc").expect("/proc can be read");
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        pids.filter_map(Self::get).collect()
    }

    /// The process with this number.
    pub(crate) fn get(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name stands in parentheses and may have any character.
        let (head, tail) = stat.rsplit_once(')')?;
        let name = head.split_once('(')?.1.to_owned();
        let fields: Vec<&str> = tail.split_whitespace().collect();
        let (state, parent, started) = (fields.first()?, fields.get(1)?, fields.get(19)?);
        Some(Self {
            pid,
            parent: parent.parse().ok()?,
            name,
            zombie: matches!(*state, "Z" | "X"),
            started: started.parse().ok()?,
        })
    }

    /// The children of a process.
    pub(crate) fn children_of(parent: i32) -> Vec<Self> {
        Self::all().into_iter().filter(|process| process.parent == parent).collect()
    }

    /// The living children, grandchildren … of a process, and their zombies.
    pub(crate) fn descendants_of(ancestor: i32) -> Vec<Self> {
        let all = Self::all();
        let mut found: Vec<Self> = Vec::new();
        let mut parents = vec![ancestor];
        while let Some(parent) = parents.pop() {
            for process in all.iter().filter(|process| process.parent == parent) {
                parents.push(process.pid);
                found.push(process.clone());
            }
        }
        found
    }

    /// The worker with this number of the host whose fork server this is.
    pub(crate) fn worker(fork_server: u32, worker: u32) -> Self {
        let name = format!("cobuf-work-{worker}");
        let found = Self::living_workers(fork_server).into_iter().find(|process| process.name == name);
        found.unwrap_or_else(|| panic!("fork server {fork_server} has no {name}"))
    }

    /// The workers of a host that are alive.
    pub(crate) fn living_workers(fork_server: u32) -> Vec<Self> {
        let mut workers = Self::children_of(fork_server as i32);
        workers.retain(|process| process.name.starts_with("cobuf-work-") && !process.zombie);
        workers.sort_by(|one, other| one.name.cmp(&other.name));
        workers
    }

    /// The commander of a host.
    pub(crate) fn commander(fork_server: u32) -> Self {
        let mut children = Self::children_of(fork_server as i32).into_iter();
        children.find(|process| process.name == "cobuf-command").expect("the commander runs")
    }

    /// The calling thread, which /proc shows as it does a process.
    pub(crate) fn own_thread() -> Self {
        Self::get(rustix::thread::gettid().as_raw_nonzero().get()).expect("this thread runs")
    }

    /// Whether it sleeps: whether its first thread waits for something, that is.
    pub(crate) fn is_asleep(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, tail)| tail.trim_start().starts_with('S'))
    }

    /// Waits until it sleeps: until it waits for something, that is.
    pub(crate) fn wait_until_asleep(&self) {
        self.wait_for_state("asleep", 'S');
    }

    /// Sends SIGSTOP, and waits until it stands still.
    pub(crate) fn freeze(&self) {
        kill_process(pid(self.pid), Signal::STOP).expect("the process runs");
        self.wait_for_state("frozen", 'T');
    }

    /// As [`freeze`](Self::freeze), for a process that may be about to end; whether it has not.
    pub(crate) fn freeze_unless_it_ends(&self) -> bool {
        let mut ended = kill_process(pid(self.pid), Signal::STOP).is_err();
        super::wait_until(&format!("{} is frozen or has ended", self.name), || {
            let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
            let state = stat.rsplit_once(')').and_then(|(_, tail)| tail.trim_start().chars().next());
            ended |= matches!(state, None | Some('Z' | 'X'));
            ended || state == Some('T')
        });
        !ended
    }

    /// Waits until a signal has stopped it.
    pub(crate) fn wait_until_stopped(&self) {
        self.wait_for_state("stopped", 'T');
    }

    fn wait_for_state(&self, name: &str, state: char) {
        super::wait_until(&format!("{} is {name}", self.name), || {
            let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).expect("the process runs");
            stat.rsplit_once(')').is_some_and(|(_, tail)| tail.trim_start().starts_with(state))
        });
    }

    /// Sends SIGINT, as Ctrl-C does.
    pub(crate) fn interrupt(&self) {
        kill_process(pid(self.pid), Signal::INT).expect("the process runs");
    }

    /// Sends SIGCONT.
    pub(crate) fn thaw(&self) {
        kill_process(pid(self.pid), Signal::CONT).expect("the process runs");
    }

    /// Sends SIGKILL. Whether there was such a process.
    pub(crate) fn kill(&self) -> bool {
        self.send(Signal::KILL)
    }

    /// Sends a signal. Whether there was such a process.
    pub(crate) fn send(&self, signal: Signal) -> bool {
        // The number may be another's by now; only tests that race with a death ask for that.
        let same = Self::get(self.pid).is_some_and(|now| now.started == self.started);
        same && kill_process(pid(self.pid), signal).is_ok()
    }

    /// A descriptor by which its end can be waited for; `None` if it has ended and was reaped.
    pub(crate) fn watch(&self) -> Option<OwnedFd> {
        let watched = pidfd_open(pid(self.pid), PidfdFlags::empty()).ok()?;
        (Self::get(self.pid)?.started == self.started).then_some(watched)
    }

    /// Waits until it has ended (it may be a zombie then); whether it did before the time was over.
    pub(crate) fn wait_for_end(&self, limit: Duration) -> bool {
        self.watch().is_none_or(|watched| wait_for_end(&watched, limit))
    }

    /// User and system time, in clock ticks, and the number of times that it went to sleep by itself.
    pub(crate) fn effort(&self) -> Effort {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).expect("the process runs");
        let fields: Vec<&str> =
            stat.rsplit_once(')').expect("stat has a name").1.split_whitespace().collect();
        let ticks = |field: usize| fields[field].parse::<u64>().expect("a number of ticks");
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("the process runs");
        let switches = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        let sleeps = switches.and_then(|number| number.trim().parse().ok()).expect("a number of switches");
        Effort { ticks: ticks(11) + ticks(12), sleeps }
    }
}

/// What a process has spent so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) ticks: u64,
    pub(crate) sleeps: u64,
}

/// Lists a child's processes, threads, and what each waits for; then kills them all.
pub(super) fn describe_and_kill(child: &mut Child) -> String {
    let mut all = vec![Process::get(child.id() as i32).expect("the child was not waited for")];
    all.extend(Process::descendants_of(child.id() as i32));
    let mut text =
        "its processes, with each thread's state and the kernel's function it waits in:".to_owned();
    for process in &all {
        let _ = write!(text, "\n{} {}, child of {}", process.pid, process.name, process.parent);
        let command = fs::read(format!("/proc/{}/cmdline", process.pid)).unwrap_or_default();
        let _ = write!(text, ": {}", String::from_utf8_lossy(&command).replace('\0', " "));
        for thread in fs::read_dir(format!("/proc/{}/task", process.pid)).into_iter().flatten().flatten() {
            let read = |file: &str| fs::read_to_string(thread.path().join(file)).unwrap_or_default();
            let status = read("status");
            let line = |key: &str| {
                status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default().trim().to_owned()
            };
            let _ = write!(text, "\n  {}: {}, {}", line("Name:"), line("State:"), read("wchan"));
            // Only root may see it, and only of a kernel that was built so.
            for frame in read("stack").lines() {
                let _ = write!(text, "\n    {frame}");
            }
        }
    }
    for process in &all {
        process.kill();
    }
    let _ = child.wait();
    text
}

/// Waits until the process of a pidfd has ended.
pub(crate) fn wait_for_end(pidfd: &OwnedFd, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&timeout)) {
            Err(rustix::io::Errno::INTR) => {}
            ready => return ready.expect("a pidfd can be polled") == 1,
        }
    }
}

fn pid(raw: i32) -> Pid {
    Pid::from_raw(raw).expect("process numbers are positive")
}
