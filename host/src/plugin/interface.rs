//! The two interfaces that a plugin can be built for, and the versions of them that this host
//! supports.

use cobuf_plugin_api::manifest::{API_VERSION, C_INTERFACE};
use semver::{Comparator, Op, Version, VersionReq};
use serde::{Deserialize, Serialize};

/// How the host talks to a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Interface {
    /// The interface of the crate cobuf-plugin-api.
    Rust,
    /// The interface of its C header.
    C,
}

impl Interface {
    /// The interface that a manifest's version names, whether or not this host supports that
    /// version.
    pub(crate) fn of(version: &str) -> Self {
        if version.starts_with("C/") { Self::C } else { Self::Rust }
    }

    /// Whether this host supports a version of the interface. Each version of the C interface is
    /// frozen; versions of the crate must be of one series.
    pub(super) fn speaks(self, plugin: &str) -> bool {
        match self {
            Self::Rust => is_compatible(plugin),
            Self::C => plugin == C_INTERFACE,
        }
    }
}

/// Whether this host and a plugin of this version are of the same series by semver, regardless of
/// which is newer. `plugin-api/ABI.md` says why that is right.
fn is_compatible(plugin: &str) -> bool {
    let (Ok(host), Ok(plugin)) = (Version::parse(API_VERSION), Version::parse(plugin)) else { return false };
    // Pre-release versions promise no compatibility.
    host.pre == plugin.pre && (follows(&host, &plugin) || follows(&plugin, &host))
}

/// Whether semver considers `newer` to be `older`, or a compatible later version of it.
fn follows(newer: &Version, older: &Version) -> bool {
    let Version { major, minor, patch, ref pre, .. } = *older;
    let caret = Comparator { op: Op::Caret, major, minor: Some(minor), patch: Some(patch), pre: pre.clone() };
    VersionReq { comparators: vec![caret] }.matches(newer)
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;

    #[test]
    fn versions_of_the_same_series_are_supported() {
        let speaks = |version: &str| Interface::of(version).speaks(version);
        for same_series in [API_VERSION, "0.1.0", "0.1.1", "0.1.99", "0.1.1+build", "C/1"] {
            assert!(speaks(same_series), "{same_series}");
        }
        let others =
            ["0.0.9", "0.2.0", "1.0.0", "1.1.0", "0.1.0-alpha", "0.1.1-alpha", "0.1", "nonsense", ""];
        for other in others.into_iter().chain(["C/", "C/0", "C/2", "C/10", "1"]) {
            assert!(!speaks(other), "{other}");
        }
    }
}
