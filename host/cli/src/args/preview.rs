//! The options of `cobuf preview`.

use std::path::PathBuf;

use clap::Args as Group;

use crate::numbers;

/// The most batches on a sheet, which bounds its height.
const MOST_BATCHES: u64 = 50;

pub(super) const PREVIEW_EXAMPLES: &str = "\
Examples:
  cobuf preview examples/digits.toml
  cobuf preview examples/images.toml --batches 3 -o batches.png
  cobuf preview slides.toml --set producer.height=512 | less -R

Exit codes:
  0    batches are shown
  1    a batch failed, which is shown in its place; the picture could not be written
  2    nothing could be started: the command line, a pipeline file, a plugin, the machine
  130  stopped by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP";

#[derive(Debug, Group)]
pub(crate) struct PreviewArgs {
    /// The pipeline file (TOML).
    pub(crate) pipeline: PathBuf,
    /// The number of batches to show, from the first, at most 50.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = numbers::whole(1..=MOST_BATCHES), allow_negative_numbers = true)]
    pub(crate) batches: u64,
    /// Write a contact sheet to this PNG file, instead of text to standard output.
    #[arg(short, long, value_name = "FILE.png")]
    pub(crate) output: Option<PathBuf>,
    /// The run's seed.
    #[arg(long, value_name = "N", value_parser = numbers::whole(0..=u64::MAX), allow_negative_numbers = true)]
    pub(crate) seed: Option<u64>,
    /// Change a configuration: producer.KEY=VALUE or commander.KEY=VALUE, the value as in TOML. Can
    /// be repeated.
    #[arg(long, value_name = "PLUGIN.KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// The Python interpreter for plugins that are Python code, instead of the pipeline's and that
    /// of the active environment.
    #[arg(long, value_name = "FILE")]
    pub(crate) python: Option<PathBuf>,
}
