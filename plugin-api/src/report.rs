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

impl ReportKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Error, Self::Panic, Self::Crash, Self::Timeout];
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
    /// Whether the producer's error was marked by [`renew`]. Plugins that were built before this
    /// field existed do not send it, and hosts that were built before ignore it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub renew: bool,
}

impl Report {
    /// The report of an error that the plugin returned.
    pub fn from_error(error: &anyhow::Error) -> Self {
        let chain = error.chain().map(ToString::to_string).collect();
        Self { kind: ReportKind::Error, chain, renew: error.chain().any(|cause| cause.is::<Renew>()) }
    }

    /// The report of a panic.
    pub fn from_panic(message: String) -> Self {
        Self { kind: ReportKind::Panic, chain: vec![message], renew: false }
    }

    /// The report of a failure that the host observed: a crash or a timeout.
    pub fn from_host(kind: ReportKind, message: String) -> Self {
        Self { kind, chain: vec![message], renew: false }
    }

    /// Whether the producer must not be used again: it panicked, which may have left it in any
    /// state, or it asked for a new one by [`renew`].
    pub fn ends_producer(&self) -> bool {
        self.kind == ReportKind::Panic || self.renew
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
            renew: false,
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

/// The chain, joined by `: `. A cause that is indented, such as a traceback, has lines of its own.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, cause) in self.chain.iter().enumerate() {
            match index {
                0 => {}
                _ if cause.starts_with(' ') => f.write_str("\n")?,
                _ => f.write_str(": ")?,
            }
            f.write_str(cause)?;
        }
        Ok(())
    }
}

impl std::error::Error for Report {}

/// Marks an error of [`produce`](crate::Producer::produce) after which the producer cannot do
/// further messages, such as that of a library's handle that stays broken.
///
/// The error becomes the error of its batch, as any other. Then the worker drops the producer and
/// makes a new one with [`new`](crate::Producer::new), in the same process, before it takes its next
/// message. The mark adds nothing to the error's text, and context can be added to a marked error.
/// In other methods, and in a host of an earlier version, it has no effect.
///
/// ```
/// use cobuf_plugin_api::prelude::*;
///
/// fn read(tile: u64) -> Result<()> {
///     let broken = std::io::Error::other("the handle is in an error state");
///     Err(renew(broken)).with_context(|| format!("cannot read tile {tile}"))
/// }
/// assert_eq!(format!("{:#}", read(7).unwrap_err()), "cannot read tile 7: the handle is in an error state");
/// ```
pub fn renew(error: impl Into<anyhow::Error>) -> anyhow::Error {
    anyhow::Error::new(Renew(error.into()))
}

/// An error with the mark of [`renew`]; it stands in the place of the error in the chain.
#[derive(Debug)]
struct Renew(anyhow::Error);

impl fmt::Display for Renew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not with the flags of `f`: with `#`, the error would print its causes as well.
        write!(f, "{}", self.0)
    }
}

impl std::error::Error for Renew {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

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
    fn traceback_has_lines_of_its_own() {
        let chain = ["ValueError: no pixels", "  File \"slides.py\", line 3", "caused by KeyError"];
        let report = Report { chain: chain.map(str::to_owned).to_vec(), ..Report::from_panic(String::new()) };
        assert_eq!(
            report.to_string(),
            "ValueError: no pixels\n  File \"slides.py\", line 3: caused by KeyError"
        );
    }

    #[test]
    fn mark_for_a_new_producer_is_kept_below_context_and_adds_no_text() {
        let cause = anyhow::anyhow!("no such tile").context("the handle is broken");
        let marked = renew(cause).context("cannot read scan.svs");
        let report = Report::decode(&Report::from_error(&marked).encode(4096));
        assert_eq!(report.chain, ["cannot read scan.svs", "the handle is broken", "no such tile"]);
        assert!(report.ends_producer() && report.kind == ReportKind::Error);
        assert!(!Report::from_error(&anyhow::anyhow!("the handle is broken")).ends_producer());
        assert!(Report::from_panic("ouch".to_owned()).ends_producer());
    }

    #[test]
    fn report_without_the_mark_is_encoded_as_before() {
        let report = Report::from_error(&anyhow::anyhow!("no"));
        assert_eq!(report.encode(4096), b"\x82\xa4kind\xa5error\xa5chain\x91\xa2no");
    }

    #[test]
    fn long_report_is_cut_to_fit() {
        let report = Report::from_panic("é".repeat(1000));
        let bytes = report.encode(Report::MIN_BYTES);
        assert!(bytes.len() <= Report::MIN_BYTES);
        assert!(report.to_string().starts_with(&Report::decode(&bytes).to_string()));
    }
}
