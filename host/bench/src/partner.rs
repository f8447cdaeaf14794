//! Other processes of the baselines: this executable again, with the shared memory as its standard input.
//!
//! ```text
//!   bench ── spawn("ping-pong") ──► cobuf-bench partner ping-pong, which maps what its standard input leads to
//! ```
//!
//! They never end on their own: they are killed when their [`Partner`] is dropped, and by the kernel where `bench` dies before.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use cobuf::signals::Signals;

use crate::args::Role;
use crate::memory::SharedMemory;

/// Another process.
pub(crate) struct Partner(Child);

impl Partner {
    /// Starts a process that does this with the memory.
    pub(crate) fn spawn(role: Role, memory: &SharedMemory) -> Result<Self> {
        let memory = memory.file().try_clone_to_owned().context("cannot pass the shared memory on")?;
        Ok(Self(command(role)?.stdin(memory).spawn().context("cannot start another process")?))
    }
}

/// Whether there is still somebody to wait for, and no signal to stop: an error where not.
pub(crate) fn check(partners: &mut [Partner], signals: &Signals) -> Result<()> {
    ensure!(signals.exit_code().is_none(), "stopped by a signal");
    for Partner(child) in partners {
        let ended = child.try_wait().context("cannot ask for another process's end")?;
        if let Some(status) = ended {
            bail!("a process that this one measures with has ended: {status}");
        }
    }
    Ok(())
}

impl Drop for Partner {
    fn drop(&mut self) {
        // It is there until it was waited for, so both can only succeed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts this executable and waits for its end: the least that a start of a process costs.
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
    // What a terminal sends is for `bench`, which ends its partners.
    command.process_group(0);
    command.arg("partner").arg(role.get_name()).arg(std::process::id().to_string());
    Ok(command)
}
