//! The main function of a process that is measured beside the buffer.

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

use crate::args::{PartnerArgs, Role};
use crate::memory::SharedMemory;
use crate::relay::{self, ping_pong};

/// Runs the process's role until it is killed.
pub(crate) fn serve(args: &PartnerArgs) -> Result<()> {
    if args.role == Role::Nothing {
        return Ok(());
    }
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The parent may have died before this process asked to die with it.
    ensure!(getppid().map(Pid::as_raw_pid) == Some(args.parent), "the process that started this one is gone");
    let memory = rustix::io::dup(rustix::stdio::stdin()).context("there is no standard input")?;
    let memory = SharedMemory::received(memory)?;
    match args.role {
        Role::Nothing => Ok(()),
        Role::PingPong => ping_pong::answer(memory.words()),
        Role::Commander => relay::command(memory.words()),
        Role::Worker0 => relay::work(memory.words(), 0),
        Role::Worker1 => relay::work(memory.words(), 1),
    }
}
