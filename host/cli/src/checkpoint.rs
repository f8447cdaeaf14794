//! `cobuf checkpoint`: shows checkpoints, and makes those of a job's ranks into one or the reverse.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use cobuf_host::{Checkpoint, CheckpointError, CheckpointFolder, ContentDigest, MergeError};
use serde::Serialize;

use crate::args::{CheckpointArgs, CheckpointVerb, MergeArgs, ShowArgs, SplitArgs};
use crate::report::Tally;
use cobuf::output::report;
use cobuf::signals::Signals;

pub(crate) fn checkpoint(args: &CheckpointArgs) -> Result<()> {
    let signals = Signals::install()?;
    // Files may be pipes that nobody writes to.
    signals.at_once(|| match &args.verb {
        CheckpointVerb::Show(args) => show(args),
        CheckpointVerb::Merge(args) => merge(args),
        CheckpointVerb::Split(args) => split(args),
    })
}

/// What a checkpoint, or the parts of a job together, have delivered. The names of the fields are
/// those of the JSON report.
#[derive(Debug, Serialize)]
struct Summary {
    /// Messages that were delivered, as batches, errors or skipped ones.
    delivered: u64,
    /// The first message that was not.
    first_missing: u64,
    /// The counts that `cobuf run` keeps; null if another application wrote the checkpoint.
    counts: Option<Tally>,
    /// The digest of all batches, that of a single run; null as the counts.
    content_digest: Option<ContentDigest>,
    /// The ranks; empty if the checkpoint is of a run without.
    ranks: Vec<RankSummary>,
    /// The number of ranks; 1 for a run without.
    world_size: u32,
}

#[derive(Debug, Serialize)]
struct RankSummary {
    rank: u32,
    /// Messages that it has delivered since the ranks began.
    delivered: u64,
    /// The first of its messages that it has not.
    first_missing: u64,
    /// The application's step, if it gave one.
    step: Option<u64>,
    content_digest: Option<ContentDigest>,
}

impl Summary {
    fn new(parts: &[Checkpoint], whole: &Checkpoint) -> Self {
        let counts: Option<Tally> = whole.application_state().ok().flatten();
        let ranks: Vec<RankSummary> = parts.iter().filter_map(RankSummary::new).collect();
        Self {
            delivered: whole.delivered(),
            first_missing: whole.first_missing(),
            content_digest: counts.as_ref().map(|counts| counts.digest),
            counts,
            world_size: ranks.len().max(1) as u32,
            ranks,
        }
    }

    fn told(&self, json: bool) -> Result<()> {
        report(&if json { serde_json::to_string(self)? } else { self.as_text() })
    }

    fn as_text(&self) -> String {
        let mut text = format!("{} messages delivered, all below {}", self.delivered, self.first_missing);
        if let Some(Tally { batches, rows, bytes, errors, skipped, digest }) = &self.counts {
            let mb = *bytes as f64 / 1e6;
            // Writing to a text does not fail.
            let _ = write!(
                text,
                "\n  {batches} batches, {rows} rows, {mb:.1} MB, {errors} errors, {skipped} skipped"
            );
            let _ = write!(text, "\n  content digest {digest}");
        }
        for RankSummary { rank, delivered, first_missing, step, content_digest } in &self.ranks {
            let _ = write!(
                text,
                "\n  rank {rank} of {}: {delivered} delivered, the next is {first_missing}",
                self.world_size
            );
            let _ = step.map(|step| write!(text, ", step {step}"));
            let _ = content_digest.map(|digest| write!(text, ", digest {digest}"));
        }
        text
    }
}

impl RankSummary {
    fn new(part: &Checkpoint) -> Option<Self> {
        let (rank, _) = part.rank()?;
        let counts: Option<Tally> = part.application_state().ok().flatten();
        Some(Self {
            rank,
            delivered: part.delivered(),
            first_missing: part.first_missing(),
            step: part.step(),
            content_digest: counts.map(|counts| counts.digest),
        })
    }
}

fn show(args: &ShowArgs) -> Result<()> {
    let parts = read(&args.paths)?;
    Summary::new(&parts, &together(&parts)?).told(args.json)
}

fn merge(args: &MergeArgs) -> Result<()> {
    refuse_existing(&args.output)?;
    let parts = read(&args.paths)?;
    let whole = together(&parts)?;
    whole.write(&args.output)?;
    Summary::new(&parts, &whole).told(args.json)
}

fn split(args: &SplitArgs) -> Result<()> {
    let whole = together(&read(std::slice::from_ref(&args.path))?)?;
    let folder = CheckpointFolder::new(&args.output);
    folder.split(&whole, args.ranks)?;
    Summary::new(&folder.parts()?, &whole).told(args.json)
}

/// The checkpoints in a folder of ranks, or in each of several files.
fn read(paths: &[PathBuf]) -> Result<Vec<Checkpoint>> {
    if let [path] = paths
        && path.is_dir()
    {
        return Ok(CheckpointFolder::new(path).parts()?);
    }
    if let Some(folder) = paths.iter().find(|path| path.is_dir()) {
        bail!("{} is a folder; give it alone, or the files of all ranks", folder.display());
    }
    paths.iter().map(|path| Ok(Checkpoint::read(path)?)).collect()
}

/// All of them as one. If `cobuf run` did not write them, without the application's state.
fn together(parts: &[Checkpoint]) -> Result<Checkpoint> {
    match Checkpoint::merge_with(parts.to_vec(), Tally::plus) {
        Err(MergeError::Checkpoint(CheckpointError::Application { .. })) => {
            Ok(Checkpoint::merge(parts.to_vec())?)
        }
        merged => Ok(merged?),
    }
}

fn refuse_existing(path: &Path) -> Result<()> {
    ensure!(!path.exists(), "{} is there already; remove it, or name another file", path.display());
    Ok(())
}
