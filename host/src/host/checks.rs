//! Checks of a builder's settings: numbers in their ranges, plugins' files, files of earlier runs.

use std::path::Path;

use cobuf_plugin_api::PluginKind;
use cobuf_plugin_api::manifest::ManifestInfo;

use super::builder::{HostBuilder, PluginChoice, Source, Workers};
use super::cpus;
use super::error::{OutOfRange, StartError};
use super::launch::Launch;
#[cfg(feature = "sandbox")]
use crate::jail::{self, Jail, Sandbox, SandboxError};
use crate::limits;
#[cfg(feature = "metrics")]
use crate::metrics::Outlet;
use crate::plugin::Plugin;
use crate::plugin::copy::PluginPlan;
use crate::plugin::file::PluginFile;
use crate::process::launch::StartMethod;
use crate::record::checkpoint::Checkpoint;
use crate::record::identity::Identity;
use crate::record::ledger::Ledger;
use crate::record::letter::Letter;
use crate::record::rank::{Rank, Seat};
use crate::record::rank_error::RankError;
use crate::stream::dead_letters::{self, DeadLetters};
use crate::stream::history::{History, Job};
use crate::supervisor::run::Care;

/// The system's range of niceness; it would cut a number beyond without a word.
const LEAST_NICE: i32 = -20;
const MOST_NICE: i32 = 19;

/// The checked numbers of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Numbers {
    pub(crate) workers: usize,
    /// The most workers that are tried, if their number is to be found.
    pub(crate) tune_up_to: Option<usize>,
    pub(crate) slots: usize,
    pub(crate) message_capacity: usize,
    pub(crate) metadata_capacity: usize,
    /// The most batches in a trace.
    pub(crate) trace_batches: usize,
}

/// A run's inheritance from earlier runs.
#[derive(Debug)]
pub(crate) struct Inheritance {
    pub(crate) history: History,
    /// The messages of a replay.
    pub(crate) letters: Option<Vec<Letter>>,
    /// The messages that the application had submitted to the run that is resumed.
    pub(crate) submitted: Vec<Letter>,
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
    /// The sandbox with absolute paths, and what of it the kernel enforces; `None` if there is none.
    #[cfg(feature = "sandbox")]
    pub(crate) fn jail(&self) -> Result<Option<Jail>, StartError> {
        let Some(sandbox) = self.sandbox.clone().filter(Sandbox::is_on) else { return Ok(None) };
        let resolved = sandbox.resolved();
        let sandbox =
            resolved.map_err(|source| StartError::Io { what: "find out the working directory", source })?;
        if self.server.method == StartMethod::Fork {
            return Err(SandboxError::StartMethod.into());
        }
        Ok(Some(Jail::of(sandbox)?))
    }

    pub(crate) fn numbers(&self) -> Result<Numbers, StartError> {
        let (workers, tune_up_to) = match self.workers {
            None => (self.own_cpus()?.min(limits::MAX_WORKERS), None),
            Some(Workers::Fixed(workers)) => (workers, None),
            Some(Workers::Auto { from, up_to }) => (from, Some(up_to)),
        };
        if let Some(limit) = self.limit {
            in_range("the setting limit (batches in a pipeline file)", limit, 1, u64::MAX)?;
        }
        if let Some(nice) = self.process_setup.nice {
            in_range("the setting nice", nice, LEAST_NICE, MOST_NICE)?;
        }
        let workers = in_range("the setting workers", workers, 1, limits::MAX_WORKERS)?;
        let tune_up_to = tune_up_to
            .map(|most| in_range("the most workers to try", most, 1, limits::MAX_WORKERS))
            .transpose()?
            .map(|most| most.max(workers));
        let default_slots = tune_up_to.unwrap_or(workers) * limits::DEFAULT_SLOTS_PER_WORKER;
        Ok(Numbers {
            workers,
            tune_up_to,
            slots: in_range("the setting slots", self.slots.unwrap_or(default_slots), 1, limits::MAX_SLOTS)?,
            message_capacity: in_range_of(
                "the setting message_capacity",
                " bytes",
                self.message_capacity,
                limits::MIN_MESSAGE_CAPACITY,
                limits::MAX_MESSAGE_CAPACITY,
            )?,
            metadata_capacity: in_range_of(
                "the setting metadata_capacity",
                " bytes",
                self.metadata_capacity,
                limits::MIN_METADATA_CAPACITY,
                limits::MAX_METADATA_CAPACITY,
            )?,
            trace_batches: in_range(
                "the setting trace_batches",
                self.trace_batches,
                1,
                limits::MAX_TRACE_BATCHES,
            )?,
        })
    }

    /// Checks that the batches that are delivered again and again have slots, and a run of their own.
    pub(super) fn check_replay(&self, slots: usize) -> Result<(), StartError> {
        let Some(batches) = self.replay_ready else { return Ok(()) };
        let reason = match self.source {
            Source::Resume(_) => {
                "such a run cannot go on from a checkpoint, since nothing of it counts as delivered; \
                                  leave one of the two out"
                    .to_owned()
            }
            Source::Replay(_) => {
                "such a run cannot replay dead letters, which are delivered once; leave one of the two out"
                    .to_owned()
            }
            Source::Commander if batches == 0 => "expected at least 1".to_owned(),
            Source::Commander if batches >= slots => format!(
                "each of them stays in a slot, and one more must be free for messages; keep fewer than the {} of this run, \
                 or use more slots",
                if slots == 1 { "one slot".to_owned() } else { format!("{slots} slots") }
            ),
            Source::Commander => return Ok(()),
        };
        Err(StartError::ReplayReady { batches, reason })
    }

    /// The number of messages that are made, of all ranks: up to the limit, or only those that are then
    /// delivered again and again.
    pub(super) fn made(&self, limit: Option<u64>, ranks: u32) -> Option<u64> {
        let kept = self.replay_ready.map(|batches| (batches as u64).saturating_mul(ranks.into()));
        limit.into_iter().chain(kept).min()
    }

    /// The rank: as was set; otherwise there is none, unless a launcher started several processes.
    fn ranked(&self) -> Result<Rank, RankError> {
        match self.rank {
            Some(rank) => Ok(rank),
            // Each application submits messages of its own.
            None if self.application => Ok(Rank::none()),
            None => Rank::unsaid(|name| std::env::var(name).ok()),
        }
    }

    pub(super) fn seat(&self) -> Result<Option<Seat>, StartError> {
        let seat = self.ranked()?.seat();
        match seat {
            Some(Seat { rank, of }) if self.application => Err(StartError::RankOfApplication { rank, of }),
            seat => Ok(seat),
        }
    }

    /// Where metrics go, opened.
    #[cfg(feature = "metrics")]
    pub(crate) fn outlet(&self) -> Result<Option<Outlet>, StartError> {
        let rank = self.seat()?.map(|Seat { rank, of }| (rank, of));
        Ok(self.metrics.as_ref().map(|target| target.open(rank)).transpose()?)
    }

    /// This process's part of the CPUs: the other ranks on the machine use them, too.
    fn own_cpus(&self) -> Result<usize, StartError> {
        Ok(cpus::own(self.ranked()?.local_world() as usize))
    }

    /// How the fork server is started: as was set, or as plugins need it, which is a setting from then
    /// on. For that the code of plugins in Python is read.
    pub(crate) fn launch(&mut self) -> Result<Launch, StartError> {
        #[cfg(feature = "sandbox")]
        if let Some(sandbox) = self.sandbox.as_ref().filter(|sandbox| sandbox.is_on()) {
            self.server.environment = Some(jail::variables(sandbox));
        }
        let (server, cancel) = (&mut self.server, self.cancel.clone());
        let mut needed_before = None;
        let chosen =
            [(PluginKind::Commander, &mut self.commander), (PluginKind::Producer, &mut self.producer)];
        for (kind, PluginChoice { plugin, .. }) in chosen {
            if let Some(Plugin::Python(python)) = plugin {
                let python = python.clone().of_kind(kind).env(&self.process_setup.env);
                *plugin = Some(Plugin::Python(python).find(cancel.as_ref())?);
            }
            let Some(Plugin::Coded { code, .. }) = plugin else { continue };
            let needed = &code.server;
            if needed.is_empty() {
                continue;
            }
            let refused = |reason| Err(StartError::ForkServer { kind, reason });
            if server.method == StartMethod::Fork {
                return refused(
                    "which forks of this application cannot run; use the start method fork-server",
                );
            }
            if needed_before.get_or_insert_with(|| needed.clone()) != needed {
                return refused(
                    "for another interpreter, or with other modules to preload, than the commander",
                );
            }
            server.run_by_default(needed);
        }
        Ok(Launch { server: server.clone(), start_timeout: self.start_timeout, cancel })
    }

    /// The checked settings for failures and deadlines.
    pub(crate) fn care(&self) -> Result<Care, StartError> {
        in_range("the setting max_attempts", self.max_attempts, 1, limits::MAX_ATTEMPTS)?;
        let deadlines = [
            (
                "the setting message_timeout (message_timeout_seconds in a pipeline file)",
                self.message_timeout,
            ),
            (
                "the setting commander_timeout (commander_timeout_seconds in a pipeline file)",
                self.commander_timeout,
            ),
        ];
        for (what, timeout) in deadlines {
            let Some(timeout) = timeout else { continue };
            let (least, most) = (limits::MIN_TIMEOUT.as_millis(), limits::LONGEST_WAIT.as_millis());
            in_range_of(what, " ms", timeout.as_millis(), least, most)?;
        }
        Ok(Care {
            max_attempts: self.max_attempts,
            message_timeout: self.message_timeout,
            commander_timeout: self.commander_timeout,
            start_timeout: self.start_timeout,
            #[cfg(feature = "sandbox")]
            jailed: self.sandbox.as_ref().is_some_and(Sandbox::is_on),
            #[cfg(not(feature = "sandbox"))]
            jailed: false,
            on_commander_failure: self.on_commander_failure,
            server: self.server.clone(),
        })
    }

    /// Reads the checkpoint or the dead letters that the run starts from, and opens its own dead
    /// letters.
    pub(crate) fn inheritance(&self, identity: Identity) -> Result<Inheritance, StartError> {
        let whole = |done| Checkpoint::new(identity.clone(), done, None, Vec::new());
        let (checkpoint, letters) = match &self.source {
            Source::Commander => (whole(Ledger::default()), None),
            Source::Resume(checkpoint) => {
                checkpoint.check(&identity)?;
                (checkpoint.clone(), None)
            }
            Source::Replay(path) => {
                let letters = dead_letters::read(path, &identity)?;
                let end = letters.last().map_or(0, |last| last.sequence.saturating_add(1));
                let others = Ledger::all_but(letters.iter().map(|letter| letter.sequence), end);
                (whole(others), Some(letters))
            }
        };
        let seat = self.seat()?;
        let checkpoint = checkpoint.seated(seat)?;
        let portion = checkpoint.portion(self.remainder);
        let job = seat.map(|_| Job(checkpoint.beginning()));
        let state = checkpoint.newest_state().cloned();
        let file = self.dead_letters.as_deref();
        let file = file.map(|path| DeadLetters::open(path, &identity)).transpose()?;
        let history = History::new(identity, portion, job, state, file);
        Ok(Inheritance { history, letters, submitted: checkpoint.submitted })
    }

    /// Builds and checks the commander's plugin; `None` if the application is the commander.
    pub(crate) fn choose_commander(&mut self) -> Result<Option<ChosenPlugin>, StartError> {
        if self.application { Ok(None) } else { self.choose(PluginKind::Commander).map(Some) }
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
        Ok(ChosenPlugin { file: plugin.resolve(Some(kind), self.cancel.as_ref())?, config })
    }
}

/// Checks a plain number.
pub(crate) fn in_range<N: Copy + TryInto<i128>>(
    what: &'static str,
    value: N,
    least: N,
    most: N,
) -> Result<N, OutOfRange> {
    in_range_of(what, "", value, least, most)
}

/// Checks a number of this unit, which begins with a space.
fn in_range_of<N: Copy + TryInto<i128>>(
    what: &'static str,
    unit: &'static str,
    value: N,
    least: N,
    most: N,
) -> Result<N, OutOfRange> {
    let wide = |number: N| number.try_into().unwrap_or(i128::MAX);
    let (given, least, most) = (wide(value), wide(least), wide(most));
    if (least..=most).contains(&given) {
        Ok(value)
    } else {
        Err(OutOfRange { what, value: given, least, most, unit })
    }
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;

    fn workers(variables: &'static [(&'static str, &'static str)]) -> usize {
        let value =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        HostBuilder::new().rank(Rank::from_variables(value).unwrap()).numbers().unwrap().workers
    }

    #[test]
    fn part_of_another_rank_is_refused_before_anything_is_built() {
        let whole = Checkpoint::new(Identity::default(), Ledger::default(), None, Vec::new());
        let check = |rank: &str, checkpoint: &Checkpoint| {
            let builder = HostBuilder::new().source(Source::Resume(checkpoint.clone()));
            builder.rank(rank.parse().unwrap()).check().map_err(|error| error.to_string())
        };
        let part = whole.split(3).unwrap().remove(1);
        check("1/3", &part).unwrap();
        check("2/5", &whole).unwrap();
        for (rank, run) in [("none", "this run has no rank"), ("0/3", "this run is rank 0 of 3")] {
            assert_eq!(
                check(rank, &part).unwrap_err(),
                format!(
                    "this checkpoint is the part of rank 1 of 3, and {run}; merge the parts of all ranks into one"
                )
            );
        }
    }

    #[test]
    fn ranks_of_a_machine_share_its_cpus() {
        let own = |ranks: usize| cpus::own(ranks).min(limits::MAX_WORKERS);
        assert_eq!(workers(&[]), own(1));
        let two = &[("RANK", "5"), ("WORLD_SIZE", "8"), ("LOCAL_RANK", "1"), ("LOCAL_WORLD_SIZE", "2")];
        assert_eq!(workers(two), own(2));
        let many =
            &[("RANK", "5"), ("WORLD_SIZE", "99999"), ("LOCAL_RANK", "1"), ("LOCAL_WORLD_SIZE", "99999")];
        assert_eq!(workers(many), 1);
    }
}
