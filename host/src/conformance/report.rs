//! The findings of an examination.

use std::fmt;

use serde::Serialize;

use crate::plugin::ManifestInfo;

/// The findings of an examination.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The plugin's manifest, if it could be read.
    pub manifest: Option<ManifestInfo>,
    /// The finding of each test, in the order in which the tests were made.
    pub findings: Vec<Finding>,
}

/// The finding of one test.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// The test's name, such as `every-element`. It stays the same over versions.
    pub test: &'static str,
    /// The requirement that the test checks, in words.
    pub title: &'static str,
    /// Whether the plugin does it.
    pub outcome: Outcome,
    /// The observation, or the reason why there is none.
    pub detail: String,
}

/// How a test ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The plugin does what the test asks for.
    Passed,
    /// The test could not be made; the detail says why, and what to provide.
    Skipped,
    /// The plugin does what it must, but not what it should.
    Warned,
    /// The plugin does not do what it must.
    Failed,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Passed => "passed",
            Self::Skipped => "skipped",
            Self::Warned => "warned",
            Self::Failed => "failed",
        })
    }
}

impl Report {
    /// Whether no test failed.
    pub fn passed(&self) -> bool {
        self.count(Outcome::Failed) == 0
    }

    /// The number of tests with this outcome.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.findings.iter().filter(|finding| finding.outcome == outcome).count()
    }

    /// The finding of the test of this name.
    pub fn finding(&self, test: &str) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.test == test)
    }
}

/// An outcome with its detail: the result of a test.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) outcome: Outcome,
    pub(super) detail: String,
}

impl Verdict {
    pub(super) fn passed(detail: impl Into<String>) -> Self {
        Self { outcome: Outcome::Passed, detail: detail.into() }
    }

    pub(super) fn skipped(detail: impl Into<String>) -> Self {
        Self { outcome: Outcome::Skipped, detail: detail.into() }
    }

    pub(super) fn failed(detail: impl Into<String>) -> Self {
        Self { outcome: Outcome::Failed, detail: detail.into() }
    }

    /// The worst of the noted problems, with all others of that outcome; passed if there are none.
    pub(super) fn of(problems: Vec<(Outcome, String)>, otherwise: impl Into<String>) -> Self {
        /// More of them add nothing new.
        const SHOWN: usize = 5;
        let Some(outcome) = problems.iter().map(|&(outcome, _)| outcome).max() else {
            return Self::passed(otherwise);
        };
        let mut worst: Vec<String> =
            problems.into_iter().filter(|(other, _)| *other == outcome).map(|(_, what)| what).collect();
        let more = worst.len().saturating_sub(SHOWN);
        worst.truncate(SHOWN);
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        Self { outcome, detail: worst.join("; ") + &more }
    }
}
