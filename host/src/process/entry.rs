//! The first and last steps of every forked process: it binds its life to the fork server's,
//! prepares, runs its part, and leaves without touching what belongs to its parents.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;

use cobuf_plugin_api::PluginKind;
use rustix::process::Pid;

use super::child::{self, Child};
use super::{commander, crash, examiner, rehearsal, system, trace, worker};
use crate::plugin::copy::PluginPlan;
use crate::plugin::open::{CommanderPlugin, ProducerPlugin};
use crate::protocol::channel::EventSender;
use crate::protocol::message::{Event, SetupFailure};
use crate::protocol::plan::Plan;
use crate::protocol::role::Role;
use crate::record::death::MUTE;
use crate::record::state::Beginning;
use crate::segment::failpoint;
use crate::segment::memory::Segment;

/// The exit code of a process whose plugin could not be set up.
const SETUP_FAILED: i32 = 3;
/// The exit code of a process in which the host's own code panicked.
const PANICKED: i32 = 101;

/// The values that a child inherits from the fork server.
pub(super) struct Inherited<'a> {
    pub(super) role: Role,
    /// For a commander or its rehearsal.
    pub(super) beginning: Beginning,
    pub(super) plan: Rc<Plan>,
    pub(super) segment: Option<Segment>,
    pub(super) events: &'a EventSender,
    /// The process's end of a pipe, see `trace`.
    pub(super) trace: Option<OwnedFd>,
    /// What a jailed process prints to, if there is something.
    pub(super) output: Option<OwnedFd>,
    /// The other descriptors of the fork server.
    pub(super) of_server: [BorrowedFd<'a>; 3],
    pub(super) parent: Pid,
}

/// Runs the child's part and ends its process.
pub(super) fn run(inherited: Inherited<'_>) -> ! {
    system::die_with(inherited.parent);
    system::reset_signals();
    // Nothing may unwind into the fork server's loop, of which this process has a copy.
    let code = panic::catch_unwind(AssertUnwindSafe(|| play(inherited))).unwrap_or(PANICKED);
    system::leave(code)
}

fn play(inherited: Inherited<'_>) -> i32 {
    let Inherited { role, beginning, plan, segment, events: of_parent, trace, output, of_server, .. } =
        inherited;
    let is_jailed = plan.is_jailed() && role.is_jailed();
    let printing = if is_jailed { print_to(output) } else { Ok(()) };
    let events = match printing.and_then(|()| of_parent.duplicate()) {
        Ok(events) => events,
        Err(error) => {
            let failure = SetupFailure::Init(format!("cannot have descriptors of its own: {error}"));
            let _ = of_parent.send(&Event::SetupFailed { role, failure });
            return SETUP_FAILED;
        }
    };
    if plan.init.keep_descriptors {
        system::close(of_server);
        system::close([of_parent.as_fd()]);
    } else {
        let or_twice = trace.as_ref().map_or(events.as_fd(), AsFd::as_fd);
        system::close_others([events.as_fd(), or_twice]);
    }
    let _ = rustix::thread::set_name(process_name(role).as_c_str());
    // The mapping stays until the process ends, so references to it may stay too.
    let segment = segment.map(|segment| &*Box::leak(Box::new(segment)));
    // In the segment, where a jailed worker could arm one, it would make others fail.
    if !plan.is_jailed() {
        failpoint::may_fail();
    }
    trace.into_iter().for_each(trace::answer);
    let events = child::report_as(role, events);
    let failure = match child::prepare(role, plan)
        .and_then(|child| play_role(role, beginning, child, segment, events))
    {
        Ok(()) => return 0,
        Err(failure) if is_jailed => child::hint_at_setup(failure),
        Err(failure) => failure,
    };
    match events.send(&Event::SetupFailed { role, failure }) {
        Ok(()) => SETUP_FAILED,
        Err(_) => MUTE,
    }
}

/// Has both streams of this process go there, or to nowhere. Then it has nothing any more of what the fork
/// server prints to.
fn print_to(output: Option<OwnedFd>) -> io::Result<()> {
    let nowhere = || File::options().write(true).open("/dev/null").map(OwnedFd::from);
    let output = output.map_or_else(nowhere, Ok)?;
    rustix::stdio::dup2_stdout(&output)?;
    rustix::stdio::dup2_stderr(&output)?;
    Ok(())
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

/// Opens a plugin and sends its declarations to the host.
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
    sent.map_err(|error| {
        SetupFailure::Init(format!("the plugin's declarations cannot be sent to the host: {error}"))
    })
}

/// The name that `ps` and `top` show; the kernel keeps 15 bytes of it.
fn process_name(role: Role) -> std::ffi::CString {
    let name = match role {
        Role::Probe { .. } | Role::Rehearsal { .. } => "cobuf-probe".to_owned(),
        Role::Examiner { .. } => "cobuf-examine".to_owned(),
        Role::Commander => "cobuf-command".to_owned(),
        Role::Worker { place, .. } => format!("cobuf-work-{}", place.worker()),
    };
    std::ffi::CString::new(name).unwrap_or_default()
}
