//! The jail of a process that opens a producer: what code that was taken over by its input can still
//! reach.
//!
//! ```text
//!   forked process   prepares itself ──► enter ──► opens the plugin, whose constructors run jailed
//!                                          │
//!     privileges   capabilities, core dumps, limits        for good
//!     files        Landlock: which paths can be opened     TCP ports, signals, abstract sockets, too
//!     calls        seccomp: which system calls are left    a list of what is allowed
//!     variables    of the environment, which are taken from the fork server already
//!
//!   watched process ── calls, before they are made ──► host: needs ──► the sandbox that allows them
//! ```
//!
//! Invariants: the host and the fork server never enter a jail. What the jail is made of is known before
//! the fork: nothing that the plugin says widens it. A jail is entered by a process with one thread, and
//! holds for all that it starts.

mod calls;
mod files;
mod folders;
mod kernel;
mod lists;
mod needs;
mod privileges;
mod settings;
mod variables;
pub(crate) mod watched;

use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use self::kernel::{Enforced, SandboxReport};
pub(crate) use self::needs::Ground;
pub use self::needs::SandboxNeeds;
pub use self::settings::{Sandbox, SandboxError, SandboxMode};
pub(crate) use self::variables::variables;

/// A sandbox, and what of it the kernel enforces.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Jail {
    pub(crate) sandbox: Sandbox,
    pub(crate) enforced: SandboxReport,
}

impl Jail {
    /// Checks a sandbox, before anything is started.
    pub(crate) fn of(sandbox: Sandbox) -> Result<Self, SandboxError> {
        for (setting, paths) in [("read", &sandbox.read), ("write", &sandbox.write)] {
            for path in paths {
                let opened = fs::metadata(path);
                opened.map_err(|source| SandboxError::Path { setting, path: path.clone(), source })?;
            }
        }
        calls::extra(&sandbox)?;
        let enforced = kernel::report(&sandbox)?;
        Ok(Self { sandbox, enforced })
    }

    /// Enters the jail, for good. `own` are the files and folders that the process needs beside those of
    /// its settings: the plugin's copy.
    ///
    /// # Errors
    /// What could not be done, of that which is said to be enforced. Then the process must end, since it may
    /// be jailed in part.
    pub(crate) fn enter(&self, own: &[PathBuf]) -> Result<(), SandboxError> {
        let Self { sandbox, enforced } = self;
        privileges::give_up()?;
        files::restrict(sandbox, enforced.files, own)?;
        if enforced.system_calls == Enforced::Nothing { Ok(()) } else { calls::restrict(sandbox) }
    }
}
