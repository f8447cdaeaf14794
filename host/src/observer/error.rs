//! Why a run cannot be looked at.

use crate::segment::mapping::SegmentError;

/// Why a run cannot be looked at from another process.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ObserveError {
    /// There is no process of this number.
    #[error("there is no process {pid}; `cobuf top` lists the runs of this user")]
    NoProcess {
        /// The number.
        pid: u32,
    },
    /// The process may not be looked into.
    #[error("process {pid} ({program}) belongs to another user; look at it as that user, or as root")]
    OtherUser {
        /// The process.
        pid: u32,
        /// Its name.
        program: String,
    },
    /// The process hosts no run and is no part of one.
    #[error("process {pid} ({program}) runs no host of cobuf; `cobuf top` lists the runs of this user")]
    NoRun {
        /// The process.
        pid: u32,
        /// Its name.
        program: String,
    },
    /// No run has this name.
    #[error(
        "no run of this user is called {name:?}; give the number of a process, or a run's, plugin's or program's \
         name: `cobuf top` lists them"
    )]
    Unknown {
        /// The name.
        name: String,
    },
    /// Several runs fit.
    #[error("{} runs fit {wanted:?}; give one of their names: {}", runs.len(), runs.join(", "))]
    Several {
        /// The number or name that was given.
        wanted: String,
        /// The names of the runs.
        runs: Vec<String>,
    },
    /// The segment was made by another version, which has another layout.
    #[error(
        "process {pid} runs cobuf {version}, whose shared memory cobuf {} does not know; use the command `cobuf` of that \
         version",
        env!("CARGO_PKG_VERSION")
    )]
    OtherVersion {
        /// The host.
        pid: u32,
        /// Its version.
        version: String,
    },
    /// The segment is not one, perhaps because a plugin wrote over its head.
    #[error(
        "the shared memory of process {pid} does not begin as a run of cobuf does; a plugin has perhaps written over it"
    )]
    Overwritten {
        /// The host.
        pid: u32,
    },
    /// The process ended, or the system refused something.
    #[error("cannot look into process {pid}")]
    Unreadable {
        /// The process.
        pid: u32,
        /// The system's answer.
        source: std::io::Error,
    },
}

impl ObserveError {
    pub(super) fn of_segment(pid: u32, error: SegmentError) -> Self {
        match error {
            SegmentError::OtherVersion { version } => Self::OtherVersion { pid, version },
            SegmentError::Map { source, .. } => Self::Unreadable { pid, source: source.into() },
            _ => Self::Overwritten { pid },
        }
    }
}
