//! The command line.

use clap::{Args as Group, Parser, Subcommand, ValueEnum};

/// Measure the buffer itself: the built-in cases, each beside the least that it must cost on this
/// machine.
#[derive(Debug, Parser)]
#[command(name = "cobuf-bench", version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    /// The cases to measure [default: all].
    #[arg(value_name = "CASE")]
    pub(crate) cases: Vec<String>,
    /// List the cases.
    #[arg(long)]
    pub(crate) list: bool,
    /// How many times each thing is measured. The report shows the median, the least and the most.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) runs: usize,
    /// About how many seconds each case is measured, all runs together.
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, allow_negative_numbers = true)]
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
  1    the report could not be written
  2    something could not be started: the command line, a plugin, the machine
  130  stopped by Ctrl-C
  143  stopped by SIGTERM";

#[derive(Debug, Subcommand)]
pub(crate) enum Internal {
    /// A process that is measured beside the buffer; the program starts it itself.
    #[command(hide = true)]
    Partner(PartnerArgs),
}

#[derive(Debug, Group)]
pub(crate) struct PartnerArgs {
    #[arg(value_enum)]
    pub(crate) role: Role,
    /// The process that started this one. This one ends with it.
    pub(crate) parent: i32,
}

/// The role of a process that is measured beside the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Ends at once.
    Nothing,
    /// Answers pings, see [`ping_pong`](crate::relay::ping_pong).
    PingPong,
    /// The first process of the relay, see [`relay`](crate::relay).
    Commander,
    /// The processes in the middle of the relay.
    Worker0,
    Worker1,
}
