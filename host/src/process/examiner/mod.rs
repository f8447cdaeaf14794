//! The examiner: a forked process that puts a plugin through a task of `protocol/examination.rs`
//! and notes the results, which the host judges.
//!
//! ```text
//!   producer   runs messages through a producer, in an arena
//!   commander  takes a commander through steps
//!   means      sends notes to the host; the facts about the host that plugins are given
//!   soak       repeats one action and measures memory, descriptors and threads
//! ```

mod commander;
mod means;
mod producer;
mod soak;

use cobuf_plugin_api::PluginKind;

use self::means::Notes;
use super::child::Child;
#[cfg(feature = "sandbox")]
use crate::jail::watched;
use crate::plugin::copy::PluginPlan;
use crate::plugin::open::{CommanderPlugin, ProducerPlugin};
use crate::protocol::channel::EventSender;
#[cfg(feature = "sandbox")]
use crate::protocol::examination::Note;
use crate::protocol::message::SetupFailure;
use crate::protocol::role::Role;

/// Does the task of the process's plan.
pub(crate) fn run(child: &Child, events: &EventSender, role: Role) -> Result<(), SetupFailure> {
    let missing = || SetupFailure::Init("the examiner has no task".to_owned());
    let assignment = child.plan.assignment.as_ref().ok_or_else(missing)?;
    let notes = Notes { events, role };
    #[cfg(feature = "sandbox")]
    if assignment.watched {
        let failed = |error| SetupFailure::Init(crate::text::chain(&error));
        let listener = watched::begin().map_err(failed)?;
        let process = rustix::process::getpid().as_raw_pid();
        notes.note(Note::Watched { process, listener })?;
    }
    let PluginPlan { library, interface, .. } = &child.plugin;
    match role.kind() {
        PluginKind::Producer => {
            let plugin = ProducerPlugin::open(library, *interface, child.logging)?;
            producer::examine(&plugin, child, assignment, &notes)
        }
        PluginKind::Commander => {
            let plugin = CommanderPlugin::open(library, child.logging)?;
            commander::examine(&plugin, child, &assignment.task, &notes)
        }
    }
}
