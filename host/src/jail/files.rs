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

/// What each program reads and writes.
const NULL: &str = "/dev/null";

/// What is read to find another machine, and to know whether it is the right one.
const NETWORK: &[&str] = &[
    "/etc/ca-certificates",
    "/etc/gai.conf",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/pki/tls",
    "/etc/protocols",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/run/systemd/resolve",
    "/usr/share/ca-certificates",
];

/// Where programs are.
const PROGRAMS: &[&str] = &["/bin", "/usr/bin", "/usr/local/bin"];

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
    // No devices are made, and files by which other processes are reached only with the network.
    let mut made = AccessFs::MakeBlock | AccessFs::MakeChar;
    if !sandbox.network {
        made |= AccessFs::MakeSock;
    }
    let write = read | (AccessFs::from_write(NEWEST) & !made);
    // What is usual does not matter if it is not there, and needs no rule.
    for path in usual(sandbox) {
        if let Ok(opened) = PathFd::new(&path) {
            rules = allow(rules, "read", &path, opened, read)?;
        }
    }
    if let Ok(opened) = PathFd::new(NULL) {
        rules = allow(rules, "write", Path::new(NULL), opened, read | AccessFs::WriteFile)?;
    }
    for (setting, paths, access) in
        [("read", own, read), ("read", &sandbox.read, read), ("write", &sandbox.write, write)]
    {
        for path in paths {
            let opened = PathFd::new(path).map_err(|error| SandboxError::Path {
                setting,
                path: path.clone(),
                source: std::io::Error::other(error),
            })?;
            rules = allow(rules, setting, path, opened, access)?;
        }
    }
    Ok(rules)
}

/// What can be read, whatever the settings say of files.
pub(super) fn usual(sandbox: &Sandbox) -> Vec<PathBuf> {
    let searched = env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let searched = env::split_paths(&searched).filter(|path| path.is_absolute());
    let network = if sandbox.network { NETWORK } else { &[] };
    let programs = if sandbox.exec { PROGRAMS } else { &[] };
    READ.iter().chain(network).chain(programs).map(PathBuf::from).chain(searched).collect()
}

fn allow(
    rules: RulesetCreated,
    setting: &'static str,
    path: &Path,
    opened: PathFd,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, SandboxError> {
    // A file has fewer rights than a folder, and the kernel refuses those that it has not.
    let access = if path.is_dir() { access } else { access & AccessFs::from_file(NEWEST) };
    rules.add_rule(PathBeneath::new(opened, access)).map_err(|source| SandboxError::Path {
        setting,
        path: path.to_owned(),
        source: std::io::Error::other(source),
    })
}
