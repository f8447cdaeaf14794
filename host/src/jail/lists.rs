//! The system calls that a jailed process has, by their names. A name that the machine's architecture does
//! not know is left out.

/// Calls that reach nothing but the process itself, what it has open, and files, which have rules of their
/// own. Not among them, though they look harmless: `shutdown` and `setsockopt`, since the socket to the host is
/// the same open file in all processes of a run; `chmod` and its like, for which Landlock has no rules;
/// `memfd_create`, memory that counts for no limit and a file that can be executed; `setpgid` and `setsid`,
/// by which a process leaves the group that is killed with the run.
#[rustfmt::skip]
pub(super) const ALWAYS: &[&str] = &[
    // Descriptors.
    "close", "close_range", "dup", "dup2", "dup3", "epoll_create", "epoll_create1", "epoll_ctl", "epoll_pwait",
    "epoll_pwait2", "epoll_wait", "eventfd", "eventfd2", "pipe", "pipe2", "poll", "ppoll", "pselect6", "select",
    "signalfd", "signalfd4", "timerfd_create", "timerfd_gettime", "timerfd_settime",
    // Data.
    "copy_file_range", "fadvise64", "lseek", "pread64", "preadv", "preadv2", "pwrite64", "pwritev", "pwritev2", "read",
    "readahead", "readv", "recvfrom", "recvmmsg", "recvmsg", "sendfile", "sendmmsg", "sendmsg", "sendto", "splice",
    "tee", "write", "writev", "getpeername", "getsockname", "getsockopt",
    // Files, by Landlock's rules.
    "access", "chdir", "creat", "faccessat", "faccessat2", "fallocate", "fchdir", "fdatasync", "fgetxattr", "flistxattr",
    "flock", "fstat", "fstatfs", "fsync", "ftruncate", "getcwd", "getdents", "getdents64", "getxattr", "lgetxattr",
    "link", "linkat", "listxattr", "llistxattr", "lstat", "mkdir", "mkdirat", "newfstatat", "open", "openat", "openat2",
    "readlink", "readlinkat", "rename", "renameat", "renameat2", "rmdir", "stat", "statfs", "statx", "symlink",
    "symlinkat", "sync_file_range", "truncate", "umask", "unlink", "unlinkat",
    // Memory.
    "arch_prctl", "brk", "get_mempolicy", "madvise", "mbind", "membarrier", "mincore", "mlock", "mlock2", "mprotect",
    "mseal", "msync", "munlock", "munmap", "set_mempolicy",
    // Threads, and their waits for each other.
    "exit", "exit_group", "futex", "futex_requeue", "futex_wait", "futex_waitv", "futex_wake", "get_robust_list",
    "getcpu", "gettid", "restart_syscall", "rseq", "sched_getaffinity", "sched_get_priority_max",
    "sched_get_priority_min", "sched_getparam", "sched_getscheduler", "sched_yield", "set_robust_list",
    "set_tid_address",
    // Signals to itself.
    "alarm", "getitimer", "pause", "rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigreturn", "rt_sigsuspend",
    "rt_sigtimedwait", "setitimer", "sigaltstack", "timer_create", "timer_delete", "timer_getoverrun", "timer_gettime",
    "timer_settime",
    // Time, and who it is.
    "capget", "clock_getres", "clock_gettime", "clock_nanosleep", "getegid", "geteuid", "getgid", "getgroups", "getpgid",
    "getpgrp", "getpid", "getppid", "getpriority", "getrandom", "getresgid", "getresuid", "getrlimit", "getrusage",
    "getsid", "gettimeofday", "getuid", "nanosleep", "setrlimit", "sysinfo", "time", "times", "uname", "wait4", "waitid",
];

/// A path among the arguments of a call: the number of its argument, that of the folder from which it is relative, and
/// what is done there.
#[derive(Debug, Clone, Copy)]
pub(super) struct PathArgument {
    pub(super) path: usize,
    pub(super) folder: Option<usize>,
    pub(super) done: Done,
}

/// What a call does with a path.
#[derive(Debug, Clone, Copy)]
pub(super) enum Done {
    /// It opens it, with the flags of this argument.
    Open(usize),
    /// It opens it, with the flags that the structure at this argument begins with.
    OpenAsStructured(usize),
    /// It makes a file of it, or cuts it.
    Make,
    /// It writes to it.
    Write,
    /// It makes, moves or removes its name.
    Name,
}

const fn at(folder: usize, path: usize, done: Done) -> PathArgument {
    PathArgument { path, folder: Some(folder), done }
}

const fn plain(path: usize, done: Done) -> PathArgument {
    PathArgument { path, folder: None, done }
}

/// Those of them about whose paths Landlock has rules.
pub(super) const FILES: &[(&str, &[PathArgument])] = &[
    ("creat", &[plain(0, Done::Make)]),
    ("link", &[plain(0, Done::Name), plain(1, Done::Name)]),
    ("linkat", &[at(0, 1, Done::Name), at(2, 3, Done::Name)]),
    ("mkdir", &[plain(0, Done::Name)]),
    ("mkdirat", &[at(0, 1, Done::Name)]),
    ("open", &[plain(0, Done::Open(1))]),
    ("openat", &[at(0, 1, Done::Open(2))]),
    ("openat2", &[at(0, 1, Done::OpenAsStructured(2))]),
    ("rename", &[plain(0, Done::Name), plain(1, Done::Name)]),
    ("renameat", &[at(0, 1, Done::Name), at(2, 3, Done::Name)]),
    ("renameat2", &[at(0, 1, Done::Name), at(2, 3, Done::Name)]),
    ("rmdir", &[plain(0, Done::Name)]),
    ("symlink", &[plain(1, Done::Name)]),
    ("symlinkat", &[at(1, 2, Done::Name)]),
    ("truncate", &[plain(0, Done::Write)]),
    ("unlink", &[plain(0, Done::Name)]),
    ("unlinkat", &[at(0, 1, Done::Name)]),
];

/// Beside those, if the sandbox allows the network.
pub(super) const NETWORK: &[&str] =
    &["accept", "accept4", "bind", "connect", "listen", "setsockopt", "shutdown"];

/// Beside those, if it allows other programs.
pub(super) const EXEC: &[&str] = &["execve", "fork", "vfork"];

/// Requests of `ioctl`: whether it is a terminal and how wide, how much can be read, and flags of a
/// descriptor. Not TIOCSTI, which types into the user's terminal.
pub(super) const IOCTL: &[u64] =
    &[libc::TCGETS, libc::TIOCGWINSZ, libc::FIONREAD, libc::FIONBIO, libc::FIOCLEX, libc::FIONCLEX];

/// Commands of `fcntl`. Not those that send signals when something can be read.
pub(super) const FCNTL: &[i32] = &[
    libc::F_DUPFD,
    libc::F_DUPFD_CLOEXEC,
    libc::F_GETFD,
    libc::F_SETFD,
    libc::F_GETFL,
    libc::F_SETFL,
    libc::F_GETLK,
    libc::F_SETLK,
    libc::F_SETLKW,
    libc::F_OFD_GETLK,
    libc::F_OFD_SETLK,
    libc::F_OFD_SETLKW,
    libc::F_GETPIPE_SZ,
    libc::F_SETPIPE_SZ,
];

/// Options of `prctl`: names, and questions. Not the signal at the death of the fork server, by which no
/// process outlives its run.
pub(super) const PRCTL: &[i32] = &[
    libc::PR_SET_NAME,
    libc::PR_GET_NAME,
    libc::PR_SET_VMA,
    libc::PR_GET_DUMPABLE,
    libc::PR_GET_PDEATHSIG,
    libc::PR_GET_SECCOMP,
    libc::PR_GET_NO_NEW_PRIVS,
    libc::PR_CAPBSET_READ,
    libc::PR_SET_TIMERSLACK,
    libc::PR_GET_TIMERSLACK,
    libc::PR_SET_THP_DISABLE,
    libc::PR_GET_THP_DISABLE,
];

/// Address families of `socket`, if the network is allowed: with protocol 0 of netlink, which says what
/// addresses the machine has.
pub(super) const FAMILIES: &[i32] = &[libc::AF_UNIX, libc::AF_INET, libc::AF_INET6];
