//! How a run's fork server is started.

use std::path::Path;
use std::time::Duration;

use super::error::StartError;
use crate::cancel::Cancel;
use crate::limits::DEFAULT_START_TIMEOUT;
use crate::plugin::file::PluginFile;
use crate::process::connection::Connection;
use crate::process::launch::ServerStart;

/// How a run's fork server is started, and how long its plugins may take.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    pub(crate) server: ServerStart,
    pub(crate) start_timeout: Duration,
    /// The wish to give the start up.
    pub(crate) cancel: Option<Cancel>,
}

impl Launch {
    /// With the defaults of a host, for one plugin.
    pub(crate) fn by(executable: Option<&Path>, plugin: &PluginFile) -> Self {
        let executable = executable.map(Path::to_owned);
        let mut server = ServerStart { executable, ..ServerStart::default() };
        server.run_by_default(&plugin.code.server);
        Self { server, start_timeout: DEFAULT_START_TIMEOUT, cancel: None }
    }

    /// Starts the fork server, which gets ready while plugins are read.
    pub(crate) fn start(&self) -> Result<Connection, StartError> {
        Ok(Connection::open(&self.server)?)
    }
}
