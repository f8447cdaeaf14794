//! The examiner: a forked process that puts a plugin through a [`Task`] and notes what it sees. What that means is judged by the
//! host.
//!
//! ```text
//!   producer   runs messages through a producer, in an arena
//!   commander  walks a commander through steps
//!   soak       does one thing again and again, and looks at memory, descriptors and threads
//!   arena      memory in which a stray write is seen
//! ```

mod commander;
mod producer;
mod soak;

use std::sync::atomic::AtomicU32;

use cobuf_plugin_api::abi::{CommanderInfo, WorkerInfo};
use cobuf_plugin_api::{PluginKind, StopFlag};

use super::child::Child;
use crate::plugin::copy::PluginPlan;
use crate::plugin::open::{CommanderPlugin, OpenCommander, ProducerPlugin};
use crate::protocol::channel::EventSender;
use crate::protocol::examination::{Note, Task};
use crate::protocol::message::{Event, SetupFailure};
use crate::protocol::role::Role;

/// What a producer is told to be one of.
const WORKERS: u32 = 8;

/// The host's wishes, as plugins see them.
static GO_ON: AtomicU32 = AtomicU32::new(0);
static STOP: AtomicU32 = AtomicU32::new(1);

/// Does the task of the process's plan.
pub(crate) fn run(child: &Child, events: &EventSender, role: Role) -> Result<(), SetupFailure> {
    let missing = || SetupFailure::Init("the examiner has no task".to_owned());
    let task = child.plan.examination.as_ref().ok_or_else(missing)?;
    let notes = Notes { events, role };
    let PluginPlan { library, interface, .. } = &child.plugin;
    match role.kind() {
        PluginKind::Producer => {
            producer::examine(&ProducerPlugin::open(library, *interface, child.logging)?, child, task, &notes)
        }
        PluginKind::Commander => {
            commander::examine(&CommanderPlugin::open(library, child.logging)?, child, task, &notes)
        }
    }
}

/// Where notes go.
struct Notes<'a> {
    events: &'a EventSender,
    role: Role,
}

impl Notes<'_> {
    fn note(&self, note: Note) -> Result<(), SetupFailure> {
        let sent = self.events.send(&Event::Examined { role: self.role, note: Box::new(note) });
        sent.map_err(|error| SetupFailure::Init(format!("what the plugin said cannot be sent: {error}")))
    }
}

fn stop_flag(stopping: bool) -> StopFlag {
    StopFlag::new(if stopping { &STOP } else { &GO_ON })
}

fn worker_info(worker: u32, incarnation: u32, stopping: bool) -> WorkerInfo {
    WorkerInfo { worker, workers: WORKERS, incarnation, stop: stop_flag(stopping) }
}

fn open_commander(
    plugin: &CommanderPlugin,
    child: &Child,
    stopping: bool,
) -> Result<OpenCommander, cobuf_plugin_api::Report> {
    plugin.construct(&child.config, CommanderInfo { seed: child.plan.seed, stop: stop_flag(stopping) })
}

/// A task of the other kind of plugin.
fn misplaced(task: &Task) -> SetupFailure {
    SetupFailure::Init(format!("the task {task:?} is for the other kind of plugin"))
}
