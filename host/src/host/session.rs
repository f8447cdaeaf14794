//! Questions to a fork server and its processes, one after the other: for a run before its first
//! process, for `inspect`, and for the conformance tests.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use cobuf_plugin_api::{PluginKind, Schema, codec};
use rustix::io::Errno;

use super::error::StartError;
use super::launch::Launch;
use super::run_folder::RunFolder;
use crate::cancel::Cancel;
use crate::process::connection::Connection;
use crate::process::launch::{LaunchError, StartMethod};
use crate::protocol::channel::Received;
use crate::protocol::message::{Event, Request, SetupFailure};
use crate::protocol::plan::Plan;
use crate::protocol::role::Role;
use crate::segment::about::About;
use crate::segment::layout::Layout;
use crate::segment::mapping::SegmentError;
use crate::segment::memory::Segment;
use crate::segment::room::{self, Room};
use crate::supervisor::plugin_logs::forward_log;
use crate::supervisor::starting::Waiting;
use crate::text::chain;
use crate::ulimit;

/// A fork server that has a plan.
pub(crate) struct Session {
    /// There until a run takes them.
    owned: Option<(Connection, RunFolder)>,
    plan: Plan,
    deadline: Instant,
    limit: Duration,
    cancel: Option<Cancel>,
}

/// The parts that a run takes from its session.
pub(super) struct Parts {
    pub(super) connection: Connection,
    pub(super) folder: RunFolder,
    pub(super) plan: Plan,
    /// When the start has taken too long.
    pub(super) deadline: Instant,
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some((connection, _)) = &self.owned {
            connection.end();
        }
    }
}

impl Session {
    pub(crate) fn open(
        mut connection: Connection,
        plan: Plan,
        folder: RunFolder,
        launch: &Launch,
    ) -> Result<Self, StartError> {
        let limit = launch.start_timeout;
        connection.begin();
        let deadline = connection.clock().now() + limit;
        let owned = Some((connection, folder));
        let cancel = launch.cancel.clone();
        let mut session = Self { owned, plan, deadline, limit, cancel };
        session.greet(launch)?;
        session.request(Request::Configure(Box::new(session.plan.clone())))?;
        Ok(session)
    }

    /// Hands everything over to a run.
    pub(super) fn into_parts(mut self) -> Parts {
        let Some((connection, folder)) = self.owned.take() else {
            unreachable!("a session is made into a run once")
        };
        Parts { connection, folder, plan: std::mem::take(&mut self.plan), deadline: self.deadline }
    }

    fn owned(&mut self) -> &mut (Connection, RunFolder) {
        let Some(owned) = &mut self.owned else { unreachable!("a session is asked until a run takes it") };
        owned
    }

    /// Limits the wait for the next events, from now on.
    pub(crate) fn give_time(&mut self, limit: Duration) {
        let now = self.owned().0.clock().now();
        (self.deadline, self.limit) = (now + limit, limit);
    }

    /// The first thing that a fork server says is its version.
    fn greet(&mut self, launch: &Launch) -> Result<(), StartError> {
        let failed = |reason: String| {
            let executable = match (launch.server.method, &launch.server.executable) {
                (StartMethod::ForkServer, Some(path)) => path.display().to_string(),
                _ => "of this application".to_owned(),
            };
            StartError::Launch(LaunchError::Handshake { executable, reason })
        };
        match self.next_event("the fork server") {
            Ok(Event::Hello { version }) if version == env!("CARGO_PKG_VERSION") => Ok(()),
            Ok(Event::Hello { version }) => {
                Err(failed(format!("it is cobuf-host {version}; install both from one version")))
            }
            Ok(Event::ServerFailed { reason }) => Err(failed(reason)),
            Ok(other) => Err(failed(format!("it said {other:?}"))),
            Err(StartError::ForkServerDied) => {
                Err(failed("it ended at once; is it an executable with cobuf-host in it?".to_owned()))
            }
            Err(StartError::Io { source, .. }) => Err(failed(format!(
                "what it said cannot be understood ({source}); is it an executable with cobuf-host in it?"
            ))),
            Err(other) => Err(other),
        }
    }

    /// Asks a plugin, in a process of its own, what it declares.
    pub(super) fn probe(
        &mut self,
        kind: PluginKind,
        configured: bool,
    ) -> Result<(String, Option<Schema>), StartError> {
        let role = Role::Probe { kind, configured };
        self.request(Request::Start(role, None))?;
        let mut answer = None;
        loop {
            match self.next_event(&format!("the {kind} {}", self.plan.name(role)))? {
                Event::Probed { config_schema, schema, .. } => answer = Some((config_schema, schema)),
                Event::Exited { role: ended, how } if ended == role => {
                    return answer.ok_or_else(|| self.failed(role, SetupFailure::Died(how)));
                }
                event => self.take_usual(event)?,
            }
        }
    }

    /// Makes the segment and has the fork server map it.
    pub(super) fn attach(&mut self, about: &About) -> Result<Segment, StartError> {
        let cancel = self.cancel.clone();
        let (connection, folder) = self.owned();
        let segment = create_segment(folder.name(), about, cancel.as_ref())?;
        connection.attach(&segment).map_err(unsent)?;
        loop {
            match self.next_event("the fork server")? {
                Event::Attached(Ok(())) => return Ok(segment),
                Event::Attached(Err(reason)) => {
                    return Err(StartError::Segment { what: "the fork server cannot map the slots", reason });
                }
                event => self.take_usual(event)?,
            }
        }
    }

    pub(crate) fn request(&mut self, request: Request) -> Result<(), StartError> {
        self.owned().0.request(&request).map_err(unsent)
    }

    pub(crate) fn next_event(&mut self, waiting_for: &str) -> Result<Event, StartError> {
        let (deadline, cancel) = (self.deadline, self.cancel.clone());
        let mut waiting = Waiting::since(self.owned().0.clock().now());
        loop {
            let (connection, _) = self.owned();
            match connection.receive(cancel.as_ref().map(AsFd::as_fd), Some(deadline.min(waiting.next()))) {
                Ok(Received::Event(event)) => return Ok(event),
                Ok(Received::TimedOut) if connection.clock().now() < deadline => {
                    waiting.say(connection.clock().now(), || format!("waiting for {waiting_for}"));
                }
                Ok(Received::TimedOut) => {
                    let waiting_for = waiting_for.to_owned();
                    return Err(StartError::Timeout { waiting_for, limit: self.limit });
                }
                Ok(Received::Mail) => return Err(StartError::Cancelled),
                Ok(Received::Closed) => return Err(StartError::ForkServerDied),
                Err(source) => return Err(StartError::unreadable(source)),
            }
        }
    }

    /// Takes an event that may come at any time: a log, or a failure of the process that was asked.
    fn take_usual(&mut self, event: Event) -> Result<(), StartError> {
        match event {
            Event::Log { role, level, target, message } => {
                forward_log(self.plan.name(role), role, level, &target, &message);
                Ok(())
            }
            Event::ServerFailed { reason } => Err(StartError::ForkServerFailed { reason }),
            Event::SetupFailed { role, failure } => Err(self.failed(role, failure)),
            Event::Exited { role, how } => Err(self.failed(role, SetupFailure::Died(how))),
            Event::Started { role, pid: Err(reason) } => Err(self.failed(role, SetupFailure::Init(reason))),
            _ => Ok(()),
        }
    }

    fn failed(&self, role: Role, failure: SetupFailure) -> StartError {
        StartError::of_process(role, self.plan.plugin(role), failure)
    }
}

/// The error of a request that could not be sent.
fn unsent(source: std::io::Error) -> StartError {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected};
    match source.kind() {
        BrokenPipe | ConnectionReset | NotConnected => StartError::ForkServerDied,
        // It could not be encoded, or there is no memory for it; the fork server is alive.
        _ => StartError::Io { what: "send a request to the fork server", source },
    }
}

/// Makes the segment, if there is memory enough.
fn create_segment(name: &str, about: &About, cancel: Option<&Cancel>) -> Result<Segment, StartError> {
    let sizes = about.sizes.clone();
    let (slots, slot_bytes) = (sizes.slots, sizes.schema.bytes());
    let Room { bytes: available, place } = room::least();
    let layout = Layout::new(sizes);
    let about = codec::encode("the description", about).map_err(|error| StartError::Segment {
        what: "the slots cannot be described",
        reason: chain(&error),
    })?;
    let needed = layout.as_ref().map_or(usize::MAX, |layout| layout.bytes.saturating_add(about.len()));
    let too_small =
        || StartError::SharedMemory { needed, available, place: place.clone(), slots, slot_bytes };
    let layout = layout.filter(|_| needed as u64 <= available).ok_or_else(too_small)?;
    let failed = |reason| StartError::Segment { what: "the slots cannot be made", reason };
    // Shared memory counts as a file.
    ulimit::check_file_size(needed as u64).map_err(|error| failed(chain(&error)))?;
    let mut waiting = Waiting::since(Instant::now());
    let mut go_on = |done: usize, all: usize| {
        let gigabytes = |bytes: usize| bytes as f64 / 1e9;
        waiting.say(Instant::now(), || {
            format!("reserving shared memory: {:.1} of {:.1} GB", gigabytes(done), gigabytes(all))
        });
        !cancel.is_some_and(Cancel::is_cancelled)
    };
    Segment::create(name, layout, &about, &mut go_on).map_err(|error| match error {
        SegmentError::GivenUp => StartError::Cancelled,
        // Somebody else took the memory in the meantime: a full tmpfs answers so.
        SegmentError::Reserve { source: Errno::FAULT | Errno::NOSPC, .. } => too_small(),
        other => failed(chain(&other)),
    })
}
