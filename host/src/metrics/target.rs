//! Where metrics go: a file or an address.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::error::{MetricsError, MetricsTargetError};
use crate::files;

/// Where a name has the rank's number.
const RANK: &str = "{rank}";

/// Where a run's metrics go.
///
/// A text is an address if it has no `/` and ends with `:` and a number; otherwise it is a file's path.
/// In both, `{rank}` stands for the rank's number, which is 0 in a run without ranks.
///
/// ```
/// # use cobuf_host::{MetricsTarget, MetricsTargetError};
/// let address = |text: &str| MetricsTarget::Address(text.to_owned());
/// assert_eq!(":9400".parse(), Ok(address(":9400")));
/// assert_eq!("[::1]:9400".parse(), Ok(address("[::1]:9400")));
/// assert_eq!("runs/digits-{rank}.prom".parse(), Ok(MetricsTarget::File("runs/digits-{rank}.prom".into())));
/// assert!("9400".parse::<MetricsTarget>().is_err());
/// # Ok::<(), MetricsTargetError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricsTarget {
    /// A file in the text format of node_exporter's textfile collector, which reads files that end in
    /// `.prom`. It is replaced in one step every 5 s and at the end of the run, and stays.
    File(PathBuf),
    /// `HOST:PORT`, or `:PORT` for 127.0.0.1. The host answers `GET /metrics` there until it stops. Port
    /// 0 is any that is free; [`Host::metrics_address`](crate::Host::metrics_address) says which.
    Address(String),
}

impl FromStr for MetricsTarget {
    type Err = MetricsTargetError;

    fn from_str(text: &str) -> Result<Self, MetricsTargetError> {
        let sample = text.replace(RANK, "0");
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match sample.rsplit_once(':') {
            Some((host, port)) if is_number(port) && !host.contains('/') => match port.parse::<u16>() {
                Ok(_) => Ok(Self::Address(text.to_owned())),
                Err(_) => Err(MetricsTargetError::Port { address: text.to_owned() }),
            },
            _ if text.is_empty() => Err(MetricsTargetError::Empty),
            _ if is_number(&sample) => Err(MetricsTargetError::Number { number: text.to_owned() }),
            _ => Ok(Self::File(text.into())),
        }
    }
}

/// An opened target.
#[derive(Debug)]
pub(crate) enum Outlet {
    /// A file that could be written.
    File(PathBuf),
    /// A socket at the address.
    Listener(TcpListener),
}

impl Outlet {
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::File(_) => None,
            Self::Listener(listener) => listener.local_addr().ok(),
        }
    }
}

impl MetricsTarget {
    /// Opens it for a rank, if the run has one, of so many. A file is empty from then on: the values of
    /// an earlier run are gone.
    pub(crate) fn open(&self, rank: Option<(u32, u32)>) -> Result<Outlet, MetricsError> {
        let number = rank.map_or(0, |(rank, _)| rank).to_string();
        match self {
            Self::File(path) => {
                let named = with_rank(path, &number);
                if let Some((_, of)) = rank
                    && of > 1
                    && named == *path
                {
                    return Err(MetricsError::SharedFile { path: named, of });
                }
                // The application may change its working directory later.
                let whole = files::refresh(&named, b"").and_then(|()| std::path::absolute(&named));
                whole.map(Outlet::File).map_err(|source| MetricsError::File { path: named, source })
            }
            Self::Address(text) => {
                let address = text.replace(RANK, &number);
                let bound = listen(&address).map(Outlet::Listener);
                bound.map_err(|source| MetricsError::Listen { address, source })
            }
        }
    }
}

/// The path with the rank's number. One that is not UTF-8 stays as it is.
fn with_rank(path: &Path, number: &str) -> PathBuf {
    path.to_str().map_or_else(|| path.to_owned(), |text| text.replace(RANK, number).into())
}

fn listen(address: &str) -> std::io::Result<TcpListener> {
    let port = address.strip_prefix(':').and_then(|port| port.parse::<u16>().ok());
    let listener = match port {
        Some(port) => TcpListener::bind((Ipv4Addr::LOCALHOST, port)),
        None => TcpListener::bind(address),
    }?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<MetricsTarget, MetricsTargetError> {
        text.parse()
    }

    #[test]
    fn address_ends_with_a_port_and_has_no_folder() {
        for text in [":9400", ":0", "127.0.0.1:9400", "localhost:9400", "[::1]:9400", "node-7:94{rank}"] {
            assert_eq!(read(text), Ok(MetricsTarget::Address(text.to_owned())), "{text}");
        }
        for text in ["run.prom", "./a:1", "/tmp/a:1", "a:b", "a:", "a-{rank}.prom", "./9400", "12h"] {
            assert_eq!(read(text), Ok(MetricsTarget::File(text.into())), "{text}");
        }
    }

    #[test]
    fn wrong_text_says_what_was_expected() {
        let said = |text: &str| read(text).unwrap_err().to_string();
        assert!(said("").contains("expected a file's path, or an address such as 127.0.0.1:9400"));
        assert_eq!(
            said("9400"),
            "9400 may be a port or a file; write :9400 for the port, ./9400 for the file"
        );
        assert_eq!(said("::99999"), "the port of ::99999 is too large, expected 0 to 65535");
    }

    #[test]
    fn each_rank_has_a_file_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let open = |name: &str, rank| MetricsTarget::File(folder.path().join(name)).open(rank);
        open("run-{rank}.prom", Some((3, 8))).unwrap();
        open("run-{rank}.prom", None).unwrap();
        assert!(folder.path().join("run-3.prom").exists() && folder.path().join("run-0.prom").exists());
        open("one.prom", Some((0, 1))).unwrap();
        let error = open("run.prom", Some((3, 8))).unwrap_err().to_string();
        assert!(error.contains("put {rank} into its name, such as metrics-{rank}.prom"), "{error}");
        assert!(!folder.path().join("run.prom").exists());
    }

    #[test]
    fn port_that_is_taken_is_an_error_that_names_it() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = MetricsTarget::Address(format!(":{port}")).open(None).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("cannot report metrics at :{port}; another program has")),
            "{error}"
        );
    }
}
