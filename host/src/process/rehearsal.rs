//! A rehearsal: a plugin that is to take another's place is opened in a process that is thrown away, and does one message there.
//!
//! A producer fills memory of the process's own, with the newest message that is in a slot. Where it fails at that, with the next one: a
//! stream may have bad messages. Where there is none, it is only constructed. A commander gives its next message, which nobody takes.
//! Whatever goes wrong, the run does not see it.
//!
//! `Ready` is sent before each message: from there on it is a message's deadline that holds, not the start's.
#![expect(unsafe_code, reason = "hands memory to the plugin, as a worker does")]

use cobuf_plugin_api::abi::{Job, RawArray, WorkerInfo};
use cobuf_plugin_api::{PluginKind, ReportKind, Schema, message_seed};

use super::channel::EventSender;
use super::child::{self, Child};
use super::protocol::{Beginning, Event, Role, SetupFailure};
use super::{commander, crash, system, worker};
use crate::limits::MAX_REHEARSED_MESSAGES;
use crate::plugin::open::CommanderPlugin;
use crate::segment::layout::ARRAY_ALIGNMENT;
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
    let ready = || drop(events.send(&Event::Ready { role }));
    match kind {
        PluginKind::Producer => produce(child, segment, ready)?,
        PluginKind::Commander => command(child, segment, beginning, ready)?,
    }
    let _ = events.send(&Event::Rehearsed { role });
    Ok(())
}

/// The first messages that the producer can do; an error, where it can do none of several.
fn produce(child: &Child, segment: &'static Segment, ready: impl Fn()) -> Result<(), SetupFailure> {
    let plugin = worker::open(child, segment)?;
    let (workers, stop) = (child.plan.workers, child::stop_flag(segment));
    let info = WorkerInfo { worker: 0, workers, incarnation: 0, stop };
    let mut producer = plugin.construct(&child.config, info)?;
    let mut scratch = Scratch::new(&segment.layout().sizes.schema);
    let mut failed = None;
    for (sequence, message) in segment.messages().take(MAX_REHEARSED_MESSAGES) {
        let arrays = scratch.arrays();
        let seed = message_seed(child.plan.seed, sequence);
        let job =
            Job { sequence, seed, attempt: 0, message: message[..].into(), arrays: arrays.as_slice().into() };
        ready();
        child.plan.limits.cpu_seconds.into_iter().for_each(system::limit_cpu_time);
        // SAFETY: the arrays are the scratch memory's, made for the schema that this producer declares (checked by
        // `worker::open`), and nobody else uses them.
        let result = unsafe { producer.produce(job) };
        child.plan.limits.cpu_seconds.into_iter().for_each(|_| system::lift_cpu_limit());
        let Err(report) = result else { return Ok(producer.close()?) };
        if report.kind == ReportKind::Panic {
            // As a worker does.
            let _ = producer.close();
            producer = plugin.construct(&child.config, info)?;
        }
        // The newest message's failure is told.
        failed.get_or_insert(SetupFailure::Message { sequence, report });
    }
    producer.close()?;
    failed.map_or(Ok(()), Err)
}

fn command(
    child: &Child,
    segment: &'static Segment,
    beginning: Beginning,
    ready: impl Fn(),
) -> Result<(), SetupFailure> {
    let limit = child.plan.limit.unwrap_or(u64::MAX);
    let first = child.plan.done.next_missing(beginning.sequence).min(limit);
    let plugin = CommanderPlugin::open(&child.plugin.library, child.logging)?;
    let mut commander = commander::begin(&plugin, child, segment, beginning, first)?;
    if first < limit {
        ready();
        commander.next(first).map_err(|report| SetupFailure::Message { sequence: first, report })?;
    }
    Ok(commander.close()?)
}

/// Memory for one batch, of this process alone.
struct Scratch(Vec<Vec<Line>>, Vec<usize>);

/// As much as an array is aligned to.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct Line([u8; ARRAY_ALIGNMENT]);

impl Scratch {
    fn new(schema: &Schema) -> Self {
        let bytes: Vec<usize> = schema.arrays().iter().map(|array| array.bytes()).collect();
        let lines = |bytes: &usize| vec![Line([0; ARRAY_ALIGNMENT]); bytes.div_ceil(ARRAY_ALIGNMENT)];
        Self(bytes.iter().map(lines).collect(), bytes)
    }

    fn arrays(&mut self) -> Vec<RawArray> {
        let parts = self.0.iter_mut().zip(&self.1);
        parts.map(|(lines, &bytes)| RawArray { data: lines.as_mut_ptr().cast(), bytes }).collect()
    }
}
