//! Checks from a plugin's bytes whether it may be loaded here. A refusal is one sentence.

use std::path::Path;

use cobuf_plugin_api::PluginKind;
use cobuf_plugin_api::manifest::{API_VERSION, ManifestInfo};

use super::error::PluginError;
use super::interface::Interface;
use super::{cpu, elf};

/// Checks the plugin's file. If a kind is given, the plugin must be of that kind.
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
                 end its crate with cobuf_plugin_api::export_producer! or export_commander!, in C with COBUF_EXPORT_PRODUCER"
            .to_owned(),
    })?;
    ManifestInfo::parse(section).map_err(|source| PluginError::Manifest { path: path(), source })
}

/// Checks that a plugin with this manifest may be loaded. If a kind is given, the plugin must be of
/// that kind.
pub(super) fn admit(
    path: &Path,
    manifest: &ManifestInfo,
    kind: Option<PluginKind>,
) -> Result<(), PluginError> {
    let path = || path.to_owned();
    if let Some(expected) = kind.filter(|&expected| expected != manifest.kind) {
        return Err(PluginError::Kind { path: path(), expected, found: manifest.kind });
    }
    let interface = Interface::of(&manifest.api_version);
    if !interface.speaks(&manifest.api_version) {
        let (path, found) = (path(), manifest.api_version.clone());
        return Err(match interface {
            Interface::Rust => PluginError::ApiVersion { path, expected: API_VERSION, found },
            Interface::C => PluginError::CInterface { path, found },
        });
    }
    if interface == Interface::C && manifest.kind == PluginKind::Commander {
        return Err(PluginError::CCommander { path: path() });
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
