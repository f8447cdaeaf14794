//! The other processes of the baselines: this executable again, with the shared memory as its
//! standard input.
//!
//! ```text
//!   bench ── spawn("ping-pong") ──► cobuf-bench partner ping-pong, which maps its standard input
//! ```
//!
//! They never end on their own. They are killed when their [`Partner`] is dropped, and by the
//! kernel if the bench dies earlier.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use cobuf::signals::Signals;

use crate::args::Role;
use crate::memory::SharedMemory;

/// Another process, which is killed when this is dropped.
pub(crate) struct Partner(Child);

impl Partner {
    /// Starts a process with this role and this memory.
    pub(crate) fn spawn(role: Role, memory: &SharedMemory) -> Result<Self> {
        let memory =
            memory.file().try_clone_to_owned().context("cannot pass the shared memory to another process")?;
        Ok(Self(command(role)?.stdin(memory).spawn().context("cannot start another process")?))
    }
}

/// Checks that all other processes still run and that no signal has asked to stop.
pub(crate) fn check(partners: &mut [Partner], signals: &Signals) -> Result<()> {
    signals.check()?;
    for Partner(child) in partners {
        let ended = child.try_wait().context("cannot ask whether another process has ended")?;
        if let Some(status) = ended {
            bail!("a process that this one measures with has ended: {status}");
        }
    }
    Ok(())
}

impl Drop for Partner {
    fn drop(&mut self) {
        // The process exists until it is waited for, so both calls can only succeed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts this executable and waits for its end: the least that the start of a process costs.
pub(crate) fn start_and_end() -> Result<()> {
    let ended =
        command(Role::Nothing)?.stdin(Stdio::null()).status().context("cannot start another process")?;
    ensure!(ended.success(), "the process that does nothing ended with {ended}");
    Ok(())
}

fn command(role: Role) -> Result<Command> {
    let executable = std::env::current_exe().context("cannot find this executable")?;
    let mut command = Command::new(executable);
    let role = clap::ValueEnum::to_possible_value(&role).context("each role has a name")?;
    // Signals from a terminal go to the bench only, which ends its partners.
    command.process_group(0);
    command.arg("partner").arg(role.get_name()).arg(std::process::id().to_string());
    Ok(command)
}
