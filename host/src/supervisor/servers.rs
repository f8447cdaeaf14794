//! A fork server that died takes all processes with it. What is ready or delivered stays as it is; a new one maps the same segment,
//! and forks a commander and workers that go on.

use std::time::{Duration, Instant};

use super::Supervisor;
use super::swap_error::SwapError;
use crate::limits::{MAX_FORK_SERVER_STARTS, ORPHANS_LIMIT};
use crate::process::launch::{ForkServer, StartMethod};
use crate::protocol::channel::{Received, Watched};
use crate::protocol::message::Request;
use crate::segment::sync::Ordering;

impl Supervisor {
    /// Starts another fork server in the place of one that ended; an error says why the run cannot go on.
    pub(super) fn replace_server(&mut self) -> Result<(), String> {
        tracing::error!(
            pid = self.server.pid(),
            "the fork server died, and all processes of the run with it"
        );
        self.server.kill();
        if !self.wait_for_orphans(ORPHANS_LIMIT) {
            return Err(format!("its processes did not end within {} s", ORPHANS_LIMIT.as_secs_f64()));
        }
        // Nobody writes to the segment any more.
        self.abandon_swap(SwapError::ForkServerDied);
        self.bury_all_workers();
        self.bury_commander_with_server();
        self.stream.table().restore();
        if self.care.start_method == StartMethod::Fork {
            return Err("with StartMethod::Fork only the start of a host may fork the application; use \
                        StartMethod::ForkServer"
                .to_owned());
        }
        let (deaths, taken_then) = self.server_deaths;
        let taken = self.stream.taken();
        let deaths = if taken == taken_then { deaths + 1 } else { 1 };
        self.server_deaths = (deaths, taken);
        if deaths > MAX_FORK_SERVER_STARTS {
            return Err(format!("{deaths} of them died in a row, with no batch in between"));
        }
        super::count(&self.stream.counters.fork_server_restarts);
        let launched = ForkServer::launch(self.care.start_method, self.care.fork_server.as_deref());
        (self.server, self.events) = launched.map_err(|error| crate::text::chain(&error))?;
        self.stream.counters.fork_server.store(self.server.pid().into(), Ordering::Relaxed);
        self.watchdog.forget_server();
        // One that dies at once is seen by the next receive.
        let _ = self
            .server
            .request(&Request::Configure(Box::new(self.plan.clone())))
            .and_then(|()| self.server.attach(&self.stream.segment));
        Ok(())
    }

    /// Reads what the processes of a dead fork server have still said, until the last of them has ended: each has the events' socket
    /// open as long as it lives. Whether they ended in time.
    pub(super) fn wait_for_orphans(&mut self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            match self.events.receive(Watched::default(), Some(deadline)) {
                Ok(Received::Event(event)) => self.take(event),
                Ok(Received::Closed) => {
                    self.stream.roster.clear();
                    return true;
                }
                Ok(Received::TimedOut | Received::Mail) | Err(_) => return false,
            }
        }
    }
}
