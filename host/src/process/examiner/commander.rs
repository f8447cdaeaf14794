//! Takes a commander through the steps of a task.

use std::time::{Duration, Instant};

use cobuf_plugin_api::{Dictionary, Report, codec};

use super::means::{Notes, misplaced, open_commander};
use super::producer::short;
use super::soak;
use crate::plugin::open::{CommanderPlugin, OpenCommander};
use crate::process::child::{Child, with_code};
use crate::protocol::examination::{Given, Note, Step, Task};
use crate::protocol::fingerprint::digest;
use crate::protocol::message::SetupFailure;

/// The most bytes of a message that is sent to the host whole; an event has room for it.
const MAX_SENT_BYTES: usize = 64 * 1024;

pub(super) fn examine(
    plugin: &CommanderPlugin,
    child: &Child,
    task: &Task,
    notes: &Notes<'_>,
) -> Result<(), SetupFailure> {
    match task {
        Task::Declare { configured } => {
            for _ in 0..2 {
                notes.note(Note::ConfigSchema(short(plugin.config_schema())))?;
            }
            if *configured {
                let checked = plugin.check(&child.config).map(|()| None);
                notes.note(Note::Configured(short(checked)))?;
            }
            Ok(())
        }
        Task::Configure { configs } => {
            for config in configs {
                let config = &with_code(&child.plugin, config)?;
                let info = cobuf_plugin_api::abi::CommanderInfo {
                    seed: child.plan.seed,
                    stop: super::means::stop_flag(false),
                };
                let constructed =
                    plugin.check(config).and_then(|()| plugin.construct(config, info).map(|_| None));
                notes.note(Note::Configured(short(constructed)))?;
            }
            Ok(())
        }
        Task::Command(steps) => {
            let mut walker = None;
            steps.iter().try_for_each(|step| notes.note(take(step, plugin, child, &mut walker)))
        }
        Task::Walk { most, millis } => walk(plugin, child, *most, Duration::from_millis(*millis), notes),
        Task::Soak(task) if task.opening => {
            let open = || open_commander(plugin, child, false)?.close();
            notes.note(Note::Soaked(soak::soak(task, open)?))
        }
        Task::Soak(task) => {
            let (mut commander, mut sequence) = (open_commander(plugin, child, false)?, 0);
            let soaked = soak::soak(task, || {
                sequence += 1;
                if commander.next(sequence - 1)?.is_none() {
                    // A commander is not asked again after its end: another one starts from the
                    // beginning.
                    sequence = 0;
                    let ended = std::mem::replace(&mut commander, open_commander(plugin, child, false)?);
                    ended.close()?;
                }
                Ok(())
            });
            notes.note(Note::Soaked(soaked?))
        }
        Task::Produce(_) | Task::Loop { .. } => Err(misplaced(task)),
    }
}

/// A commander in the middle of its steps.
struct Walker {
    commander: OpenCommander,
    /// Whether it has returned the end of the stream: then it is not asked again.
    ended: bool,
}

impl Walker {
    fn next(&mut self, sequence: u64) -> Result<Option<Given>, Report> {
        if self.ended {
            return Ok(None);
        }
        let message = self.commander.next(sequence)?;
        self.ended = message.is_none();
        Ok(message.map(|message| given(&message)))
    }
}

fn take(step: &Step, plugin: &CommanderPlugin, child: &Child, walker: &mut Option<Walker>) -> Note {
    if let Step::Open { stopping } = step {
        // The previous commander is not dropped here: its drop may only fail at a step that
        // examines it.
        let opened = open_commander(plugin, child, *stopping);
        let opened = opened.map(|commander| *walker = Some(Walker { commander, ended: false }));
        return Note::Constructed(short(opened));
    }
    let missing =
        || Report::from_error(&anyhow::anyhow!("there is no commander: it could not be constructed"));
    let open = walker.as_mut().ok_or_else(missing);
    match step {
        Step::Open { .. } | Step::Close => {
            let closed = walker.take().ok_or_else(missing).and_then(|walker| walker.commander.close());
            Note::Closed(short(closed))
        }
        Step::Next(sequence) => Note::Commanded(short(open.and_then(|walker| walker.next(*sequence)))),
        Step::Skip(from, to) => Note::Moved(short(open.and_then(|walker| walker.commander.skip(*from, *to)))),
        Step::Save(sequence) => Note::Saved(short(open.and_then(|walker| walker.commander.save(*sequence)))),
        Step::Restore(sequence, state) => {
            Note::Moved(short(open.and_then(|walker| walker.commander.restore(*sequence, state))))
        }
    }
}

fn given(message: &[u8]) -> Given {
    let decoded: Result<Dictionary, _> = codec::decode("the message", message);
    let (message_read, wrong) = match decoded {
        Ok(message) => (Some(message), None),
        Err(error) => (None, Some(error.to_string())),
    };
    let small = message.len() <= MAX_SENT_BYTES;
    Given { message: message_read.filter(|_| small), wrong, bytes: message.len(), digest: digest(message) }
}

fn walk(
    plugin: &CommanderPlugin,
    child: &Child,
    most: u64,
    limit: Duration,
    notes: &Notes<'_>,
) -> Result<(), SetupFailure> {
    let mut commander = open_commander(plugin, child, false)?;
    let (total, began) = (commander.total, Instant::now());
    let (mut count, mut ended) = (0, false);
    while !ended && count < most && began.elapsed() < limit {
        match commander.next(count)? {
            Some(_) => count += 1,
            None => ended = true,
        }
    }
    notes.note(Note::Walked { count, ended, total })
}
