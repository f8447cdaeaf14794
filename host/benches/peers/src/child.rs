//! A peer's process, for one answer: with a limit, and whatever it started ended with it.
//!
//! Each has a process group of its own. At the child's end, or at the limit, the group is asked to end (SIGTERM), so
//! that a helper such as Python's resource tracker can remove shared memory; what is left a moment later is killed.

use std::cell::OnceCell;
use std::io::Read;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use serde::de::DeserializeOwned;

use crate::protocol;

/// How long a group may take to end by itself.
const GRACE: Duration = Duration::from_secs(1);
/// How many of a failed child's last lines on standard error are shown.
const SHOWN_LINES: usize = 8;

/// Runs a command to its end and reads the last line of its output.
///
/// # Errors
/// Where it cannot be started, takes longer than `limit`, fails, or does not print what is expected.
pub(crate) fn ask<T: DeserializeOwned>(command: &mut Command, limit: Duration) -> Result<T> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start {program}"))?;
    let (output, errors) = (Pipe::read(child.stdout.take()), Pipe::read(child.stderr.take()));
    let status = end(&mut child, limit, [&output, &errors])?;
    let (output, errors) = (output.text(), errors.text());
    match status {
        None => bail!("it was killed after {} s, its limit: {}", limit.as_secs_f64(), last_lines(&errors)),
        Some(status) if !status.success() => bail!("it ended with {status}: {}", last_lines(&errors)),
        Some(_) => protocol::parse_output(&output),
    }
}

/// Waits for the child's end, and ends its group; `None` where it reached the limit.
fn end(child: &mut Child, limit: Duration, pipes: [&Pipe; 2]) -> Result<Option<ExitStatus>> {
    let pid =
        i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("the child has no process id")?;
    let ended = ends_within(pid, limit)?;
    // The child is not reaped yet, so that the number is still its group's. An empty group is no error.
    let _ = kill_process_group(pid, Signal::TERM);
    let deadline = Instant::now() + GRACE;
    for pipe in pipes {
        // Everyone in the group has it open.
        pipe.wait_for_end(deadline);
    }
    let _ = kill_process_group(pid, Signal::KILL);
    let status = child.wait().context("cannot wait for the child")?;
    Ok(ended.then_some(status))
}

/// Whether a process ends within a time.
fn ends_within(pid: Pid, limit: Duration) -> Result<bool> {
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).context("cannot watch the child")?;
    let limit = Timespec::try_from(limit).context("the limit is too long")?;
    let ready = rustix::io::retry_on_intr(|| poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&limit)));
    Ok(ready.context("cannot wait for the child")? > 0)
}

/// A pipe that a thread reads to its end.
struct Pipe {
    bytes: Receiver<Vec<u8>>,
    text: OnceCell<String>,
}

impl Pipe {
    fn read(pipe: Option<impl Read + Send + 'static>) -> Self {
        let (sender, bytes) = mpsc::channel();
        thread::spawn(move || {
            let mut bytes = Vec::new();
            // The text before an error is good enough for a last line; the receiver may be gone.
            let _ = pipe.map(|mut pipe| pipe.read_to_end(&mut bytes));
            let _ = sender.send(bytes);
        });
        Self { bytes, text: OnceCell::new() }
    }

    fn wait_for_end(&self, deadline: Instant) {
        let rest = deadline.saturating_duration_since(Instant::now());
        if let Ok(bytes) = self.bytes.recv_timeout(rest) {
            let _ = self.text.set(String::from_utf8_lossy(&bytes).into_owned());
        }
    }

    fn text(self) -> String {
        self.wait_for_end(Instant::now() + GRACE);
        self.text.into_inner().unwrap_or_default()
    }
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    if lines.is_empty() {
        return "it said nothing".to_owned();
    }
    lines[lines.len().saturating_sub(SHOWN_LINES)..].join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Answer;

    fn shell(script: &str, limit: Duration) -> Result<Answer> {
        ask(Command::new("sh").args(["-c", script]), limit)
    }

    #[test]
    fn is_an_answer_read() {
        assert_eq!(shell("echo '{\"value\": 3}'", Duration::from_secs(20)).unwrap(), Answer { value: 3.0 });
    }

    #[test]
    fn does_a_failure_say_why() {
        let error = shell("echo no numpy >&2; exit 3", Duration::from_secs(20)).unwrap_err().to_string();
        assert_eq!(error, "it ended with exit status: 3: no numpy");
    }

    #[test]
    fn is_a_child_that_hangs_killed_with_its_own_children() {
        // The inner one holds the pipe open and ignores SIGTERM: reading would not end if it lived.
        let script = "sh -c 'trap \"\" TERM; sleep 1000 & wait; sleep 1000' & sleep 1000";
        let error = shell(script, Duration::from_millis(300)).unwrap_err().to_string();
        assert!(error.starts_with("it was killed after 0.3 s, its limit"), "{error}");
    }

    #[test]
    fn is_a_program_that_is_not_there_said() {
        let error = ask::<Answer>(&mut Command::new("/no/such/python"), Duration::from_secs(1)).unwrap_err();
        assert_eq!(error.to_string(), "cannot start /no/such/python");
    }
}
