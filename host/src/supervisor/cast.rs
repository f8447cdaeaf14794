//! Which plugins run, and which copies of their files are kept for a roll-back.
//!
//! ```text
//!   producer    new ─► the plan of the crew that comes; the last but one is kept until the cut
//!   commander   new ─► the plan; the old one is kept for a roll-back
//! ```
//!
//! A file is removed once no process runs it and no caller can roll back to it.

use std::fs;
use std::path::{Path, PathBuf};

use super::run::Run;
use crate::plugin::Plugin;
use crate::plugin::copy::PluginPlan;
use crate::protocol::plan::ProducerPlan;

/// The plugins beside those in the plan.
#[derive(Debug, Default)]
pub(super) struct Cast {
    /// The producer that the new one has displaced in the plan. It is kept until the cut.
    relic: Option<ProducerPlan>,
    /// The commander that the new one has displaced in the plan. It is kept until the new one is
    /// ready.
    relieved: Option<PluginPlan>,
    /// The run's copy of the commander before.
    commander_before: Option<PathBuf>,
}

impl Cast {
    /// A plugin is rehearsed that may take another's place.
    pub(super) fn rehearse(&self, run: &mut Run, plugin: &PluginPlan) {
        run.plan.plugins.candidate = Some(plugin.clone());
        run.exchange();
    }

    /// The workers of this crew are started with the new producer, the next edition after this one.
    pub(super) fn bring_in(&mut self, run: &mut Run, crew: usize, plugin: &PluginPlan, edition: u32) {
        let new = ProducerPlan { plugin: plugin.clone(), edition: edition + 1 };
        run.plan.plugins.candidate = None;
        self.relic = run.plan.plugins.producers[crew].replace(new);
        run.exchange();
    }

    /// The producer that was brought in for this crew is not taken.
    pub(super) fn send_away(&mut self, run: &mut Run, crew: usize) {
        run.plan.plugins.producers[crew] = self.relic.take();
    }

    /// The producer that was brought in has taken the place of that of the old crew; gives the old
    /// one.
    pub(super) fn cut(&mut self, run: &Run, old: usize) -> Option<Plugin> {
        if let Some(relic) = self.relic.take() {
            // No process runs it any more. It has stayed until now for a roll-back, and for the
            // names in the stacks of its dead.
            remove(&relic.plugin.library);
        }
        run.plan.producer(old).map(Plugin::copy_of)
    }

    /// The next commander is started with the new plugin.
    pub(super) fn relieve(&mut self, run: &mut Run, plugin: &PluginPlan) {
        run.plan.plugins.candidate = None;
        self.relieved = run.plan.plugins.commander.replace(plugin.clone());
        run.exchange();
    }

    /// The new commander is not taken: the next one is started with the old plugin.
    pub(super) fn bring_back(&mut self, run: &mut Run) {
        if let Some(old) = self.relieved.take() {
            run.plan.plugins.commander = Some(old);
        }
    }

    /// The new commander has taken the old one's place; gives the old one.
    pub(super) fn relieved(&mut self) -> Option<Plugin> {
        let before = self.relieved.take()?;
        if let Some(relic) = self.commander_before.replace(before.library.clone()) {
            remove(&relic);
        }
        Some(Plugin::copy_of(&before))
    }

    /// The plugin is not taken, and its copy not needed.
    pub(super) fn refuse(&self, run: &mut Run, plugin: &PluginPlan) {
        run.plan.plugins.candidate = None;
        run.exchange();
        remove(&plugin.library);
    }
}

/// The run's folder is removed with everything in it, so that a file that cannot be removed does no
/// harm.
fn remove(library: &Path) {
    let _ = fs::remove_file(library);
}
