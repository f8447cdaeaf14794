//! The command line: all verbs, and the options of `run`.
//!
//! ```text
//!   checkpoint  the options of the verbs on checkpoints
//!   plugins     the options of the verbs on plugins: new, list, inspect, check
//!   measure     the options of chaos and bench
//!   preview     the options of preview
//!   top         the options of top
//! ```

mod checkpoint;
mod measure;
mod plugins;
mod preview;
mod top;

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args as Group, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use cobuf_host::{MetricsTarget, Rank, Remainder, SandboxMode, Workers, limits};
use serde::Serialize;

pub(crate) use self::checkpoint::{CheckpointArgs, CheckpointVerb, MergeArgs, ShowArgs, SplitArgs};
pub(crate) use self::measure::{BenchArgs, ChaosArgs};
pub(crate) use self::plugins::{CheckArgs, InspectArgs, ListArgs, NewArgs, NewKind};
pub(crate) use self::preview::PreviewArgs;
pub(crate) use self::top::TopArgs;
use crate::numbers;

/// A concurrent buffer: producer plugins in worker processes fill slots of shared memory with
/// arrays.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Log more: -v for the host's decisions, -vv for everything. RUST_LOG replaces both, if set.
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub(crate) verbose: u8,
}

const EXAMPLES: &str = "\
Examples:
  cobuf run examples/digits.toml
  cobuf run examples/images.toml --workers 8 --set producer.height=96
  cobuf run examples/fill.toml --batches 100 --any-order --json
  cobuf run examples/digits.toml --checkpoint run.json --checkpoint-every 50
  cobuf run examples/digits.toml --resume run.json --workers auto
  cobuf run examples/digits.toml --replay-ready 4 --batches 100000
  srun -n 4 cobuf run examples/digits.toml --rank auto --checkpoint runs/ckpt
  mpirun -n 3 cobuf run examples/digits.toml --rank auto --resume runs/ckpt
  cobuf checkpoint show runs/ckpt
  cobuf run examples/images.toml --message-timeout 30 --on-failure all=skip --dead-letters bad.jsonl
  cobuf run examples/images.toml --replay bad.jsonl
  cobuf run examples/digits.toml --trace run.json    # open it at ui.perfetto.dev
  cobuf run examples/fill.toml --metrics :9400
  cobuf run examples/digits.toml --save batches --checkpoint run.json
  cobuf watch examples/fill.toml
  cobuf preview examples/digits.toml
  cobuf preview examples/images.toml --batches 3 -o batches.png
  cobuf top
  cobuf chaos examples/chaos.toml --seed 7 --kills-per-second 10 --seconds 30
  cobuf new pipeline slides
  cobuf new producer my-decoder
  cobuf new producer --python my-decoder
  COBUF_PLUGIN_PATH=target/release cobuf list
  cobuf inspect plugins/digits-producer --set batch_size=64
  cobuf inspect slides.py:Slides
  cobuf check plugins/digits-producer --pipeline examples/digits.toml
  cobuf bench examples/digits.toml --workers 2
  cobuf completions bash > ~/.local/share/bash-completion/completions/cobuf

Exit codes:
  0    all went well
  1    batches failed, or the stream ended with an error; chaos made a difference; a check failed;
       the report could not be written
  2    nothing could be started: the command line, a pipeline file, a plugin, the machine
  130  stopped by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP; the summary is still printed";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a pipeline to its end and print a summary.
    Run(Box<RunArgs>),
    /// Look at a run from outside, while it goes on: what limits it, its rates, slots and workers. Any
    /// run of this user, also of a program that embeds the host, or of Python; the run does not change.
    #[command(after_help = top::TOP_EXAMPLES)]
    Top(TopArgs),
    /// Run a pipeline, and swap a plugin whenever its sources change: the same as run --watch. It
    /// ends with the pipeline's stream.
    Watch(Box<RunArgs>),
    /// Show the first batches of a pipeline: pictures, masks, boxes, labels, and statistics of other
    /// arrays; in the terminal, or as a PNG file.
    #[command(after_help = preview::PREVIEW_EXAMPLES)]
    Preview(PreviewArgs),
    /// Run a pipeline repeatedly while its processes are killed, crashed, frozen and hung at
    /// random, and check that the result is the same: each batch once, the same content, nothing
    /// left behind.
    Chaos(ChaosArgs),
    /// Make crates for new plugins, in a workspace of their own: source, tests, a README, and a
    /// pipeline to run them in. Or make them in Python. Nothing is downloaded.
    New(NewArgs),
    /// List the plugins that can be given by name, and whether they would load. Their code does not
    /// run.
    List(ListArgs),
    /// Show a plugin's manifest, its configuration, and the arrays for a configuration.
    Inspect(InspectArgs),
    /// Test whether a plugin does what a host relies on: declarations, wrong configurations and
    /// messages, the same bytes for the same seed, writes inside its arrays only, leaks. Each test
    /// has processes of its own.
    #[command(after_help = plugins::CHECK_EXAMPLES)]
    Check(CheckArgs),
    /// Show checkpoints, and make those of a job's ranks into one or the reverse.
    #[command(after_help = checkpoint::CHECKPOINT_EXAMPLES)]
    Checkpoint(CheckpointArgs),
    /// Measure how fast a pipeline is, over several runs, and what limits each.
    #[command(after_help = measure::BENCH_EXAMPLES)]
    Bench(BenchArgs),
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

#[derive(Debug, Group)]
pub(crate) struct RunArgs {
    /// The pipeline file (TOML). Paths in it are relative to its folder.
    pub(crate) pipeline: PathBuf,
    /// End after this many batches.
    #[arg(long, value_name = "N", value_parser = numbers::whole(1..=u64::MAX), allow_negative_numbers = true)]
    pub(crate) batches: Option<u64>,
    /// Deliver the first N batches again and again, without producing more: how fast is the application
    /// alone? They stay in their slots, of which there must be more. Ends after --batches, or with a
    /// signal; there is no content digest.
    #[arg(long, value_name = "N", value_parser = numbers::slots, allow_negative_numbers = true,
          conflicts_with_all = ["resume", "checkpoint", "replay", "watch", "save"])]
    pub(crate) replay_ready: Option<usize>,
    /// The number of worker processes, or "auto" to find the number beyond which throughput does
    /// not rise. The default, if the pipeline gives none either, is one for each CPU.
    #[arg(long, value_name = "N|auto", value_parser = numbers::workers, allow_negative_numbers = true)]
    pub(crate) workers: Option<Workers>,
    /// The number of slots. The default, if the pipeline gives none either, is four for each
    /// worker.
    #[arg(long, value_name = "N", value_parser = numbers::slots, allow_negative_numbers = true)]
    pub(crate) slots: Option<usize>,
    /// The run's seed.
    #[arg(long, value_name = "N", value_parser = numbers::whole(0..=u64::MAX), allow_negative_numbers = true)]
    pub(crate) seed: Option<u64>,
    /// Deliver batches in the order of their messages (the default).
    #[arg(long, alias = "deterministic", conflicts_with = "any_order")]
    pub(crate) ordered: bool,
    /// Deliver batches as they become ready.
    #[arg(long)]
    pub(crate) any_order: bool,
    /// The rank of this process in a job of several: auto (as the launcher says: torchrun, Open MPI,
    /// SLURM and others), none, or I/W, such as 2/8. Each rank delivers its part of the messages.
    #[arg(long, value_name = "auto|none|I/W")]
    pub(crate) rank: Option<Rank>,
    /// What the ranks do with the last messages if their number is not a multiple of the number of
    /// ranks: short (some ranks get one less), drop (no rank gets them), or repeat (each rank gets as
    /// many).
    #[arg(long, value_name = "short|drop|repeat")]
    pub(crate) remainder: Option<Remainder>,
    /// Write checkpoints to this file, from which --resume continues the run. With a rank: a folder,
    /// the same for all ranks.
    #[arg(long, value_name = "FILE|FOLDER")]
    pub(crate) checkpoint: Option<PathBuf>,
    /// The number of batches from one checkpoint to the next.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = numbers::whole(1..=u64::MAX), allow_negative_numbers = true)]
    pub(crate) checkpoint_every: u64,
    /// Continue the run that wrote this checkpoint. The same file is written again, unless
    /// --checkpoint names another. A folder of ranks is continued by any number of ranks, also by
    /// none.
    #[arg(long, value_name = "FILE|FOLDER")]
    pub(crate) resume: Option<PathBuf>,
    /// Save each batch as a file in this folder, named by its number: 000000042.npz. The folder of
    /// another run is refused. With --resume or --replay, files are added to a folder.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) save: Option<PathBuf>,
    /// The format of saved batches: npz (NumPy reads it) or safetensors (which has bf16, too).
    #[arg(long, value_enum, default_value_t, requires = "save")]
    pub(crate) format: SaveFormat,
    /// Produce only the messages in this file of dead letters.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["resume", "checkpoint"])]
    pub(crate) replay: Option<PathBuf>,
    /// Add each message that could not be produced to this file (JSON, one line each).
    #[arg(long, value_name = "FILE")]
    pub(crate) dead_letters: Option<PathBuf>,
    /// The policy for a kind of failure (error, panic, crash, timeout, all): raise, skip or stop.
    /// Can be repeated.
    #[arg(long, value_name = "KIND=CHOICE")]
    pub(crate) on_failure: Vec<String>,
    /// The number of attempts at a message whose worker dies.
    #[arg(long, value_name = "N", value_parser = numbers::whole(1..=limits::MAX_ATTEMPTS), allow_negative_numbers = true)]
    pub(crate) max_attempts: Option<u32>,
    /// The time that a worker may take for a message. A worker that takes longer is killed, and its
    /// stack is shown.
    #[arg(long, value_name = "SECONDS", value_parser = numbers::deadline, allow_negative_numbers = true)]
    pub(crate) message_timeout: Option<Duration>,
    /// The time that the commander may take for a message.
    #[arg(long, value_name = "SECONDS", value_parser = numbers::deadline, allow_negative_numbers = true)]
    pub(crate) commander_timeout: Option<Duration>,
    /// Change a configuration: producer.KEY=VALUE or commander.KEY=VALUE, the value as in TOML. Can
    /// be repeated.
    #[arg(long, value_name = "PLUGIN.KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// The Python interpreter for plugins that are Python code, instead of the pipeline's and that
    /// of the active environment.
    #[arg(long, value_name = "FILE")]
    pub(crate) python: Option<PathBuf>,
    /// Put the workers into a jail: that of the pipeline's table [sandbox], or the tightest one.
    /// "strict" refuses to start if the kernel cannot enforce it, "best-effort" does what can be
    /// done, "off" ignores the pipeline's.
    #[arg(long, value_name = "MODE", num_args = 0..=1, require_equals = true, default_missing_value = "strict")]
    pub(crate) sandbox: Option<SandboxMode>,
    /// Report the run's counters for Prometheus: in a file, for node_exporter (replaced every 5 s and at
    /// the end), or at an address, such as :9400 (this machine only) or 0.0.0.0:9400 (all). {rank} in it
    /// stands for the rank's number.
    #[arg(long, value_name = "FILE|ADDRESS")]
    pub(crate) metrics: Option<MetricsTarget>,
    /// Build and swap a plugin whenever its sources change, or its .so file.
    #[arg(long)]
    pub(crate) watch: bool,
    /// Write a trace of the run to this file at its end, also after Ctrl-C: what the commander, each
    /// worker and each consumer did when (Chrome's trace events, JSON). Open it at ui.perfetto.dev,
    /// in speedscope or chrome://tracing. If it cannot be written then, the run's result stays.
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
    /// The most batches in the trace: the last ones of the run. A batch takes some 200 bytes of
    /// memory, and 700 bytes of the file.
    #[arg(long, value_name = "N", default_value_t = limits::DEFAULT_TRACE_BATCHES, value_parser = numbers::whole(1..=limits::MAX_TRACE_BATCHES), allow_negative_numbers = true)]
    pub(crate) trace_batches: usize,
    /// Print the summary as one JSON object, the last line on standard output. The default is text
    /// for people on standard error.
    #[arg(long)]
    pub(crate) json: bool,
    /// The old spelling of --json.
    #[arg(long, value_enum, default_value_t, hide = true, conflicts_with = "json")]
    pub(crate) report: ReportFormat,
}

impl RunArgs {
    /// Whether the summary is for programs.
    pub(crate) fn json(&self) -> bool {
        self.json || self.report == ReportFormat::Json
    }
}

/// The format of saved batches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SaveFormat {
    #[default]
    Npz,
    Safetensors,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    #[default]
    Text,
    Json,
}
