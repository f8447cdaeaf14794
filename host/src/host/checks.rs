//! Checks of a builder's settings: numbers in their ranges, plugins' files, files of earlier runs.

use std::path::Path;

use cobuf_plugin_api::PluginKind;
use cobuf_plugin_api::manifest::ManifestInfo;

use super::builder::{HostBuilder, PluginChoice, Source, Workers, available_cpus};
use super::error::{OutOfRange, StartError};
use super::launch::Launch;
use crate::limits;
use crate::plugin::copy::PluginPlan;
use crate::plugin::file::PluginFile;
use crate::record::identity::Identity;
use crate::record::ledger::Ledger;
use crate::record::letter::Letter;
use crate::stream::dead_letters::{self, DeadLetters};
use crate::stream::history::History;
use crate::supervisor::run::Care;

/// The checked numbers of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Numbers {
    pub(crate) workers: usize,
    /// The most workers that are tried, if their number is to be found.
    pub(crate) tune_up_to: Option<usize>,
    pub(crate) slots: usize,
    pub(crate) message_capacity: usize,
}

/// A run's inheritance from earlier runs.
#[derive(Debug)]
pub(crate) struct Inheritance {
    pub(crate) history: History,
    pub(crate) letters: Option<Vec<Letter>>,
}

/// A checked plugin of a run.
#[derive(Debug)]
pub(crate) struct ChosenPlugin {
    pub(crate) file: PluginFile,
    pub(crate) config: Vec<u8>,
}

impl ChosenPlugin {
    /// The plugin's manifest and configuration, which identify it.
    pub(crate) fn named(&self) -> (&ManifestInfo, &[u8]) {
        (&self.file.manifest, &self.config)
    }

    /// Puts the private copy into the run's folder.
    pub(crate) fn plan(self, run_folder: &Path) -> Result<PluginPlan, StartError> {
        let plugin = self.file.path.clone();
        let plan = self.file.plan(run_folder, 0);
        plan.map_err(|source| StartError::Copy { plugin, folder: run_folder.to_owned(), source })
    }
}

impl HostBuilder {
    pub(crate) fn numbers(&self) -> Result<Numbers, OutOfRange> {
        let (workers, tune_up_to) = match self.workers {
            None => (available_cpus().min(limits::MAX_WORKERS), None),
            Some(Workers::Fixed(workers)) => (workers, None),
            Some(Workers::Auto { from, up_to }) => (from, Some(up_to)),
        };
        let workers = in_range("the number of workers", workers, 1, limits::MAX_WORKERS)?;
        let tune_up_to = tune_up_to
            .map(|most| in_range("the most workers to try", most, 1, limits::MAX_WORKERS))
            .transpose()?
            .map(|most| most.max(workers));
        let default_slots = tune_up_to.unwrap_or(workers) * limits::DEFAULT_SLOTS_PER_WORKER;
        Ok(Numbers {
            workers,
            tune_up_to,
            slots: in_range(
                "the number of slots",
                self.slots.unwrap_or(default_slots),
                1,
                limits::MAX_SLOTS,
            )?,
            message_capacity: in_range(
                "the message capacity in bytes",
                self.message_capacity,
                limits::MIN_MESSAGE_CAPACITY,
                limits::MAX_MESSAGE_CAPACITY,
            )?,
        })
    }

    /// How the fork server is started.
    pub(crate) fn launch(&self) -> Launch {
        Launch {
            method: self.start_method,
            executable: self.fork_server.clone(),
            start_timeout: self.start_timeout,
            cancel: self.cancel.clone(),
        }
    }

    /// The checked settings for failures and deadlines.
    pub(crate) fn care(&self) -> Result<Care, StartError> {
        let most = limits::MAX_ATTEMPTS as usize;
        in_range("the number of attempts", self.max_attempts as usize, 1, most)?;
        for timeout in [self.message_timeout, self.commander_timeout].into_iter().flatten() {
            let least = limits::MIN_TIMEOUT.as_millis() as usize;
            let milliseconds = usize::try_from(timeout.as_millis()).unwrap_or(usize::MAX);
            in_range("a deadline in milliseconds", milliseconds, least, usize::MAX)?;
        }
        Ok(Care {
            max_attempts: self.max_attempts,
            message_timeout: self.message_timeout,
            commander_timeout: self.commander_timeout,
            start_timeout: self.start_timeout,
            on_commander_failure: self.on_commander_failure,
            start_method: self.start_method,
            fork_server: self.fork_server.clone(),
        })
    }

    /// Reads the checkpoint or the dead letters that the run starts from, and opens its own dead
    /// letters.
    pub(crate) fn inheritance(&self, identity: Identity) -> Result<Inheritance, StartError> {
        let (done, state, letters) = match &self.source {
            Source::Commander => (Ledger::default(), None, None),
            Source::Resume(checkpoint) => {
                checkpoint.check(&identity)?;
                (checkpoint.done.clone(), checkpoint.commander.clone(), None)
            }
            Source::Replay(path) => {
                let letters = dead_letters::read(path, &identity)?;
                let end = letters.last().map_or(0, |last| last.sequence.saturating_add(1));
                (Ledger::all_but(letters.iter().map(|letter| letter.sequence), end), None, Some(letters))
            }
        };
        let file = self.dead_letters.as_deref();
        let file = file.map(|path| DeadLetters::open(path, &identity)).transpose()?;
        Ok(Inheritance { history: History::new(identity, done, state, file), letters })
    }

    /// Builds and checks the plugin of this kind.
    pub(crate) fn choose(&mut self, kind: PluginKind) -> Result<ChosenPlugin, StartError> {
        let choice = match kind {
            PluginKind::Commander => &mut self.commander,
            PluginKind::Producer => &mut self.producer,
        };
        let choice = std::mem::replace(choice, PluginChoice::none());
        let plugin = choice.plugin.ok_or(StartError::NoPlugin { kind })?;
        let config = choice.config.map_err(|source| StartError::Config { kind, source })?;
        Ok(ChosenPlugin { file: plugin.resolve(Some(kind))?, config })
    }
}

pub(crate) fn in_range(
    what: &'static str,
    value: usize,
    least: usize,
    most: usize,
) -> Result<usize, OutOfRange> {
    if (least..=most).contains(&value) { Ok(value) } else { Err(OutOfRange { what, value, least, most }) }
}
