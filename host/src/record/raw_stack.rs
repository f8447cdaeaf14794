//! Where a process's threads were, as addresses.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The stacks of a process's threads, as addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RawStack {
    /// The files that frames are in, as the process has them mapped: `/lib/libfoo.so`, `/gone.so (deleted)`, `[vdso]`.
    pub(crate) modules: Vec<PathBuf>,
    /// The main thread first.
    pub(crate) threads: Vec<RawThread>,
    /// How many threads are missing: above the limit, or not to be stopped and not blocked either.
    pub(crate) left_out: u32,
}

/// One thread's stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RawThread {
    pub(crate) name: String,
    /// Innermost first: the index of a module and an address in that file's own address space. All but the first are
    /// return addresses.
    pub(crate) frames: Vec<(u32, u64)>,
}
