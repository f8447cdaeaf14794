//! A plugin's error or panic as a value that crosses the boundary.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a plugin failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReportKind {
    /// It returned an error.
    Error,
    /// It panicked.
    Panic,
    /// Its process died. The host says so; a plugin's report is never of this kind.
    Crash,
    /// It did not come back in time, and its process was killed. The host says so, as of a crash.
    Timeout,
}

impl fmt::Display for ReportKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Panic => "panic",
            Self::Crash => "crash",
            Self::Timeout => "timeout",
        })
    }
}

/// A plugin's failure: what it was, and its chain of causes, outermost first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Whether it was an error, a panic, a crash or a timeout.
    pub kind: ReportKind,
    /// The messages from the error itself to its root cause; one for the others.
    pub chain: Vec<String>,
}

impl Report {
    /// The report of an error.
    pub fn from_error(error: &anyhow::Error) -> Self {
        Self { kind: ReportKind::Error, chain: error.chain().map(ToString::to_string).collect() }
    }

    /// The report of a panic.
    pub fn from_panic(message: String) -> Self {
        Self { kind: ReportKind::Panic, chain: vec![message] }
    }

    /// The report of what the host has seen of a process: a crash or a timeout.
    pub fn from_host(kind: ReportKind, message: String) -> Self {
        Self { kind, chain: vec![message] }
    }

    /// As MessagePack. The chain is cut so that the bytes fit `limit`, which must be at least [`Report::MIN_BYTES`].
    pub fn encode(&self, limit: usize) -> Vec<u8> {
        // A struct of an enum and strings can always be written.
        rmp_serde::to_vec_named(&self.clone().shortened(limit)).unwrap_or_default()
    }

    /// The same report, cut so that its MessagePack bytes fit `limit`.
    #[must_use]
    pub fn shortened(mut self, limit: usize) -> Self {
        while rmp_serde::to_vec_named(&self).is_ok_and(|bytes| bytes.len() > limit) {
            self.shorten();
        }
        self
    }

    /// The report in MessagePack bytes; where they cannot be read, a report that says so.
    pub fn decode(bytes: &[u8]) -> Self {
        Self::deserialize(&mut crate::codec::deserializer(bytes)).unwrap_or_else(|error| Self {
            kind: ReportKind::Error,
            chain: vec![format!("the plugin's error cannot be read: {error}")],
        })
    }

    /// The least limit that [`encode`](Self::encode) can keep.
    pub const MIN_BYTES: usize = 64;

    /// Drops the last cause, or halves the last one that is left.
    fn shorten(&mut self) {
        if self.chain.len() > 1 {
            self.chain.pop();
        } else if let Some(message) = self.chain.first_mut() {
            let middle = message.floor_char_boundary(message.len() / 2);
            message.truncate(middle);
        }
    }
}

/// The chain, joined by `: `.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.chain.join(": "))
    }
}

impl std::error::Error for Report {}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn does_a_report_keep_the_chain() {
        let error =
            Err::<(), _>(anyhow::anyhow!("no such file")).context("cannot open scan.png").unwrap_err();
        let report = Report::decode(&Report::from_error(&error).encode(4096));
        assert_eq!(report.to_string(), "cannot open scan.png: no such file");
    }

    #[test]
    fn is_a_long_report_cut_to_fit() {
        let report = Report::from_panic("é".repeat(1000));
        let bytes = report.encode(Report::MIN_BYTES);
        assert!(bytes.len() <= Report::MIN_BYTES);
        assert!(report.to_string().starts_with(&Report::decode(&bytes).to_string()));
    }
}
