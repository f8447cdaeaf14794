//! What a sandbox allows.

use std::io;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The jail of workers, and of all other processes that open the producer. They enter it before they
/// open the plugin, so that its constructors run in it, too. Host, fork server and commander are never
/// jailed.
///
/// The default allows to read what every program needs, the C library's files and the plugin's copy;
/// to write nothing; no network, no other program or process; threads.
///
/// # Example
/// ```
/// use cobuf_host::{Host, Sandbox};
///
/// let read = vec!["/data/slides".into()];
/// let builder = Host::builder().sandbox(Sandbox { read, ..Sandbox::default() });
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sandbox {
    /// Files, and folders with all that is below them, that can be read. Absolute, or relative to the
    /// working directory of the host; in a pipeline file relative to the file. They must be there at the
    /// start.
    #[serde(with = "crate::path_bytes")]
    pub read: Vec<PathBuf>,
    /// Files, and folders with all that is below them, that can be read and written.
    #[serde(with = "crate::path_bytes")]
    pub write: Vec<PathBuf>,
    /// Whether sockets can be made, and connected to anything.
    pub network: bool,
    /// Whether other programs and processes can be started. They are in the same jail.
    pub exec: bool,
    /// Whether threads can be started.
    pub threads: bool,
    /// The names of environment variables that the run's processes get beside those that programs usually
    /// need (`PATH`, `HOME`, `TZ`, locales, and what begins with `COBUF_`, `LD_`, `OMP_`, `PYTHON` and the like).
    /// All others of the application are taken from all processes of the run, the commander included.
    pub env: Vec<String>,
    /// System calls that are allowed beside the usual ones, by their names: `"memfd_create"`. A call
    /// that is allowed with some arguments only, such as `ioctl`, is then allowed with all.
    pub extra_syscalls: Vec<String>,
    /// What happens if the kernel cannot enforce all of it.
    pub mode: SandboxMode,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self {
            read: Vec::new(),
            write: Vec::new(),
            network: false,
            exec: false,
            threads: true,
            env: Vec::new(),
            extra_syscalls: Vec::new(),
            mode: SandboxMode::Strict,
        }
    }
}

/// What happens if the kernel cannot enforce a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SandboxMode {
    /// The host does not start. The default.
    #[default]
    Strict,
    /// The host starts with the part that can be enforced, see [`Host::sandbox`](crate::Host::sandbox).
    BestEffort,
    /// There is no sandbox: to leave out that of a pipeline file.
    Off,
}

impl FromStr for SandboxMode {
    type Err = SandboxError;

    fn from_str(text: &str) -> Result<Self, SandboxError> {
        match text {
            "strict" => Ok(Self::Strict),
            "best-effort" => Ok(Self::BestEffort),
            "off" => Ok(Self::Off),
            _ => Err(SandboxError::Mode { text: text.to_owned() }),
        }
    }
}

/// Why there is no sandbox.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// No mode has this name.
    #[error("the sandbox's mode is {text:?}, expected strict, best-effort or off")]
    Mode {
        /// The name.
        text: String,
    },
    /// A path of the settings cannot be opened.
    #[error("cannot open {} for the sandbox's setting {setting}", path.display())]
    Path {
        /// The setting: `read` or `write`.
        setting: &'static str,
        /// The path.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// No system call has this name.
    #[error("the sandbox's setting extra_syscalls has {name:?}, which is no system call of this machine")]
    Syscall {
        /// The name.
        name: String,
    },
    /// The processes are forks of the application, and have its memory.
    #[error(
        "a sandbox needs the start method fork-server: with fork, a worker has the application's memory, with all that          is secret in it"
    )]
    StartMethod,
    /// The kernel lacks a part that the mode `strict` requires.
    #[error(
        "the kernel cannot enforce the sandbox: {lacks}; expected Linux 6.2 or newer with Landlock and seccomp; the \
         mode \"best-effort\" starts with what it can enforce"
    )]
    Kernel {
        /// The part.
        lacks: &'static str,
    },
    /// A step of a process into its jail failed.
    #[error("cannot {what}")]
    Enter {
        /// The step.
        what: &'static str,
        /// The reason.
        source: io::Error,
    },
}

impl Sandbox {
    /// Whether there is one.
    pub(crate) fn is_on(&self) -> bool {
        self.mode != SandboxMode::Off
    }

    /// Makes paths absolute; those that are there also without links, as the kernel names their files.
    pub(crate) fn resolved(mut self) -> io::Result<Self> {
        for path in self.read.iter_mut().chain(&mut self.write) {
            *path = std::path::absolute(&*path)?;
            if let Ok(canonical) = path.canonicalize() {
                *path = canonical;
            }
        }
        Ok(self)
    }
}
