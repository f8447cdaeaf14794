//! Which system calls a jailed process has: a filter of the kernel's (seccomp) with a list of what is
//! allowed.
//!
//! ```text
//!   on the list       allowed, or with some arguments only
//!   clone3, and newer than this list   ENOSYS: the C library goes on with an older one
//!   all others        EPERM
//!   another architecture's             the process is killed
//! ```

use std::collections::BTreeMap;
use std::io;

use rustix::process::getpid;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, sock_filter,
};
use syscalls::Sysno;

use super::lists;
use super::settings::{Sandbox, SandboxError};

/// The flags of `clone` for new namespaces.
const NAMESPACES: u64 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u64;
/// The number of the first call that was added to the kernel after this list was made.
const NEWER: u32 = 463;
/// Numbers from here on are calls with pointers of 32 bits (x32), which are on no list.
const OTHER_SIZE: u32 = 0x4000_0000;

/// The part of a socket's type that is no flag.
pub(super) const SOCKET_KIND: u64 = 0xf;

/// The arguments with which calls are allowed: none means all.
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Restricts this process to the system calls of its sandbox.
pub(super) fn restrict(sandbox: &Sandbox) -> Result<(), SandboxError> {
    let failed = |error: String| SandboxError::Enter {
        what: "restrict the system calls of the process",
        source: io::Error::other(error),
    };
    let extra = extra(sandbox)?;
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    let listed = filter(allowed(sandbox, &extra), refused).map_err(|error| failed(error.to_string()))?;
    let program = [unknown(&extra), listed].concat();
    seccompiler::apply_filter(&program).map_err(|error| failed(error.to_string()))
}

/// The beginning of the filter, for calls that the list does not know: the kernel seems not to know them either.
/// It is written out since it compares a range of numbers, of which the library would make a long chain; the
/// kernel tries a filter with each number at its start. It allows nothing: the list decides, which looks
/// first whether the number is one of this machine's.
fn unknown(extra: &[i64]) -> BpfProgram {
    let statement = |code: u32, k: u32| sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let jump = |comparison: u32, number: u32| statement(libc::BPF_JMP | comparison | libc::BPF_K, number);
    let refuse = statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32);
    // Each comparison refuses, or jumps over that.
    let mut tail = Vec::new();
    if let Some(number) = number("clone3").filter(|number| !extra.contains(number)) {
        tail.extend([sock_filter { jf: 1, ..jump(libc::BPF_JEQ, number as u32) }, refuse.clone()]);
    }
    tail.push(sock_filter { jt: 2, ..jump(libc::BPF_JGE, OTHER_SIZE) });
    tail.extend([sock_filter { jf: 1, ..jump(libc::BPF_JGE, NEWER) }, refuse]);
    // The sandbox's own calls jump over all of it. The number is the first field of what a filter sees.
    let mut program = vec![statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0)];
    let newer: Vec<u32> =
        extra.iter().map(|&number| number as u32).filter(|&number| number >= NEWER).collect();
    for (index, &number) in newer.iter().enumerate() {
        let over = tail.len() + newer.len() - index - 1;
        program.push(sock_filter { jt: over as u8, ..jump(libc::BPF_JEQ, number) });
    }
    program.extend(tail);
    program
}

/// What a filter answers to calls that a watched process shows to the host. The library does not know the
/// kernel's answer for it, so this one stands in its place.
pub(super) const SHOWN: u32 = libc::SECCOMP_RET_TRACE | 1;

/// The filter of a watched process: the list of the tightest jail without the calls that name files, and
/// [`SHOWN`] for all others.
pub(super) fn watched() -> Result<BpfProgram, SandboxError> {
    let mut rules = allowed(&Sandbox { threads: false, ..Sandbox::default() }, &[]);
    for number in lists::FILES.iter().filter_map(|(name, _)| number(name)) {
        rules.remove(&number);
    }
    let listed = filter(rules, SeccompAction::Trace(1)).map_err(|error| SandboxError::Enter {
        what: "make a filter of system calls",
        source: io::Error::other(error.to_string()),
    })?;
    Ok([unknown(&[]), listed].concat())
}

/// The filter that allows these calls and no others.
fn filter(rules: Rules, others: SeccompAction) -> Result<BpfProgram, seccompiler::BackendError> {
    let machine = TargetArch::try_from(std::env::consts::ARCH)?;
    SeccompFilter::new(rules, others, SeccompAction::Allow, machine)?.try_into()
}

/// The number of a call on this machine.
fn number(name: &str) -> Option<i64> {
    name.parse::<Sysno>().ok().map(|call| call.id().into())
}

/// The numbers of the sandbox's own calls.
pub(super) fn extra(sandbox: &Sandbox) -> Result<Vec<i64>, SandboxError> {
    let calls = sandbox.extra_syscalls.iter();
    calls.map(|name| number(name).ok_or_else(|| SandboxError::Syscall { name: name.clone() })).collect()
}

fn allowed(sandbox: &Sandbox, extra: &[i64]) -> Rules {
    let mut rules = Rules::new();
    let network = if sandbox.network { lists::NETWORK } else { &[] };
    let exec = if sandbox.exec { lists::EXEC } else { &[] };
    for name in lists::ALWAYS.iter().chain(network).chain(exec) {
        rules.extend(number(name).map(|number| (number, Vec::new())));
    }
    for (name, conditions) in restricted(sandbox) {
        let Some(number) = number(name) else { continue };
        // No rule at all would allow every argument.
        let some: Vec<SeccompRule> =
            conditions.into_iter().filter_map(|all| SeccompRule::new(all).ok()).collect();
        if !some.is_empty() {
            rules.insert(number, some);
        }
    }
    rules.extend(extra.iter().map(|&number| (number, Vec::new())));
    rules
}

/// Calls that are allowed with some arguments: each with alternatives, all conditions of one of which
/// must hold.
fn restricted(sandbox: &Sandbox) -> Vec<(&'static str, Vec<Vec<SeccompCondition>>)> {
    let own = getpid().as_raw_nonzero().get() as u64;
    let one_of = |argument: u8, values: &[u64]| {
        values.iter().map(|&value| vec![is(argument, value)]).collect::<Vec<_>>()
    };
    let of_i32 = |argument: u8, values: &[i32]| {
        one_of(argument, &values.iter().map(|&value| value as u32 as u64).collect::<Vec<_>>())
    };
    let of_itself = one_of(0, &[0, own]);
    let mut clones = Vec::new();
    if sandbox.threads {
        clones.push(vec![masked(0, libc::CLONE_THREAD as u64 | NAMESPACES, libc::CLONE_THREAD as u64)]);
    }
    if sandbox.exec {
        clones.push(vec![masked(0, libc::CLONE_THREAD as u64 | NAMESPACES, 0)]);
    }
    let sockets = if sandbox.network {
        let mut sockets = of_i32(0, lists::FAMILIES);
        sockets.push(vec![is(0, libc::AF_NETLINK as u64), is(2, 0)]);
        sockets
    } else {
        Vec::new()
    };
    let mut kinds = vec![libc::SOCK_STREAM, libc::SOCK_SEQPACKET];
    if sandbox.network {
        kinds.push(libc::SOCK_DGRAM);
    }
    let pairs = kinds.into_iter().map(|kind| vec![masked(1, SOCKET_KIND, kind as u64)]).collect();
    let anonymous = libc::MAP_ANONYMOUS as u64;
    vec![
        ("clone", clones),
        ("socket", sockets),
        // A socket for datagrams could send to any path, whether it is one of a pair or not.
        ("socketpair", pairs),
        ("ioctl", one_of(1, lists::IOCTL)),
        ("fcntl", of_i32(1, lists::FCNTL)),
        ("prctl", of_i32(0, lists::PRCTL)),
        // Shared memory without a file counts for no limit.
        (
            "mmap",
            vec![
                vec![masked(3, anonymous, 0)],
                vec![masked(3, libc::MAP_TYPE as u64, libc::MAP_PRIVATE as u64)],
            ],
        ),
        // A size of 0 makes a second mapping of the same memory.
        ("mremap", vec![vec![compared(1, SeccompCmpArgLen::Qword, SeccompCmpOp::Ne, 0)]]),
        ("prlimit64", of_itself.clone()),
        ("sched_setaffinity", of_itself),
        ("kill", one_of(0, &[own])),
        ("tgkill", one_of(0, &[own])),
        ("rt_sigqueueinfo", one_of(0, &[own])),
        ("rt_tgsigqueueinfo", one_of(0, &[own])),
        // What it is, which is what programs ask.
        ("personality", one_of(0, &[u64::from(u32::MAX)])),
    ]
}

fn is(argument: u8, value: u64) -> SeccompCondition {
    compared(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
}

fn masked(argument: u8, mask: u64, value: u64) -> SeccompCondition {
    compared(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(mask), value)
}

fn compared(argument: u8, length: SeccompCmpArgLen, operator: SeccompCmpOp, value: u64) -> SeccompCondition {
    SeccompCondition::new(argument, length, operator, value).expect("an argument's number is below 6")
}
