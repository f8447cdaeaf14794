//! Why a process has no rank.

use crate::limits::MAX_RANKS;

/// Why a process has no rank.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RankError {
    /// The rank is not below the number of ranks.
    #[error("rank {rank} of {of} is out of range, expected 0 to {}; {}", of - 1, set_rank(*variables))]
    OutOfRange {
        /// The rank.
        rank: u32,
        /// The number of ranks.
        of: u32,
        /// The variables that say so, of the rank and the number of ranks.
        variables: Option<[&'static str; 2]>,
    },
    /// The number of ranks is 0 or too great.
    #[error("the number of ranks is {of}, expected 1 to {MAX_RANKS}; {}", set_world(*variable))]
    World {
        /// The number of ranks.
        of: u32,
        /// The variable that says so.
        variable: Option<&'static str>,
    },
    /// A text is no rank.
    #[error(
        "{text:?} is no rank, expected auto, none, or I/W such as 2/8: rank I of W ranks, counted from 0"
    )]
    Text {
        /// The text.
        text: String,
    },
    /// A variable is no number.
    #[error(
        "the variable {variable} is {value:?}, expected a whole number; set it as {launcher} does, or give the rank"
    )]
    Variable {
        /// The variable.
        variable: &'static str,
        /// Its value.
        value: String,
        /// The launcher whose variable it is.
        launcher: &'static str,
    },
    /// A launcher's variable has the rank, and none has the number of ranks.
    #[error(
        "{launcher} says that this is rank {rank} (variable {variable}), and not of how many; \
         set COBUF_WORLD_SIZE to the number of ranks"
    )]
    NoWorld {
        /// The launcher.
        launcher: &'static str,
        /// The variable with the rank.
        variable: &'static str,
        /// The rank.
        rank: u32,
    },
    /// The local rank is not below the local number of ranks.
    #[error(
        "the variable {variable} is {local_rank}, and this machine has {local_world} ranks of {launcher}, expected 0 to {}; \
         set it to the rank on this machine, or give the rank", local_world.saturating_sub(1)
    )]
    Local {
        /// The variable with the local rank.
        variable: &'static str,
        /// The local rank.
        local_rank: u32,
        /// The number of ranks on this machine.
        local_world: u32,
        /// The launcher.
        launcher: &'static str,
    },
    /// The process is in a SLURM job, and no step of it: `sbatch` without `srun`.
    #[error(
        "this process is in SLURM job {job} of {tasks} tasks and in none of its steps (SLURM_STEP_ID is not set), so it is no rank; \
         start it by srun, or say that it has no rank (none)"
    )]
    NoStep {
        /// The job's number.
        job: String,
        /// The number of tasks of the job.
        tasks: String,
    },
    /// The process is one of several, and it was not said whether they share the stream.
    #[error(
        "{launcher} has started this process as rank {rank} of {of}, and it was not said whether the ranks share the messages; \
         choose the rank auto for a part of them, or none to have all of them in each process"
    )]
    Unsaid {
        /// The launcher.
        launcher: &'static str,
        /// The rank.
        rank: u32,
        /// The number of ranks.
        of: u32,
    },
}

fn set_rank(variables: Option<[&'static str; 2]>) -> String {
    match variables {
        Some([rank, world]) => format!("set {rank} and {world} as the launcher does, or give the rank"),
        None => "ranks are counted from 0".to_owned(),
    }
}

fn set_world(variable: Option<&'static str>) -> String {
    match variable {
        Some(variable) => format!("set {variable} to the number of ranks"),
        None => "give I/W with W, the number of ranks".to_owned(),
    }
}
