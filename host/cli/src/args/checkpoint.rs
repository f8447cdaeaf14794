//! The options of the verbs on checkpoints: show, merge, split.

use std::path::PathBuf;

use clap::{Args as Group, Subcommand};
use cobuf_host::limits;

use crate::numbers;

pub(super) const CHECKPOINT_EXAMPLES: &str = "\
Examples:
  cobuf checkpoint show runs/ckpt
  cobuf checkpoint show run.json --json
  cobuf checkpoint merge runs/ckpt -o all.json
  cobuf checkpoint merge rank0.json rank1.json -o all.json
  cobuf checkpoint split all.json --ranks 4 -o runs/next

Exit codes:
  0  done
  2  a checkpoint cannot be read or written, or the parts do not belong together";

#[derive(Debug, Group)]
pub(crate) struct CheckpointArgs {
    #[command(subcommand)]
    pub(crate) verb: CheckpointVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CheckpointVerb {
    /// Show what was delivered: in all, and by each rank. The digest is that of a single run that
    /// has delivered the same.
    Show(ShowArgs),
    /// Make the parts of all ranks into one checkpoint.
    Merge(MergeArgs),
    /// Make a checkpoint into a folder of parts.
    Split(SplitArgs),
}

#[derive(Debug, Group)]
pub(crate) struct ShowArgs {
    /// A checkpoint, a folder of ranks, or the parts of all ranks.
    #[arg(required = true, value_name = "FILE|FOLDER")]
    pub(crate) paths: Vec<PathBuf>,
    /// Print one JSON object on standard output.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Group)]
pub(crate) struct MergeArgs {
    /// A folder of ranks, or the parts of all ranks.
    #[arg(required = true, value_name = "FILE|FOLDER")]
    pub(crate) paths: Vec<PathBuf>,
    /// The file to write, which must not exist.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Print one JSON object on standard output.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Group)]
pub(crate) struct SplitArgs {
    /// A checkpoint, or a folder of ranks.
    #[arg(value_name = "FILE|FOLDER")]
    pub(crate) path: PathBuf,
    /// The number of ranks.
    #[arg(long, value_name = "W", value_parser = numbers::whole(1..=limits::MAX_RANKS), allow_negative_numbers = true)]
    pub(crate) ranks: u32,
    /// The folder to write, which must have no checkpoint.
    #[arg(short, long, value_name = "FOLDER")]
    pub(crate) output: PathBuf,
    /// Print one JSON object on standard output.
    #[arg(long)]
    pub(crate) json: bool,
}
