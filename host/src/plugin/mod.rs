//! Plugins: from a path that a user gave to code that a worker runs.
//!
//! ```text
//!   Plugin (a .so file, a cargo package, or a name)
//!     │ find     in the folders of COBUF_PLUGIN_PATH, where it is a name
//!     │ build    cargo build, where it is a package
//!     │ file     read until nobody writes to it any more
//!     │ elf      a whole ELF file for this machine?
//!     │ check    manifest: kind, interface and its version, panic strategy, CPU features
//!     ▼
//!   PluginFile ── copied into the run's folder ──► open (in the forked process): dlopen, functions
//! ```
//!
//! Invariant: the host's own process never opens a plugin; everything that it wants to know before the fork is in the
//! manifest.

mod build;
mod check;
pub(crate) mod copy;
mod cpu;
mod elf;
mod file;
mod find;
mod interface;
pub(crate) mod open;

use std::path::{Path, PathBuf};

use cobuf_plugin_api::manifest::{API_VERSION, C_INTERFACE, ManifestError};
use cobuf_plugin_api::{PluginKind, Report};

pub use cobuf_plugin_api::manifest::ManifestInfo;
pub(crate) use file::PluginFile;
pub use find::{FoundPlugin, PLUGIN_PATH, find_plugins, plugin_path};
pub(crate) use interface::Interface;

/// Where a plugin comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plugin {
    /// A `cdylib` that was built before: a `.so` file.
    File(PathBuf),
    /// The folder of a cargo package, which is built first: in release mode by a host that was itself built so.
    Package(PathBuf),
    /// The name of a plugin that was built before, as its manifest has it: the first in the folders of `COBUF_PLUGIN_PATH`.
    Named(String),
}

impl Plugin {
    /// The plugin at a path: a package where it is a folder, a file otherwise. A single word, without an extension, at which
    /// there is nothing, is a plugin's name.
    pub fn at(path: impl AsRef<Path>) -> Self {
        Self::relative_to("", path)
    }

    /// As [`at`](Self::at), by a path that is relative to this folder, as a pipeline file's are.
    pub fn relative_to(folder: impl AsRef<Path>, path: impl AsRef<Path>) -> Self {
        let given = path.as_ref();
        let path = folder.as_ref().join(given);
        if path.is_dir() {
            return Self::Package(path);
        }
        match name_in(given) {
            Some(name) if !path.exists() => Self::Named(name.to_owned()),
            _ => Self::File(path),
        }
    }

    /// A plugin's file that was built before.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::File(path.into())
    }

    /// The folder of a plugin's package.
    pub fn package(folder: impl Into<PathBuf>) -> Self {
        Self::Package(folder.into())
    }

    /// A plugin's name.
    pub fn named(name: impl Into<String>) -> Self {
        Self::Named(name.into())
    }

    /// The path, or name, as it was given.
    pub fn path(&self) -> &Path {
        match self {
            Self::File(path) | Self::Package(path) => path,
            Self::Named(name) => Path::new(name),
        }
    }

    /// The manifest in the plugin's file, which is built first where it is a package. No code of the plugin runs.
    ///
    /// # Errors
    /// [`PluginError`], where it is missing, cannot be built, or cannot run here.
    pub fn manifest(&self) -> Result<ManifestInfo, PluginError> {
        Ok(self.resolve(None)?.manifest)
    }

    /// The same plugin as a file: a package is built, a name is looked for.
    ///
    /// # Errors
    /// [`PluginError::Build`] or [`PluginError::NotFound`].
    pub fn built(&self) -> Result<Self, PluginError> {
        match self {
            Self::File(_) => Ok(self.clone()),
            Self::Package(folder) => build::build(folder).map(Self::File),
            Self::Named(name) => find::by_name(name, &plugin_path()).map(Self::File),
        }
    }

    /// The plugin's file, built and checked; of this kind, where one is asked for.
    pub(crate) fn resolve(&self, kind: Option<PluginKind>) -> Result<PluginFile, PluginError> {
        PluginFile::read(self.built()?.path().to_owned(), kind)
    }
}

/// The name in a path that can be one: a single word without an extension.
fn name_in(path: &Path) -> Option<&str> {
    let text = path.to_str()?;
    let is_word = path.file_name() == Some(path.as_os_str()) && path.extension().is_none();
    is_word.then_some(text)
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
    /// There is no plugin of this name.
    #[error("no plugin is called {name:?}: {}", find::describe_search(folders, there))]
    NotFound {
        /// The name.
        name: String,
        /// The folders in which it was looked for.
        folders: Vec<PathBuf>,
        /// The names of the plugins in these folders, the most similar first.
        there: Vec<String>,
    },
    /// A folder in which plugins are looked for cannot be read.
    #[error("cannot look for plugins in {}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
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
    /// It was built with another version of the C header than this host speaks.
    #[error(
        "the plugin {} was built with cobuf.h for the C interface {found}, this host speaks {C_INTERFACE}; \
         rebuild it with the cobuf.h of cobuf-plugin-api {API_VERSION}, or use a host that speaks {found}", path.display()
    )]
    CInterface {
        /// The plugin's file.
        path: PathBuf,
        /// The interface that the plugin was built for.
        found: String,
    },
    /// It is a commander that uses the C interface, which is for producers.
    #[error("the plugin {} is a commander in C; write it in Rust: the C interface is for producers", path.display())]
    CCommander {
        /// The plugin's file.
        path: PathBuf,
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
