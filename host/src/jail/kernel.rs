//! What the kernel can enforce of a sandbox, and by which means.

use std::fmt;

use landlock::{ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, Scope};
use rustix::process::getpid;
use serde::{Deserialize, Serialize};

use super::settings::{Sandbox, SandboxError, SandboxMode};

/// What of a sandbox is enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SandboxReport {
    /// No file is opened but those of the settings.
    pub files: Enforced,
    /// No socket is made.
    pub network: Enforced,
    /// No other program or process is started.
    pub programs: Enforced,
    /// No signal is sent to other processes.
    pub signals: Enforced,
    /// No system calls are made but those that programs need.
    pub system_calls: Enforced,
}

/// The means that enforces a part of a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Enforced {
    /// Landlock: the kernel's rules for paths, ports and signals.
    Landlock,
    /// seccomp: a filter of system calls.
    Seccomp,
    /// Both.
    Both,
    /// It is allowed by the settings.
    Allowed,
    /// The kernel cannot.
    Nothing,
}

impl fmt::Display for Enforced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Landlock => "Landlock",
            Self::Seccomp => "seccomp",
            Self::Both => "Landlock and seccomp",
            Self::Allowed => "nothing (allowed)",
            Self::Nothing => "nothing (the kernel cannot)",
        })
    }
}

impl fmt::Display for SandboxReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { files, network, programs, signals, system_calls } = self;
        write!(
            f,
            "files by {files}, network by {network}, programs by {programs}, signals by {signals}, system calls by {system_calls}"
        )
    }
}

/// What the kernel has of Landlock: files, ports, signals.
pub(super) struct Landlock {
    pub(super) files: bool,
    ports: bool,
    signals: bool,
}

/// The version of Landlock that knows all that is written to files: truncation is the last (Linux 6.2).
pub(super) const FILES: ABI = ABI::V3;

impl Landlock {
    /// A set of rules that is made and thrown away says what the kernel knows.
    pub(super) fn of_kernel() -> Self {
        let strict = || Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
        let files = strict().handle_access(AccessFs::from_all(FILES)).and_then(Ruleset::create);
        let ports = strict().handle_access(AccessNet::from_all(ABI::V4)).and_then(Ruleset::create);
        let signals = strict().scope(Scope::Signal).and_then(Ruleset::create);
        Self { files: files.is_ok(), ports: ports.is_ok(), signals: signals.is_ok() }
    }
}

/// Whether the kernel knows filters of system calls: `/proc/PID/status` has a line for them.
fn knows_seccomp() -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", getpid().as_raw_nonzero()));
    status.is_ok_and(|status| status.contains("\nSeccomp_filters:"))
}

/// What is enforced of a sandbox.
pub(super) fn report(sandbox: &Sandbox) -> Result<SandboxReport, SandboxError> {
    let (landlock, seccomp) = (Landlock::of_kernel(), knows_seccomp());
    if sandbox.mode == SandboxMode::Strict {
        let lacks = |lacks| Err(SandboxError::Kernel { lacks });
        if !landlock.files {
            return lacks("it has no Landlock that restricts all writes to files");
        }
        if !seccomp {
            return lacks("it has no filters of system calls");
        }
    }
    let by = |landlock: bool| match (landlock, seccomp) {
        (true, true) => Enforced::Both,
        (true, false) => Enforced::Landlock,
        (false, true) => Enforced::Seccomp,
        (false, false) => Enforced::Nothing,
    };
    let unless = |allowed: bool, enforced: Enforced| if allowed { Enforced::Allowed } else { enforced };
    Ok(SandboxReport {
        files: if landlock.files { Enforced::Landlock } else { Enforced::Nothing },
        network: unless(sandbox.network, by(landlock.ports)),
        programs: unless(sandbox.exec, by(landlock.files)),
        signals: by(landlock.signals),
        system_calls: by(false),
    })
}
