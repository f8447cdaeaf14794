//! What every forked process does first and last: bind its life to the fork server's, prepare, open its plugin, run its
//! part, and leave without touching what belongs to its parents.

use std::io;
use std::os::fd::AsFd;
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;
use std::sync::OnceLock;

use abi_stable::std_types::RStr;
use cobuf_plugin_api::abi::LogSink;
use cobuf_plugin_api::{PluginKind, Report, StopFlag};
use rustix::process::Pid;

use super::examiner;
use super::{commander, crash, rehearsal, system, worker};
use crate::limits::MAX_LOG_BYTES;
use crate::plugin::copy::PluginPlan;
use crate::plugin::open::{CommanderPlugin, LoadError, Logging, ProducerPlugin};
use crate::protocol::channel::EventSender;
use crate::protocol::message::{Event, SetupFailure};
use crate::protocol::plan::Plan;
use crate::protocol::role::Role;
use crate::record::state::Beginning;
use crate::segment::failpoint;
use crate::segment::memory::Segment;

/// The exit code of a process whose plugin could not be set up.
const SETUP_FAILED: i32 = 3;
/// The exit code of a process in which the host's own code panicked.
const PANICKED: i32 = 101;

/// What a child has from the fork server.
pub(super) struct Inherited<'a> {
    pub(super) role: Role,
    /// Of a commander, or its rehearsal.
    pub(super) beginning: Beginning,
    pub(super) plan: Rc<Plan>,
    pub(super) segment: Option<Segment>,
    pub(super) events: &'a EventSender,
    pub(super) parent: Pid,
}

/// A child's own means.
pub(crate) struct Child {
    pub(crate) plan: Rc<Plan>,
    pub(crate) plugin: PluginPlan,
    /// The plugin's encoded configuration.
    pub(crate) config: Vec<u8>,
    pub(crate) logging: Logging,
}

/// Runs the child's part and ends its process.
pub(super) fn run(inherited: Inherited<'_>) -> ! {
    system::die_with(inherited.parent);
    // Nothing may unwind into the fork server's loop, of which this process has a copy.
    let code = panic::catch_unwind(AssertUnwindSafe(|| play(inherited))).unwrap_or(PANICKED);
    system::leave(code)
}

fn play(inherited: Inherited<'_>) -> i32 {
    let Inherited { role, beginning, plan, segment, events, .. } = inherited;
    let Ok(events) = events.duplicate() else { return PANICKED };
    system::close_others([events.as_fd()]);
    let _ = rustix::thread::set_name(process_name(role).as_c_str());
    // The mapping stays until the process ends, and so may everything that borrows it.
    let segment = segment.map(|segment| &*Box::leak(Box::new(segment)));
    failpoint::may_fail();
    let Reporter { events, .. } = REPORTER.get_or_init(|| Reporter { events, role });
    let failure =
        match prepare(role, plan).and_then(|child| play_role(role, beginning, child, segment, events)) {
            Ok(()) => return 0,
            Err(failure) => failure,
        };
    let _ = events.send(&Event::SetupFailed { role, failure });
    SETUP_FAILED
}

fn play_role(
    role: Role,
    beginning: Beginning,
    child: Child,
    segment: Option<&'static Segment>,
    events: &EventSender,
) -> Result<(), SetupFailure> {
    let attached = || segment.ok_or_else(|| SetupFailure::Init("no segment is attached".to_owned()));
    match role {
        Role::Probe { kind, configured } => probe(kind, configured, &child, events),
        Role::Rehearsal { kind, .. } => rehearsal::run(kind, role, &child, attached()?, events, beginning),
        Role::Examiner { .. } => {
            crash::report_crashes(events, role);
            examiner::run(&child, events, role)
        }
        Role::Commander => commander::run(child, attached()?, events, beginning),
        Role::Worker { place, incarnation } => worker::run(child, attached()?, events, place, incarnation),
    }
}

fn prepare(role: Role, plan: Rc<Plan>) -> Result<Child, SetupFailure> {
    let init = &plan.init;
    if let Some((name, value)) = init.env.iter().find(|(name, value)| !can_be_variable(name, value)) {
        return Err(SetupFailure::Init(format!(
            "the environment variable {name:?} cannot be set to {value:?}; expected a name without '=' and no zero bytes"
        )));
    }
    system::set_environment(&init.env);
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
    let logging = Logging { sink: LogSink { emit }, max_level: plan.max_log_level };
    let config = plan.config(role.kind()).to_vec();
    Ok(Child { plan, plugin, config, logging })
}

/// What holds for workers only, and their rehearsals.
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

/// Whether the system takes this as an environment variable; the standard library panics where it does not.
fn can_be_variable(name: &str, value: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0')
}

/// Opens a plugin and says what it declares.
fn probe(
    kind: PluginKind,
    configured: bool,
    child: &Child,
    events: &EventSender,
) -> Result<(), SetupFailure> {
    let (PluginPlan { library, interface, .. }, config) = (&child.plugin, &child.config);
    let (config_schema, schema) = match kind {
        PluginKind::Producer => {
            let plugin = ProducerPlugin::open(library, *interface, child.logging)?;
            let schema = configured.then(|| plugin.schema(config)).transpose()?;
            (plugin.config_schema()?, schema)
        }
        PluginKind::Commander => {
            let plugin = CommanderPlugin::open(library, child.logging)?;
            configured.then(|| plugin.check(config)).transpose()?;
            (plugin.config_schema()?, None)
        }
    };
    let sent = events.send(&Event::Probed { kind, config_schema, schema });
    sent.map_err(|error| SetupFailure::Init(format!("what the plugin declares cannot be sent: {error}")))
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

struct Reporter {
    events: EventSender,
    role: Role,
}

/// A plugin's log function has no argument for its destination; a process has one plugin.
static REPORTER: OnceLock<Reporter> = OnceLock::new();

extern "C" fn emit(level: u8, target: RStr<'_>, message: RStr<'_>) {
    let cut = |text: &str| text[..text.floor_char_boundary(MAX_LOG_BYTES)].to_owned();
    if let Some(Reporter { events, role }) = REPORTER.get() {
        let record = Event::Log { role: *role, level, target: cut(&target), message: cut(&message) };
        // Where the host is gone, so is this process at once.
        let _ = events.send(&record);
    }
}

/// The host's wish to stop, for a plugin to look at.
#[cfg(not(cobuf_loom))]
pub(super) fn stop_flag(segment: &'static Segment) -> StopFlag {
    StopFlag::new(&segment.table().control.stop)
}

/// A model has no plugins, and its words are not memory that one could look at.
#[cfg(cobuf_loom)]
pub(super) fn stop_flag(_segment: &'static Segment) -> StopFlag {
    unreachable!("no process runs under loom")
}

/// As `ps` and `top` show it; the kernel keeps 15 bytes.
fn process_name(role: Role) -> std::ffi::CString {
    let name = match role {
        Role::Probe { .. } | Role::Rehearsal { .. } => "cobuf-probe".to_owned(),
        Role::Examiner { .. } => "cobuf-examine".to_owned(),
        Role::Commander => "cobuf-command".to_owned(),
        Role::Worker { place, .. } => format!("cobuf-work-{}", place.worker()),
    };
    std::ffi::CString::new(name).unwrap_or_default()
}
