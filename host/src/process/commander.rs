//! The commander's loop: wait for a free slot, ask the plugin for a message, write it, queue it.

use std::time::Duration;

use cobuf_plugin_api::Report;
use cobuf_plugin_api::abi::CommanderInfo;

use super::channel::EventSender;
use super::child::{self, Child};
use super::protocol::{Event, Role, SetupFailure};
use crate::limits::MAX_REPORT_BYTES;
use crate::plugin::open::{CommanderPlugin, OpenCommander};
use crate::segment::memory::Segment;
use crate::segment::sync::Ordering;
use crate::segment::table::{Claim, Commanding};

/// Opens the plugin and queues messages until the end of the stream or a stop.
pub(super) fn run(child: Child, segment: &'static Segment, events: &EventSender) -> Result<(), SetupFailure> {
    let table = segment.table();
    let plugin = CommanderPlugin::open(&child.plugin.library, child.logging)?;
    let info = CommanderInfo { seed: child.plan.seed, stop: child::stop_flag(segment) };
    let mut commander = plugin.construct(&child.plugin.config, info)?;
    let limit = child.plan.limit.unwrap_or(u64::MAX);
    let total = commander.total.map_or(limit, |total| total.min(limit));
    table.set_total((total != u64::MAX).then_some(total));
    let _ = events.send(&Event::Ready { role: Role::Commander });
    if let Err(report) = command_all(&mut commander, segment, limit) {
        // The host ends the stream once it has read this, so that the error is there when the consumers look.
        let _ = events.send(&Event::CommanderFailed(report.shortened(MAX_REPORT_BYTES)));
    }
    commander.close().map_err(SetupFailure::from)
}

fn command_all(commander: &mut OpenCommander, segment: &Segment, limit: u64) -> Result<(), Report> {
    let table = segment.table();
    for sequence in 0..limit {
        let Some(mut claim) = wait_for_free(segment) else { return Ok(()) };
        match write_message(commander, segment, &mut claim, sequence) {
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
    }
    table.end_stream();
    Ok(())
}

/// A free slot, or `None` at a stop.
fn wait_for_free(segment: &Segment) -> Option<Claim<Commanding>> {
    let table = segment.table();
    let (found, asleep) = table
        .control
        .freed
        .wait_for(None, || if table.stop_requested() { Some(None) } else { table.claim_free().map(Some) });
    if asleep > Duration::ZERO {
        table.control.commander_wait_nanos.fetch_add(asleep.as_nanos() as u64, Ordering::Relaxed);
    }
    found.flatten()
}

/// Writes the message into the slot; gives its length, or `None` at the end of the stream.
fn write_message(
    commander: &mut OpenCommander,
    segment: &Segment,
    claim: &mut Claim<Commanding>,
    sequence: u64,
) -> Result<Option<usize>, Report> {
    let Some(message) = commander.next(sequence)? else { return Ok(None) };
    let room = segment.message_mut(claim);
    let Some(place) = room.get_mut(..message.len()) else {
        return Err(Report::from_error(&anyhow::anyhow!(
            "message {sequence} has {} bytes, a slot has room for {}; \
             send less (such as a path instead of data), or give the host a message capacity of {} or more",
            message.len(),
            room.len(),
            message.len()
        )));
    };
    place.copy_from_slice(&message);
    Ok(Some(message.len()))
}
