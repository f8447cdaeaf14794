//! What processes are started for.

use std::path::PathBuf;

use cobuf_plugin_api::PluginKind;
use serde::{Deserialize, Serialize};

use super::examination::Task;
use super::role::Role;
use super::setup::{ProcessSetup, WorkerLimits};
use crate::plugin::copy::PluginPlan;
use crate::record::ledger::Ledger;
use crate::record::letter::Letter;
use crate::segment::place::CREWS;

/// A crew's producer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ProducerPlan {
    pub(crate) plugin: PluginPlan,
    /// 0 for the code that the host was started with, one more with each swap.
    pub(crate) edition: u32,
}

/// The plugins of a run. They change where one is swapped.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Plugins {
    pub(crate) commander: Option<PluginPlan>,
    /// By crew.
    pub(crate) producers: [Option<ProducerPlan>; CREWS],
    /// A plugin that is to take the place of another one, while it is rehearsed.
    pub(crate) candidate: Option<PluginPlan>,
}

/// What processes are started for. All but the plugins stays the same over a run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) plugins: Plugins,
    /// The encoded configurations, whichever plugins run.
    pub(crate) commander_config: Vec<u8>,
    pub(crate) producer_config: Vec<u8>,
    pub(crate) workers: u32,
    pub(crate) seed: u64,
    /// The number of messages after which the stream ends, if the commander does not end it before.
    pub(crate) limit: Option<u64>,
    pub(crate) init: ProcessSetup,
    pub(crate) limits: WorkerLimits,
    /// Whether each worker stays on one CPU.
    pub(crate) pin_workers: bool,
    /// The messages that are not wanted: an earlier run has delivered them.
    pub(crate) done: Ledger,
    /// The messages to give instead of the commander's, where a run is replayed.
    pub(crate) letters: Option<Vec<Letter>>,
    /// What an examiner does.
    pub(crate) examination: Option<Task>,
    /// The most verbose log level that the host wants: 0 off … 5 trace.
    pub(crate) max_log_level: u8,
    /// The run's folder, which the fork server removes when the host is gone.
    pub(crate) run_folder: PathBuf,
}

impl Plan {
    /// The plugin that a process opens.
    pub(crate) fn plugin(&self, role: Role) -> Option<&PluginPlan> {
        let commander = self.plugins.commander.as_ref();
        match role {
            Role::Commander => commander,
            Role::Probe { kind, .. } | Role::Examiner { kind, .. } => match kind {
                PluginKind::Commander => commander,
                PluginKind::Producer => self.producer(0),
            },
            Role::Rehearsal { .. } => self.plugins.candidate.as_ref(),
            Role::Worker { place, .. } => self.producer(place.crew()),
        }
    }

    /// The name of the plugin that a process opens, for logs and errors.
    pub(crate) fn name(&self, role: Role) -> &str {
        self.plugin(role).map_or("", |plugin| &plugin.name)
    }

    /// The encoded configuration of the plugins of a kind.
    pub(crate) fn config(&self, kind: PluginKind) -> &[u8] {
        match kind {
            PluginKind::Commander => &self.commander_config,
            PluginKind::Producer => &self.producer_config,
        }
    }

    /// The producer of a crew.
    pub(crate) fn producer(&self, crew: usize) -> Option<&PluginPlan> {
        self.plugins.producers[crew].as_ref().map(|producer| &producer.plugin)
    }

    /// The edition of a crew's producer.
    pub(crate) fn edition(&self, crew: usize) -> u32 {
        self.plugins.producers[crew].as_ref().map_or(0, |producer| producer.edition)
    }
}
