//! Why metrics cannot be reported.

use std::io;
use std::path::PathBuf;

/// Why a run's metrics cannot be reported where it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MetricsError {
    /// It is neither a file's path nor an address.
    #[error(transparent)]
    Target(#[from] MetricsTargetError),
    /// The address is another program's, or not this machine's.
    #[error("cannot report metrics at {address}{}", advice(source))]
    Listen {
        /// The address.
        address: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write metrics to the file {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// All ranks would write the same file.
    #[error(
        "each of the {of} ranks needs a file of its own for its metrics, and {} is the same for all; put {{rank}} into \
         its name, such as metrics-{{rank}}.prom", path.display()
    )]
    SharedFile {
        /// The file.
        path: PathBuf,
        /// The number of ranks.
        of: u32,
    },
}

/// The advice on an address that cannot be had; a part of an error's text.
fn advice(reason: &io::Error) -> &'static str {
    use io::ErrorKind::{AddrInUse, AddrNotAvailable, PermissionDenied};
    match reason.kind() {
        AddrInUse => {
            "; another program has this port, perhaps another run or rank: choose another one, or 0 for any that is free"
        }
        AddrNotAvailable => "; give an address of this machine, such as 127.0.0.1:9400",
        PermissionDenied => "; choose a port from 1024 on",
        _ => "; give HOST:PORT, such as 127.0.0.1:9400, or a file's path with a \"/\"",
    }
}

/// Why a text says neither a file nor an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetricsTargetError {
    /// There is nothing.
    #[error(
        "the metrics' file or address is empty, expected a file's path, or an address such as 127.0.0.1:9400"
    )]
    Empty,
    /// It is only a number.
    #[error("{number} may be a port or a file; write :{number} for the port, ./{number} for the file")]
    Number {
        /// The number.
        number: String,
    },
    /// The port is too large.
    #[error("the port of {address} is too large, expected 0 to 65535")]
    Port {
        /// The address.
        address: String,
    },
}
