//! Where a plugin comes from.

use std::path::{Path, PathBuf};

use cobuf_plugin_api::PluginKind;
use cobuf_plugin_api::manifest::ManifestInfo;

#[cfg(feature = "build")]
use super::build::build;
use super::error::PluginError;
use super::file::PluginFile;
use super::find::{self, plugin_path};

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
            Self::Package(folder) => build(folder).map(Self::File),
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

#[cfg(not(feature = "build"))]
fn build(folder: &Path) -> Result<PathBuf, PluginError> {
    Err(PluginError::Build {
        folder: folder.to_owned(),
        reason: "this application was built without cobuf-host's feature \"build\"; \
                 build the package first and give its .so file, or turn the feature on"
            .to_owned(),
    })
}
