//! The stacks of a process's threads, as addresses.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The stacks of a process's threads, as addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RawStack {
    /// The files that frames are in, named as the process has them mapped: `/lib/libfoo.so`,
    /// `/gone.so (deleted)`, `[vdso]`.
    #[serde(with = "crate::path_bytes")]
    pub(crate) modules: Vec<PathBuf>,
    /// The main thread comes first.
    pub(crate) threads: Vec<RawThread>,
    /// How many threads are missing: there were too many, or they could not be stopped and were not
    /// blocked either.
    pub(crate) left_out: u32,
    /// The interpreter's stacks of the process's threads; empty if it has no interpreter.
    pub(crate) trace: String,
}

impl RawStack {
    /// Leaves only the names of files that are in these folders. The host reads files for the names of
    /// functions, and files beside them: not those that a plugin that was taken over has made, or has found
    /// among data.
    pub(crate) fn hide(&mut self, folders: &[PathBuf]) {
        for module in &mut self.modules {
            if folders.iter().any(|folder| module.starts_with(folder)) {
                *module = module.file_name().map_or_else(PathBuf::new, PathBuf::from);
            }
        }
    }
}

/// One thread's stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RawThread {
    pub(crate) name: String,
    /// Innermost first: the index of a module, and an address in that file's own address space. All
    /// except the first are return addresses.
    pub(crate) frames: Vec<(u32, u64)>,
}
