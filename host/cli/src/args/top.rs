//! The options of `cobuf top`.

use std::time::Duration;

use clap::Args as Group;

use crate::numbers;

/// A look takes much less.
const SHORTEST: Duration = Duration::from_millis(50);

pub(super) const TOP_EXAMPLES: &str = "\
Examples:
  cobuf top
  cobuf top 4711
  cobuf top slide-producer --once
  cobuf top 4711 --json --interval 10 | jq .verdict

Keys:
  w b s p r m  sort the workers: by number, busy share, time with the message, messages, restarts, memory
  q, Esc       quit; the run goes on

Exit codes:
  0  done, or the run has ended
  2  there is no such run, or it cannot be looked at";

#[derive(Debug, Group)]
pub(crate) struct TopArgs {
    /// The process of the run's host, or of one of its workers; or the name of a run, of its plugin or
    /// of its program. The default is the only run of this user, or a choice among several.
    #[arg(value_name = "PID|NAME")]
    pub(crate) run: Option<String>,
    /// Print one picture and end, as at the end of a pipe.
    #[arg(long)]
    pub(crate) once: bool,
    /// Print a line of JSON at each interval; with --once, a single one.
    #[arg(long)]
    pub(crate) json: bool,
    /// The seconds between two looks, over which rates and shares are taken.
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = numbers::seconds(SHORTEST), allow_negative_numbers = true)]
    pub(crate) interval: Duration,
}
