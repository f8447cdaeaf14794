//! The file of a run's trace: checked before the start, written once at the end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::fs::{Access, access};

use crate::files;
use crate::stream::delivery::Stream;
use crate::stream::timeline::TraceSummary;

/// A trace that cannot be written.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot write the trace {}", path.display())]
#[non_exhaustive]
pub struct TraceError {
    /// The file.
    pub path: PathBuf,
    /// The system's reason.
    pub source: Arc<io::Error>,
}

/// The file, and what became of it.
#[derive(Debug)]
pub(crate) struct TraceFile {
    path: PathBuf,
    written: Mutex<Option<Result<TraceSummary, TraceError>>>,
}

impl TraceFile {
    /// The file at a path that the application may leave its folder for.
    pub(super) fn new(path: &Path) -> Result<Self, TraceError> {
        check(path)?;
        let path = std::path::absolute(path).map_err(|source| failed(path, source))?;
        Ok(Self { path, written: Mutex::default() })
    }

    /// Writes the file, if the stream is traced. If that fails, this is logged: the run's result
    /// stays as it is.
    pub(super) fn write(&self, stream: &Stream) {
        let write = |out: &mut dyn Write| stream.write_timeline(out);
        let is_device = fs::metadata(&self.path).is_ok_and(|data| data.file_type().is_char_device());
        let written =
            if is_device { to_device(&self.path, write) } else { files::replace_by(&self.path, write) };
        let written = written.map_err(|source| failed(&self.path, source));
        if let Err(error) = &written {
            let reason = &error.source;
            tracing::error!(path = %error.path.display(), %reason, "the trace of the run cannot be written");
        }
        *self.written.lock() = Some(written);
    }

    pub(super) fn written(&self) -> Option<Result<TraceSummary, TraceError>> {
        self.written.lock().clone()
    }
}

/// Checks that a trace could be written to the path at this moment: a run of hours is not to find
/// that out at its end.
pub(super) fn check(path: &Path) -> Result<(), TraceError> {
    checked(path).map_err(|source| failed(path, source))
}

fn checked(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(data) if data.file_type().is_char_device() => return Ok(()),
        Ok(data) if !data.is_file() => {
            return Err(io::Error::other("it is a folder, a pipe or a socket, expected a regular file"));
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    access(folder, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| {
        let reason = io::Error::from(error);
        io::Error::new(
            reason.kind(),
            format!("its folder {} cannot be written to: {reason}", folder.display()),
        )
    })
}

fn to_device<T>(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<T>) -> io::Result<T> {
    let device: File = OpenOptions::new().write(true).open(path)?;
    let mut device = BufWriter::new(device);
    let written = write(&mut device)?;
    device.flush()?;
    Ok(written)
}

fn failed(path: &Path, source: io::Error) -> TraceError {
    TraceError { path: path.to_owned(), source: Arc::new(source) }
}
