//! A plugin's error or panic as a value that crosses the boundary.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a plugin failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReportKind {
    /// The plugin returned an error.
    Error,
    /// The plugin panicked.
    Panic,
    /// The plugin's process died. Only the host reports this kind.
    Crash,
    /// The plugin missed its deadline, and the host killed its process. Only the host reports this
    /// kind.
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

/// A plugin's failure: its kind, and its chain of causes, outermost first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Whether it was an error, a panic, a crash or a timeout.
    pub kind: ReportKind,
    /// For an error, the messages from the error itself to its root cause; for the other kinds, one
    /// message.
    pub chain: Vec<String>,
}

impl Report {
    /// The report of an error that the plugin returned.
    pub fn from_error(error: &anyhow::Error) -> Self {
        Self { kind: ReportKind::Error, chain: error.chain().map(ToString::to_string).collect() }
    }

    /// The report of a panic.
    pub fn from_panic(message: String) -> Self {
        Self { kind: ReportKind::Panic, chain: vec![message] }
    }

    /// The report of a failure that the host observed: a crash or a timeout.
    pub fn from_host(kind: ReportKind, message: String) -> Self {
        Self { kind, chain: vec![message] }
    }

    /// Encodes the report as MessagePack. The chain is cut so that the bytes fit `limit`, which
    /// must be at least [`Report::MIN_BYTES`].
    pub fn encode(&self, limit: usize) -> Vec<u8> {
        // A struct of an enum and strings can always be encoded.
        rmp_serde::to_vec_named(&self.clone().shortened(limit)).unwrap_or_default()
    }

    /// The same report, cut so that its encoding fits `limit` bytes.
    #[must_use]
    pub fn shortened(mut self, limit: usize) -> Self {
        while rmp_serde::to_vec_named(&self).is_ok_and(|bytes| bytes.len() > limit) {
            self.shorten();
        }
        self
    }

    /// Decodes a report. If the bytes are not a report, the result is a report that says so.
    pub fn decode(bytes: &[u8]) -> Self {
        Self::deserialize(&mut crate::codec::deserializer(bytes)).unwrap_or_else(|error| Self {
            kind: ReportKind::Error,
            chain: vec![format!("the plugin's error report cannot be decoded: {error}")],
        })
    }

    /// The smallest limit that [`encode`](Self::encode) can keep, in bytes.
    pub const MIN_BYTES: usize = 64;

    /// Drops the last cause, or halves the message if it is the only one.
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
    fn report_keeps_the_chain() {
        let error =
            Err::<(), _>(anyhow::anyhow!("no such file")).context("cannot open scan.png").unwrap_err();
        let report = Report::decode(&Report::from_error(&error).encode(4096));
        assert_eq!(report.to_string(), "cannot open scan.png: no such file");
    }

    #[test]
    fn long_report_is_cut_to_fit() {
        let report = Report::from_panic("é".repeat(1000));
        let bytes = report.encode(Report::MIN_BYTES);
        assert!(bytes.len() <= Report::MIN_BYTES);
        assert!(report.to_string().starts_with(&Report::decode(&bytes).to_string()));
    }
}
