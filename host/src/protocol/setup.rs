//! What a plugin's process is given, and what it may use.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What a plugin's process does before it opens the plugin. Applies to commander and workers alike.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessSetup {
    /// Environment variables to set, such as `OMP_NUM_THREADS`.
    pub env: BTreeMap<String, String>,
    /// The working directory; the host's where there is none.
    pub working_directory: Option<PathBuf>,
    /// What is added to the process's niceness: positive gives way to others.
    pub nice: Option<i32>,
}

/// What one worker may use. By default there is no limit beyond the system's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerLimits {
    /// The most memory of its own, in bytes: what it has allocated and touched, the slots not counted. It is looked at again and
    /// again; what has more is killed, and its message counts an attempt.
    pub memory_bytes: Option<u64>,
    /// The most processor time for one message, in whole seconds, all threads together. What takes more is killed (SIGXCPU), and
    /// its message counts an attempt.
    pub cpu_seconds: Option<u64>,
    /// The most files that may be open at a time. Opening more fails in the plugin (EMFILE).
    pub open_files: Option<u64>,
}
