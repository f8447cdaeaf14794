//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args as Group, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use cobuf_host::{PluginKind, Workers, limits};

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
  cobuf run examples/images.toml --message-timeout 30 --on-failure all=skip --dead-letters bad.jsonl
  cobuf run examples/images.toml --replay bad.jsonl
  cobuf watch examples/fill.toml
  cobuf chaos examples/chaos.toml --seed 7 --kills-per-second 10 --seconds 30
  cobuf new pipeline slides
  cobuf new producer my-decoder
  COBUF_PLUGIN_PATH=target/release cobuf list
  cobuf inspect plugins/digits-producer --set batch_size=64
  cobuf check plugins/digits-producer --pipeline examples/digits.toml
  cobuf bench examples/digits.toml --workers 2
  cobuf completions bash > ~/.local/share/bash-completion/completions/cobuf

Exit codes:
  0    all went well
  1    batches failed, or the stream ended with an error; chaos made a difference; a check failed;
       the report could not be written
  2    nothing could be started: the command line, a pipeline file, a plugin, the machine
  130  stopped by Ctrl-C, 143 by SIGTERM; the summary is still printed";

const CHECK_EXAMPLES: &str = "\
Examples:
  cobuf check plugins/digits-producer --pipeline examples/digits.toml
  cobuf check libmine.so --config '{\"batch_size\": 4}' --message '{\"items\": [1, 2]}' --json
  cobuf check libmine.so --config config.toml --set batch_size=8 --time-limit 5

Exit codes:
  0  no test failed
  1  a test failed, or the file is no plugin for this machine; the report could not be written
  2  nothing could be tested: the command line, a missing file, a build that fails";

const BENCH_EXAMPLES: &str = "\
Examples:
  cobuf bench examples/digits.toml --workers 2 --set producer.batch_size=128
  cobuf bench examples/images.toml --runs 3 --seconds 60 --json

Exit codes:
  0    everything was measured
  1    the report could not be written
  2    something could not be started: the command line, a pipeline file, a plugin, the machine
  130  stopped by Ctrl-C, 143 by SIGTERM";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a pipeline to its end and print a summary.
    Run(Box<RunArgs>),
    /// Run a pipeline, and swap a plugin whenever its sources change: the same as run --watch. It
    /// ends with the pipeline's stream.
    Watch(Box<RunArgs>),
    /// Run a pipeline repeatedly while its processes are killed, crashed, frozen and hung at
    /// random, and check that the result is the same: each batch once, the same content, nothing
    /// left behind.
    Chaos(ChaosArgs),
    /// Make crates for new plugins, in a workspace of their own: source, tests, a README, and a
    /// pipeline to run them in. Nothing is downloaded.
    New(NewArgs),
    /// List the plugins that can be given by name, and whether they would load. Their code does not
    /// run.
    List(ListArgs),
    /// Show a plugin's manifest, its configuration, and the arrays for a configuration.
    Inspect(InspectArgs),
    /// Test whether a plugin does what a host relies on: declarations, wrong configurations and
    /// messages, the same bytes for the same seed, writes inside its arrays only, leaks. Each test
    /// has processes of its own.
    #[command(after_help = CHECK_EXAMPLES)]
    Check(CheckArgs),
    /// Measure how fast a pipeline is, over several runs, and what limits each.
    #[command(after_help = BENCH_EXAMPLES)]
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
    /// Write checkpoints to this file, from which --resume continues the run.
    #[arg(long, value_name = "FILE")]
    pub(crate) checkpoint: Option<PathBuf>,
    /// The number of batches from one checkpoint to the next.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = numbers::whole(1..=u64::MAX), allow_negative_numbers = true)]
    pub(crate) checkpoint_every: u64,
    /// Continue the run that wrote this checkpoint. The same file is written again, unless
    /// --checkpoint names another.
    #[arg(long, value_name = "FILE")]
    pub(crate) resume: Option<PathBuf>,
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
    /// Build and swap a plugin whenever its sources change, or its .so file.
    #[arg(long)]
    pub(crate) watch: bool,
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

#[derive(Debug, Group)]
pub(crate) struct ChaosArgs {
    /// The pipeline file (TOML). Its content should follow from the seed, and a run should take a
    /// second or more.
    pub(crate) pipeline: PathBuf,
    /// The seed of the faults. The default is a different one each time; the report names it.
    #[arg(long, value_name = "N", value_parser = numbers::whole(0..=u64::MAX), allow_negative_numbers = true)]
    pub(crate) seed: Option<u64>,
    /// The average number of faults in a second.
    #[arg(long, value_name = "R", default_value_t = 10.0, value_parser = numbers::rate, allow_negative_numbers = true)]
    pub(crate) kills_per_second: f64,
    /// The time after which no new round begins.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = numbers::seconds(Duration::ZERO), allow_negative_numbers = true)]
    pub(crate) seconds: Duration,
    /// The time after which a process counts as hanging. It must be longer than the pipeline needs
    /// for any message.
    #[arg(long, value_name = "SECONDS", default_value = "0.25", value_parser = numbers::deadline, allow_negative_numbers = true)]
    pub(crate) deadline: Duration,
    /// The number of worker processes of the undisturbed round; the others have up to two more. The
    /// default, if the pipeline gives none either, is one for each CPU.
    #[arg(long, value_name = "N", value_parser = numbers::number_of_workers(), allow_negative_numbers = true)]
    pub(crate) workers: Option<usize>,
    /// The number of batches in a round, for a pipeline that has no end or a late one.
    #[arg(long, value_name = "N", value_parser = numbers::whole(1..=u64::MAX), allow_negative_numbers = true)]
    pub(crate) batches: Option<u64>,
    /// Change a configuration: producer.KEY=VALUE or commander.KEY=VALUE, the value as in TOML. Can
    /// be repeated.
    #[arg(long, value_name = "PLUGIN.KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Print one JSON object on standard output.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    #[default]
    Text,
    Json,
}

#[derive(Debug, Group)]
pub(crate) struct InspectArgs {
    /// The plugin: a .so file, a package's folder, which is built first, or a name that is found in
    /// the folders of COBUF_PLUGIN_PATH.
    pub(crate) plugin: PathBuf,
    /// A configuration of the plugin, for which the arrays are shown: JSON, or a file with TOML or
    /// JSON. A file may have @ before its name.
    #[arg(long, value_name = "JSON|FILE")]
    pub(crate) config: Option<OsString>,
    /// Set an entry of the configuration: KEY=VALUE, the value as in TOML. Can be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Print one JSON object on standard output.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Group)]
pub(crate) struct NewArgs {
    /// What to make: one plugin with a small one of the other kind, or both plugins of a pipeline.
    #[arg(value_enum)]
    pub(crate) kind: NewKind,
    /// The name of the package or the pipeline.
    pub(crate) name: String,
    /// Its folder, which must not exist. The default is the name, in the current folder.
    pub(crate) folder: Option<PathBuf>,
    /// Depend on the cobuf-plugin-api in this folder. The default is the checkout that this command
    /// was built from, if it is still there, and otherwise crates.io.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) plugin_api: Option<PathBuf>,
}

/// What `cobuf new` makes.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum NewKind {
    /// Both plugins in one workspace, and a pipeline of the two.
    Pipeline,
    /// A plugin that fills arrays, in worker processes.
    Producer,
    /// A plugin that says what to produce, with one message for each batch.
    Commander,
}

impl NewKind {
    /// The plugin that was asked for, if it was one.
    pub(crate) fn plugin(self) -> Option<PluginKind> {
        match self {
            Self::Pipeline => None,
            Self::Producer => Some(PluginKind::Producer),
            Self::Commander => Some(PluginKind::Commander),
        }
    }
}

#[derive(Debug, Group)]
pub(crate) struct ListArgs {
    /// The folders to look in. The default is those of COBUF_PLUGIN_PATH.
    pub(crate) folders: Vec<PathBuf>,
    /// Print one JSON list on standard output.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Group)]
pub(crate) struct CheckArgs {
    /// The plugin: a .so file, or a package's folder, which is built first.
    pub(crate) plugin: PathBuf,
    /// The plugin's configuration: JSON, or a file with TOML or JSON. A file may have @ before its
    /// name.
    #[arg(long, value_name = "JSON|FILE")]
    pub(crate) config: Option<OsString>,
    /// Set an entry of the configuration, also of the pipeline's: KEY=VALUE, the value as in TOML.
    /// Can be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// A message that the producer can produce: as --config. Can be repeated.
    #[arg(long, value_name = "JSON|FILE")]
    pub(crate) message: Vec<OsString>,
    /// A pipeline file with the plugin's configuration. A producer gets the first messages of the
    /// pipeline's commander.
    #[arg(long, value_name = "FILE")]
    pub(crate) pipeline: Option<PathBuf>,
    /// The run's seed that the plugin gets.
    #[arg(long, value_name = "N", value_parser = numbers::whole(0..=u64::MAX), allow_negative_numbers = true)]
    pub(crate) seed: Option<u64>,
    /// The time that each process of a test may take. A process that takes longer is killed, and
    /// its stack is shown.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = numbers::seconds(Duration::from_millis(1)), allow_negative_numbers = true)]
    pub(crate) time_limit: Duration,
    /// The length of the first of five windows in which leaks are looked for. The others have as
    /// many messages.
    #[arg(long, value_name = "SECONDS", default_value = "0.2", value_parser = numbers::seconds(Duration::ZERO), allow_negative_numbers = true)]
    pub(crate) soak: Duration,
    /// Print one JSON object on standard output.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Group)]
pub(crate) struct BenchArgs {
    /// The pipeline file (TOML). Paths in it are relative to its folder.
    pub(crate) pipeline: PathBuf,
    /// The number of runs. The report shows the median, the least and the greatest.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = numbers::whole(1..=usize::MAX), allow_negative_numbers = true)]
    pub(crate) runs: usize,
    /// About how long the pipeline is measured, all runs together.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = numbers::seconds(Duration::from_nanos(1)), allow_negative_numbers = true)]
    pub(crate) seconds: Duration,
    /// End each run after this many batches.
    #[arg(long, value_name = "N", value_parser = numbers::whole(2..=u64::MAX), allow_negative_numbers = true)]
    pub(crate) batches: Option<u64>,
    /// The number of worker processes.
    #[arg(long, value_name = "N", value_parser = numbers::number_of_workers(), allow_negative_numbers = true)]
    pub(crate) workers: Option<usize>,
    /// The number of slots.
    #[arg(long, value_name = "N", value_parser = numbers::slots, allow_negative_numbers = true)]
    pub(crate) slots: Option<usize>,
    /// The run's seed.
    #[arg(long, value_name = "N", value_parser = numbers::whole(0..=u64::MAX), allow_negative_numbers = true)]
    pub(crate) seed: Option<u64>,
    /// Deliver batches as they become ready.
    #[arg(long)]
    pub(crate) any_order: bool,
    /// Change a configuration: producer.KEY=VALUE or commander.KEY=VALUE, the value as in TOML. Can
    /// be repeated.
    #[arg(long, value_name = "PLUGIN.KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Print one JSON object on standard output.
    #[arg(long)]
    pub(crate) json: bool,
}
