//! Does a plugin do what a host relies on? A row of tests, each with processes of its own, as clap-validator makes of audio plugins.
//!
//! ```text
//!   Examination ── the plugin's file, a configuration, messages ──► tests, one after the other
//!     each: room (a fork server) ── Task ──► examiner (a forked process, which opens the plugin) ── Notes ──► Verdict
//!
//!   room                     the host's end (the process's is `process/examiner`); whatever dies or hangs there is one test's finding
//!   subject                  the plugin that is examined, and the tests that were made
//!   declarations, lifecycle  the tests of both kinds of plugin; producer and commander: those of one
//!   mutations                wrong configurations and messages, made from good ones
//!   growth                   what is a leak
//!   plain_loop               no test: how fast a producer is with nothing around it
//!   report                   what was found
//! ```
//!
//! A test that relies on another one's finding is skipped where that did not pass: so one fault of a plugin is found by one test.
//! The host's own process never opens the plugin, and nothing is left behind, whatever it does.
//!
//! ```no_run
//! use cobuf_host::conformance::Examination;
//! use cobuf_host::{Dictionary, Plugin};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     cobuf_host::init();
//!     let report = Examination::of(Plugin::package("plugins/digits-producer"))
//!         .config(Dictionary::new().with("batch_size", 4))
//!         .messages([Dictionary::new().with("items", vec![1.into(), 2.into()])])
//!         .run()?;
//!     assert!(report.passed(), "{report:#?}");
//!     Ok(())
//! }
//! ```

mod commander;
mod declarations;
mod growth;
mod lifecycle;
mod mutations;
mod plain_loop;
mod producer;
mod report;
mod room;
mod subject;

use std::path::PathBuf;
use std::time::Duration;

use cobuf_plugin_api::manifest::ManifestInfo;
use cobuf_plugin_api::{Dictionary, PluginKind, codec};

pub use self::report::{Finding, Outcome, Report};
use self::subject::{Settings, Subject, Tests};
use crate::host::error::StartError;
#[cfg(feature = "pipeline")]
use crate::host::pipeline::{Pipeline, PipelineError};
use crate::limits::{
    DEFAULT_EXAMINATION_LIMIT, DEFAULT_MESSAGE_CAPACITY, DEFAULT_SEED, DEFAULT_SOAK, EXAMINED_MESSAGES,
};
use crate::plugin::file::PluginFile;
use crate::plugin::interface::Interface;
use crate::plugin::{Plugin, PluginError};

/// What is to be examined, and how.
#[derive(Debug, Clone)]
pub struct Examination {
    plugin: Plugin,
    messages: Vec<Dictionary>,
    commander: Option<(Plugin, Dictionary)>,
    settings: Settings,
}

impl Examination {
    /// The examination of a plugin, with no configuration and no messages.
    pub fn of(plugin: Plugin) -> Self {
        Self {
            plugin,
            messages: Vec::new(),
            commander: None,
            settings: Settings {
                config: None,
                message_capacity: DEFAULT_MESSAGE_CAPACITY,
                seed: DEFAULT_SEED,
                time_limit: DEFAULT_EXAMINATION_LIMIT,
                soak: DEFAULT_SOAK,
                fork_server: None,
                working_directory: None,
            },
        }
    }

    /// The configuration to examine it with; the empty one where none is given.
    #[must_use]
    pub fn config(mut self, config: Dictionary) -> Self {
        self.settings.config = Some(config);
        self
    }

    /// Messages that the producer can do.
    #[must_use]
    pub fn messages(mut self, messages: impl IntoIterator<Item = Dictionary>) -> Self {
        self.messages.extend(messages);
        self
    }

    /// A commander, with its configuration, whose first messages the producer is given.
    #[must_use]
    pub fn messages_of(mut self, commander: Plugin, config: Dictionary) -> Self {
        self.commander = Some((commander, config));
        self
    }

    /// The bytes that a commander's message may have; [`DEFAULT_MESSAGE_CAPACITY`] where nothing is said.
    #[must_use]
    pub fn message_capacity(mut self, bytes: usize) -> Self {
        self.settings.message_capacity = bytes;
        self
    }

    /// The run's seed that the plugin is told.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.settings.seed = seed;
        self
    }

    /// How long each of the processes may take; [`DEFAULT_EXAMINATION_LIMIT`] where nothing is said.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.settings.time_limit = limit;
        self
    }

    /// How long the first of five windows takes in which leaks are looked for; [`DEFAULT_SOAK`] where nothing is said.
    #[must_use]
    pub fn soak(mut self, window: Duration) -> Self {
        self.settings.soak = window;
        self
    }

    /// The executable to use as fork server, as [`HostBuilder::fork_server`](crate::HostBuilder::fork_server).
    #[must_use]
    pub fn fork_server(mut self, executable: impl Into<PathBuf>) -> Self {
        self.settings.fork_server = Some(executable.into());
        self
    }

    /// The folder that the plugin works in; this process's where nothing is said.
    #[must_use]
    pub fn working_directory(mut self, folder: impl Into<PathBuf>) -> Self {
        self.settings.working_directory = Some(folder.into());
        self
    }

    /// Takes over what a pipeline file says of the plugin: configuration, seed, message capacity,
    /// folder; a producer is given the first messages of the pipeline's commander.
    ///
    /// # Errors
    /// [`PipelineError::Plugin`](crate::PipelineError::Plugin) if the commander cannot be built or
    /// found.
    #[cfg(feature = "pipeline")]
    pub fn pipeline(self, pipeline: &Pipeline) -> Result<Self, PipelineError> {
        let capacity = pipeline.message_capacity().unwrap_or(DEFAULT_MESSAGE_CAPACITY);
        let examination = self
            .seed(pipeline.seed().unwrap_or(DEFAULT_SEED))
            .message_capacity(capacity)
            .working_directory(pipeline.folder());
        Ok(match examination.plugin.manifest().map(|manifest| manifest.kind) {
            Ok(kind @ PluginKind::Commander) => examination.config(pipeline.config(kind).clone()),
            Ok(kind @ PluginKind::Producer) => {
                let commander = pipeline.plugin(PluginKind::Commander).built()?;
                let commanded = pipeline.config(PluginKind::Commander).clone();
                examination.config(pipeline.config(kind).clone()).messages_of(commander, commanded)
            }
            // What is wrong with the file is the examination's first finding.
            Err(_) => examination,
        })
    }

    /// Makes all tests.
    ///
    /// # Errors
    /// Where no test can be made: there is no such file or it cannot be built, no process can be started. A file that is no
    /// plugin, or none for this machine, is a finding.
    pub fn run(&self) -> Result<Report, StartError> {
        let mut report = Report { manifest: None, findings: Vec::new() };
        let (test, title) = ("manifest", "the file is a plugin for this machine and this host");
        let file = match self.plugin.resolve(None) {
            Ok(file) => file,
            Err(error @ (PluginError::Read { .. } | PluginError::Build { .. })) => return Err(error.into()),
            Err(refusal) => {
                let detail = crate::text::chain(&refusal);
                report.findings.push(Finding { test, title, outcome: Outcome::Failed, detail });
                return Ok(report);
            }
        };
        let manifest = &file.manifest;
        let detail = described(manifest);
        report.findings.push(Finding { test, title, outcome: Outcome::Passed, detail });
        report.manifest = Some(manifest.clone());
        let subject = self.subject(file)?;
        let mut tests = Tests { subject: &subject, findings: report.findings };
        declarations::test(&mut tests)?;
        match subject.file.manifest.kind {
            PluginKind::Producer => producer::test(&mut tests)?,
            PluginKind::Commander => commander::test(&mut tests)?,
        }
        report.findings = tests.findings;
        Ok(report)
    }

    /// How fast the producer is with nothing around it: so many processes at once, each of which has it do the messages in turn, in memory
    /// of its own, for so long. Gives the messages a second of all processes together. What any buffer around it can be compared with.
    ///
    /// # Errors
    /// Where it cannot be started, or the producer fails.
    pub fn plain_loop(&self, processes: usize, time: Duration) -> Result<f64, StartError> {
        // Each of them takes that long if all goes well.
        let mut patient = self.clone();
        patient.settings.time_limit = self.settings.time_limit.saturating_add(time);
        let subject = patient.subject(patient.plugin.resolve(Some(PluginKind::Producer))?)?;
        plain_loop::messages_a_second(&subject, processes, time)
    }

    fn subject(&self, file: PluginFile) -> Result<Subject<'_>, StartError> {
        let kind = file.manifest.kind;
        let config = codec::encode("the configuration", &self.settings.config.clone().unwrap_or_default());
        let config = config.map_err(|source| StartError::Config { kind, source })?;
        let mut messages = self.messages.clone();
        if let Some((commander, commanded)) = self.commander.as_ref().filter(|_| kind == PluginKind::Producer)
        {
            let mut examination = Self { commander: None, ..self.clone() };
            examination.settings.config = Some(commanded.clone());
            let subject = examination.subject(commander.resolve(Some(PluginKind::Commander))?)?;
            messages.extend(commander::first_messages(&subject, EXAMINED_MESSAGES)?);
        }
        Ok(Subject { settings: &self.settings, file, config, messages })
    }
}

/// What a file that may be loaded says of itself.
fn described(manifest: &ManifestInfo) -> String {
    let ManifestInfo { kind, name, version, api_version, target, .. } = manifest;
    let built_for = match Interface::of(api_version) {
        Interface::Rust => format!("plugin-api {api_version}, panics unwind"),
        Interface::C => format!("cobuf.h {api_version}"),
    };
    format!("{kind} {name} {version}, {built_for}, {target}")
}
