//! Plugins: from a path that a user gave to code that a worker runs.
//!
//! ```text
//!   Plugin (a .so file, or a cargo package)
//!     │ build    cargo build, where it is a package
//!     │ file     read until nobody writes to it any more
//!     │ elf      a whole ELF file for this machine?
//!     │ check    manifest: kind, plugin-api version, panic strategy, CPU features
//!     ▼
//!   PluginFile ── copied into the run's folder ──► open (in the forked process): dlopen, root module
//! ```
//!
//! Invariant: the host's own process never opens a plugin; everything that it wants to know before the fork is in the
//! manifest.

mod build;
mod check;
mod cpu;
mod elf;
mod file;
pub(crate) mod open;

use std::path::{Path, PathBuf};

use cobuf_plugin_api::manifest::ManifestError;
use cobuf_plugin_api::{PluginKind, Report};

pub use cobuf_plugin_api::manifest::ManifestInfo;
pub(crate) use file::PluginFile;

/// Where a plugin comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plugin {
    /// A `cdylib` that was built before: a `.so` file.
    File(PathBuf),
    /// The folder of a cargo package, which is built first: in release mode by a host that was itself built so.
    Package(PathBuf),
}

impl Plugin {
    /// The plugin at a path: a package where it is a folder, a file otherwise.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        if path.is_dir() { Self::Package(path) } else { Self::File(path) }
    }

    /// A plugin's file that was built before.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::File(path.into())
    }

    /// The folder of a plugin's package.
    pub fn package(folder: impl Into<PathBuf>) -> Self {
        Self::Package(folder.into())
    }

    /// The path as it was given.
    pub fn path(&self) -> &Path {
        match self {
            Self::File(path) | Self::Package(path) => path,
        }
    }

    /// The manifest in the plugin's file, which is built first where it is a package. No code of the plugin runs.
    ///
    /// # Errors
    /// [`PluginError`], where it is missing, cannot be built, or cannot run here.
    pub fn manifest(&self) -> Result<ManifestInfo, PluginError> {
        Ok(self.resolve(None)?.manifest)
    }

    /// The same plugin as a file: a package is built.
    ///
    /// # Errors
    /// [`PluginError::Build`].
    pub fn built(&self) -> Result<Self, PluginError> {
        match self {
            Self::File(_) => Ok(self.clone()),
            Self::Package(folder) => build::build(folder).map(Self::File),
        }
    }

    /// The plugin's file, built and checked; of this kind, where one is asked for.
    pub(crate) fn resolve(&self, kind: Option<PluginKind>) -> Result<PluginFile, PluginError> {
        PluginFile::read(self.built()?.path().to_owned(), kind)
    }
}

/// Why a plugin is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PluginError {
    /// There is no such file, or it cannot be read.
    #[error("cannot read the plugin {}; give the path of a .so file, or of a cargo package's folder", path.display())]
    Read {
        /// The plugin's file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Somebody keeps writing to the file.
    #[error("the plugin {} keeps changing while it is read; wait until its build is done", path.display())]
    Changing {
        /// The plugin's file.
        path: PathBuf,
    },
    /// The package could not be built.
    #[error("cannot build the plugin's package {}: {reason}", folder.display())]
    Build {
        /// The package's folder.
        folder: PathBuf,
        /// What cargo said.
        reason: String,
    },
    /// It is not a shared library, or not a whole one.
    #[error("the plugin {} cannot be used: {reason}", path.display())]
    Elf {
        /// The plugin's file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// It is a shared library, but not a plugin that this host can read.
    #[error("{} is no plugin for this host", path.display())]
    Manifest {
        /// The plugin's file.
        path: PathBuf,
        /// What is wrong with its manifest.
        source: ManifestError,
    },
    /// It is a plugin of the other kind.
    #[error("the plugin {} is a {found}, expected a {expected}; swap the two paths, or give another", path.display())]
    Kind {
        /// The plugin's file.
        path: PathBuf,
        /// What was asked for.
        expected: PluginKind,
        /// What it is.
        found: PluginKind,
    },
    /// It was built with a plugin-api that this host does not speak.
    #[error(
        "the plugin {} was built with cobuf-plugin-api {found}, this host speaks {expected}; \
         rebuild it with cobuf-plugin-api {expected}", path.display()
    )]
    ApiVersion {
        /// The plugin's file.
        path: PathBuf,
        /// The version that the host speaks.
        expected: &'static str,
        /// The version that the plugin was built with.
        found: String,
    },
    /// Its panics end the process, so that they cannot be turned into errors.
    #[error(
        "the plugin {} was built with panic = \"abort\", so that its panics cannot be caught; \
         rebuild it with panic = \"unwind\"", path.display()
    )]
    Aborts {
        /// The plugin's file.
        path: PathBuf,
    },
    /// It needs instructions that this machine does not have.
    #[error(
        "the plugin {} was built for a CPU with {missing}, which this machine does not have; \
         rebuild it without target-cpu=native, or on this machine", path.display()
    )]
    CpuFeatures {
        /// The plugin's file.
        path: PathBuf,
        /// The missing features.
        missing: String,
    },
    /// The loader refused it.
    #[error("cannot load the plugin {}: {reason}", path.display())]
    Load {
        /// The plugin's file.
        path: PathBuf,
        /// The loader's chain of reasons.
        reason: String,
    },
    /// The plugin itself failed while it was asked for its schema, or refused its configuration.
    #[error("the {kind} {plugin} cannot be set up")]
    Setup {
        /// The plugin's kind.
        kind: PluginKind,
        /// The plugin's name.
        plugin: String,
        /// The plugin's error or panic.
        source: Report,
    },
    /// Its process died while it was asked for its schema or constructed.
    #[error("the {kind} {plugin} ended its process while it was set up: {how}")]
    Died {
        /// The plugin's kind.
        kind: PluginKind,
        /// The plugin's name.
        plugin: String,
        /// The exit code or signal.
        how: String,
    },
}
