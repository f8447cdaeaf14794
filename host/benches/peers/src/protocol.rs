//! The protocol between the program and a peer: arguments in, one line of JSON out.
//!
//! ```text
//!   PEER probe               ─►  a Probe, or { "missing": what to install }
//!   PEER measure REQUEST     ─►  an Answer                 REQUEST is a Request as JSON
//! ```
//!
//! PEER is a Python script in `python/`, or this program for the peers in `native/`. A process does one measurement.
//! Only the last line of its output counts; a peer that cannot do its work exits with another status than 0 and says
//! why on standard error.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::work::Work;

/// The description that a peer gives of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Probe {
    /// What runs, with versions.
    pub(crate) versions: String,
    /// Its copies and its limits, as a paragraph of Markdown.
    pub(crate) conditions: String,
    /// The ways in which it is measured, each a row of the tables.
    pub(crate) variants: Vec<Variant>,
}

/// One way of using a peer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Variant {
    /// The text after the peer's name; may be empty.
    pub(crate) name: String,
    /// The works that it can do, each with the settings to try. The best one is measured.
    pub(crate) works: BTreeMap<Work, Vec<String>>,
}

/// The answer of a peer to a probe.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Probed {
    /// It cannot run here.
    Missing {
        /// The command that installs it.
        missing: String,
    },
    /// It can.
    There(Probe),
}

/// One measurement that is asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Request {
    /// The name of the [`Variant`].
    pub(crate) variant: String,
    pub(crate) work: Work,
    /// One of the variant's settings.
    pub(crate) setting: String,
    /// How long to measure, after what is needed to warm up.
    pub(crate) seconds: f64,
    /// The number of workers.
    pub(crate) workers: usize,
    /// A JSON list of seconds, for [`Work::Uneven`].
    pub(crate) times: PathBuf,
    /// A folder with a folder of JPEG files, for [`Work::Images`].
    pub(crate) photos: PathBuf,
    /// A folder of TIFF files, for [`Work::Slides`].
    pub(crate) slides: PathBuf,
    /// cobuf's plugins by name: built files.
    pub(crate) plugins: BTreeMap<String, PathBuf>,
}

/// A measurement.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// In the work's unit.
    pub(crate) value: f64,
}

impl Answer {
    /// Refuses what cannot be a measurement.
    pub(crate) fn checked(self) -> Result<Self> {
        if !(self.value.is_finite() && self.value > 0.0) {
            bail!("the value measured is {}, expected a number above 0", self.value);
        }
        Ok(self)
    }
}

/// The last line of a peer's output.
pub(crate) fn parse_output<T: serde::de::DeserializeOwned>(output: &str) -> Result<T> {
    let line = output.lines().rfind(|line| !line.trim().is_empty()).context("the peer printed nothing")?;
    serde_json::from_str(line).with_context(|| format!("the peer's last line is {line:?}, expected JSON"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_only_the_last_line_read() {
        let answer: Answer = parse_output("Warning: cold\n{\"value\": 2.5}\n\n").unwrap();
        assert_eq!(answer, Answer { value: 2.5 });
        assert_eq!(parse_output::<Answer>(" \n").unwrap_err().to_string(), "the peer printed nothing");
        assert!(parse_output::<Answer>("ok").unwrap_err().to_string().contains("\"ok\", expected JSON"));
    }

    #[test]
    fn is_a_peer_missing_or_there() {
        let missing = parse_output::<Probed>(r#"{"missing": "pip install torch"}"#).unwrap();
        assert!(matches!(missing, Probed::Missing { missing } if missing == "pip install torch"));
        let there =
            r#"{"versions": "x 1", "conditions": "", "variants": [{"name": "", "works": {"tiny": [""]}}]}"#;
        let Probed::There(probe) = parse_output(there).unwrap() else { panic!("not there") };
        assert_eq!(probe.variants[0].works[&Work::Tiny], [""]);
    }

    #[test]
    fn is_a_value_that_is_none_refused() {
        for value in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Answer { value }.checked().is_err());
        }
    }
}
