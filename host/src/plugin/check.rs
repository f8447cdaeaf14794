//! May this plugin be loaded here? Answered from its bytes, in one sentence where not.

use std::path::Path;

use cobuf_plugin_api::PluginKind;
use cobuf_plugin_api::manifest::{API_VERSION, ManifestInfo};
use semver::{Comparator, Op, Version, VersionReq};

use super::{PluginError, cpu, elf};

/// Checks the plugin's file; of this kind, where one is asked for.
pub(super) fn check(
    path: &Path,
    bytes: &[u8],
    kind: Option<PluginKind>,
) -> Result<ManifestInfo, PluginError> {
    let manifest = read(path, bytes)?;
    admit(path, &manifest, kind)?;
    Ok(manifest)
}

/// The manifest in the plugin's file.
fn read(path: &Path, bytes: &[u8]) -> Result<ManifestInfo, PluginError> {
    let path = || path.to_owned();
    let section = elf::manifest_section(bytes).map_err(|reason| PluginError::Elf { path: path(), reason })?;
    let section = section.ok_or_else(|| PluginError::Elf {
        path: path(),
        reason: "it is a shared library but no cobuf plugin; \
                 end its crate with cobuf_plugin_api::export_producer! or export_commander!"
            .to_owned(),
    })?;
    ManifestInfo::parse(section).map_err(|source| PluginError::Manifest { path: path(), source })
}

/// Whether a plugin with this manifest may be loaded; of this kind, where one is asked for.
pub(super) fn admit(
    path: &Path,
    manifest: &ManifestInfo,
    kind: Option<PluginKind>,
) -> Result<(), PluginError> {
    let path = || path.to_owned();
    if let Some(expected) = kind.filter(|&expected| expected != manifest.kind) {
        return Err(PluginError::Kind { path: path(), expected, found: manifest.kind });
    }
    if !speaks(&manifest.api_version) {
        return Err(PluginError::ApiVersion {
            path: path(),
            expected: API_VERSION,
            found: manifest.api_version.clone(),
        });
    }
    if manifest.aborts_on_panic {
        return Err(PluginError::Aborts { path: path() });
    }
    let missing = cpu::missing(&manifest.cpu_features);
    if !missing.is_empty() {
        return Err(PluginError::CpuFeatures { path: path(), missing: missing.join(", ") });
    }
    Ok(())
}

/// Whether this host speaks with a plugin of that version: of the same series by semver, whichever is the newer. Why that is
/// right is in `plugin-api/ABI.md`.
fn speaks(plugin: &str) -> bool {
    let (Ok(host), Ok(plugin)) = (Version::parse(API_VERSION), Version::parse(plugin)) else { return false };
    // Before a release nothing is promised.
    host.pre == plugin.pre && (follows(&host, &plugin) || follows(&plugin, &host))
}

/// Whether semver takes `newer` for a later version of `older`, or the same, that keeps what it promised.
fn follows(newer: &Version, older: &Version) -> bool {
    let Version { major, minor, patch, ref pre, .. } = *older;
    let caret = Comparator { op: Op::Caret, major, minor: Some(minor), patch: Some(patch), pre: pre.clone() };
    VersionReq { comparators: vec![caret] }.matches(newer)
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;

    #[test]
    fn which_plugin_api_versions_does_this_host_speak() {
        for same_series in [API_VERSION, "0.1.0", "0.1.1", "0.1.99", "0.1.1+build"] {
            assert!(speaks(same_series), "{same_series}");
        }
        for other in ["0.0.9", "0.2.0", "1.0.0", "1.1.0", "0.1.0-alpha", "0.1.1-alpha", "0.1", "nonsense", ""]
        {
            assert!(!speaks(other), "{other}");
        }
    }
}
