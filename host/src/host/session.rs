//! A run between its first process and its host: says what to do next, and reads what the processes answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cobuf_plugin_api::{PluginKind, Schema};

use super::checks::Numbers;
use super::error::StartError;
use super::handle::Host;
use super::launch::Launch;
use super::run_folder::RunFolder;
use crate::limits::{MAX_UNANSWERED, SERVER_MARGIN};
use crate::plugin::PluginError;
use crate::process::launch::{ForkServer, LaunchError, StartMethod};
use crate::protocol::channel::{EventReceiver, Received, Watched};
use crate::protocol::message::{Event, Request, SetupFailure};
use crate::protocol::plan::Plan;
use crate::protocol::role::Role;
use crate::segment::layout::{Layout, Sizes};
use crate::segment::mapping::SegmentError;
use crate::segment::memory::Segment;
use crate::segment::place::Place;
use crate::segment::sync::Ordering;
use crate::stream::delivery::Stream;
use crate::supervisor::plugin_logs::forward_log;
use crate::supervisor::{Care, Started, Supervisor};
use crate::text::chain;

/// A run that is being started.
pub(crate) struct Session {
    server: Option<ForkServer>,
    plan: Plan,
    events: Option<EventReceiver>,
    folder: Option<RunFolder>,
    deadline: Instant,
    limit: Duration,
    /// What happened to plugins that were up before all were: for the supervisor.
    early: Vec<Event>,
    /// What workers have logged by then.
    early_logs: Vec<(Place, String)>,
}

impl Drop for Session {
    fn drop(&mut self) {
        // Only where the start failed: nothing is worth waiting for.
        if let Some(server) = self.server.take() {
            let _ = server.request(&Request::Stop { grace: Duration::ZERO });
            server.wait(SERVER_MARGIN);
        }
    }
}

impl Session {
    pub(crate) fn open(
        (server, events): (ForkServer, EventReceiver),
        plan: Plan,
        folder: RunFolder,
        launch: &Launch,
    ) -> Result<Self, StartError> {
        let mut session = Self {
            server: Some(server),
            events: Some(events),
            folder: Some(folder),
            deadline: Instant::now() + launch.start_timeout,
            limit: launch.start_timeout,
            early: Vec::new(),
            early_logs: Vec::new(),
            plan,
        };
        session.greet(launch)?;
        session.request(Request::Configure(Box::new(session.plan.clone())))?;
        Ok(session)
    }

    /// Has the next events wait for no longer than this from now on.
    pub(crate) fn give_time(&mut self, limit: Duration) {
        (self.deadline, self.limit) = (Instant::now() + limit, limit);
    }

    /// The first thing that a fork server says is its version.
    fn greet(&mut self, launch: &Launch) -> Result<(), StartError> {
        let failed = |reason: String| {
            let executable = match (launch.method, &launch.executable) {
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
            Ok(other) => Err(failed(format!("it said {other:?}"))),
            Err(StartError::ForkServerDied) => Err(failed(
                "it ended at once; does the executable call cobuf_host::init() first in main?".to_owned(),
            )),
            Err(StartError::Io { source, .. }) => Err(failed(format!(
                "what it said cannot be understood ({source}); does the executable call cobuf_host::init() first in main?"
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
                    return answer.ok_or_else(|| self.died(role, how.to_string()));
                }
                event => self.take_usual(event)?,
            }
        }
    }

    /// Makes the segment and has the fork server map it.
    pub(super) fn attach(&mut self, sizes: Sizes) -> Result<Segment, StartError> {
        let (Some(folder), Some(server)) = (&self.folder, &self.server) else {
            unreachable!("folder and server are there until the host takes them")
        };
        let segment = create_segment(folder.name(), sizes)?;
        server.attach(&segment).map_err(|_| StartError::ForkServerDied)?;
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

    /// Starts the commander and all workers, and waits until every plugin is constructed.
    pub(super) fn start_plugins(&mut self, stream: &Stream, workers: usize) -> Result<(), StartError> {
        let sequence = stream.history.earlier().next_missing(0);
        let beginning = stream.history.beginning_at(sequence);
        self.request(Request::Start(Role::Commander, Some(beginning)))?;
        let mut missing_workers =
            (0..workers).map(|worker| Role::Worker { place: Place::new(0, worker), incarnation: 0 });
        for role in missing_workers.by_ref().take(MAX_UNANSWERED as usize) {
            self.request(Request::Start(role, None))?;
        }
        let (mut ready, mut started) = (Vec::with_capacity(workers + 1), 0);
        // Both are waited for: a process may be ready before the fork server has told its number, and
        // the application may ask for the processes as soon as it has the host.
        while ready.len().min(started) < workers + 1 {
            let missing = workers + 1 - ready.len().min(started);
            let waiting_for = format!("the construction of {missing} of {} plugin processes", workers + 1);
            let event = self.next_event(&waiting_for)?;
            match event {
                Event::Ready { role } if !ready.contains(&role) => ready.push(role),
                Event::Exited { role, .. }
                | Event::SetupFailed { role, .. }
                | Event::Renewing { role }
                | Event::Ready { role }
                    if ready.contains(&role) =>
                {
                    // A commander with few messages may be done, a worker may have died or panicked of its first message.
                    self.early.push(event);
                }
                // Here and now: the host's first checkpoint may be asked for before the supervisor has read anything.
                Event::Saved(state) => stream.history.note_state(state),
                Event::Started { role, pid: Ok(pid) } => {
                    stream.roster.insert(role, pid);
                    started += 1;
                    if let Some(role) = missing_workers.next() {
                        self.request(Request::Start(role, None))?;
                    }
                }
                Event::CommanderFailed(_) | Event::Crashed { .. } => {
                    self.early.push(event);
                }
                event => self.take_usual(event)?,
            }
        }
        Ok(())
    }

    pub(super) fn into_host(
        mut self,
        stream: Stream,
        numbers: Numbers,
        care: Care,
        stop_grace: Duration,
    ) -> Result<Host, StartError> {
        let stream = Arc::new(stream);
        // From here on the supervisor stops the server.
        let (Some(server), Some(events), Some(folder)) =
            (self.server.take(), self.events.take(), self.folder.take())
        else {
            unreachable!("a session is made into a host once")
        };
        stream.counters.fork_server.store(server.pid().into(), Ordering::Relaxed);
        let supervisor = Supervisor::spawn(Started {
            stream: stream.clone(),
            server,
            events,
            plan: self.plan.clone(),
            care,
            workers: numbers.workers,
            tune_up_to: numbers.tune_up_to,
            early: std::mem::take(&mut self.early),
            early_logs: std::mem::take(&mut self.early_logs),
        })
        .map_err(|source| StartError::Io { what: "start a thread", source })?;
        Ok(Host::new(stream, supervisor, folder, stop_grace))
    }

    pub(crate) fn request(&self, request: Request) -> Result<(), StartError> {
        let Some(server) = &self.server else { unreachable!("the server is there until the host takes it") };
        server.request(&request).map_err(|_| StartError::ForkServerDied)
    }

    pub(crate) fn next_event(&mut self, waiting_for: &str) -> Result<Event, StartError> {
        let (Some(server), Some(events)) = (&self.server, &mut self.events) else {
            unreachable!("server and events are there until the host takes them")
        };
        let watched = Watched { server: Some(server.alive()), mail: None };
        match events.receive(watched, Some(self.deadline)) {
            Ok(Received::Event(event)) => Ok(event),
            Ok(Received::TimedOut | Received::Mail) => {
                Err(StartError::Timeout { waiting_for: waiting_for.to_owned(), limit: self.limit })
            }
            Ok(Received::Closed) => Err(StartError::ForkServerDied),
            Err(source) => Err(StartError::Io { what: "read what the run's processes say", source }),
        }
    }

    /// What may come at any time while starting: logs, and failures that end the start.
    fn take_usual(&mut self, event: Event) -> Result<(), StartError> {
        match event {
            Event::Log { role, level, target, message } => {
                forward_log(self.plan.name(role), role, level, &target, &message);
                if let Role::Worker { place, .. } = role {
                    self.early_logs.push((place, message));
                }
                Ok(())
            }
            Event::SetupFailed { role, failure } => Err(self.setup_failed(role, failure)),
            Event::Exited { role, how } => Err(self.died(role, how.to_string())),
            Event::Started { role, pid: Err(reason) } => {
                Err(StartError::Process { role: role.to_string(), reason })
            }
            _ => Ok(()),
        }
    }

    fn setup_failed(&self, role: Role, failure: SetupFailure) -> StartError {
        let (kind, plugin) = (role.kind(), self.plan.name(role).to_owned());
        match failure {
            SetupFailure::Plugin(source) => PluginError::Setup { kind, plugin, source }.into(),
            SetupFailure::Load(reason) => {
                let path = self.plan.plugin(role).map(|plugin| plugin.origin.clone()).unwrap_or_default();
                PluginError::Load { path, reason }.into()
            }
            other => StartError::Process { role: role.to_string(), reason: other.into_text() },
        }
    }

    fn died(&self, role: Role, how: String) -> StartError {
        PluginError::Died { kind: role.kind(), plugin: self.plan.name(role).to_owned(), how }.into()
    }
}

/// Makes the segment, where there is memory enough.
fn create_segment(name: &str, sizes: Sizes) -> Result<Segment, StartError> {
    let (slots, slot_bytes) = (sizes.slots, sizes.schema.bytes());
    let available = rustix::fs::statvfs("/dev/shm").map_or(u64::MAX, |stat| stat.f_bavail * stat.f_frsize);
    let layout = Layout::new(sizes);
    let needed = layout.as_ref().map_or(usize::MAX, |layout| layout.bytes);
    let too_small = || StartError::SharedMemory { needed, available, slots, slot_bytes };
    let layout = layout.filter(|layout| layout.bytes as u64 <= available).ok_or_else(too_small)?;
    Segment::create(name, layout).map_err(|error| match error {
        // Somebody else took the memory in the meantime: a full tmpfs answers so.
        SegmentError::Reserve { source: rustix::io::Errno::FAULT, .. } => too_small(),
        other => StartError::Segment { what: "the slots cannot be made", reason: chain(&other) },
    })
}
