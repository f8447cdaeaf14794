//! The commander's loop: wait for a free slot, ask the plugin for a message, write it, queue it.
//!
//! ```text
//!   beginning: restore what an earlier commander saved ─► skip to the first message that is wanted
//!   then:      message 7 ─► 8 was delivered by an earlier run: skip it ─► message 9 ─► … ─► end
//! ```
//!
//! A run that replays given-up messages takes them in place of the plugin's, which is then not
//! opened.

use std::time::Duration;

use cobuf_plugin_api::Report;
use cobuf_plugin_api::abi::CommanderInfo;

use super::child::{self, Child};
use super::crash;
use crate::limits::{MAX_REPORT_BYTES, SAVE_EVERY};
use crate::plugin::open::{CommanderPlugin, OpenCommander};
use crate::protocol::channel::EventSender;
use crate::protocol::message::{Event, SetupFailure};
use crate::protocol::plan::Plan;
use crate::protocol::role::Role;
use crate::record::letter::Letter;
use crate::record::state::{Beginning, StateAt};
use crate::segment::claim::{Claim, Commanding};
use crate::segment::failpoint::Failpoint;
use crate::segment::memory::Segment;
use crate::segment::patience::Patience;
use crate::segment::sync::Ordering;
use crate::segment::table::Supply;

/// Opens the plugin and queues messages until the end of the stream or a stop.
pub(super) fn run(
    child: Child,
    segment: &'static Segment,
    events: &EventSender,
    beginning: Beginning,
) -> Result<(), SetupFailure> {
    let (table, plan) = (segment.table(), &*child.plan);
    let limit = plan.limit.unwrap_or(u64::MAX);
    let first = plan.portion.next(beginning.sequence).min(limit);
    let source = match &plan.letters {
        Some(letters) => Source::Letters(letters),
        None => {
            let plugin = CommanderPlugin::open(&child.plugin.library, child.logging)?;
            Source::Plugin(begin(&plugin, &child, segment, beginning, first)?)
        }
    };
    let total = source.total().map_or(limit, |total| total.min(limit));
    table.set_total((total != u64::MAX).then_some(total));
    let (supply, patience) = (Supply::default(), Patience::default());
    let mut commander = Commander { source, segment, events, plan, save_at: Some(first), supply, patience };
    // Before the start is complete: no checkpoint may contain messages of this commander without
    // the state that they follow from.
    commander.save(first)?;
    crash::report_crashes(events, Role::Commander);
    child::tell(events, &Event::Ready { role: Role::Commander })?;
    if let Err(report) = commander.command_all(first, limit) {
        // Once the host has read this, it ends the stream or starts another commander.
        child::tell(events, &Event::CommanderFailed(report.shortened(MAX_REPORT_BYTES)))?;
    }
    commander.source.close().map_err(SetupFailure::from)
}

/// Constructs a commander and advances it to the message `first`.
pub(super) fn begin(
    plugin: &CommanderPlugin,
    child: &Child,
    segment: &'static Segment,
    beginning: Beginning,
    first: u64,
) -> Result<OpenCommander, SetupFailure> {
    let info = CommanderInfo { seed: child.plan.seed, stop: child::stop_flag(segment) };
    let mut commander = plugin.construct(&child.config, info)?;
    let mut from = 0;
    if let Some(StateAt { sequence, state }) = beginning.state.filter(|saved| saved.sequence <= first) {
        commander.restore(sequence, &state)?;
        from = sequence;
    }
    commander.skip(from, first)?;
    Ok(commander)
}

/// Where messages come from.
enum Source<'a> {
    Plugin(OpenCommander),
    /// Given-up messages, in ascending order of their numbers.
    Letters(&'a [Letter]),
}

impl Source<'_> {
    fn total(&self) -> Option<u64> {
        match self {
            Self::Plugin(commander) => commander.total,
            Self::Letters(letters) => Some(letters.last().map_or(0, |last| last.sequence + 1)),
        }
    }

    /// Passes the encoded message `sequence` to `take`, unless the stream is over.
    fn next<T>(
        &mut self,
        sequence: u64,
        take: impl FnOnce(&[u8]) -> Result<T, Report>,
    ) -> Result<Option<T>, Report> {
        match self {
            Self::Plugin(commander) => commander.next(sequence)?.map(|message| take(&message)),
            Self::Letters(letters) => {
                let letter = letters.iter().find(|letter| letter.sequence == sequence);
                letter.map(|letter| take(&letter.encoded))
            }
        }
        .transpose()
    }

    /// Advances from the message `from`, which would be next, to the message `to`.
    fn skip(&mut self, from: u64, to: u64) -> Result<(), Report> {
        match self {
            Self::Plugin(commander) => commander.skip(from, to),
            Self::Letters(_) => Ok(()),
        }
    }

    fn close(self) -> Result<(), Report> {
        match self {
            Self::Plugin(commander) => commander.close(),
            Self::Letters(_) => Ok(()),
        }
    }
}

struct Commander<'a> {
    source: Source<'a>,
    segment: &'a Segment,
    events: &'a EventSender,
    plan: &'a Plan,
    /// The number of the message before which the plugin is next asked for its state; `None` once
    /// the plugin has returned no state.
    save_at: Option<u64>,
    supply: Supply,
    patience: Patience,
}

impl Commander<'_> {
    /// Queues the wanted messages from `first` up to `limit` or the end of the stream, whichever
    /// comes first.
    fn command_all(&mut self, first: u64, limit: u64) -> Result<(), Report> {
        let table = self.segment.table();
        let mut sequence = first;
        while sequence < limit {
            let Some(mut claim) = self.wait_for_free() else {
                self.hand_over(sequence);
                return Ok(());
            };
            match self.save(sequence).and_then(|()| self.write_message(&mut claim, sequence)) {
                Ok(Some(bytes)) => table.publish(claim, sequence, bytes),
                Ok(None) => {
                    table.abandon(claim);
                    break;
                }
                Err(report) => {
                    table.abandon(claim);
                    return Err(report);
                }
            }
            let wanted = self.plan.portion.after(sequence).min(limit);
            self.source.skip(sequence + 1, wanted)?;
            sequence = wanted;
        }
        table.end_stream(sequence);
        Ok(())
    }

    /// A free slot; `None` on a stop, or if another commander is to take over.
    fn wait_for_free(&mut self) -> Option<Claim<Commanding>> {
        let table = self.segment.table();
        let (found, waited) = table.control.freed.wait_for(&self.patience, None, || {
            let relieved = table.control.relieve_commander.load(Ordering::SeqCst) != 0;
            if relieved || table.stop_requested() {
                Some(None)
            } else {
                table.claim_free(&mut self.supply).map(Some)
            }
        });
        if waited > Duration::ZERO {
            table.control.commander_wait_nanos.fetch_add(waited.as_nanos() as u64, Ordering::Relaxed);
        }
        found.flatten()
    }

    /// Saves the state for a commander that takes over from here. If the state cannot be saved
    /// here, that commander continues from the last saved state, as after a death. Before a stop
    /// there is nothing to do.
    fn hand_over(&mut self, sequence: u64) {
        if self.segment.table().stop_requested() {
            return;
        }
        self.save_at = self.save_at.map(|_| sequence);
        if let Err(report) = self.save(sequence) {
            let report = report.shortened(MAX_REPORT_BYTES / 2);
            let message = format!(
                "the state before message {sequence} could not be saved for the next commander, which continues from the last saved state: {report}"
            );
            let role = Role::Commander;
            let _ = self.events.send(&Event::Log { role, level: 2, target: "cobuf".to_owned(), message });
        }
    }

    /// Sends the plugin's state to the host every [`SAVE_EVERY`] messages, if the plugin has one.
    fn save(&mut self, sequence: u64) -> Result<(), Report> {
        let Source::Plugin(commander) = &mut self.source else { return Ok(()) };
        if self.save_at.is_none_or(|at| sequence < at) {
            return Ok(());
        }
        let state = commander.save(sequence)?;
        self.save_at = state.is_some().then(|| sequence.saturating_add(SAVE_EVERY));
        let Some(state) = state else { return Ok(()) };
        let bytes = state.bytes().len();
        self.events.send(&Event::Saved(StateAt { sequence, state })).map_err(|error| {
            Report::from_error(&anyhow::anyhow!(
                "the commander's state of {bytes} bytes before message {sequence} cannot be saved: {error}; save less"
            ))
        })
    }

    /// Writes the message into the slot; returns its length, or `None` at the end of the stream.
    fn write_message(
        &mut self,
        claim: &mut Claim<Commanding>,
        sequence: u64,
    ) -> Result<Option<usize>, Report> {
        let (room, armed) = (self.segment.message_mut(claim), &self.segment.table().control.armed);
        self.source.next(sequence, |message| {
            let Some(place) = room.get_mut(..message.len()) else {
                return Err(Report::from_error(&anyhow::anyhow!(
                    "message {sequence} has {} bytes, a slot has room for {}; \
                     send less (such as a path instead of data), or give the host a message capacity of {} or more",
                    message.len(),
                    room.len(),
                    message.len()
                )));
            };
            let (first, second) = place.split_at_mut(message.len() / 2);
            first.copy_from_slice(&message[..first.len()]);
            armed.pass(Failpoint::CommandHalfWritten);
            second.copy_from_slice(&message[first.len()..]);
            Ok(message.len())
        })
    }
}
