//! A fork server that runs, with the two sockets to it: requests go out, events come in.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use super::launch::{ForkServer, LaunchError, StartMethod};
use crate::limits::SERVER_MARGIN;
use crate::protocol::channel::{EventReceiver, Received, Watched};
use crate::protocol::message::{Event, Request};
use crate::segment::memory::Segment;

/// The host's end of a run's processes. Dropping it kills the fork server, with all that came of
/// it.
#[derive(Debug)]
pub(crate) struct Connection {
    server: ForkServer,
    events: EventReceiver,
}

impl Connection {
    /// Starts a fork server: with this executable, or the one that can be found.
    pub(crate) fn open(method: StartMethod, executable: Option<&Path>) -> Result<Self, LaunchError> {
        let (server, events) = ForkServer::launch(method, executable)?;
        Ok(Self { server, events })
    }

    /// The fork server's process number.
    pub(crate) fn pid(&self) -> u32 {
        self.server.pid()
    }

    pub(crate) fn request(&self, request: &Request) -> io::Result<()> {
        self.server.request(request)
    }

    /// Has the fork server map the segment.
    pub(crate) fn attach(&self, segment: &Segment) -> io::Result<()> {
        self.server.attach(segment)
    }

    /// Waits for the next event until the deadline, or until there is mail, or the fork server has
    /// ended.
    pub(crate) fn receive(
        &mut self,
        mail: Option<BorrowedFd<'_>>,
        deadline: Option<Instant>,
    ) -> io::Result<Received> {
        self.events.receive(Watched { server: Some(self.server.alive()), mail }, deadline)
    }

    /// Kills the fork server, with all that came of it.
    pub(crate) fn kill(&self) {
        self.server.kill();
    }

    /// Ends all processes at once, without a grace.
    pub(crate) fn end(&self) {
        let _ = self.server.request(&Request::Stop { grace: Duration::ZERO });
        self.server.wait(SERVER_MARGIN);
    }

    /// Hands over the last events of a dead fork server's processes, until the last process has
    /// ended: each has the events' socket open as long as it lives. Whether they ended in time.
    pub(crate) fn wait_for_orphans(&mut self, limit: Duration, mut take: impl FnMut(Event)) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            match self.events.receive(Watched::default(), Some(deadline)) {
                Ok(Received::Event(event)) => take(event),
                Ok(Received::Closed) => return true,
                Ok(Received::TimedOut | Received::Mail) | Err(_) => return false,
            }
        }
    }
}
