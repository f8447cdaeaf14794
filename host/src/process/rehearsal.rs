//! A rehearsal: a plugin that may replace another one is opened in a process that is thrown away,
//! and does one message there.
//!
//! A producer fills memory of this process with the newest message that is in a slot. If it fails,
//! it gets the next message, because a stream may contain bad messages. If no slot has a message,
//! the producer is only constructed. A commander gives its next message, which is discarded. The
//! run is not affected by any failure here.
//!
//! `Ready` is sent before each message: from then on the deadline of a message applies, not that of
//! the start.

use cobuf_plugin_api::abi::{Job, WorkerInfo};
use cobuf_plugin_api::{PluginKind, message_seed};

use super::arena::Arena;
use super::child::{self, Child};
use super::{commander, crash, system, worker};
use crate::limits::MAX_REHEARSED_MESSAGES;
use crate::plugin::open::CommanderPlugin;
use crate::protocol::channel::EventSender;
use crate::protocol::message::{Event, SetupFailure};
use crate::protocol::role::Role;
use crate::record::state::Beginning;
use crate::segment::memory::Segment;

/// Opens the plugin and has it do its message.
pub(super) fn run(
    kind: PluginKind,
    role: Role,
    child: &Child,
    segment: &'static Segment,
    events: &EventSender,
    beginning: Beginning,
) -> Result<(), SetupFailure> {
    crash::report_crashes(events, role);
    let ready = || child::tell(events, &Event::Ready { role });
    match kind {
        PluginKind::Producer => produce(child, segment, ready)?,
        PluginKind::Commander => command(child, segment, beginning, ready)?,
    }
    child::tell(events, &Event::Rehearsed { role })
}

/// Tries messages until the producer can do one; fails if it can do none of those that were tried.
fn produce(
    child: &Child,
    segment: &'static Segment,
    ready: impl Fn() -> Result<(), SetupFailure>,
) -> Result<(), SetupFailure> {
    let plugin = worker::open(child, segment)?;
    let (workers, stop) = (child.plan.workers, child::stop_flag(segment));
    let info = WorkerInfo { worker: 0, workers, incarnation: 0, stop };
    let mut producer = plugin.construct(&child.config, info)?;
    // This memory belongs to this process alone. The schema is the one that this producer declares,
    // see `worker::open`.
    let arena = Arena::new(&segment.layout().sizes.schema);
    let mut arena =
        arena.map_err(|error| SetupFailure::Init(format!("cannot map memory for a batch: {error}")))?;
    let mut failed = None;
    for (sequence, message) in segment.messages().take(MAX_REHEARSED_MESSAGES) {
        let seed = message_seed(child.plan.seed, sequence);
        let (message, arrays) = (message[..].into(), [][..].into());
        let job = Job { sequence, seed, attempt: 0, message, arrays };
        ready()?;
        child.plan.limits.cpu_seconds.into_iter().for_each(system::limit_cpu_time);
        let result = arena.produce(&mut producer, job);
        child.plan.limits.cpu_seconds.into_iter().for_each(|_| system::lift_cpu_limit());
        let Err(report) = result else { return Ok(producer.close()?) };
        if report.ends_producer() {
            // As a worker does.
            let _ = producer.close();
            producer = plugin.construct(&child.config, info)?;
        }
        // The reported failure is that of the newest message.
        failed.get_or_insert(SetupFailure::Message { sequence, report });
    }
    producer.close()?;
    failed.map_or(Ok(()), Err)
}

fn command(
    child: &Child,
    segment: &'static Segment,
    beginning: Beginning,
    ready: impl Fn() -> Result<(), SetupFailure>,
) -> Result<(), SetupFailure> {
    let limit = child.plan.limit.unwrap_or(u64::MAX);
    let first = child.plan.portion.next(beginning.sequence).min(limit);
    let plugin = CommanderPlugin::open(&child.plugin.library, child.logging)?;
    let mut commander = commander::begin(&plugin, child, segment, beginning, first)?;
    if first < limit {
        ready()?;
        commander.next(first).map_err(|report| SetupFailure::Message { sequence: first, report })?;
    }
    Ok(commander.close()?)
}
