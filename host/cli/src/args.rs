//! The command line.

use std::path::PathBuf;

use clap::{ArgAction, Args as Group, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use cobuf_host::{PluginKind, Workers, limits};

/// A concurrent buffer: producer plugins in worker processes fill shared-memory slots with arrays.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Log more: -v for the host's decisions, -vv for everything. RUST_LOG, where set, decides instead.
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub(crate) verbose: u8,
}

const EXAMPLES: &str = "\
Examples:
  cobuf run examples/digits.toml
  cobuf run examples/images.toml --workers 8 --set producer.height=96
  cobuf run examples/fill.toml --batches 100 --any-order --report json
  cobuf run examples/digits.toml --checkpoint run.json --checkpoint-every 50
  cobuf run examples/digits.toml --resume run.json --workers auto
  cobuf run examples/images.toml --message-timeout 30 --on-failure all=skip --dead-letters bad.jsonl
  cobuf run examples/images.toml --replay bad.jsonl
  cobuf watch examples/fill.toml
  cobuf chaos examples/chaos.toml --seed 7 --kills-per-second 10 --seconds 30
  cobuf new producer my-decoder
  COBUF_PLUGIN_PATH=target/release cobuf list
  cobuf inspect plugins/digits-producer --set batch_size=64
  cobuf check plugins/digits-producer --pipeline examples/digits.toml
  cobuf bench examples/digits.toml --workers 2
  cobuf completions bash > ~/.local/share/bash-completion/completions/cobuf

Exit codes:
  0    all went well
  1    batches failed, or the stream ended with an error; chaos made a difference; a check failed
  2    nothing could be started: the command line, a pipeline file, a plugin, the machine
  130  stopped by Ctrl-C, 143 by SIGTERM; the summary is printed all the same";

const CHECK_EXAMPLES: &str = "\
Examples:
  cobuf check plugins/digits-producer --pipeline examples/digits.toml
  cobuf check libmine.so --config '{\"batch_size\": 4}' --message '{\"items\": [1, 2]}' --json
  cobuf check libmine.so --config @config.json --time-limit 5

Exit codes:
  0  no test failed
  1  a test failed, or the file is no plugin for this machine
  2  nothing could be tested: the command line, no such file, a build that fails";

const BENCH_EXAMPLES: &str = "\
Examples:
  cobuf bench examples/digits.toml --workers 2 --set producer.batch_size=128
  cobuf bench examples/images.toml --runs 3 --seconds 60 --json

Exit codes:
  0    everything was measured
  2    something could not be started: the command line, a pipeline file, a plugin, the machine
  130  stopped by Ctrl-C, 143 by SIGTERM";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a pipeline to its end and say how it went.
    Run(Box<RunArgs>),
    /// Run a pipeline, and swap its plugins whenever their sources change: the same as run --watch.
    Watch(Box<RunArgs>),
    /// Run a pipeline again and again while its processes are killed, crashed, frozen and hung at random, and check that nobody could
    /// tell: each batch once, the same content, nothing left behind.
    Chaos(ChaosArgs),
    /// Make a crate for a new plugin: source, tests, a README, and a pipeline to run it in. Nothing is fetched.
    New(NewArgs),
    /// List the plugins that can be given by name, and whether they would load. No code of theirs runs.
    List(ListArgs),
    /// Show what a plugin is and declares: manifest, configuration, and the arrays for a configuration.
    Inspect(InspectArgs),
    /// Test whether a plugin does what a host relies on: what it declares, wrong configurations and messages, the same bytes for the
    /// same seed, writes inside its arrays only, leaks. Each test has processes of its own.
    #[command(after_help = CHECK_EXAMPLES)]
    Check(CheckArgs),
    /// Measure how fast a pipeline is: several runs, and what limited each.
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
    /// The pipeline file (TOML). Paths in it are relative to it.
    pub(crate) pipeline: PathBuf,
    /// End after so many batches.
    #[arg(long, value_name = "N")]
    pub(crate) batches: Option<u64>,
    /// The number of worker processes, or "auto" to find the number beyond which throughput does not rise. One for each CPU, where
    /// neither this nor the pipeline says.
    #[arg(long, value_name = "N|auto", value_parser = workers)]
    pub(crate) workers: Option<Workers>,
    /// The number of slots. Four for each worker, where neither this nor the pipeline says.
    #[arg(long, value_name = "N")]
    pub(crate) slots: Option<usize>,
    /// The run's seed.
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Deliver batches in the order of their messages (the default). --deterministic is its old name.
    #[arg(long, alias = "deterministic", conflicts_with = "any_order")]
    pub(crate) ordered: bool,
    /// Deliver batches as they become ready.
    #[arg(long)]
    pub(crate) any_order: bool,
    /// Write now and then to this file what was delivered, so that --resume can go on after whatever happens.
    #[arg(long, value_name = "FILE")]
    pub(crate) checkpoint: Option<PathBuf>,
    /// After how many batches to write it.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) checkpoint_every: u64,
    /// Go on where the run was that wrote this checkpoint; goes on writing it, unless --checkpoint names another.
    #[arg(long, value_name = "FILE")]
    pub(crate) resume: Option<PathBuf>,
    /// Produce just the messages in this file of dead letters again.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["resume", "checkpoint"])]
    pub(crate) replay: Option<PathBuf>,
    /// Add to this file (JSON, a line each) the messages that could not be produced.
    #[arg(long, value_name = "FILE")]
    pub(crate) dead_letters: Option<PathBuf>,
    /// What becomes of failures of a kind (error, panic, crash, timeout, all): raise, skip or stop. Can be repeated.
    #[arg(long, value_name = "KIND=CHOICE")]
    pub(crate) on_failure: Vec<String>,
    /// How often a message is tried whose worker dies.
    #[arg(long, value_name = "N")]
    pub(crate) max_attempts: Option<u32>,
    /// How long a worker may take for a message; what takes longer is killed, and its stack shown.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) message_timeout: Option<f64>,
    /// How long the commander may take for a message.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) commander_timeout: Option<f64>,
    /// Change a configuration: producer.KEY=VALUE or commander.KEY=VALUE, the value as in TOML. Can be repeated.
    #[arg(long, value_name = "WHO.KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Build and swap plugins while the run goes on, whenever their sources change; a .so file, whenever it does.
    #[arg(long)]
    pub(crate) watch: bool,
    /// How to report: text for people on standard error, json as one last line on standard output.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) report: ReportFormat,
}

#[derive(Debug, Group)]
pub(crate) struct ChaosArgs {
    /// The pipeline file (TOML). It should be deterministic, and take a second or more.
    pub(crate) pipeline: PathBuf,
    /// The seed of the faults; another one each time where none is given. The report names it.
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// How many faults there are in a second, on average.
    #[arg(long, value_name = "R", default_value_t = 10.0)]
    pub(crate) kills_per_second: f64,
    /// How long to go on; the round that runs then is finished.
    #[arg(long, value_name = "N", default_value_t = 10.0)]
    pub(crate) seconds: f64,
    /// How long a process may take for a message before it is taken to hang, in seconds: more than any of the pipeline's takes.
    #[arg(long, value_name = "SECONDS", default_value_t = 0.25)]
    pub(crate) deadline: f64,
    /// The number of batches of a round, where the pipeline has no end, or a late one.
    #[arg(long, value_name = "N")]
    pub(crate) batches: Option<u64>,
    /// Change a configuration: producer.KEY=VALUE or commander.KEY=VALUE. Can be repeated.
    #[arg(long, value_name = "WHO.KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Print the report as one JSON object on standard output.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `--workers`: a number, or `auto`.
fn workers(text: &str) -> Result<Workers, String> {
    match text {
        "auto" => Ok(Workers::auto()),
        number => number
            .parse()
            .map(Workers::Fixed)
            .map_err(|_| format!("{number:?} is wrong, expected a number or \"auto\"")),
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    #[default]
    Text,
    Json,
}

#[derive(Debug, Group)]
pub(crate) struct InspectArgs {
    /// The plugin: a .so file, a package's folder, which is built first, or a name on COBUF_PLUGIN_PATH.
    pub(crate) plugin: PathBuf,
    /// A TOML file with the plugin's configuration, for which the arrays are shown.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Set a configuration's entry: KEY=VALUE, the value as in TOML. Can be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Group)]
pub(crate) struct NewArgs {
    /// What it shall be.
    #[arg(value_enum)]
    pub(crate) kind: NewKind,
    /// The new package's name.
    pub(crate) name: String,
    /// Its folder, which must not be there yet. The name, in the current folder, where none is given.
    pub(crate) folder: Option<PathBuf>,
    /// Depend on the cobuf-plugin-api in this folder instead of that on crates.io.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) plugin_api: Option<PathBuf>,
}

/// The kind of a new plugin.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum NewKind {
    /// Fills arrays, in worker processes.
    Producer,
    /// Says what to produce, one message a batch.
    Commander,
}

impl From<NewKind> for PluginKind {
    fn from(kind: NewKind) -> Self {
        match kind {
            NewKind::Producer => Self::Producer,
            NewKind::Commander => Self::Commander,
        }
    }
}

#[derive(Debug, Group)]
pub(crate) struct ListArgs {
    /// The folders to look in; those of COBUF_PLUGIN_PATH where none is given.
    pub(crate) folders: Vec<PathBuf>,
    /// Print one JSON list.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Group)]
pub(crate) struct CheckArgs {
    /// The plugin: a .so file, or a package's folder, which is built first.
    pub(crate) plugin: PathBuf,
    /// The plugin's configuration: JSON, or @ and the name of a file with it.
    #[arg(long, value_name = "JSON|@FILE")]
    pub(crate) config: Option<String>,
    /// A message that the producer can do: JSON, or @ and the name of a file with it. Can be repeated.
    #[arg(long, value_name = "JSON|@FILE")]
    pub(crate) message: Vec<String>,
    /// A pipeline file with the plugin's configuration; a producer is given the first messages of its commander.
    #[arg(long, value_name = "FILE")]
    pub(crate) pipeline: Option<PathBuf>,
    /// The run's seed that the plugin is told.
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// How long each process of a test may take; what takes longer is killed, and its stack shown.
    #[arg(long, value_name = "SECONDS", default_value_t = limits::DEFAULT_EXAMINATION_LIMIT.as_secs_f64())]
    pub(crate) time_limit: f64,
    /// How long leaks are looked for in the first of five windows; the others have as many messages.
    #[arg(long, value_name = "SECONDS", default_value_t = limits::DEFAULT_SOAK.as_secs_f64())]
    pub(crate) soak: f64,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Group)]
pub(crate) struct BenchArgs {
    /// The pipeline file (TOML). Paths in it are relative to it.
    pub(crate) pipeline: PathBuf,
    /// How often the pipeline is run. The report shows the median, the least and the most.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) runs: usize,
    /// For about how long the pipeline is measured, all runs together.
    #[arg(long, value_name = "N", default_value_t = 10.0)]
    pub(crate) seconds: f64,
    /// End each run after so many batches.
    #[arg(long, value_name = "N")]
    pub(crate) batches: Option<u64>,
    /// The number of worker processes.
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<usize>,
    /// The number of slots.
    #[arg(long, value_name = "N")]
    pub(crate) slots: Option<usize>,
    /// Deliver batches as they become ready.
    #[arg(long)]
    pub(crate) any_order: bool,
    /// Change the configuration: producer.KEY=VALUE or commander.KEY=VALUE, the value as in TOML. Can be repeated.
    #[arg(long, value_name = "WHO.KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Print one JSON object on standard output.
    #[arg(long)]
    pub(crate) json: bool,
}
