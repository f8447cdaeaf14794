//! How a run's fork server is started.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::StartError;
use crate::cancel::Cancel;
use crate::limits::DEFAULT_START_TIMEOUT;
use crate::process::connection::Connection;
use crate::process::launch::StartMethod;

/// How a run's fork server is started, and how long its plugins may take.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    pub(crate) method: StartMethod,
    /// The fork server's executable; one that is looked for, if it is not given.
    pub(crate) executable: Option<PathBuf>,
    pub(crate) start_timeout: Duration,
    /// The wish to give the start up.
    pub(crate) cancel: Option<Cancel>,
}

impl Launch {
    /// With the defaults of a host.
    pub(crate) fn by(executable: Option<&Path>) -> Self {
        let executable = executable.map(Path::to_owned);
        let method = StartMethod::default();
        Self { method, executable, start_timeout: DEFAULT_START_TIMEOUT, cancel: None }
    }

    /// Starts the fork server, which gets ready while plugins are read.
    pub(crate) fn start(&self) -> Result<Connection, StartError> {
        Ok(Connection::open(self.method, self.executable.as_deref())?)
    }
}
