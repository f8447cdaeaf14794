//! The manifest: a description of the plugin in its file, which the host reads before any of the
//! plugin's code runs.
//!
//! The export macros put a [`Manifest`] into an ELF section of its own; `COBUF_EXPORT_PRODUCER` of
//! `include/cobuf.h` writes the same bytes. The host reads it from the file, without `dlopen`. If
//! it cannot run the plugin, it refuses it in one sentence. The layout of these bytes is frozen:
//! later versions raise [`MANIFEST_FORMAT`] and append.

use bytemuck::{AnyBitPattern, NoUninit};
use serde::{Deserialize, Serialize};

/// The name of the ELF section that holds the manifest.
pub const MANIFEST_SECTION: &str = ".cobuf.manifest";
/// The version of this crate, which is also the version of the boundary between host and plugin.
pub const API_VERSION: &str = env!("CARGO_PKG_VERSION");
/// The value that a plugin in C has in place of this crate's version. It names the interface of
/// `include/cobuf.h`, whose versions are frozen.
pub const C_INTERFACE: &str = "C/1";
/// The number of this layout of the manifest's bytes.
pub const MANIFEST_FORMAT: u32 = 1;
/// The first bytes of every manifest.
pub const MANIFEST_MAGIC: [u8; 8] = *b"\x7fcobuf\n\0";

/// The two kinds of plugins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PluginKind {
    /// Says what to produce.
    Commander,
    /// Fills slots.
    Producer,
}

impl std::fmt::Display for PluginKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Commander => "commander",
            Self::Producer => "producer",
        })
    }
}

/// The manifest's bytes, as the export macros write them. Texts are padded with zeros, and cut if
/// they are too long.
#[repr(C)]
#[derive(Debug, Clone, Copy, NoUninit, AnyBitPattern)]
pub struct Manifest {
    magic: [u8; 8],
    format: u32,
    bytes: u32,
    /// 1: commander, 2: producer.
    kind: u32,
    /// 0: a panic unwinds, 1: it aborts.
    aborts: u32,
    name: [u8; 96],
    version: [u8; 32],
    api_version: [u8; 32],
    rustc: [u8; 96],
    target: [u8; 64],
    cpu_features: [u8; 2048],
}

impl Manifest {
    /// The manifest of the plugin that is being compiled; the export macros call it.
    pub const fn new(kind: PluginKind, name: &str, version: &str, aborts: bool) -> Self {
        Self {
            magic: MANIFEST_MAGIC,
            format: MANIFEST_FORMAT,
            bytes: size_of::<Self>() as u32,
            kind: match kind {
                PluginKind::Commander => 1,
                PluginKind::Producer => 2,
            },
            aborts: aborts as u32,
            name: text(name),
            version: text(version),
            api_version: text(API_VERSION),
            rustc: text(env!("COBUF_RUSTC")),
            target: text(env!("COBUF_TARGET")),
            cpu_features: text(env!("COBUF_CPU_FEATURES")),
        }
    }
}

/// A text as zero-padded bytes.
const fn text<const N: usize>(text: &str) -> [u8; N] {
    let bytes = text.as_bytes();
    let mut padded = [0; N];
    let mut index = 0;
    while index < bytes.len() && index < N {
        padded[index] = bytes[index];
        index += 1;
    }
    padded
}

/// A manifest that was read from a plugin's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ManifestInfo {
    /// Commander or producer.
    pub kind: PluginKind,
    /// The name of the plugin's package.
    pub name: String,
    /// The package's version.
    pub version: String,
    /// The version of `cobuf-plugin-api` that the plugin was built with, or the version of the C
    /// interface, as in [`C_INTERFACE`].
    pub api_version: String,
    /// The compiler, as `rustc --version` prints it; for a plugin in C, the C or C++ compiler.
    pub rustc: String,
    /// The target triple.
    pub target: String,
    /// Whether a panic aborts the process. Then the host cannot catch the plugin's panics.
    pub aborts_on_panic: bool,
    /// The CPU features that the code needs, by rustc's names.
    pub cpu_features: Vec<String>,
}

/// Why bytes are not a manifest that this version can read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// The bytes are not a manifest.
    #[error("its section {MANIFEST_SECTION} is no manifest; rebuild it with cobuf-plugin-api {API_VERSION}")]
    Magic,
    /// The manifest has another layout.
    #[error(
        "its manifest has format {found}, this host reads format {MANIFEST_FORMAT}; \
         rebuild it with cobuf-plugin-api {API_VERSION}"
    )]
    Format {
        /// The manifest's format.
        found: u32,
    },
    /// The manifest names an unknown kind of plugin.
    #[error(
        "its manifest names a kind of plugin that this host does not know ({found}); \
         rebuild it with cobuf-plugin-api {API_VERSION}"
    )]
    Kind {
        /// The number of that kind.
        found: u32,
    },
}

impl ManifestInfo {
    /// Parses the bytes of the section [`MANIFEST_SECTION`].
    ///
    /// # Errors
    /// [`ManifestError`]: the bytes are not a manifest, or one of another format or of an unknown
    /// kind.
    pub fn parse(section: &[u8]) -> Result<Self, ManifestError> {
        let magic_and_format = section
            .get(..12)
            .filter(|bytes| bytes.starts_with(&MANIFEST_MAGIC))
            .ok_or(ManifestError::Magic)?;
        let found = bytemuck::pod_read_unaligned::<u32>(&magic_and_format[8..]);
        if found != MANIFEST_FORMAT {
            return Err(ManifestError::Format { found });
        }
        let bytes = section.get(..size_of::<Manifest>()).ok_or(ManifestError::Magic)?;
        let manifest: Manifest = bytemuck::pod_read_unaligned(bytes);
        let kind = match manifest.kind {
            1 => PluginKind::Commander,
            2 => PluginKind::Producer,
            found => return Err(ManifestError::Kind { found }),
        };
        Ok(Self {
            kind,
            name: read(&manifest.name),
            version: read(&manifest.version),
            api_version: read(&manifest.api_version),
            rustc: read(&manifest.rustc),
            target: read(&manifest.target),
            aborts_on_panic: manifest.aborts != 0,
            cpu_features: read(&manifest.cpu_features)
                .split(',')
                .filter(|feature| !feature.is_empty())
                .map(str::to_owned)
                .collect(),
        })
    }
}

fn read(padded: &[u8]) -> String {
    let end = padded.iter().position(|&byte| byte == 0).unwrap_or(padded.len());
    String::from_utf8_lossy(&padded[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifest_survives_parsing() {
        let manifest = Manifest::new(PluginKind::Producer, "digits-producer", "1.2.3", false);
        let info = ManifestInfo::parse(bytemuck::bytes_of(&manifest)).unwrap();
        assert_eq!((info.name.as_str(), info.version.as_str()), ("digits-producer", "1.2.3"));
        assert_eq!((info.kind, info.aborts_on_panic), (PluginKind::Producer, false));
        assert_eq!(info.api_version, API_VERSION);
        assert!(info.rustc.starts_with("rustc "));
    }

    #[test]
    fn bytes_that_are_no_manifest_are_refused() {
        let manifest = Manifest::new(PluginKind::Producer, "p", "1", false);
        let bytes = bytemuck::bytes_of(&manifest);
        assert_eq!(ManifestInfo::parse(&bytes[..100]), Err(ManifestError::Magic));
        assert_eq!(ManifestInfo::parse(b"ELF"), Err(ManifestError::Magic));
        let mut newer = bytes.to_vec();
        newer[8] = 9;
        assert_eq!(ManifestInfo::parse(&newer), Err(ManifestError::Format { found: 9 }));
    }
}
