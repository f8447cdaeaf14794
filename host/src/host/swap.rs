//! The application's side of a swap: check and copy the plugin, ask the supervisor, wait for the
//! answer.
//!
//! ```text
//!   caller's thread                  supervisor                            processes
//!   read, check the file
//!   copy it into the run's folder ─► rehearse it ────────────────────────► opened, one message, gone
//!                                    construct its workers ──────────────► wait beside the old ones
//!                                    cut at the first message not taken ─► old ones finish, and end
//!   first message of the new ◄────── done
//! ```
//!
//! Until the cut the old plugin is not touched. If a step before it fails, the old plugin goes on,
//! and the caller is told why.

use std::path::{Path, PathBuf};
use std::sync::mpsc;

use cobuf_plugin_api::PluginKind;

use crate::plugin::Plugin;
use crate::supervisor::mailbox::{Mailbox, SwapWish, Swapped, Wish};
use crate::supervisor::swap_error::SwapError;

/// The swaps of a run, of which there is one at a time.
#[derive(Debug)]
pub(crate) struct Swaps {
    /// The executable of the fork server, if it was given or a plugin needed it.
    server: Option<PathBuf>,
    /// How many were asked for.
    count: u32,
    /// The run's copies of the plugins before.
    commander: Option<Plugin>,
    producer: Option<Plugin>,
}

impl Swaps {
    /// None yet, of a run with this executable as its fork server.
    pub(crate) fn new(server: Option<PathBuf>) -> Self {
        Self { server, count: 0, commander: None, producer: None }
    }

    /// Swaps this plugin in, or the one that ran before if none is given; gives the first message
    /// that is its.
    ///
    /// Checks the plugin, copies it into the run's folder, has the supervisor swap it, and waits
    /// for the answer.
    pub(crate) fn swap(
        &mut self,
        kind: PluginKind,
        plugin: Option<&Plugin>,
        folder: &Path,
        mailbox: &Mailbox,
    ) -> Result<u64, SwapError> {
        let before = self.before(kind).clone();
        let plugin = plugin.cloned().or(before).ok_or(SwapError::NothingBefore { kind })?;
        if let Plugin::Package(folder) = plugin {
            return Err(SwapError::NotBuilt { folder });
        }
        let file = plugin.resolve(Some(kind), None)?;
        let needed = file.code.server.first().map(Path::new);
        if needed.is_some() && needed != self.server.as_deref() {
            return Err(SwapError::ForkServer { kind, plugin: file.manifest.name });
        }
        self.count += 1;
        let copied = file.plan(folder, self.count);
        let plugin = copied.map_err(|source| SwapError::Copy { folder: folder.to_owned(), source })?;
        let (answer, answered) = mpsc::channel();
        mailbox.send(Wish::Swap(Box::new(SwapWish { kind, plugin, answer })));
        // Dropped without an answer if the run ends.
        let Swapped { first, before } = answered.recv().unwrap_or(Err(SwapError::Ended))?;
        *self.before(kind) = before;
        Ok(first)
    }

    fn before(&mut self, kind: PluginKind) -> &mut Option<Plugin> {
        match kind {
            PluginKind::Commander => &mut self.commander,
            PluginKind::Producer => &mut self.producer,
        }
    }
}
