//! The settings that all forked processes of a run share.

use std::path::PathBuf;

use cobuf_plugin_api::PluginKind;
use serde::{Deserialize, Serialize};

use super::examination::Assignment;
use super::role::Role;
use super::setup::{ProcessSetup, WorkerLimits};
#[cfg(feature = "sandbox")]
use crate::jail::{Jail, Sandbox};
use crate::plugin::copy::PluginPlan;
use crate::record::letter::Letter;
use crate::record::portion::Portion;
use crate::segment::place::CREWS;

/// A crew's producer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ProducerPlan {
    pub(crate) plugin: PluginPlan,
    /// 0 for the code that the host was started with, one more with each swap.
    pub(crate) edition: u32,
}

/// The plugins of a run. They change when one is swapped.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Plugins {
    pub(crate) commander: Option<PluginPlan>,
    /// The producer of each crew.
    pub(crate) producers: [Option<ProducerPlan>; CREWS],
    /// A plugin that may replace another one, while it is rehearsed.
    pub(crate) candidate: Option<PluginPlan>,
}

/// The settings that all forked processes of a run share. Except for the plugins, they stay the
/// same over a run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) plugins: Plugins,
    /// The encoded configurations. They do not change when a plugin is swapped.
    pub(crate) commander_config: Vec<u8>,
    pub(crate) producer_config: Vec<u8>,
    pub(crate) workers: u32,
    pub(crate) seed: u64,
    /// The number of messages after which the stream ends, unless the commander ends it earlier.
    pub(crate) limit: Option<u64>,
    pub(crate) init: ProcessSetup,
    pub(crate) limits: WorkerLimits,
    /// The jail of processes that open the producer.
    #[cfg(feature = "sandbox")]
    pub(crate) jail: Option<Jail>,
    /// Whether each worker is pinned to one CPU.
    pub(crate) pin_workers: bool,
    /// The messages that are wanted: the others were delivered by an earlier run, or belong to other
    /// ranks.
    pub(crate) portion: Portion,
    /// The messages to give instead of the commander's, if a run is replayed.
    pub(crate) letters: Option<Vec<Letter>>,
    /// The task of an examiner.
    pub(crate) assignment: Option<Assignment>,
    /// The most verbose log level that the host wants, from 0 (off) to 5 (trace).
    pub(crate) max_log_level: u8,
    /// The run's folder, which the fork server removes if the host is gone.
    #[serde(with = "crate::path_bytes")]
    pub(crate) run_folder: PathBuf,
}

impl Plan {
    /// Whether processes that open the producer are jailed.
    pub(crate) fn is_jailed(&self) -> bool {
        #[cfg(feature = "sandbox")]
        return self.jail.is_some();
        #[cfg(not(feature = "sandbox"))]
        false
    }

    /// The files and folders from which a jailed plugin may load code that nobody meant to be loaded.
    pub(crate) fn data(&self) -> Vec<PathBuf> {
        #[cfg(feature = "sandbox")]
        return self.jail.as_ref().map_or_else(Vec::new, |jail| {
            let Sandbox { read, write, .. } = &jail.sandbox;
            read.iter().chain(write).cloned().collect()
        });
        #[cfg(not(feature = "sandbox"))]
        Vec::new()
    }

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
