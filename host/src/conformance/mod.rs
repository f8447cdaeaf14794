//! Tests whether a plugin does what a host relies on. Each test has processes of its own, as in
//! clap-validator for audio plugins.
//!
//! ```text
//!   Examination ── the plugin's file, a configuration, messages ──► tests, one after the other
//!     each: room (a fork server) ── Task ──► examiner (a forked process, which opens the plugin)
//!                                                └── Notes ──► Verdict
//!
//!   room                     the host's end of a test; the process's end is `process/examiner`
//!   subject                  the plugin that is examined, and the tests that were made
//!   declarations, lifecycle  the tests of both kinds of plugin
//!   producer, commander      the tests of one kind of plugin
//!   mutations                wrong configurations and messages, made from good ones
//!   growth                   what counts as a leak
//!   sandbox, witness         not a test: the tightest sandbox in which a producer works
//!   plain_loop               not a test: how fast a producer is with nothing around it
//!   report                   the findings
//! ```
//!
//! A death or hang in a room is the finding of one test. If a test relies on the finding of another
//! one that did not pass, it is skipped, so that one fault of a plugin is found by one test. The
//! host's own process never opens the plugin, and nothing is left behind, whatever the plugin does.
//!
//! # Example
//! ```no_run
//! use cobuf_host::conformance::Examination;
//! use cobuf_host::{Dictionary, Plugin};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
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
#[cfg(feature = "sandbox")]
mod sandbox;
mod subject;
#[cfg(feature = "sandbox")]
mod witness;

use std::path::PathBuf;
use std::time::Duration;

use cobuf_plugin_api::manifest::ManifestInfo;
use cobuf_plugin_api::{Dictionary, PluginKind, codec};

pub use self::report::{Finding, Outcome, Report};
#[cfg(feature = "sandbox")]
pub use self::sandbox::SandboxProposal;
use self::subject::{Settings, Subject, Tests};
use crate::cancel::Cancel;
use crate::host::error::StartError;
#[cfg(feature = "pipeline")]
use crate::host::pipeline::{Pipeline, PipelineError};
#[cfg(feature = "sandbox")]
use crate::jail::Sandbox;
use crate::limits::{
    DEFAULT_EXAMINATION_LIMIT, DEFAULT_MESSAGE_CAPACITY, DEFAULT_METADATA_CAPACITY, DEFAULT_SEED,
    DEFAULT_SOAK, EXAMINED_MESSAGES,
};
use crate::plugin::file::PluginFile;
use crate::plugin::interface::Interface;
use crate::plugin::{Plugin, PluginError};

/// An examination of a plugin: the plugin, its configuration and messages, and how it is examined.
///
/// Built with [`of`](Self::of) and the methods that follow it; [`run`](Self::run) makes the tests.
/// The plugin runs in forked processes only.
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
                metadata_capacity: DEFAULT_METADATA_CAPACITY,
                seed: DEFAULT_SEED,
                time_limit: DEFAULT_EXAMINATION_LIMIT,
                soak: DEFAULT_SOAK,
                #[cfg(feature = "sandbox")]
                sandbox: None,
                fork_server: None,
                working_directory: None,
                cancel: None,
            },
        }
    }

    /// The configuration to examine the plugin with. The default is the empty configuration.
    #[must_use]
    pub fn config(mut self, config: Dictionary) -> Self {
        self.settings.config = Some(config);
        self
    }

    /// Adds messages that the producer can do.
    #[must_use]
    pub fn messages(mut self, messages: impl IntoIterator<Item = Dictionary>) -> Self {
        self.messages.extend(messages);
        self
    }

    /// A commander, with its configuration. The producer is also given its first 8 messages.
    #[must_use]
    pub fn messages_of(mut self, commander: Plugin, config: Dictionary) -> Self {
        self.commander = Some((commander, config));
        self
    }

    /// The most bytes of a commander's message. The default is [`DEFAULT_MESSAGE_CAPACITY`].
    #[must_use]
    pub fn message_capacity(mut self, bytes: usize) -> Self {
        self.settings.message_capacity = bytes;
        self
    }

    /// The most bytes of a batch's metadata. The default is [`DEFAULT_METADATA_CAPACITY`].
    #[must_use]
    pub fn metadata_capacity(mut self, bytes: usize) -> Self {
        self.settings.metadata_capacity = bytes;
        self
    }

    /// The run's seed that the plugin is given. The default is [`DEFAULT_SEED`].
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.settings.seed = seed;
        self
    }

    /// How long each of the processes may take. The default is [`DEFAULT_EXAMINATION_LIMIT`].
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.settings.time_limit = limit;
        self
    }

    /// How long the first of the five windows takes in which leaks are looked for. The default is
    /// [`DEFAULT_SOAK`].
    #[must_use]
    pub fn soak(mut self, window: Duration) -> Self {
        self.settings.soak = window;
        self
    }

    /// The executable to use as fork server, see
    /// [`HostBuilder::fork_server`](crate::HostBuilder::fork_server).
    #[must_use]
    pub fn fork_server(mut self, executable: impl Into<PathBuf>) -> Self {
        self.settings.fork_server = Some(executable.into());
        self
    }

    /// The working directory of the plugin's processes. The default is that of this process.
    #[must_use]
    pub fn working_directory(mut self, folder: impl Into<PathBuf>) -> Self {
        self.settings.working_directory = Some(folder.into());
        self
    }

    /// A sandbox for [`propose_sandbox`](Self::propose_sandbox) to try beside its own: its `env` and `mode` are
    /// the proposal's, too. The default is none, or that of the pipeline.
    #[cfg(feature = "sandbox")]
    #[must_use]
    pub fn sandbox(mut self, sandbox: Sandbox) -> Self {
        self.settings.sandbox = Some(sandbox).filter(Sandbox::is_on);
        self
    }

    /// Gives up a build once the wish is made; it comes before [`pipeline`](Self::pipeline), which
    /// builds. The default is that nothing is given up.
    #[must_use]
    pub fn cancelled_by(mut self, cancel: &Cancel) -> Self {
        self.settings.cancel = Some(cancel.clone());
        self
    }

    /// Applies a pipeline file's settings for the plugin: configuration, seed, capacities and
    /// working directory. A producer is also given the first 8 messages of the pipeline's
    /// commander.
    ///
    /// # Errors
    /// [`PipelineError::Plugin`] if the commander cannot be built or found.
    #[cfg(feature = "pipeline")]
    pub fn pipeline(self, pipeline: &Pipeline) -> Result<Self, PipelineError> {
        let examination = self
            .seed(pipeline.seed().unwrap_or(DEFAULT_SEED))
            .message_capacity(pipeline.message_capacity().unwrap_or(DEFAULT_MESSAGE_CAPACITY))
            .metadata_capacity(pipeline.metadata_capacity().unwrap_or(DEFAULT_METADATA_CAPACITY))
            .working_directory(pipeline.folder());
        #[cfg(feature = "sandbox")]
        let examination = match pipeline.sandbox() {
            Some(sandbox) => examination.sandbox(sandbox),
            None => examination,
        };
        Ok(match examination.plugin.manifest().map(|manifest| manifest.kind) {
            Ok(kind @ PluginKind::Commander) => examination.config(pipeline.config(kind).clone()),
            Ok(kind @ PluginKind::Producer) => {
                let cancel = examination.settings.cancel.as_ref();
                let commander = pipeline.plugin(PluginKind::Commander).find(cancel)?;
                let commanded = pipeline.config(PluginKind::Commander).clone();
                examination.config(pipeline.config(kind).clone()).messages_of(commander, commanded)
            }
            // The examination's first finding says what is wrong with the file.
            Err(_) => examination,
        })
    }

    /// Makes all tests.
    ///
    /// # Errors
    /// [`StartError`] if no test can be made: the file does not exist, the package cannot be built,
    /// or no process can be started. A file that is not a plugin, or not one for this machine, is a
    /// finding.
    pub fn run(&self) -> Result<Report, StartError> {
        let mut report = Report { manifest: None, findings: Vec::new() };
        let (test, title) = ("manifest", "the file is a plugin for this machine and this host");
        let file = match self.plugin.resolve(None, self.settings.cancel.as_ref()) {
            Ok(file) => file,
            Err(error @ (PluginError::Read { .. } | PluginError::Build { .. } | PluginError::Cancelled)) => {
                return Err(error.into());
            }
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

    /// Measures how fast the producer is with nothing around it: a baseline for any buffer.
    /// `processes` processes run at the same time. Each has the producer do the messages in turn,
    /// in its own memory, for `time`. Returns the messages a second of all processes together.
    ///
    /// # Errors
    /// [`StartError`] if a process cannot be started, or if the producer fails.
    pub fn plain_loop(&self, processes: usize, time: Duration) -> Result<f64, StartError> {
        // Each process takes that long even if all goes well.
        let mut patient = self.clone();
        patient.settings.time_limit = self.settings.time_limit.saturating_add(time);
        let subject = patient.subject(patient.plugin.resolve(Some(PluginKind::Producer), None)?)?;
        plain_loop::messages_a_second(&subject, processes, time)
    }

    /// Finds the tightest sandbox in which the producer does its messages. Makes none of the tests: the
    /// producer does the messages without a sandbox, while its system calls are seen, and then in the
    /// sandbox that allows them, and in tighter ones.
    ///
    /// What these messages do not need is not allowed: give it messages of each kind. Several files of a
    /// folder are that folder, with all that is below it.
    ///
    /// # Errors
    /// [`StartError`] if a process cannot be started or its calls not be seen, if the kernel has no
    /// sandboxes, or if the producer does none of its messages without one.
    ///
    /// # Example
    /// ```no_run
    /// use cobuf_host::conformance::Examination;
    /// use cobuf_host::{Dictionary, Plugin};
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     let message = Dictionary::new().with("path", "/data/1.jpg");
    ///     let examination = Examination::of(Plugin::file("libimage_producer.so")).messages([message]);
    ///     let proposal = examination.propose_sandbox()?;
    ///     println!("{:?}, {:?}", proposal.sandbox, proposal.works);
    ///     Ok(())
    /// }
    /// ```
    #[cfg(feature = "sandbox")]
    pub fn propose_sandbox(&self) -> Result<SandboxProposal, StartError> {
        let file = self.plugin.resolve(Some(PluginKind::Producer), self.settings.cancel.as_ref())?;
        sandbox::propose(&self.subject(file)?)
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
            let subject = examination.subject(commander.resolve(Some(PluginKind::Commander), None)?)?;
            messages.extend(commander::first_messages(&subject, EXAMINED_MESSAGES)?);
        }
        Ok(Subject { settings: &self.settings, file, config, messages })
    }
}

/// Describes a plugin that may be loaded, from its manifest.
fn described(manifest: &ManifestInfo) -> String {
    let ManifestInfo { kind, name, version, api_version, target, .. } = manifest;
    let built_for = match Interface::of(api_version) {
        Interface::Rust => format!("plugin-api {api_version}, panics unwind"),
        Interface::C => format!("cobuf.h {api_version}"),
    };
    format!("{kind} {name} {version}, {built_for}, {target}")
}
