//! Which paths a jailed process can open: rules of Landlock.

use std::env;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, Scope,
};

use super::kernel::{Enforced, FILES};
use super::settings::{Sandbox, SandboxError};

/// What each program reads, if it is there: the C library with all that `dlopen` finds, time zones, and
/// what tells of the machine. None of it says anything about its user or other processes.
const READ: &[&str] = &[
    "/lib",
    "/lib32",
    "/lib64",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/local/lib",
    "/nix/store",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/usr/share/locale",
    "/usr/share/zoneinfo",
    "/dev/null",
    "/dev/random",
    "/dev/urandom",
    "/dev/zero",
    // Of this process, at the time when the rule is made.
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/sys/vm/overcommit_memory",
    "/sys/devices/system/cpu",
    "/sys/devices/system/node",
    "/sys/fs/cgroup",
];

/// What each program writes.
const WRITE: &[&str] = &["/dev/null"];

/// The newest version whose rules are known here.
const NEWEST: ABI = ABI::V6;

/// Restricts this process to the paths of its sandbox, which is an error only if that was promised.
pub(super) fn restrict(sandbox: &Sandbox, by: Enforced, own: &[PathBuf]) -> Result<(), SandboxError> {
    let failed = |source: RulesetError| SandboxError::Enter {
        what: "restrict the files that the process can open",
        source: std::io::Error::other(source),
    };
    let promised = by == Enforced::Landlock;
    let level = if promised { CompatLevel::HardRequirement } else { CompatLevel::BestEffort };
    let create = || -> Result<RulesetCreated, RulesetError> {
        let mut rules =
            Ruleset::default().set_compatibility(level).handle_access(AccessFs::from_all(FILES))?;
        // The filter of system calls does the same, so a kernel that cannot is good enough.
        rules = rules.set_compatibility(CompatLevel::BestEffort).handle_access(AccessFs::from_all(NEWEST))?;
        if !sandbox.network {
            rules = rules.handle_access(AccessNet::from_all(NEWEST))?.scope(Scope::AbstractUnixSocket)?;
        }
        rules.scope(Scope::Signal)?.create()
    };
    let rules = create().map_err(failed)?.set_compatibility(CompatLevel::BestEffort);
    let rules = add(rules, sandbox, own)?;
    rules.restrict_self().map(drop).map_err(failed)
}

fn add(
    mut rules: RulesetCreated,
    sandbox: &Sandbox,
    own: &[PathBuf],
) -> Result<RulesetCreated, SandboxError> {
    let mut read = AccessFs::ReadFile | AccessFs::ReadDir;
    if sandbox.exec {
        read |= AccessFs::Execute;
    }
    let write = read | (AccessFs::from_write(NEWEST) & !making());
    let searched = env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let searched: Vec<PathBuf> = env::split_paths(&searched).filter(|path| path.is_absolute()).collect();
    // Those that are not there do not matter, and need no rule.
    let usual = READ.iter().map(Path::new).chain(searched.iter().map(PathBuf::as_path));
    for path in usual {
        if let Ok(opened) = PathFd::new(path) {
            rules = allow(rules, path, opened, read)?;
        }
    }
    for path in WRITE.iter().map(Path::new) {
        if let Ok(opened) = PathFd::new(path) {
            rules = allow(rules, path, opened, write)?;
        }
    }
    let programs: &[PathBuf] =
        if sandbox.exec { &["/bin".into(), "/usr/bin".into(), "/usr/local/bin".into()] } else { &[] };
    for path in programs {
        if let Ok(opened) = PathFd::new(path) {
            rules = allow(rules, path, opened, read)?;
        }
    }
    let given = [("read", own, read), ("read", &sandbox.read, read), ("write", &sandbox.write, write)];
    for (setting, paths, access) in given {
        for path in paths {
            let opened = PathFd::new(path).map_err(|error| SandboxError::Path {
                setting,
                path: path.clone(),
                source: std::io::Error::other(error),
            })?;
            rules = allow(rules, path, opened, access)?;
        }
    }
    Ok(rules)
}

/// Devices, and files by which other processes are reached, are made by nobody in a jail.
fn making() -> BitFlags<AccessFs> {
    AccessFs::MakeBlock | AccessFs::MakeChar | AccessFs::MakeSock | AccessFs::IoctlDev
}

fn allow(
    rules: RulesetCreated,
    path: &Path,
    opened: PathFd,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, SandboxError> {
    // A file has fewer rights than a folder, and the kernel refuses those that it has not.
    let access = if path.is_dir() { access } else { access & AccessFs::from_file(NEWEST) };
    rules.add_rule(PathBeneath::new(opened, access)).map_err(|source| SandboxError::Path {
        setting: "read",
        path: path.to_owned(),
        source: std::io::Error::other(source),
    })
}
