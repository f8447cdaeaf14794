//! Prepares a forked process as the user asked: environment, working directory, niceness, limits.
//! Connects the plugin's logs and its stop flag.

use std::io;
use std::rc::Rc;
use std::sync::OnceLock;

use abi_stable::std_types::RStr;
use cobuf_plugin_api::abi::LogSink;
use cobuf_plugin_api::codec::{self, CodecError};
use cobuf_plugin_api::{Dictionary, PluginKind, Report, StopFlag, Value};

use super::{strays, system};
use crate::limits::MAX_LOG_BYTES;
use crate::plugin::copy::PluginPlan;
use crate::plugin::open::{LoadError, Logging};
use crate::protocol::channel::EventSender;
use crate::protocol::message::{Event, SetupFailure};
use crate::protocol::plan::Plan;
use crate::protocol::role::Role;
use crate::segment::memory::Segment;
#[cfg(feature = "sandbox")]
use crate::text::chain;

/// The plan, plugin, configuration and logging that a child's own part needs.
pub(crate) struct Child {
    pub(crate) plan: Rc<Plan>,
    pub(crate) plugin: PluginPlan,
    /// The plugin's encoded configuration.
    pub(crate) config: Vec<u8>,
    pub(crate) logging: Logging,
}

/// Prepares the process as the user asked.
pub(super) fn prepare(role: Role, plan: Rc<Plan>) -> Result<Child, SetupFailure> {
    let init = &plan.init;
    if let Some((name, value)) = init.env.iter().find(|(name, value)| !can_be_variable(name, value)) {
        return Err(SetupFailure::Init(format!(
            "the environment variable {name:?} cannot be set to {value:?}; expected a name without '=' and no zero bytes"
        )));
    }
    let own = std::process::id().to_string();
    let wanted = init.env.iter().map(|(name, value)| (&name[..], &value[..]));
    system::set_environment(wanted.chain([(strays::PROCESS, &own[..])]));
    let failed = |what: String, error: io::Error| SetupFailure::Init(format!("{what}: {error}"));
    if let Some(folder) = &init.working_directory {
        let what = || format!("cannot change to the working directory {}", folder.display());
        std::env::set_current_dir(folder).map_err(|error| failed(what(), error))?;
    }
    if let Some(nice) = init.nice {
        system::add_niceness(nice)
            .map_err(|error| failed(format!("cannot add {nice} to the niceness"), error))?;
    }
    if let Role::Worker { .. } | Role::Rehearsal { kind: PluginKind::Producer, .. } = role {
        limit(role, &plan).map_err(|(what, error)| failed(what.to_owned(), error))?;
    }
    let missing = || SetupFailure::Init(format!("the run has no {}", role.kind()));
    let plugin = plan.plugin(role).cloned().ok_or_else(missing)?;
    #[cfg(feature = "sandbox")]
    if let (true, Some(jail)) = (role.is_jailed(), &plan.jail) {
        let entered = jail.enter(&plugin.parts());
        entered.map_err(|error| SetupFailure::Init(format!("the sandbox: {}", chain(&error))))?;
    }
    let logging = Logging { sink: LogSink { emit }, max_level: plan.max_log_level };
    let config = with_code(&plugin, plan.config(role.kind()))?;
    Ok(Child { plan, plugin, config, logging })
}

/// The reasons of the system that a sandbox may be the cause of.
const REFUSALS: [&str; 2] = ["Permission denied", "Operation not permitted"];
/// What is said of such a failure in a jailed process.
const JAILED: &str = "the worker is in a sandbox: list what it needs in the sandbox's read, write or extra_syscalls, or allow \
     network or exec";

/// A jailed plugin's failure, with a hint if the jail may be the cause.
pub(super) fn hint(mut report: Report) -> Report {
    if report.chain.iter().any(|message| REFUSALS.iter().any(|refusal| message.contains(refusal))) {
        report.chain.push(JAILED.to_owned());
    }
    report
}

/// The same for a plugin that could not be set up.
pub(super) fn hint_at_setup(failure: SetupFailure) -> SetupFailure {
    match failure {
        SetupFailure::Load(text) if REFUSALS.iter().any(|refusal| text.contains(refusal)) => {
            SetupFailure::Load(format!("{text}; {JAILED}"))
        }
        SetupFailure::Plugin(report) => SetupFailure::Plugin(hint(report)),
        SetupFailure::Message { sequence, report } => {
            SetupFailure::Message { sequence, report: hint(report) }
        }
        other => other,
    }
}

/// A configuration with the plugin's code as the entry `code`.
pub(super) fn with_code(plugin: &PluginPlan, config: &[u8]) -> Result<Vec<u8>, SetupFailure> {
    let code = &plugin.code[..];
    // A probe without a configuration asks for the plugin's own declarations alone.
    if code.is_empty() || config.is_empty() {
        return Ok(config.to_vec());
    }
    let merged = || -> Result<Vec<u8>, CodecError> {
        let config: Dictionary = codec::decode("the configuration", config)?;
        let code: Dictionary = codec::decode("the code", code)?;
        codec::encode("the configuration", &config.with("code", Value::Dictionary(code)))
    };
    merged().map_err(|error| SetupFailure::Init(format!("the plugin's code cannot be read: {error}")))
}

/// The limits that apply only to workers and their rehearsals.
fn limit(role: Role, plan: &Plan) -> Result<(), (&'static str, io::Error)> {
    if let Some(files) = plan.limits.open_files {
        system::limit_open_files(files).map_err(|error| ("cannot limit the number of open files", error))?;
    }
    if let Role::Worker { place, .. } = role
        && plan.pin_workers
    {
        system::pin(place.worker() as usize).map_err(|error| ("cannot keep the worker on one CPU", error))?;
    }
    Ok(())
}

/// Whether the system accepts this as an environment variable. The standard library panics on one
/// that it does not accept.
fn can_be_variable(name: &str, value: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0')
}

impl From<LoadError> for SetupFailure {
    fn from(error: LoadError) -> Self {
        Self::Load(error.0)
    }
}

impl From<Report> for SetupFailure {
    fn from(report: Report) -> Self {
        Self::Plugin(report.shortened(crate::limits::MAX_REPORT_BYTES))
    }
}

/// From now on, sends this process's logs to the host, marked with this role.
pub(super) fn report_as(role: Role, events: EventSender) -> &'static EventSender {
    &REPORTER.get_or_init(|| Reporter { events, role }).events
}

/// Tells the host something that it waits for. If it cannot be told, this process is of no use.
pub(super) fn tell(events: &EventSender, event: &Event) -> Result<(), SetupFailure> {
    events.send(event).map_err(|error| SetupFailure::Init(format!("the host cannot be told of it: {error}")))
}

struct Reporter {
    events: EventSender,
    role: Role,
}

/// A global, because a plugin's log function has no argument for its destination; a process has one
/// plugin.
static REPORTER: OnceLock<Reporter> = OnceLock::new();

extern "C" fn emit(level: u8, target: RStr<'_>, message: RStr<'_>) {
    let cut = |text: &str| text[..text.floor_char_boundary(MAX_LOG_BYTES)].to_owned();
    if let Some(Reporter { events, role }) = REPORTER.get() {
        let record = Event::Log { role: *role, level, target: cut(&target), message: cut(&message) };
        // If the host is gone, this process ends at once too.
        let _ = events.send(&record);
    }
}

/// The flag with which the host asks a plugin to stop.
#[cfg(not(cobuf_loom))]
pub(super) fn stop_flag(segment: &'static Segment) -> StopFlag {
    StopFlag::new(&segment.table().control.stop)
}

/// Loom's model has no plugins, and its words are not plain memory that a plugin could read.
#[cfg(cobuf_loom)]
pub(super) fn stop_flag(_segment: &'static Segment) -> StopFlag {
    unreachable!("no process runs under loom")
}
