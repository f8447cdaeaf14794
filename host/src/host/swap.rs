//! Swapping a plugin while a run goes on: what the application asks for, and what it is told.
//!
//! ```text
//!   caller's thread                  supervisor                            processes
//!   build, read, check the file
//!   copy it into the run's folder ─► rehearse it ────────────────────────► opened, one message, gone
//!                                    construct its workers ──────────────► wait beside the old ones
//!                                    cut at the first message not taken ─► old ones finish, and end
//!   first message of the new ◄────── done
//! ```
//!
//! Until the cut the old plugin is not touched: whatever fails before, it goes on, and the caller is told why.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{self, Sender};
use std::thread;

use cobuf_plugin_api::PluginKind;
use parking_lot::Mutex;

use crate::plugin::{Plugin, PluginError};
use crate::supervisor::mailbox::{Mailbox, Swap, Swapped, Wish};
use crate::supervisor::swap_error::SwapError;

/// The builds that callers wait for, so that a stop ends their waits. Cargo itself is left to come to its end.
#[derive(Debug, Default)]
pub(crate) struct Builds(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    stopped: bool,
    count: u64,
    /// By their numbers. `None` is sent at a stop.
    callers: BTreeMap<u64, Sender<Option<Result<Plugin, PluginError>>>>,
}

impl Builds {
    /// The same plugin as a file.
    pub(crate) fn build(&self, plugin: Plugin) -> Result<Plugin, SwapError> {
        let (sender, built) = mpsc::channel();
        let number = {
            let mut waiting = self.0.lock();
            if waiting.stopped {
                return Err(SwapError::Ended);
            }
            waiting.count += 1;
            let number = waiting.count;
            waiting.callers.insert(number, sender.clone());
            number
        };
        thread::spawn(move || drop(sender.send(Some(plugin.built()))));
        let result = built.recv().ok().flatten();
        self.0.lock().callers.remove(&number);
        Ok(result.ok_or(SwapError::Ended)??)
    }

    /// Ends all waits, and those that still come.
    pub(crate) fn stop(&self) {
        let mut waiting = self.0.lock();
        waiting.stopped = true;
        // Who has got a result meanwhile does not wait any more.
        std::mem::take(&mut waiting.callers).into_values().for_each(|caller| drop(caller.send(None)));
    }
}

/// Checks a plugin, copies it into the run's folder, has the supervisor swap it, and waits for what becomes of it.
pub(crate) fn swap(
    kind: PluginKind,
    plugin: &Plugin,
    folder: &Path,
    number: u32,
    mailbox: &Mailbox,
) -> Result<Swapped, SwapError> {
    let file = plugin.resolve(Some(kind))?;
    let plugin =
        file.plan(folder, number).map_err(|source| SwapError::Copy { folder: folder.to_owned(), source })?;
    let (answer, answered) = mpsc::channel();
    mailbox.send(Wish::Swap(Box::new(Swap { kind, plugin, answer })));
    answered.recv().unwrap_or(Err(SwapError::Ended))
}
