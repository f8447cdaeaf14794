//! How a plugin's process is prepared, and its limits.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The preparation of a plugin's process before it opens the plugin. Applies to the commander and
/// the workers alike. By default, nothing is changed.
///
/// # Example
/// ```
/// use cobuf_host::{Host, ProcessSetup};
///
/// let env = [("OMP_NUM_THREADS".to_owned(), "1".to_owned())].into();
/// let builder = Host::builder().process_setup(ProcessSetup { env, ..ProcessSetup::default() });
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessSetup {
    /// Environment variables to set, such as `OMP_NUM_THREADS`.
    pub env: BTreeMap<String, String>,
    /// The working directory; `None`, the default, means that of the host.
    #[serde(default, with = "crate::path_bytes")]
    pub working_directory: Option<PathBuf>,
    /// A number from -20 to 19 that is added to the process's niceness. A positive one makes the
    /// process give way to others.
    pub nice: Option<i32>,
    /// Whether the processes keep the descriptors that they inherit: with
    /// [`StartMethod::Fork`](crate::StartMethod::Fork) all of the application's, otherwise those that
    /// are not marked close-on-exec. The default closes them. A plugin that is code of the
    /// application may use its pipes; it may then also keep one open whose end somebody waits for.
    #[serde(default)]
    pub keep_descriptors: bool,
}

/// The limits of one worker. By default there are none beyond the system's.
///
/// # Example
/// ```
/// use cobuf_host::{Host, WorkerLimits};
///
/// let memory_bytes = Some(2_000_000_000);
/// let limits = WorkerLimits { memory_bytes, ..WorkerLimits::default() };
/// let builder = Host::builder().worker_limits(limits);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerLimits {
    /// The most private memory, in bytes: memory that the worker has allocated and touched, without
    /// the slots, and without what it shares with the fork server since its start. The fork server looks at it repeatedly and kills a worker that exceeds it; this
    /// counts as an attempt at its message.
    pub memory_bytes: Option<u64>,
    /// The most processor time for one message, in whole seconds, all threads together. A worker
    /// that exceeds it is killed (SIGXCPU); this counts as an attempt at its message.
    pub cpu_seconds: Option<u64>,
    /// The most files that may be open at a time. Opening another one fails in the plugin (EMFILE).
    pub open_files: Option<u64>,
}
