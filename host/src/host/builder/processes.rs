//! The settings of processes, and of what they are observed by.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use super::HostBuilder;
#[cfg(feature = "sandbox")]
use crate::jail::{Sandbox, SandboxMode};
#[cfg(feature = "metrics")]
use crate::metrics::MetricsTarget;
use crate::process::launch::StartMethod;
use crate::process::system::ForkHooks;
use crate::protocol::setup::{ProcessSetup, WorkerLimits};

/// # Observation
impl HostBuilder {
    /// A file to which the run's trace is written when the run is stopped: Chrome's trace events
    /// (JSON), which Perfetto (<https://ui.perfetto.dev>), speedscope and chrome://tracing open. It
    /// shows what the commander, each worker and each thread that takes batches did when, and the way
    /// of each batch. See [`guide::traces`](crate::guide::traces).
    ///
    /// Default: none. An existing file is replaced, in one step. `start` fails with
    /// [`StartError::Trace`](crate::StartError::Trace) if the file could not be written at that time;
    /// if it cannot be at the end, this is logged, and
    /// [`written_trace`](crate::Host::written_trace) says so. Each rank of a job needs a file of its
    /// own.
    ///
    /// ```
    /// # use cobuf_host::Host;
    /// let builder = Host::builder().trace("run.json");
    /// ```
    pub fn trace(mut self, path: impl Into<PathBuf>) -> Self {
        self.trace = Some(path.into());
        self
    }

    /// The most batches that the [`trace`](Self::trace) shows: the last ones, so that a long run needs
    /// bounded memory and makes a bounded file, about 200 bytes of memory and 700 bytes of file for
    /// each.
    ///
    /// Default: [`limits::DEFAULT_TRACE_BATCHES`](crate::limits::DEFAULT_TRACE_BATCHES). Range: 1 to
    /// [`limits::MAX_TRACE_BATCHES`](crate::limits::MAX_TRACE_BATCHES),
    /// otherwise [`StartError::OutOfRange`](crate::StartError::OutOfRange).
    ///
    /// ```
    /// # use cobuf_host::Host;
    /// let builder = Host::builder().trace("run.json").trace_batches(1000);
    /// ```
    pub fn trace_batches(mut self, batches: usize) -> Self {
        self.trace_batches = batches;
        self
    }
}

/// # Processes
impl HostBuilder {
    /// How the fork server is started. Default: [`StartMethod::ForkServer`].
    ///
    /// ```
    /// # use cobuf_host::{Host, StartMethod};
    /// let builder = Host::builder().start_method(StartMethod::Fork);
    /// ```
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.server.method = method;
        self
    }

    /// The calls that an interpreter in this process needs around a fork of it, with
    /// [`StartMethod::Fork`]. The first hooks that a process is given are those of all its hosts.
    /// Default: nothing.
    ///
    /// ```
    /// # use cobuf_host::{ForkHooks, Host, StartMethod};
    /// # fn of(hooks: ForkHooks) {
    /// let builder = Host::builder().start_method(StartMethod::Fork).fork_hooks(hooks);
    /// # }
    /// ```
    pub fn fork_hooks(mut self, hooks: ForkHooks) -> Self {
        self.server.hooks = Some(hooks);
        self
    }

    /// The fork server's executable: the `cobuf` command, or any executable that this library is
    /// linked into.
    ///
    /// Default: this application. If this library is in a shared library that the application has
    /// loaded, such as an extension of Python: a `cobuf` beside the application or on the `PATH`.
    /// `start` fails with [`StartError::Launch`](crate::StartError::Launch) if there is
    /// none, or it is of another version.
    ///
    /// ```
    /// # use cobuf_host::Host;
    /// let builder = Host::builder().fork_server("/usr/local/bin/cobuf");
    /// ```
    pub fn fork_server(mut self, executable: impl Into<PathBuf>) -> Self {
        self.server.executable = Some(executable.into());
        self
    }

    /// The fork server's executable with arguments: a program that calls
    /// [`serve_fork_server`](crate::serve_fork_server), such as an interpreter in which plugins run.
    /// Two arguments of the host's follow, of which the last one is its process number.
    ///
    /// ```
    /// # use cobuf_host::Host;
    /// let builder = Host::builder().fork_server_command("python3", ["-m", "cobuf._forkserver"]);
    /// ```
    pub fn fork_server_command<A: Into<OsString>>(
        mut self,
        executable: impl Into<PathBuf>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        self.server.executable = Some(executable.into());
        self.server.arguments = arguments.into_iter().map(Into::into).collect();
        self
    }

    /// Where the run's processes write what plugins print, on either of their two streams: a pipe,
    /// a file.
    ///
    /// Default: the standard error of this process. Logs of plugins are no part of it. The host
    /// keeps the descriptor until it is dropped, so that the reader of a pipe sees its end then. A
    /// pipe that nobody reads blocks the plugins that print.
    ///
    /// In a run with a sandbox, workers print to pipes of their own, and a thread of the host copies that to here
    /// with control characters written out, until a stop.
    ///
    /// ```
    /// # use cobuf_host::Host;
    /// # fn main() -> std::io::Result<()> {
    /// let builder = Host::builder().plugin_output(std::fs::File::create("/dev/null")?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn plugin_output(mut self, output: impl Into<OwnedFd>) -> Self {
        self.server.output = Some(Arc::new(output.into()));
        self
    }

    /// The preparation of commander and workers before they open their plugin: environment
    /// variables, working directory, descriptors, niceness (-20 to 19, otherwise
    /// [`StartError::OutOfRange`](crate::StartError::OutOfRange)). Default: nothing.
    ///
    /// ```
    /// # use cobuf_host::{Host, ProcessSetup};
    /// let mut setup = ProcessSetup::default();
    /// setup.env.insert("OMP_NUM_THREADS".to_owned(), "1".to_owned());
    /// let builder = Host::builder().process_setup(setup);
    /// ```
    pub fn process_setup(mut self, setup: ProcessSetup) -> Self {
        self.server.keep_descriptors = setup.keep_descriptors;
        self.process_setup = setup;
        self
    }

    /// The jail of workers, and of all other processes that open the producer. Default: none.
    ///
    /// # Errors
    /// [`StartError::Sandbox`](crate::StartError::Sandbox), if a path is not there, a system call has no
    /// number, or the kernel cannot enforce a strict one.
    ///
    /// ```
    /// # use cobuf_host::{Host, Sandbox};
    /// let read = vec!["/data/slides".into()];
    /// let builder = Host::builder().sandbox(Sandbox { read, ..Sandbox::default() });
    /// ```
    #[cfg(feature = "sandbox")]
    pub fn sandbox(mut self, sandbox: Sandbox) -> Self {
        self.sandbox = Some(sandbox);
        self
    }

    /// The mode of the sandbox: that of [`sandbox`](Self::sandbox) or of a pipeline file if there is one,
    /// otherwise one with defaults.
    ///
    /// ```
    /// # use cobuf_host::{Host, SandboxMode};
    /// let builder = Host::builder().sandbox_mode(SandboxMode::BestEffort);
    /// ```
    #[cfg(feature = "sandbox")]
    pub fn sandbox_mode(mut self, mode: SandboxMode) -> Self {
        self.sandbox.get_or_insert_default().mode = mode;
        self
    }

    /// The limits of one worker on memory, processor time and files. Default: no limit.
    ///
    /// ```
    /// # use cobuf_host::{Host, WorkerLimits};
    /// let limits = WorkerLimits { memory_bytes: Some(2_000_000_000), ..WorkerLimits::default() };
    /// let builder = Host::builder().worker_limits(limits);
    /// ```
    pub fn worker_limits(mut self, limits: WorkerLimits) -> Self {
        self.worker_limits = limits;
        self
    }

    /// Whether each worker stays on one CPU: worker 0 on the first that this process may use,
    /// worker 1 on the next, and from the last on to the first again. Default: `false`.
    ///
    /// ```
    /// # use cobuf_host::Host;
    /// let builder = Host::builder().pin_workers(true);
    /// ```
    pub fn pin_workers(mut self, pin: bool) -> Self {
        self.pin_workers = pin;
        self
    }
}

/// # Metrics
#[cfg(feature = "metrics")]
impl HostBuilder {
    /// Reports the run's counters for Prometheus, in a file or at an address, see
    /// [`guide::metrics`](crate::guide::metrics). Needs the feature `metrics`.
    ///
    /// Default: nowhere. `start` fails with [`StartError::Metrics`](crate::StartError::Metrics) if the
    /// address is taken or the file cannot be written. Later failures are a warning, and the run goes
    /// on. In a job of several ranks a file's name needs `{rank}`, which stands for the rank's number.
    ///
    /// ```
    /// # use cobuf_host::{Host, MetricsTarget};
    /// let file = Host::builder().metrics(MetricsTarget::File("/var/lib/node_exporter/digits.prom".into()));
    /// let address = Host::builder().metrics("127.0.0.1:9400".parse()?);
    /// # Ok::<(), cobuf_host::MetricsTargetError>(())
    /// ```
    pub fn metrics(mut self, target: MetricsTarget) -> Self {
        self.metrics = Some(target);
        self
    }
}
