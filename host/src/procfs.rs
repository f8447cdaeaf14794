//! Other processes, as `/proc` shows them.

use std::time::{Duration, Instant};
use std::{fs, thread};

use rustix::process::Pid;

/// How long an exec may take on a busy machine.
const EXEC_LIMIT: Duration = Duration::from_millis(200);

/// All processes that this one can see.
pub(crate) fn processes() -> Vec<Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().map_while(Result::ok);
    entries.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)).collect()
}

/// The parent of a process.
pub(crate) fn parent(pid: Pid) -> Option<Pid> {
    Pid::from_raw(field_of_stat(pid, 4)?.parse().ok()?)
}

/// When a process was started, in ticks since the machine's start.
pub(crate) fn started(pid: Pid) -> Option<u64> {
    field_of_stat(pid, 22)?.parse().ok()
}

/// A field of `/proc/PID/stat` after the name, with its number in proc_pid_stat(5).
fn field_of_stat(pid: Pid, number: usize) -> Option<String> {
    let stat = fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // The name in parentheses may contain anything, parentheses and spaces included.
    let end = stat.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(&stat[end + 1..]).ok()?;
    rest.split_whitespace().nth(number - 3).map(str::to_owned)
}

/// The name of a process's program.
pub(crate) fn name(pid: u32) -> Option<String> {
    let name = fs::read(format!("/proc/{pid}/comm")).ok()?;
    Some(String::from_utf8_lossy(&name).trim_end().to_owned())
}

/// The memory that a process has and no file stands behind, in bytes: `RssAnon` in proc_pid_status(5).
///
/// Unlike `smaps`, the kernel has it counted, so the process does not stand still meanwhile.
pub(crate) fn private_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// How long the first thread of a process was on a CPU, and how long it could have been and waited for
/// one: `schedstat` in proc(5). Not every kernel counts it.
pub(crate) fn schedule(pid: u32) -> Option<[Duration; 2]> {
    let text = (pid != 0).then(|| fs::read_to_string(format!("/proc/{pid}/schedstat")).ok())??;
    let mut numbers = text.split_whitespace().map(|number| number.parse().map(Duration::from_nanos));
    Some([numbers.next()?.ok()?, numbers.next()?.ok()?])
}

/// A variable of the environment that a process was executed with.
pub(crate) fn variable(pid: Pid, name: &str) -> Option<String> {
    value_in(&environment(pid)?, name)
}

/// The environment of a process that is no zombie.
///
/// In the middle of an exec, after its old memory is gone, a process has none yet: that takes
/// microseconds of its own time, so there is a short wait for it.
fn environment(pid: Pid) -> Option<Vec<u8>> {
    let file = |name| format!("/proc/{}/{name}", pid.as_raw_nonzero());
    let deadline = Instant::now() + EXEC_LIMIT;
    let mut had_arguments = false;
    loop {
        let environment = fs::read(file("environ")).ok()?;
        // A thread of the kernel has no executable. A program may have been given no environment,
        // but then it has arguments, which an exec sets a moment earlier.
        let is_whole = !environment.is_empty() || fs::read_link(file("exe")).is_err() || had_arguments;
        if is_whole || Instant::now() > deadline {
            return Some(environment);
        }
        had_arguments = fs::read(file("cmdline")).is_ok_and(|arguments| !arguments.is_empty());
        thread::sleep(Duration::from_millis(1));
    }
}

/// The last value counts: a process that adds a variable to those that it passes on adds it there.
fn value_in(environment: &[u8], name: &str) -> Option<String> {
    let entries = environment.split(|&byte| byte == 0);
    let mut values = entries.filter_map(|entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"="));
    values.next_back().and_then(|value| String::from_utf8(value.to_vec()).ok())
}

/// Kills a child of this process that is not reaped, and all processes that descend from it.
pub(crate) fn kill_tree(root: Pid) {
    use std::collections::BTreeMap;

    use rustix::process::{Signal, kill_process};

    let mut children: BTreeMap<i32, Vec<Pid>> = BTreeMap::new();
    for pid in processes() {
        if let Some(parent) = parent(pid) {
            children.entry(parent.as_raw_nonzero().get()).or_default().push(pid);
        }
    }
    let mut left = vec![root];
    while let Some(pid) = left.pop() {
        // The descendants were seen a moment ago; a number is not given again so soon.
        let _ = kill_process(pid, Signal::KILL);
        left.extend(children.remove(&pid.as_raw_nonzero().get()).unwrap_or_default());
    }
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;
    use rustix::process::getpid;
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    #[test]
    fn variable_is_found_by_its_whole_name() {
        let environment = b"PATH=/bin\0MY_COBUF=1\0COBUF_ID=2\0COBUF=3\0X=\xff\0";
        assert_eq!(value_in(environment, "COBUF").as_deref(), Some("3"));
        assert_eq!(value_in(environment, "COBU"), None);
        assert_eq!(value_in(environment, "X"), None, "no text");
        assert_eq!(value_in(b"", "X"), None);
    }

    #[test]
    fn processes_are_found_and_killed_with_their_descendants() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "sleep 1000 & echo $!; wait"]).env("COBUF_TEST", "7").stdout(Stdio::piped());
        let mut shell = shell.spawn().unwrap();
        let mut lines = BufReader::new(shell.stdout.take().unwrap()).lines();
        let sleeper = Pid::from_raw(lines.next().unwrap().unwrap().parse().unwrap()).unwrap();
        let pid = Pid::from_raw(shell.id().cast_signed()).unwrap();
        assert!(processes().contains(&sleeper));
        assert_eq!((parent(sleeper), parent(pid)), (Some(pid), Some(getpid())));
        assert_eq!(variable(sleeper, "COBUF_TEST").as_deref(), Some("7"));
        kill_tree(pid);
        assert!(lines.next().is_none(), "both have ended, and closed the pipe");
        shell.wait().unwrap();
        assert_eq!(parent(pid), None);
    }
}
