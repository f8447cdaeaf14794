//! Why a stack cannot be captured.

use std::io;
use std::time::Duration;

use thiserror::Error;

/// Why a stack cannot be captured.
#[derive(Debug, Error)]
pub(crate) enum StackError {
    #[error("the threads of process {pid} cannot be listed")]
    Threads { pid: i32, source: io::Error },
    #[error("process {pid} cannot be traced")]
    Trace { pid: i32, source: io::Error },
    #[error(
        "no thread of process {pid} stopped within {limit:?}; it may be in an uninterruptible system call"
    )]
    NotStopped { pid: i32, limit: Duration },
    #[error("the memory of process {pid} cannot be read")]
    Memory { pid: i32, source: io::Error },
    #[error("the stack of process {pid} was not read within {limit:?}")]
    TookTooLong { pid: i32, limit: Duration },
    #[error("cannot start a thread to trace process {pid}")]
    Start { pid: i32, source: io::Error },
    #[error("reading the stack of process {pid} panicked")]
    Panicked { pid: i32 },
}
