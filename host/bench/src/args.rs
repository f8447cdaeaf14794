//! The command line.

use clap::{Args as Group, Parser, Subcommand, ValueEnum};

/// Measure the buffer itself: the built-in cases, each beside the least that this machine makes it cost.
#[derive(Debug, Parser)]
#[command(name = "cobuf-bench", version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    /// The cases to measure; all of them by default.
    #[arg(value_name = "CASE")]
    pub(crate) cases: Vec<String>,
    /// List the cases.
    #[arg(long)]
    pub(crate) list: bool,
    /// How often each thing is measured. The report shows the median, the least and the most.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) runs: usize,
    /// For about how long a case is measured, all runs together.
    #[arg(long, value_name = "N", default_value_t = 10.0)]
    pub(crate) seconds: f64,
    /// Print one JSON object on standard output.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) partner: Option<Internal>,
}

const EXAMPLES: &str = "\
Examples:
  cargo run --release -p cobuf-bench
  cargo run --release -p cobuf-bench -- tiny slots --seconds 30 --json
  cargo run --release -p cobuf-bench -- --list

Exit codes:
  0    everything was measured, whether the goals are met or not
  2    something could not be started: the command line, a plugin, the machine
  130  stopped by Ctrl-C, 143 by SIGTERM";

#[derive(Debug, Subcommand)]
pub(crate) enum Internal {
    /// One of the processes that are measured beside the buffer; the program starts them itself.
    #[command(hide = true)]
    Partner(PartnerArgs),
}

#[derive(Debug, Group)]
pub(crate) struct PartnerArgs {
    #[arg(value_enum)]
    pub(crate) role: Role,
    /// The process that started it, and whose end is its own.
    pub(crate) parent: i32,
}

/// What a partner does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Ends at once.
    Nothing,
    /// Answers, see [`ping_pong`](crate::relay::ping_pong).
    PingPong,
    /// The first of the relay's runners, see [`relay`](crate::relay).
    Commander,
    /// Those in the middle.
    Worker0,
    Worker1,
}
