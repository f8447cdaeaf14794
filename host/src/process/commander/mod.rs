//! The commander's loop: wait for a free slot, ask the plugin for a message, write it, queue it.
//!
//! ```text
//!   beginning: restore what an earlier commander saved ─► skip to the first message that is wanted
//!   then:      message 7 ─► 8 was delivered by an earlier run: skip it ─► message 9 ─► … ─► end
//! ```
//!
//! A rank gives its own messages only, and skips the others. With `Remainder::Drop` and
//! `Remainder::Repeat` it has to know whether its row of messages is complete: it asks for one more
//! message of the row before it queues its own.
//!
//! ```text
//!   rank 1 of 4, short    skip 0      1      skip 2 3
//!                drop     skip 0      1      skip 2      3: is there one? then 1 is queued
//!                repeat   0 is kept   1: is there one? otherwise 0 is queued, again
//! ```
//!
//! A run that replays given-up messages takes them in place of the plugin's, which is then not
//! opened.

mod source;
#[cfg(all(test, not(cobuf_loom)))]
mod tests;

use cobuf_plugin_api::Report;
use cobuf_plugin_api::abi::CommanderInfo;

use self::source::Source;
use super::child::{self, Child};
use super::crash;
use crate::limits::{MAX_REPORT_BYTES, SAVE_EVERY};
use crate::plugin::open::{CommanderPlugin, OpenCommander};
use crate::protocol::channel::EventSender;
use crate::protocol::message::{Event, SetupFailure};
use crate::protocol::plan::Plan;
use crate::protocol::role::Role;
use crate::record::portion::Remainder;
use crate::record::state::{Beginning, StateAt};
use crate::segment::claim::{Claim, Commanding};
use crate::segment::failpoint::Failpoint;
use crate::segment::memory::Segment;
use crate::segment::patience::Patience;
use crate::segment::stamps::Stamps;
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
    let (portion, commanded) = (&plan.portion, beginning.sequence);
    let own = portion.next(commanded);
    let first = portion.opening(own).min(limit);
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
    let mut commander = Commander {
        source,
        segment,
        events,
        plan,
        limit,
        commanded,
        at: first,
        save_at: Some(first),
        supply,
        patience,
    };
    // Before the start is complete: no checkpoint may contain messages of this commander without
    // the state that they follow from.
    commander.save()?;
    crash::report_crashes(events, Role::Commander);
    child::tell(events, &Event::Ready { role: Role::Commander })?;
    if let Err(report) = commander.command_all(own) {
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

struct Commander<'a> {
    source: Source<'a>,
    segment: &'a Segment,
    events: &'a EventSender,
    plan: &'a Plan,
    /// The number before which the stream ends.
    limit: u64,
    /// All messages below it were queued by commanders before this one, as far as they are wanted.
    commanded: u64,
    /// The number of the message that the plugin would give next.
    at: u64,
    /// The number of the message before which the plugin is next asked for its state; `None` once
    /// the plugin has returned no state.
    save_at: Option<u64>,
    supply: Supply,
    patience: Patience,
}

impl Commander<'_> {
    /// Queues the run's own messages from `own` on, up to the limit or the end of the stream,
    /// whichever comes first.
    fn command_all(&mut self, mut own: u64) -> Result<(), Report> {
        let (table, portion, limit) = (self.segment.table(), &self.plan.portion, self.limit);
        while portion.opening(own) < limit {
            let Some(mut claim) = self.wait_for_free() else {
                self.hand_over();
                return Ok(());
            };
            self.segment.stamps(claim.index()).into_iter().for_each(Stamps::note_begun);
            match self.save().and_then(|()| self.write_wanted(&mut claim, own)) {
                Ok(Some((sequence, bytes))) => {
                    self.segment.stamps(claim.index()).into_iter().for_each(Stamps::note_queued);
                    table.publish(claim, sequence, bytes);
                    if sequence != own {
                        // A repeated message is the last.
                        break;
                    }
                }
                Ok(None) => {
                    table.abandon(claim);
                    break;
                }
                Err(report) => {
                    table.abandon(claim);
                    return Err(report);
                }
            }
            own = portion.after(own);
            self.skip_to(portion.opening(own).min(limit))?;
        }
        table.end_stream(own.min(limit));
        Ok(())
    }

    /// Writes the own message into the slot, or one that is repeated in its place; gives its number
    /// and its length. `None` if there is no more to give.
    fn write_wanted(
        &mut self,
        claim: &mut Claim<Commanding>,
        own: u64,
    ) -> Result<Option<(u64, usize)>, Report> {
        let remainder = self.plan.portion.remainder();
        if remainder == Remainder::Short {
            return Ok(self.write_message(claim, own)?.map(|bytes| (own, bytes)));
        }
        let row = self.plan.portion.row(own);
        if remainder == Remainder::Drop {
            let Some(bytes) = self.write_message(claim, own)? else { return Ok(None) };
            let complete = row.last == own || self.has_message(row.last)?;
            return Ok(complete.then_some((own, bytes)));
        }
        let mut repeated = None;
        if row.first != own {
            // A commander before this one queued it only because there is no own one.
            let Some(bytes) = self.write_message(claim, row.first)?.filter(|_| row.first >= self.commanded)
            else {
                return Ok(None);
            };
            repeated = Some((row.first, bytes));
        }
        // It replaces the row's first one in the slot, if there is one.
        Ok(self.write_message(claim, own)?.map(|bytes| (own, bytes)).or(repeated))
    }

    /// Whether the stream has this message, which the plugin is asked for.
    fn has_message(&mut self, sequence: u64) -> Result<bool, Report> {
        if sequence >= self.limit {
            return Ok(false);
        }
        self.skip_to(sequence)?;
        self.at += 1;
        Ok(self.source.next(sequence, |_| Ok(()))?.is_some())
    }

    /// Advances the plugin to this message.
    fn skip_to(&mut self, sequence: u64) -> Result<(), Report> {
        self.source.skip(self.at, sequence)?;
        self.at = sequence;
        Ok(())
    }

    /// A free slot; `None` on a stop, or if another commander is to take over.
    fn wait_for_free(&mut self) -> Option<Claim<Commanding>> {
        let table = self.segment.table();
        let mut look = || {
            let relieved = table.control.relieve_commander.load(Ordering::SeqCst) != 0;
            if relieved || table.stop_requested() {
                Some(None)
            } else {
                table.claim_free(&mut self.supply).map(Some)
            }
        };
        if let Some(found) = look() {
            return found;
        }
        let (found, waited) = table.wait_for_free(&self.patience, None, look);
        table.control.progress.wait_nanos.fetch_add(waited.as_nanos() as u64, Ordering::Relaxed);
        found.flatten()
    }

    /// Saves the state for a commander that takes over from here. If the state cannot be saved
    /// here, that commander continues from the last saved state, as after a death. Before a stop
    /// there is nothing to do.
    fn hand_over(&mut self) {
        if self.segment.table().stop_requested() {
            return;
        }
        let sequence = self.at;
        self.save_at = self.save_at.map(|_| sequence);
        if let Err(report) = self.save() {
            let report = report.shortened(MAX_REPORT_BYTES / 2);
            let message = format!(
                "the state before message {sequence} could not be saved for the next commander, which continues from the last saved state: {report}"
            );
            let role = Role::Commander;
            let _ = self.events.send(&Event::Log { role, level: 2, target: "cobuf".to_owned(), message });
        }
    }

    /// Sends the plugin's state to the host every [`SAVE_EVERY`] of the run's own messages, if the
    /// plugin has one.
    fn save(&mut self) -> Result<(), Report> {
        let sequence = self.at;
        let Source::Plugin(commander) = &mut self.source else { return Ok(()) };
        if self.save_at.is_none_or(|at| sequence < at) {
            return Ok(());
        }
        let state = commander.save(sequence)?;
        self.save_at = state.is_some().then(|| {
            let ranks = u64::from(self.plan.portion.seat().of);
            sequence.saturating_add(SAVE_EVERY * ranks)
        });
        let Some(state) = state else { return Ok(()) };
        let bytes = state.bytes().len();
        self.events.send(&Event::Saved(StateAt { sequence, state })).map_err(|error| {
            Report::from_error(&anyhow::anyhow!(
                "the commander's state of {bytes} bytes before message {sequence} cannot be saved: {error}; save less"
            ))
        })
    }

    /// Writes the message into the slot, to which the plugin is advanced; returns its length, or
    /// `None` at the end of the stream.
    fn write_message(
        &mut self,
        claim: &mut Claim<Commanding>,
        sequence: u64,
    ) -> Result<Option<usize>, Report> {
        if sequence >= self.limit {
            return Ok(None);
        }
        self.skip_to(sequence)?;
        self.at += 1;
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
