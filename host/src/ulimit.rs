//! This process's own limits (`ulimit`, getrlimit(2)), told before they kill it and behind errors
//! that do not name them.

use std::io;

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

/// Checks that a file may have so many bytes. A process that writes beyond the limit of a file's
/// size is killed by SIGXFSZ.
pub(crate) fn check_file_size(bytes: u64) -> io::Result<()> {
    match getrlimit(Resource::Fsize).current {
        Some(limit) if limit < bytes => Err(io::Error::other(format!(
            "{bytes} bytes are needed, a file may have at most {limit} in this process (ulimit -f); raise that limit"
        ))),
        _ => Ok(()),
    }
}

/// The limit that may be behind a system's error, as an addition to a message: empty, or
/// `; the limit …`.
pub(crate) fn behind(error: &io::Error) -> String {
    let of = |what: &str, resource, option: &str| {
        getrlimit(resource)
            .current
            .map(|limit| format!("; the limit of {what} is {limit} in this process (ulimit -{option})"))
            .unwrap_or_default()
    };
    match Errno::from_io_error(error) {
        Some(Errno::MFILE) => of("open files", Resource::Nofile, "n"),
        Some(Errno::NFILE) => "; the machine's limit of open files is in `sysctl fs.file-max`".to_owned(),
        Some(Errno::NOMEM) => of("address space in bytes", Resource::As, "v"),
        // For one process or thread too many, and for a thread without room for its stack.
        Some(Errno::AGAIN) => {
            let processes = of("processes and threads of this user", Resource::Nproc, "u");
            processes + &of("address space in bytes", Resource::As, "v")
        }
        _ if error.kind() == io::ErrorKind::OutOfMemory => of("address space in bytes", Resource::As, "v"),
        _ => String::new(),
    }
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;

    #[test]
    fn limit_of_processes_stands_behind_a_fork_that_fails() {
        let text = behind(&Errno::AGAIN.into());
        match getrlimit(Resource::Nproc).current {
            Some(limit) => {
                assert!(text.contains(&format!(" is {limit} in this process (ulimit -u)")), "{text}");
            }
            None => assert!(!text.contains("ulimit -u"), "{text}"),
        }
        assert_eq!(behind(&Errno::NOENT.into()), "");
    }
}
