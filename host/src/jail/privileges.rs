//! What a process gives up beside files and system calls.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

use super::settings::SandboxError;

/// The privileges of root that stay: to read and write files of others, as far as the rules for paths
/// allow. A run in a container is often root's, and its data another user's.
fn kept() -> CapabilitySet {
    CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH
}

/// The most queued signals of the user with which a jailed process can queue another one, or make a timer.
const SIGNALS: u64 = 256;

/// Gives up capabilities and core dumps, and makes the limit of open files one that cannot be raised.
pub(super) fn give_up() -> Result<(), SandboxError> {
    let failed = |what: &'static str| {
        move |error: rustix::io::Errno| SandboxError::Enter { what, source: io::Error::from(error) }
    };
    // A core has the memory of the process, and with it what it shares with others. A limit of 0 bytes would
    // not hold for a program that takes cores from a pipe; one of 1 byte does, see core(5) and the kernel's
    // fs/coredump.c.
    let none = Rlimit { current: Some(1), maximum: Some(1) };
    setrlimit(Resource::Core, none).map_err(failed("switch off core dumps"))?;
    let files = getrlimit(Resource::Nofile).current;
    let fixed = Rlimit { current: files, maximum: files };
    setrlimit(Resource::Nofile, fixed).map_err(failed("fix the limit of open files"))?;
    // The user has one number of them for all processes, which queued signals and timers use up.
    let signals = getrlimit(Resource::Sigpending).current.map_or(SIGNALS, |now| now.min(SIGNALS));
    let few = Rlimit { current: Some(signals), maximum: Some(signals) };
    setrlimit(Resource::Sigpending, few).map_err(failed("limit queued signals"))?;
    let has = rustix::thread::capabilities(None).map_err(failed("read the process's capabilities"))?;
    let left = CapabilitySets {
        effective: has.effective & kept(),
        permitted: has.permitted & kept(),
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, left).map_err(failed("give up the process's capabilities"))
}
