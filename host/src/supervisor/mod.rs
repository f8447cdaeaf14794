//! The supervisor: a thread of the application that reads the events of the run's processes, and
//! replaces each process that dies or hangs.
//!
//! ```text
//!   mod          the loop: one event, wish or deadline after the other
//!   starting     when a start is over, and why one fails
//!   supervision  the parts below and their interplay
//!   swapping     carries out the actions of a swap
//!   watchdog     deadlines: which process is late
//!   tuner        finds the number of workers beyond which throughput does not rise
//!   swap         a plugin takes another's place, at an exact message: how far that has come
//!   cast         which plugins run, and which are kept for a roll-back
//!   crews        the workers of one edition of the producer, beside those of the next
//!   workforce    all workers; reclaim: takes a dead worker's message back; worker: one of them
//!   commander    the commander's life; outside: ends that are not its or a message's doing
//!   run          shared by all parts; link: their requests to the fork server
//!   mailbox      wishes from other threads; swap_error: why a swap is refused; plugin_logs
//! ```
//!
//! Each part is given an event and the time, and leaves all work with processes to this loop. So
//! all parts are tested without a process.
//!
//! A death is handled in this order: the fork server reaps the process; then its slot is taken
//! back; then all processes are woken; then the next incarnation is started. So a slot held by
//! "worker k" never belongs to two processes.

mod cast;
mod commander;
mod crews;
mod link;
pub(crate) mod mailbox;
mod outside;
pub(crate) mod plugin_logs;
mod reclaim;
pub(crate) mod run;
pub(crate) mod starting;
pub(crate) mod supervision;
mod swap;
pub(crate) mod swap_error;
mod swapping;
#[cfg(all(test, not(cobuf_loom)))]
mod tests;
pub(crate) mod tuner;
mod watchdog;
mod worker;
mod workforce;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use self::link::Order;
use self::mailbox::Mailbox;
use self::run::Moment;
use self::starting::{StartFailure, Starting, Waiting};
use self::supervision::{Supervised, Supervision};
use crate::cancel::Cancel;
use crate::limits::{ORPHANS_LIMIT, SERVER_MARGIN};
use crate::plugin::copy::PluginPlan;
use crate::process::connection::Connection;
use crate::process::run_clock::RunClock;
use crate::protocol::channel::Received;
use crate::protocol::message::{Event, Request};
use crate::protocol::role::Role;
use crate::segment::sync::Ordering;
use crate::stream::error::StreamError;
use crate::text::chain;

/// The parts, with the processes that they look after.
pub(crate) struct Supervisor {
    parts: Supervision,
    connection: Connection,
    mailbox: Arc<Mailbox>,
}

impl Supervisor {
    /// A supervisor of a run whose fork server has the plan and the segment, and has started
    /// nothing yet.
    pub(crate) fn new(supervised: Supervised, connection: Connection) -> io::Result<Self> {
        let mailbox = Arc::new(Mailbox::new()?);
        let now = connection.clock().now();
        let supervisor = Self { parts: Supervision::new(supervised, now), connection, mailbox };
        supervisor.introduce_server();
        Ok(supervisor)
    }

    /// Starts the commander and all workers; returns once every plugin is constructed, on the
    /// caller's thread.
    ///
    /// The loop is that of the run: a process that dies once it was ready is replaced here as
    /// there.
    pub(crate) fn start(&mut self, deadline: Instant, cancel: Option<&Cancel>) -> Result<(), StartFailure> {
        let mut starting = Starting::new(self.parts.first_roles());
        let started = self.start_all(&mut starting, deadline, cancel);
        if started.is_err() {
            self.connection.end();
            self.parts.run.stream.end_processes();
        }
        started
    }

    fn start_all(
        &mut self,
        starting: &mut Starting,
        deadline: Instant,
        cancel: Option<&Cancel>,
    ) -> Result<(), StartFailure> {
        let mut waiting = Waiting::since(self.connection.clock().now());
        loop {
            // No process is late before the whole start is: a late start is told, not a death by it.
            let now = Moment::now(self.connection.clock());
            if deadline <= now.at {
                return Err(StartFailure::Late { waiting_for: starting.waiting_for() });
            }
            waiting.say(now.at, || format!("waiting for {}", starting.waiting_for()));
            self.parts.look_around(now);
            self.carry_out_orders();
            let until = Some(deadline.min(waiting.next()));
            match self.receive(cancel.map(AsFd::as_fd), until).map_err(StartFailure::Unreadable)? {
                Received::Event(Event::ServerFailed { reason }) => {
                    return Err(StartFailure::ServerFailed { reason });
                }
                Received::Event(event) => {
                    let event = starting.note(event).map_err(|(role, failure)| {
                        let plugin = self.parts.run.plan.plugin(role).cloned().map(Box::new);
                        StartFailure::Process { role, plugin, failure }
                    })?;
                    self.take(event);
                }
                Received::Closed => return Err(StartFailure::ServerDied),
                Received::Mail => return Err(StartFailure::Cancelled),
                Received::TimedOut => {}
            }
            if starting.is_over() {
                return Ok(());
            }
        }
    }

    /// Goes on on a thread of its own; it ends after a stop, or if the run cannot go on.
    pub(crate) fn spawn(mut self) -> io::Result<(JoinHandle<()>, Arc<Mailbox>)> {
        let (mailbox, stream) = (self.mailbox.clone(), self.parts.run.stream.clone());
        let body = move || {
            // Such as a panic of the application's own subscriber of logs. The processes end with
            // the supervisor.
            if panic::catch_unwind(AssertUnwindSafe(move || self.run())).is_err() {
                let reason = "the thread that looks after the processes panicked".to_owned();
                stream.fail_now(StreamError::ForkServerDied { reason });
            }
        };
        Ok((thread::Builder::new().name("cobuf-supervise".to_owned()).spawn(body)?, mailbox))
    }

    fn run(&mut self) {
        if let Err(reason) = self.serve() {
            self.parts.run.stream.fail_now(StreamError::ForkServerDied { reason });
        }
        self.connection.kill();
        // They die at once, and what they said last still counts.
        let Self { parts, connection, .. } = self;
        connection.wait_for_orphans(SERVER_MARGIN, |event, clock| parts.take(event, Moment::now(clock)));
        parts.run.stream.end_processes();
    }

    /// Serves the run until it is stopped; an error says why it cannot go on.
    fn serve(&mut self) -> Result<(), String> {
        let mailbox = self.mailbox.clone();
        while !self.parts.is_over(self.connection.clock().now()) {
            self.look_around();
            match self.receive(Some(mailbox.flag()), None) {
                Ok(Received::Event(event)) => self.take(event),
                Ok(Received::Mail) => {
                    let now = self.connection.clock().now();
                    mailbox.take().into_iter().for_each(|wish| self.parts.grant(wish, now));
                    self.carry_out_orders();
                }
                Ok(Received::TimedOut) => {}
                Ok(Received::Closed) if self.parts.is_stopping() => break,
                Ok(Received::Closed) => self.replace_server()?,
                Err(error) => return Err(format!("what the run's processes say cannot be read: {error}")),
            }
        }
        Ok(())
    }

    /// Waits for the next event or mail, until the deadline or until something is due.
    fn receive(&mut self, mail: Option<BorrowedFd<'_>>, deadline: Option<Instant>) -> io::Result<Received> {
        let deadline = deadline.into_iter().chain(self.parts.next_deadline()).min();
        self.connection.receive(mail, deadline)
    }

    fn take(&mut self, event: Event) {
        self.parts.take(event, Moment::now(self.connection.clock()));
        self.carry_out_orders();
    }

    fn look_around(&mut self) {
        self.parts.look_around(Moment::now(self.connection.clock()));
        self.carry_out_orders();
    }

    fn carry_out_orders(&mut self) {
        for order in self.parts.take_orders() {
            match order {
                Order::Send(request) => {
                    if let Request::Start(role, _) = request {
                        self.restore_copy(role);
                    }
                    // If the fork server is gone, the next receive says so.
                    let _ = self.connection.request(&request);
                }
                Order::KillServer => self.connection.kill(),
            }
        }
    }

    /// Puts the plugin's copy back for a process that is about to load it. If that fails, the process
    /// says that it cannot load it.
    fn restore_copy(&self, role: Role) {
        let plugin = self.parts.run.plan.plugin(role);
        if let Some(Err(error)) = plugin.map(PluginPlan::restore) {
            let plugin = self.parts.run.name(role);
            tracing::error!(plugin, %error, "the run's copy of the plugin is gone and cannot be put back");
        }
    }

    /// Starts another fork server in the place of one that ended, with all of its processes.
    /// Batches that are ready or delivered stay as they are; the new one maps the same segment, and
    /// forks a commander and workers that go on. An error says why the run cannot go on.
    fn replace_server(&mut self) -> Result<(), String> {
        let pid = self.connection.pid();
        tracing::error!(pid, "the fork server died, and all processes of the run with it");
        self.connection.kill();
        let Self { parts, connection, .. } = self;
        let take = |event, clock: &RunClock| parts.take(event, Moment::now(clock));
        if !connection.wait_for_orphans(ORPHANS_LIMIT, take) {
            return Err(format!("its processes did not end within {} s", ORPHANS_LIMIT.as_secs_f64()));
        }
        // The first process of a container inherits them, and has to reap them.
        let orphans = parts.run.stream.roster.processes();
        orphans.iter().for_each(|orphan| connection.reap_orphan(orphan.pid));
        parts.run.stream.end_children();
        parts.server_died(connection.clock().now())?;
        let dead = connection.replace(&parts.run.care.server).map_err(|error| chain(&error))?;
        self.introduce_server();
        // The old one is reaped only now: `Host::processes` never names a process that was reaped.
        drop(dead);
        // A fork server that dies at once is seen by the next receive.
        let run = &self.parts.run;
        let configure = Request::Configure(Box::new(run.plan.clone()));
        let _ =
            self.connection.request(&configure).and_then(|()| self.connection.attach(&run.stream.segment));
        Ok(())
    }

    /// Makes the fork server's number known.
    fn introduce_server(&self) {
        let (stream, pid) = (&self.parts.run.stream, self.connection.pid());
        stream.settled.fork_server.store(pid, Ordering::Relaxed);
        stream.begin_server(pid);
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        // A thread that waits for an answer is to know that there will be none.
        self.mailbox.close();
    }
}
