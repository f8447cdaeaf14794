//! Where a plugin comes from: a file, a package, a name or a Python object.

use std::path::{Path, PathBuf};

use cobuf_plugin_api::PluginKind;
use cobuf_plugin_api::codec::{self, CodecError};
use cobuf_plugin_api::manifest::ManifestInfo;
use serde::Serialize;

#[cfg(feature = "build")]
use super::build::build;
use super::code::Code;
use super::copy::PluginPlan;
use super::error::PluginError;
use super::file::PluginFile;
use super::find::{self, plugin_path};
use super::python::{PythonPlugin, is_source};
use crate::cancel::Cancel;

/// Where a plugin comes from.
///
/// The host's own process finds, builds, reads and checks a plugin. Only forked processes open it
/// and run its code.
///
/// # Example
/// ```
/// use cobuf_host::Plugin;
///
/// let built = Plugin::file("target/release/libnoise.so");
/// let package = Plugin::package("plugins/digits-producer");
/// let named = Plugin::named("digits-producer");
/// assert_eq!(Plugin::at("plugins/libnoise.so"), Plugin::file("plugins/libnoise.so"));
/// assert!(matches!(Plugin::at("slides.py:Slides"), Plugin::Python(_)));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plugin {
    /// The `.so` file of a `cdylib` that is already built.
    File(PathBuf),
    /// The folder of a cargo package, which is built first; in release mode if the host itself was
    /// built in release mode.
    Package(PathBuf),
    /// The name in the manifest of a plugin that is already built. It means the first plugin of
    /// this name in the folders of `COBUF_PLUGIN_PATH`.
    Named(String),
    /// A Python object. The host asks an interpreter for its code, which is then read.
    Python(PythonPlugin),
    /// A file whose plugin runs code that is not in it, such as a script, see
    /// [`with_code`](Self::with_code).
    Coded {
        /// The `.so` file.
        file: PathBuf,
        /// The code.
        code: Code,
    },
}

impl Plugin {
    /// The plugin at a path: a package if the path is a folder, otherwise a file. If nothing exists
    /// at that path, a single word without an extension is a plugin's name, and a text such as
    /// `slides.py:Slides` or `package.module:Name` is a Python object.
    pub fn at(path: impl AsRef<Path>) -> Self {
        Self::relative_to("", path)
    }

    /// As [`at`](Self::at), but the path is relative to this folder, as paths in a pipeline file
    /// are.
    pub fn relative_to(folder: impl AsRef<Path>, path: impl AsRef<Path>) -> Self {
        let given = path.as_ref();
        let path = folder.as_ref().join(given);
        if path.is_dir() {
            return Self::Package(path);
        }
        if path.exists() {
            return Self::File(path);
        }
        let name = || name_in(given).map(|name| Self::Named(name.to_owned()));
        let object = PythonPlugin::parse(folder.as_ref(), given).map(Self::Python);
        object.or_else(name).unwrap_or(Self::File(path))
    }

    /// The plugin in this file, which is already built.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::File(path.into())
    }

    /// The plugin in this package's folder. It is built in release mode if the host itself was built
    /// in release mode, otherwise in debug mode.
    pub fn package(folder: impl Into<PathBuf>) -> Self {
        Self::Package(folder.into())
    }

    /// The plugin in this file, with code for it that is not in the file: a dictionary, which the
    /// plugin gets as the entry `code` of its configuration. A swap brings other code with the same
    /// configuration. The code is no part of what a checkpoint compares.
    ///
    /// # Errors
    /// [`CodecError`] if the code is no dictionary, or cannot be encoded.
    pub fn with_code(file: impl Into<PathBuf>, code: &impl Serialize) -> Result<Self, CodecError> {
        let bytes = codec::encode("the code", code)?;
        Ok(Self::Coded { file: file.into(), code: Code { bytes, ..Code::default() } })
    }

    /// The plugin of this name.
    pub fn named(name: impl Into<String>) -> Self {
        Self::Named(name.into())
    }

    /// The path or the name, as it was given.
    pub fn path(&self) -> &Path {
        match self {
            Self::File(path) | Self::Package(path) | Self::Coded { file: path, .. } => path,
            Self::Named(name) => Path::new(name),
            Self::Python(python) => python.object(),
        }
    }

    /// The manifest in the plugin's file. A package is built first. No code of the plugin runs.
    ///
    /// # Errors
    /// [`PluginError`] if the plugin is missing, cannot be built, or cannot run on this machine.
    pub fn manifest(&self) -> Result<ManifestInfo, PluginError> {
        Ok(self.resolve(None, None)?.manifest)
    }

    /// The same plugin as a file: a package is built, a name is looked up, the code of a Python object
    /// is read.
    ///
    /// # Errors
    /// [`PluginError::Build`], [`PluginError::NotFound`] or [`PluginError::Python`].
    pub fn built(&self) -> Result<Self, PluginError> {
        self.find(None)
    }

    /// As [`built`](Self::built), but a build ends once it is cancelled.
    ///
    /// # Errors
    /// As [`built`](Self::built), and [`PluginError::Cancelled`].
    pub fn built_unless(&self, cancel: &Cancel) -> Result<Self, PluginError> {
        self.find(Some(cancel))
    }

    /// As [`built`](Self::built), and a build ends once it is cancelled, if that can be.
    pub(crate) fn find(&self, cancel: Option<&Cancel>) -> Result<Self, PluginError> {
        match self {
            Self::File(path) if is_source(&path.to_string_lossy()) => Err(PluginError::Python {
                object: path.clone(),
                reason: format!("it names no object; give one as {}:NAME", path.display()),
            }),
            Self::File(_) | Self::Coded { .. } => Ok(self.clone()),
            Self::Package(folder) => build(folder, cancel).map(Self::File),
            Self::Named(name) => find::by_name(name, &plugin_path()).map(Self::File),
            Self::Python(python) => {
                let (file, code) = python.read(cancel)?;
                Ok(Self::Coded { file, code })
            }
        }
    }

    /// The same plugin, known to be of this kind.
    pub(crate) fn of_kind(self, kind: PluginKind) -> Self {
        match self {
            Self::Python(python) => Self::Python(python.of_kind(kind)),
            other => other,
        }
    }

    /// The run's copy of a plugin, with its code.
    pub(crate) fn copy_of(plan: &PluginPlan) -> Self {
        match &plan.code[..] {
            [] => Self::File(plan.library.clone()),
            code => {
                let (bytes, name) = (code.to_vec(), Some(plan.name.clone()));
                Self::Coded { file: plan.library.clone(), code: Code { bytes, name, ..Code::default() } }
            }
        }
    }

    /// The plugin's file, built and checked. If a kind is given, the plugin must be of that kind.
    pub(crate) fn resolve(
        &self,
        kind: Option<PluginKind>,
        cancel: Option<&Cancel>,
    ) -> Result<PluginFile, PluginError> {
        let plugin = kind.map_or_else(|| self.clone(), |kind| self.clone().of_kind(kind));
        match plugin.find(cancel)? {
            Self::Coded { file, code } => Ok(PluginFile::read(file, kind)?.with_code(code)),
            other => PluginFile::read(other.path().to_owned(), kind),
        }
    }
}

/// The plugin's name, if the path can be one: a single word without an extension.
fn name_in(path: &Path) -> Option<&str> {
    let text = path.to_str()?;
    let is_word = path.file_name() == Some(path.as_os_str()) && path.extension().is_none();
    is_word.then_some(text)
}

#[cfg(not(feature = "build"))]
fn build(folder: &Path, _cancel: Option<&Cancel>) -> Result<PathBuf, PluginError> {
    Err(PluginError::Build {
        folder: folder.to_owned(),
        reason: "this application was built without cobuf-host's feature \"build\"; \
                 build the package first and give its .so file, or turn the feature on"
            .to_owned(),
    })
}
