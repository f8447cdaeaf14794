//! The options of `cobuf chaos` and `cobuf bench`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args as Group;

use crate::numbers;

pub(super) const BENCH_EXAMPLES: &str = "\
Examples:
  cobuf bench examples/digits.toml --workers 2 --set producer.batch_size=128
  cobuf bench examples/images.toml --runs 3 --seconds 60 --json

Exit codes:
  0    everything was measured
  1    the report could not be written
  2    something could not be started: the command line, a pipeline file, a plugin, the machine
  130  stopped by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP";

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
    /// The Python interpreter for plugins that are Python code, instead of the pipeline's and that
    /// of the active environment.
    #[arg(long, value_name = "FILE")]
    pub(crate) python: Option<PathBuf>,
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
    /// The Python interpreter for plugins that are Python code, instead of the pipeline's and that
    /// of the active environment.
    #[arg(long, value_name = "FILE")]
    pub(crate) python: Option<PathBuf>,
    /// Print one JSON object on standard output.
    #[arg(long)]
    pub(crate) json: bool,
}
