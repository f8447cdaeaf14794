//! Why a plugin is refused.

use std::path::PathBuf;

use cobuf_plugin_api::manifest::{API_VERSION, C_INTERFACE, ManifestError};
use cobuf_plugin_api::{PluginKind, Report};

use crate::ulimit;

/// The environment variable with the folders in which plugins are looked for by name, separated as
/// in `PATH`.
pub const PLUGIN_PATH: &str = "COBUF_PLUGIN_PATH";

/// How many names an error shows.
const SHOWN_NAMES: usize = 6;

/// Why a plugin is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PluginError {
    /// The file does not exist or cannot be read.
    #[error("cannot read the plugin {}{}", path.display(), read_advice(source))]
    Read {
        /// The plugin's file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// There is no plugin of this name.
    #[error("no plugin is called {name:?}: {}", describe_search(folders, there))]
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
    /// The file keeps changing while it is read.
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
        /// Cargo's message.
        reason: String,
    },
    /// A Python plugin cannot be read: there is no interpreter, or it lacks the package `cobuf`.
    #[error("cannot read the Python plugin {}: {reason}", object.display())]
    Python {
        /// The object as it was given, such as `slides.py:Slides`.
        object: PathBuf,
        /// The missing thing, the places that were looked at, and what to do.
        reason: String,
    },
    /// The build was given up, by a [`Cancel`](crate::Cancel).
    #[error("the build was cancelled")]
    Cancelled,
    /// The file is not a shared library, or not a complete one.
    #[error("the plugin {} cannot be used: {reason}", path.display())]
    Elf {
        /// The plugin's file.
        path: PathBuf,
        /// The defect.
        reason: String,
    },
    /// It is a shared library, but its manifest is not one that this host can read.
    #[error("{} is no plugin for this host", path.display())]
    Manifest {
        /// The plugin's file.
        path: PathBuf,
        /// The defect of its manifest.
        source: ManifestError,
    },
    /// It is a plugin of the other kind.
    #[error("the plugin {} is a {found}, expected a {expected}; swap the two paths, or give another", path.display())]
    Kind {
        /// The plugin's file.
        path: PathBuf,
        /// The kind that is needed.
        expected: PluginKind,
        /// The plugin's kind.
        found: PluginKind,
    },
    /// It was built with a version of cobuf-plugin-api that this host does not support.
    #[error(
        "the plugin {} was built with cobuf-plugin-api {found}, this host speaks {expected}; \
         rebuild it with cobuf-plugin-api {expected}", path.display()
    )]
    ApiVersion {
        /// The plugin's file.
        path: PathBuf,
        /// The version that the host supports.
        expected: &'static str,
        /// The version that the plugin was built with.
        found: String,
    },
    /// It was built with another version of the C header than this host supports.
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
    /// It is a commander that uses the C interface, which is only for producers.
    #[error("the plugin {} is a commander in C; write it in Rust: the C interface is for producers", path.display())]
    CCommander {
        /// The plugin's file.
        path: PathBuf,
    },
    /// A panic ends its process instead of becoming an error.
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
    /// The dynamic loader refused it.
    #[error("cannot load the plugin {}: {reason}", path.display())]
    Load {
        /// The plugin's file.
        path: PathBuf,
        /// The loader's chain of reasons.
        reason: String,
    },
    /// The plugin failed while it was asked for its schema, or it refused its configuration.
    #[error("the {kind} {plugin} cannot be set up")]
    Setup {
        /// The plugin's kind.
        kind: PluginKind,
        /// The plugin's name.
        plugin: String,
        /// The plugin's error or panic.
        source: Report,
    },
    /// Its process died while the plugin was asked for its schema or constructed.
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

/// The advice on a file that cannot be read; a part of an error's text.
fn read_advice(reason: &std::io::Error) -> String {
    let limit = ulimit::behind(reason);
    if limit.is_empty() {
        return "; give the path of a .so file, or of a cargo package's folder".to_owned();
    }
    limit
}

/// Which folders were searched and which plugins are in them; a part of an error's text.
fn describe_search(folders: &[PathBuf], there: &[String]) -> String {
    let how = "the path of a .so file, or of a cargo package's folder";
    if folders.is_empty() {
        return format!("{PLUGIN_PATH} is not set; set it to the folders with your plugins, or give {how}");
    }
    let folders: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
    let looked = format!("looked in {} ({PLUGIN_PATH})", folders.join(", "));
    if there.is_empty() {
        return format!("{looked}, where there are no plugins; build them, or give {how}");
    }
    let shown = there[..there.len().min(SHOWN_NAMES)].join(", ");
    let more = match there.len().saturating_sub(SHOWN_NAMES) {
        0 => String::new(),
        more => format!(" and {more} others"),
    };
    format!("{looked}, where there are {shown}{more}; give one of these, or {how}")
}
