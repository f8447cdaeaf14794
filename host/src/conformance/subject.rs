//! The plugin that is examined, and the tests that were made.

use std::path::PathBuf;
use std::time::Duration;

use cobuf_plugin_api::Dictionary;

use super::report::{Finding, Outcome, Verdict};
use crate::cancel::Cancel;
use crate::host::error::StartError;
#[cfg(feature = "sandbox")]
use crate::jail::Sandbox;
use crate::plugin::file::PluginFile;

/// How a plugin is examined.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// The configuration to examine it with, if one was given.
    pub(super) config: Option<Dictionary>,
    pub(super) message_capacity: usize,
    pub(super) metadata_capacity: usize,
    pub(super) seed: u64,
    pub(super) time_limit: Duration,
    pub(super) soak: Duration,
    /// A sandbox to try.
    #[cfg(feature = "sandbox")]
    pub(super) sandbox: Option<Sandbox>,
    pub(super) fork_server: Option<PathBuf>,
    pub(super) working_directory: Option<PathBuf>,
    /// The wish to give up a build.
    pub(super) cancel: Option<Cancel>,
}

impl Settings {
    /// How long a test waits for something that its verdict needs, such as a commander's end. It
    /// depends only on the time limit, so that a slow machine gets the same verdicts. It is well
    /// below the limit, so that a slow process is not killed.
    pub(super) fn patience(&self) -> Duration {
        self.time_limit / 10
    }
}

/// The plugin that is examined, with its configuration and messages.
pub(super) struct Subject<'a> {
    pub(super) settings: &'a Settings,
    pub(super) file: PluginFile,
    /// The encoded configuration.
    pub(super) config: Vec<u8>,
    pub(super) messages: Vec<Dictionary>,
}

/// The tests that were made.
pub(super) struct Tests<'a> {
    pub(super) subject: &'a Subject<'a>,
    pub(super) findings: Vec<Finding>,
}

impl Tests<'_> {
    /// Makes a test, unless a test that it needs did not pass.
    pub(super) fn make(
        &mut self,
        test: &'static str,
        title: &'static str,
        needs: &[&str],
        body: impl FnOnce(&Subject<'_>) -> Result<Verdict, StartError>,
    ) -> Result<(), StartError> {
        let stands = |outcome| matches!(outcome, Outcome::Passed | Outcome::Warned);
        let missing = self.findings.iter().find(|one| needs.contains(&one.test) && !stands(one.outcome));
        let Verdict { outcome, detail } = match missing {
            Some(missing) => {
                Verdict::skipped(format!("it needs {:?}, which {}", missing.test, was(missing.outcome)))
            }
            None => body(self.subject)?,
        };
        self.findings.push(Finding { test, title, outcome, detail });
        Ok(())
    }
}

fn was(outcome: Outcome) -> &'static str {
    if outcome == Outcome::Skipped { "was skipped" } else { "failed" }
}
