//! The command line.

use std::path::PathBuf;

use clap::{ArgAction, Args as Group, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

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
  cobuf inspect plugins/digits-producer --set batch_size=64
  cobuf completions bash > ~/.local/share/bash-completion/completions/cobuf

Exit codes:
  0    all went well
  1    batches failed, or the stream ended with an error
  2    nothing could be started: the command line, a pipeline file, a plugin, the machine
  130  stopped by Ctrl-C, 143 by SIGTERM; the summary is printed all the same";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a pipeline to its end and say how it went.
    Run(RunArgs),
    /// Show what a plugin is and declares: manifest, configuration, and the arrays for a configuration.
    Inspect(InspectArgs),
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
    /// The number of worker processes. One for each CPU, where neither this nor the pipeline says.
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<usize>,
    /// The number of slots. Four for each worker, where neither this nor the pipeline says.
    #[arg(long, value_name = "N")]
    pub(crate) slots: Option<usize>,
    /// The run's seed.
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Batches in the order of their messages (the default).
    #[arg(long, conflicts_with = "any_order")]
    pub(crate) deterministic: bool,
    /// Batches as they are ready.
    #[arg(long)]
    pub(crate) any_order: bool,
    /// Change a configuration: producer.KEY=VALUE or commander.KEY=VALUE, the value as in TOML. Can be repeated.
    #[arg(long, value_name = "WHO.KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// How to report: text for people on standard error, json as one last line on standard output.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) report: ReportFormat,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    #[default]
    Text,
    Json,
}

#[derive(Debug, Group)]
pub(crate) struct InspectArgs {
    /// The plugin: a .so file, or a package's folder, which is built first.
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
