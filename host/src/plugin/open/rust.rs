//! Plugins in Rust: abi_stable's layout check, and calls through the root module.
#![expect(unsafe_code, reason = "calls through the root module's function pointers")]

use std::io::Write;
use std::path::{Path, PathBuf};

use abi_stable::library::{AbiHeaderRef, LibraryError, ROOT_MODULE_LOADER_NAME_WITH_NUL, RootModule};
use abi_stable::std_types::{RResult, RSlice, RSliceMut, RVec};
use cobuf_plugin_api::abi::{
    CommanderInfo, CommanderModuleRef, Instance, Job, LengthsExtension, Outcome, Produced, ProducerModuleRef,
    ResumeExtension, WorkerInfo,
};
use cobuf_plugin_api::manifest::API_VERSION;
use cobuf_plugin_api::{Report, SavedState, Schema};

use super::library::{LoadError, Logging, leave_if_copy, library, symbol};
use crate::text::chain;

/// A producer plugin that was opened.
pub(crate) struct ProducerPlugin {
    module: ProducerModuleRef,
    /// Missing in plugins that were built before this extension existed.
    lengths: Option<&'static LengthsExtension>,
}

/// A commander plugin that was opened.
pub(crate) struct CommanderPlugin(CommanderModuleRef);

impl ProducerPlugin {
    pub(super) fn open(path: &Path, logging: Logging) -> Result<Self, LoadError> {
        let module: ProducerModuleRef = load(path, logging)?;
        module.install()(logging.sink, logging.max_level);
        let extension: *const LengthsExtension = module.query()(LengthsExtension::ID.into()).cast();
        // SAFETY: a plugin returns null or a `LengthsExtension` that stays valid for this name,
        // which contains the version.
        let lengths = unsafe { extension.as_ref() };
        Ok(Self { module, lengths })
    }

    pub(super) fn config_schema(&self) -> Result<String, Report> {
        Ok(result(self.module.config_schema()())?.into())
    }

    pub(super) fn schema(&self, config: &[u8]) -> Result<Schema, Report> {
        let bytes = result(self.module.schema()(RSlice::from_slice(config)))?;
        let schema: Schema =
            rmp_serde::from_slice(&bytes).map_err(|error| Report::from_error(&anyhow::anyhow!(error)))?;
        if self.lengths.is_none() && schema.most_lengths().next().is_some() {
            return Err(Report::from_error(&anyhow::anyhow!(
                "it declares axes that are at most n ({schema}), and lacks the extension {} that they need; \
                 rebuild it with cobuf-plugin-api {API_VERSION}",
                LengthsExtension::ID
            )));
        }
        Ok(schema)
    }

    /// Makes a producer. It takes slots of the schema that [`schema`](Self::schema) gives for this
    /// configuration.
    pub(super) fn construct(&self, config: &[u8], worker: WorkerInfo) -> Result<OpenProducer, Report> {
        let instance = result(self.module.open()(RSlice::from_slice(config), worker))?;
        Ok(OpenProducer { module: self.module, lengths: self.lengths, instance })
    }
}

impl CommanderPlugin {
    pub(crate) fn open(path: &Path, logging: Logging) -> Result<Self, LoadError> {
        let module: CommanderModuleRef = load(path, logging)?;
        module.install()(logging.sink, logging.max_level);
        Ok(Self(module))
    }

    pub(crate) fn config_schema(&self) -> Result<String, Report> {
        Ok(result(self.0.config_schema()())?.into())
    }

    pub(crate) fn check(&self, config: &[u8]) -> Result<(), Report> {
        result(self.0.check()(RSlice::from_slice(config)))
    }

    pub(crate) fn construct(&self, config: &[u8], info: CommanderInfo) -> Result<OpenCommander, Report> {
        let opened = result(self.0.open()(RSlice::from_slice(config), info))?;
        let total = (opened.total != u64::MAX).then_some(opened.total);
        let extension: *const ResumeExtension = self.0.query()(ResumeExtension::ID.into()).cast();
        // SAFETY: a plugin returns null or a `ResumeExtension` that stays valid for this name,
        // which contains the version.
        let resume = unsafe { extension.as_ref() };
        Ok(OpenCommander { module: self.0, instance: opened.instance, total, resume })
    }
}

/// A constructed producer. It stays on the thread that made it.
pub(crate) struct OpenProducer {
    module: ProducerModuleRef,
    lengths: Option<&'static LengthsExtension>,
    instance: Instance,
}

impl OpenProducer {
    /// Fills a slot; see the enum's method.
    ///
    /// # Safety
    /// The job's arrays are those of the producer's schema, writable, aligned, initialised, and
    /// used by nothing else.
    pub(super) unsafe fn produce(&mut self, job: Job<'_>, lengths: &mut [usize]) -> Result<Produced, Report> {
        // A schema with lengths was refused if the extension is missing.
        let extension = self.lengths.filter(|_| !lengths.is_empty());
        result(match extension {
            // SAFETY: the instance comes from this module's `open`, and only `close` closes it; the
            // arrays meet this method's own contract.
            None => unsafe { self.module.produce()(self.instance, job) },
            // SAFETY: as above.
            Some(with) => unsafe { (with.produce)(self.instance, job, RSliceMut::from_mut_slice(lengths)) },
        })
    }

    /// Drops the producer.
    pub(super) fn close(self) -> Result<(), Report> {
        // SAFETY: the instance comes from this module's `open`, and `self` is consumed here.
        result(unsafe { self.module.close()(self.instance) })
    }
}

/// A constructed commander. It stays on the thread that made it.
pub(crate) struct OpenCommander {
    module: CommanderModuleRef,
    instance: Instance,
    /// The number of messages in the whole stream, if it is known.
    pub(crate) total: Option<u64>,
    /// Missing in plugins that were built before this extension existed.
    resume: Option<&'static ResumeExtension>,
}

impl OpenCommander {
    /// The encoded message `sequence`, or `None` at the end of the stream.
    pub(crate) fn next(&mut self, sequence: u64) -> Result<Option<RVec<u8>>, Report> {
        // SAFETY: the instance comes from this module's `open`, and only `close` closes it.
        let message = result(unsafe { self.module.next()(self.instance, sequence) })?;
        Ok((!message.is_empty()).then_some(message))
    }

    /// Advances from the message `from`, which would be next, to the message `to`.
    pub(crate) fn skip(&mut self, from: u64, to: u64) -> Result<(), Report> {
        let Some(resume) = self.resume else {
            return (from..to).try_for_each(|sequence| self.next(sequence).map(drop));
        };
        // SAFETY: the instance comes from this module's `open`, and only `close` closes it.
        if from < to { result(unsafe { (resume.skip)(self.instance, from, to) }) } else { Ok(()) }
    }

    /// The state before the message `sequence`, if the plugin has one.
    pub(crate) fn save(&mut self, sequence: u64) -> Result<Option<SavedState>, Report> {
        let Some(resume) = self.resume else { return Ok(None) };
        // SAFETY: the instance comes from this module's `open`, and only `close` closes it.
        let state = result(unsafe { (resume.save)(self.instance, sequence) })?;
        Ok(state.present.then(|| SavedState::from_bytes(state.version, state.bytes.into_vec())))
    }

    /// Restores a state that was saved before the message `sequence`.
    pub(crate) fn restore(&mut self, sequence: u64, state: &SavedState) -> Result<(), Report> {
        let Some(resume) = self.resume else {
            return Err(Report::from_error(&anyhow::anyhow!(
                "the commander cannot take over a saved state; rebuild it with this version of cobuf-plugin-api"
            )));
        };
        let bytes = RSlice::from_slice(state.bytes());
        // SAFETY: the instance comes from this module's `open`, and only `close` closes it.
        result(unsafe { (resume.restore)(self.instance, sequence, state.version(), bytes) })
    }

    /// Drops the commander.
    pub(crate) fn close(self) -> Result<(), Report> {
        // SAFETY: the instance comes from this module's `open`, and `self` is consumed here.
        result(unsafe { self.module.close()(self.instance) })
    }
}

/// The result of a call of the plugin.
fn result<T>(outcome: Outcome<T>) -> Result<T, Report> {
    leave_if_copy();
    match outcome {
        RResult::ROk(value) => Ok(value),
        RResult::RErr(report) => Err(Report::decode(&report)),
    }
}

/// Opens the library and its root module.
fn load<M: RootModule>(path: &Path, logging: Logging) -> Result<M, LoadError> {
    let library = library(path, logging)?;
    // SAFETY: the name is abi_stable's for the static that the export macro emits; `upgrade` checks
    // its type.
    let header = unsafe { symbol::<AbiHeaderRef>(library, ROOT_MODULE_LOADER_NAME_WITH_NUL) }?;
    header.upgrade().and_then(|header| header.init_root_module::<M>()).map_err(|error| match &error {
        LibraryError::AbiInstability(report) => LoadError(format!(
            "plugin and host disagree on the layout of a type; rebuild both with one toolchain and one version of \
             cobuf-plugin-api: {}",
            shorten(&report.to_string())
        )),
        other => LoadError(chain(other)),
    })
}

/// abi_stable explains one changed field in up to a thousand lines. The error shows the last block,
/// which says what differs; the whole report goes to a file.
fn shorten(report: &str) -> String {
    let difference = difference(report);
    match keep(report) {
        Ok(file) => format!("{difference} (all of it: {})", file.display()),
        Err(_) => difference,
    }
}

/// The report's last block in one line: `unexpected field; expected field_name:a type:u8, found
/// field_name:b type:u16`.
fn difference(report: &str) -> String {
    /// The lines of a type's description that name it; further lines only give details.
    const NAMING_LINES: usize = 2;
    let block = report.rfind("Error:").map_or(report, |start| &report[start + "Error:".len()..]);
    let names = |text: &str| {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        lines.take(NAMING_LINES).collect::<Vec<_>>().join(" ")
    };
    match block
        .split_once("Expected:")
        .map(|(what, rest)| (what, rest.split_once("Found:").unwrap_or((rest, ""))))
    {
        Some((what, (expected, found))) => {
            format!("{}; expected {}, found {}", names(what), names(expected), names(found))
        }
        None => names(block),
    }
}

/// Writes the report to a new file, for the user to read and remove.
fn keep(report: &str) -> std::io::Result<PathBuf> {
    let mut file = tempfile::Builder::new().prefix("cobuf-layout-error-").suffix(".txt").tempfile()?;
    file.write_all(report.as_bytes())?;
    Ok(file.keep()?.1)
}
