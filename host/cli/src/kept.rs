//! The checkpoints that `cobuf run` reads and writes: a file, or a rank's part in a folder.
//!
//! ```text
//!   --checkpoint FILE             a run of its own: the whole
//!   --checkpoint FOLDER --rank …  a rank: its part, beside those of the others
//!   --resume FOLDER               a run of its own in a folder of ranks is rank 0 of 1
//! ```

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use cobuf_host::{Checkpoint, CheckpointFolder, Host, Rank, RankFile};

use crate::args::RunArgs;
use crate::report::Tally;

/// Where checkpoints go, and what the run goes on from.
pub(crate) struct Kept {
    place: Place,
    /// The number of batches between two checkpoints.
    every: u64,
    /// The rank that the run has. It is 0 of 1 for a run of its own in a folder of ranks.
    pub(crate) rank: Option<Rank>,
    /// What the run goes on from.
    pub(crate) resumed: Option<Checkpoint>,
    /// What was delivered before this process's part: by the job of ranks that it goes on from.
    pub(crate) before: Tally,
    /// What this process's part has delivered before.
    pub(crate) tally: Tally,
}

enum Place {
    Nowhere,
    File(PathBuf),
    Folder(RankFile),
}

impl Kept {
    /// Reads what the options name. `rank` is the run's, if it was said.
    pub(crate) fn open(args: &RunArgs, rank: Option<Rank>) -> Result<Self> {
        let target = args.checkpoint.as_deref().or(args.resume.as_deref());
        let ranked = rank.filter(|rank| !rank.is_none());
        let in_folder = ranked.is_some() || target.is_some_and(Path::is_dir);
        let (place, resumed, rank) = match target {
            Some(target) if in_folder => {
                let rank = ranked.map_or_else(|| Rank::new(0, 1), Ok)?;
                let (file, resumed) = folder(target, args.resume.as_deref(), rank)?;
                (Place::Folder(file), resumed, Some(rank))
            }
            Some(target) => {
                let resumed = args.resume.as_deref().map(whole).transpose()?;
                let again = args.resume.as_deref() == Some(target);
                ensure!(
                    again || !target.exists(),
                    "the checkpoint {} is there already; go on from it with --resume {0}, or remove it",
                    target.display()
                );
                (Place::File(target.to_owned()), resumed, rank)
            }
            None => (Place::Nowhere, None, rank),
        };
        let (mut before, mut tally) = (Tally::default(), Tally::default());
        if let Some(checkpoint) = &resumed {
            let state = checkpoint.application_state()?;
            let (of_job, own) = match checkpoint.rank() {
                Some(_) => (checkpoint.job_state()?, state),
                // The job of ranks begins with it.
                None if in_folder => (state, None),
                None => (None, state),
            };
            (before, tally) = (of_job.unwrap_or_default(), own.unwrap_or_default());
        }
        // Ranks report their own deliveries, which add up with those before.
        if rank.is_some_and(|rank| rank.of() > 1) {
            before = Tally::default();
        }
        Ok(Self { place, every: args.checkpoint_every, rank, resumed, before, tally })
    }

    /// Whether a checkpoint is due after so many batches.
    pub(crate) fn is_due(&self, batches: u64) -> bool {
        batches.is_multiple_of(self.every)
    }

    /// Whether there is no file for checkpoints.
    pub(crate) fn is_nowhere(&self) -> bool {
        matches!(self.place, Place::Nowhere)
    }

    pub(crate) fn write(&mut self, host: &Host, tally: &Tally) -> Result<()> {
        match &mut self.place {
            Place::Nowhere => {}
            Place::File(path) => host.checkpoint().with_application_state(tally)?.write(path)?,
            Place::Folder(file) => file.write(&host.checkpoint().with_application_state(tally)?)?,
        }
        Ok(())
    }
}

/// The rank's file in the folder `target`, and what it goes on from.
fn folder(target: &Path, resume: Option<&Path>, rank: Rank) -> Result<(RankFile, Option<Checkpoint>)> {
    let folder = CheckpointFolder::new(target);
    match resume {
        None => Ok((folder.begin(rank)?, None)),
        Some(resume) if resume == target => {
            ensure!(
                !resume.is_file(),
                "{} is a file, and ranks write their checkpoints to a folder; name one with --checkpoint",
                resume.display()
            );
            let (checkpoint, file) = folder.resume(rank, Tally::plus)?;
            Ok((file, Some(checkpoint)))
        }
        Some(resume) => {
            let checkpoint = whole(resume)?;
            Ok((folder.begin(rank)?, Some(checkpoint)))
        }
    }
}

/// The checkpoint in a file, or that of all ranks in a folder.
pub(crate) fn whole(path: &Path) -> Result<Checkpoint> {
    if path.is_dir() {
        Ok(CheckpointFolder::new(path).merged(Tally::plus)?)
    } else {
        Ok(Checkpoint::read(path)?)
    }
}
