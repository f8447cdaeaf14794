//! A fork server that runs, with the two sockets to it: requests go out, events come in.

use std::io;
use std::os::fd::BorrowedFd;
#[cfg(feature = "sandbox")]
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Pid;

use super::launch::{ForkServer, LaunchError, ServerStart};
#[cfg(feature = "sandbox")]
use super::relay::Relay;
use super::run_clock::RunClock;
use super::strays;
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
    clock: RunClock,
    /// What hands on what jailed processes print, if there are such.
    #[cfg(feature = "sandbox")]
    relay: Option<Arc<Relay>>,
}

impl Connection {
    /// Starts a fork server.
    pub(crate) fn open(start: &ServerStart) -> Result<Self, LaunchError> {
        let (server, events) = ForkServer::launch(start)?;
        Ok(Self {
            server,
            events,
            clock: RunClock::new(),
            #[cfg(feature = "sandbox")]
            relay: start.relay.clone(),
        })
    }

    /// Starts another fork server in the place of this one, in the same run's time. Returns the old
    /// one.
    pub(crate) fn replace(&mut self, start: &ServerStart) -> Result<Self, LaunchError> {
        let new = Self { clock: self.clock, ..Self::open(start)? };
        Ok(std::mem::replace(self, new))
    }

    /// Deadlines begin to run.
    pub(crate) fn begin(&mut self) {
        self.clock.begin();
    }

    /// The run's time.
    pub(crate) fn clock(&self) -> &RunClock {
        &self.clock
    }

    /// The fork server's process number.
    pub(crate) fn pid(&self) -> u32 {
        self.server.pid()
    }

    pub(crate) fn request(&self, request: &Request) -> io::Result<()> {
        self.server.request(request)?;
        #[cfg(feature = "sandbox")]
        if let (Request::Start(role, _), Some(relay)) = (request, &self.relay)
            && role.is_jailed()
        {
            let pipe = relay.pipe();
            if let Err(error) = &pipe {
                tracing::warn!(%error, "what the next process prints is lost: there is no pipe for it");
            }
            self.server.give_output(pipe.ok())?;
        }
        Ok(())
    }

    /// Has the fork server map the segment.
    pub(crate) fn attach(&self, segment: &Segment) -> io::Result<()> {
        self.server.attach(segment)
    }

    /// Waits for the next event until the deadline, a time of the run's clock, or until there is
    /// mail, or the fork server has ended.
    pub(crate) fn receive(
        &mut self,
        mail: Option<BorrowedFd<'_>>,
        deadline: Option<Instant>,
    ) -> io::Result<Received> {
        loop {
            let wake_by = self.clock.wake_by(deadline);
            let watched = Watched { server: Some(self.server.alive()), mail };
            let received = self.events.receive(watched, wake_by)?;
            self.clock.woke(wake_by);
            let early = || deadline.is_some_and(|deadline| deadline > self.clock.now());
            if !matches!(received, Received::TimedOut) || !early() {
                return Ok(received);
            }
        }
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

    /// Reaps a process of a dead fork server, if this process has inherited it.
    pub(crate) fn reap_orphan(&self, pid: u32) {
        if let Some(pid) = Pid::from_raw(pid.cast_signed()).filter(|&pid| pid != self.server.process()) {
            strays::reap_heir(pid);
        }
    }

    /// Hands over the last events of a dead fork server's processes, until the last process has
    /// ended: each has the events' socket open as long as it lives. Whether they ended in time.
    pub(crate) fn wait_for_orphans(
        &mut self,
        limit: Duration,
        mut take: impl FnMut(Event, &RunClock),
    ) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            match self.events.receive(Watched::default(), Some(deadline)) {
                Ok(Received::Event(event)) => take(event, &self.clock),
                Ok(Received::Closed) => return true,
                Ok(Received::TimedOut | Received::Mail) | Err(_) => return false,
            }
        }
    }
}
