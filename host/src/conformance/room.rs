//! The place of one test: a fork server of its own, and the examiners that it forks. Whatever a
//! plugin does to them is that test's finding. Dropping the room ends them and all processes that
//! they have started.

use std::time::Duration;

use cobuf_plugin_api::PluginKind;

use super::subject::Subject;
#[cfg(feature = "sandbox")]
use super::witness::Witness;
use crate::host::checks::ChosenPlugin;
use crate::host::error::StartError;
use crate::host::launch::Launch;
use crate::host::run_folder::RunFolder;
use crate::host::session::Session;
use crate::host::startup::plan_of_one;
#[cfg(feature = "sandbox")]
use crate::host::startup::relay;
#[cfg(feature = "sandbox")]
use crate::jail::{self, Jail, Sandbox, SandboxNeeds};
#[cfg(feature = "sandbox")]
use crate::plugin::copy::PluginPlan;
use crate::process::stack::names::{self, Stack};
use crate::protocol::examination::{Assignment, Note, Task};
use crate::protocol::message::{Event, Request, SetupFailure};
use crate::protocol::plan::Plan;
use crate::protocol::role::Role;
use crate::record::death::Death;
use crate::record::death::Exit;

/// How long a process may take to end after it is killed.
const DEATH_LIMIT: Duration = Duration::from_secs(10);
/// How many frames of a stack a finding shows.
const SHOWN_FRAMES: usize = 4;

/// A fork server, and how long each of its examiners may take.
pub(super) struct Room {
    session: Session,
    plan: Plan,
    kind: PluginKind,
    limit: Duration,
    metadata_capacity: usize,
    /// The number of the next examiner.
    next: u32,
    /// Whether the next examiner is watched.
    watched: bool,
    /// Who watches it.
    #[cfg(feature = "sandbox")]
    witness: Option<Witness>,
}

/// The result of one examiner.
#[derive(Debug, Default)]
pub(super) struct Course {
    pub(super) notes: Vec<Note>,
    failure: Option<SetupFailure>,
    stack: Option<Stack>,
    end: Option<End>,
    /// The signal by which it crashed.
    crash: Option<i32>,
    /// Whether its time was over and it was told to end.
    late: bool,
}

#[derive(Debug, Clone, Copy)]
enum End {
    Died(Death),
    TimedOut(Duration),
    /// The fork server died, with all its processes.
    ServerDied,
}

impl Room {
    pub(super) fn open(subject: &Subject<'_>) -> Result<Self, StartError> {
        Self::of(subject, |_, _| Ok(()))
    }

    /// The same, whose examiners are jailed.
    #[cfg(feature = "sandbox")]
    pub(super) fn jailed(subject: &Subject<'_>, sandbox: &Sandbox) -> Result<Self, StartError> {
        Self::of(subject, |plan, launch| {
            launch.server.environment = Some(jail::variables(sandbox));
            plan.jail = Some(Jail::of(sandbox.clone())?);
            relay(&mut launch.server).map(drop)
        })
    }

    /// The place with what differs from the usual one.
    fn of(
        subject: &Subject<'_>,
        differ: impl FnOnce(&mut Plan, &mut Launch) -> Result<(), StartError>,
    ) -> Result<Self, StartError> {
        let settings = subject.settings;
        let folder = RunFolder::create()?;
        let chosen = ChosenPlugin { file: subject.file.clone(), config: subject.config.clone() };
        let mut plan = plan_of_one(chosen, &folder, settings.working_directory.clone())?;
        plan.seed = settings.seed;
        // Thousands of messages may be produced, and their logs are not read.
        plan.max_log_level = 0;
        let mut launch = Launch::by(settings.fork_server.as_deref(), &subject.file);
        differ(&mut plan, &mut launch)?;
        let session = Session::open(launch.start()?, plan.clone(), folder, &launch)?;
        Ok(Self {
            session,
            plan,
            kind: subject.file.manifest.kind,
            limit: settings.time_limit,
            metadata_capacity: settings.metadata_capacity,
            next: 0,
            watched: false,
            #[cfg(feature = "sandbox")]
            witness: None,
        })
    }

    /// Has one examiner do the task.
    pub(super) fn examine(&mut self, task: Task) -> Result<Course, StartError> {
        let mut courses = self.examine_at_once(vec![task])?;
        Ok(courses.remove(0))
    }

    /// The same, and what the examiner asked for that a sandbox has settings for.
    #[cfg(feature = "sandbox")]
    pub(super) fn watch(&mut self, task: Task) -> Result<(Course, SandboxNeeds), StartError> {
        self.watched = true;
        let course = self.examine(task);
        self.watched = false;
        let needs = self.witness.take().map(Witness::end).unwrap_or_default();
        Ok((course?, needs))
    }

    /// Begins to see the calls of an examiner, which waits for that.
    #[cfg(feature = "sandbox")]
    fn begin_to_watch(&mut self, process: i32, listener: i32) -> Result<(), StartError> {
        let parts = self.plan.producer(0).map(PluginPlan::parts).unwrap_or_default();
        let witness = Witness::begin(process, listener, &parts);
        let what = "see the system calls of a child process, which Linux 5.6 and newer allow unless \
                    kernel.yama.ptrace_scope is above 1";
        self.witness = Some(witness.map_err(|source| StartError::Io { what, source })?);
        Ok(())
    }

    /// Has an examiner for each task, all at the same time.
    pub(super) fn examine_at_once(&mut self, tasks: Vec<Task>) -> Result<Vec<Course>, StartError> {
        let first = self.next;
        let mut courses: Vec<Course> = tasks.iter().map(|_| Course::default()).collect();
        self.session.give_time(self.limit);
        for task in tasks {
            let (metadata_capacity, watched) = (self.metadata_capacity, self.watched);
            self.plan.assignment = Some(Assignment { task, metadata_capacity, watched });
            let role = Role::Examiner { kind: self.kind, number: self.next };
            self.next += 1;
            let configured = self.session.request(Request::Configure(Box::new(self.plan.clone())));
            if configured.and_then(|()| self.session.request(Request::Start(role, None))).is_err() {
                break; // The fork server is dead; the next event says so.
            }
        }
        while courses.iter().any(|course| course.end.is_none()) {
            match self.session.next_event("an examiner") {
                Ok(event) => self.take(event, first, &mut courses)?,
                Err(StartError::Timeout { .. }) => self.end_late(first, &mut courses),
                Err(StartError::ForkServerDied) => {
                    courses.iter_mut().for_each(|course| {
                        course.end.get_or_insert(End::ServerDied);
                    });
                }
                Err(other) => return Err(other),
            }
        }
        Ok(courses)
    }

    fn take(&mut self, event: Event, first: u32, courses: &mut [Course]) -> Result<(), StartError> {
        match event {
            Event::Examined { role, note } => {
                #[cfg(feature = "sandbox")]
                if let Note::Watched { process, listener } = *note {
                    return self.begin_to_watch(process, listener);
                }
                if let Some(course) = course_of(role, first, courses) {
                    course.notes.push(*note);
                }
            }
            Event::SetupFailed { role, failure } => {
                if let Some(course) = course_of(role, first, courses) {
                    course.failure = Some(failure);
                }
            }
            // Has its stack captured before it dies. If the fork server is dead, the next event
            // says so.
            Event::Crashed { role, signal } => {
                if let Some(course) = course_of(role, first, courses) {
                    course.crash = Some(signal);
                }
                let _ = self.session.request(Request::Kill(role));
            }
            Event::Stack { role, stack: Ok(raw) } => {
                if let Some(course) = course_of(role, first, courses) {
                    course.stack = Some(names::resolve(&raw));
                }
            }
            Event::Exited { role, how } => {
                if let Some(course) = course_of(role, first, courses) {
                    // It was killed after its stack was captured.
                    let how = course.crash.map_or(how, |signal| Death::Exit(Exit::Signal(signal)));
                    let end = if course.late { End::TimedOut(self.limit) } else { End::Died(how) };
                    course.end.get_or_insert(end);
                }
            }
            Event::Started { role, pid: Err(reason) } => {
                return Err(StartError::Process { role: role.to_string(), reason });
            }
            _ => {}
        }
        Ok(())
    }

    /// The time is over: kills the remaining examiners after their stacks are captured. If one does
    /// not even end then, it is no longer waited for.
    fn end_late(&mut self, first: u32, courses: &mut [Course]) {
        self.session.give_time(DEATH_LIMIT);
        for (index, course) in courses.iter_mut().enumerate().filter(|(_, course)| course.end.is_none()) {
            if course.late {
                course.end = Some(End::TimedOut(self.limit));
            }
            course.late = true;
            let role = Role::Examiner { kind: self.kind, number: first + index as u32 };
            // If the fork server is dead, the next event says so.
            let _ = self.session.request(Request::Kill(role));
        }
    }
}

/// The course of an examiner, if `first` is the number of the first course's examiner.
fn course_of(role: Role, first: u32, courses: &mut [Course]) -> Option<&mut Course> {
    match role {
        Role::Examiner { number, .. } => courses.get_mut(number.checked_sub(first)? as usize),
        _ => None,
    }
}

impl Course {
    /// The reason why the examiner did not do its whole task; `None` if it did.
    pub(super) fn trouble(&self) -> Option<String> {
        if let Some(failure) = &self.failure {
            return Some(failure.clone().into_finding());
        }
        let what = match self.end? {
            End::Died(Death::Exit(Exit::Code(0))) => return None,
            End::Died(death) => SetupFailure::Died(death).into_finding(),
            End::TimedOut(limit) => {
                format!("it did not come back in {} s, and was killed", limit.as_secs_f64())
            }
            End::ServerDied => "it killed the fork server, its parent process".to_owned(),
        };
        let thread = self.stack.as_ref().and_then(|stack| stack.threads.first());
        let frames = thread.into_iter().flat_map(|thread| &thread.frames).map(String::as_str);
        let frames: Vec<&str> = frames.skip_while(|frame| is_library(frame)).take(SHOWN_FRAMES).collect();
        Some(if frames.is_empty() { what } else { format!("{what}, in {}", frames.join(" ← ")) })
    }
}

/// Whether a frame is one in which code aborts, panics or waits: its caller says more.
fn is_library(frame: &str) -> bool {
    frame.contains("libc.so")
        || ["std::", "core::", "__rust", "parking_lot"].iter().any(|name| frame.starts_with(name))
}
