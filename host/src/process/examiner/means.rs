//! The common part of both kinds of examiner: they send notes, and tell plugins about their
//! process.

use std::sync::atomic::AtomicU32;

use cobuf_plugin_api::StopFlag;
use cobuf_plugin_api::abi::{CommanderInfo, WorkerInfo};

use crate::plugin::open::{CommanderPlugin, OpenCommander};
use crate::process::child::Child;
use crate::protocol::channel::EventSender;
use crate::protocol::examination::{Note, Task};
use crate::protocol::message::{Event, SetupFailure};
use crate::protocol::role::Role;

/// The number of workers that a producer is told.
const WORKERS: u32 = 8;

/// The two values of the stop flag that a plugin reads.
static GO_ON: AtomicU32 = AtomicU32::new(0);
static STOP: AtomicU32 = AtomicU32::new(1);

/// Sends notes to the host.
pub(super) struct Notes<'a> {
    pub(super) events: &'a EventSender,
    pub(super) role: Role,
}

impl Notes<'_> {
    pub(super) fn note(&self, note: Note) -> Result<(), SetupFailure> {
        let sent = self.events.send(&Event::Examined { role: self.role, note: Box::new(note) });
        sent.map_err(|error| {
            SetupFailure::Init(format!("the examination's result cannot be sent to the host: {error}"))
        })
    }
}

pub(super) fn stop_flag(stopping: bool) -> StopFlag {
    StopFlag::new(if stopping { &STOP } else { &GO_ON })
}

pub(super) fn worker_info(worker: u32, incarnation: u32, stopping: bool) -> WorkerInfo {
    WorkerInfo { worker, workers: WORKERS, incarnation, stop: stop_flag(stopping) }
}

pub(super) fn open_commander(
    plugin: &CommanderPlugin,
    child: &Child,
    stopping: bool,
) -> Result<OpenCommander, cobuf_plugin_api::Report> {
    plugin.construct(&child.config, CommanderInfo { seed: child.plan.seed, stop: stop_flag(stopping) })
}

/// The error for a task that belongs to the other kind of plugin.
pub(super) fn misplaced(task: &Task) -> SetupFailure {
    SetupFailure::Init(format!("the task {task:?} is for the other kind of plugin"))
}
