//! The variables by which launchers tell a process its rank.
//!
//! ```text
//!   cobuf's own ─► torchrun ─► Open MPI ─► MPICH, Intel MPI ─► SLURM ─► Flux ─► Kubernetes Indexed Job
//! ```
//!
//! The first launcher in this order whose variables are set decides: a process that `mpirun`
//! started in a step of SLURM has the variables of both. The traps:
//!
//! - `torchrun --virtual-local-rank` sets `LOCAL_RANK` to 0 in each process. So no message depends
//!   on a local rank; it is only checked. `TORCHELASTIC_RESTART_COUNT` is not looked at.
//! - The script of `sbatch` has `SLURM_PROCID=0` and is no rank. Only a step has `SLURM_STEP_ID`.
//! - An Indexed Job of Kubernetes does not say how many pods it has: `COBUF_WORLD_SIZE` is needed.
//! - `RANK` is a common word: it counts only beside `WORLD_SIZE`.

use super::rank_error::RankError;

/// A rank as the variables give it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) rank: u32,
    pub(super) of: u32,
    /// The variables of the rank and the number of ranks.
    pub(super) variables: [&'static str; 2],
    pub(super) local_world: Option<u32>,
    pub(super) launcher: &'static str,
}

const OWN_WORLD: &str = "COBUF_WORLD_SIZE";
const SLURM: &str = "SLURM";

/// The variables of a launcher.
struct Launcher {
    name: &'static str,
    rank: &'static str,
    world: &'static str,
    local_rank: Option<&'static str>,
    local_world: Option<&'static str>,
    /// Without this variable, the others mean something else.
    only_with: Option<&'static str>,
}

const LAUNCHERS: [Launcher; 7] = [
    Launcher {
        name: "cobuf",
        rank: "COBUF_RANK",
        world: OWN_WORLD,
        local_rank: None,
        local_world: None,
        only_with: None,
    },
    Launcher {
        name: "torchrun",
        rank: "RANK",
        world: "WORLD_SIZE",
        local_rank: Some("LOCAL_RANK"),
        local_world: Some("LOCAL_WORLD_SIZE"),
        only_with: Some("WORLD_SIZE"),
    },
    Launcher {
        name: "Open MPI",
        rank: "OMPI_COMM_WORLD_RANK",
        world: "OMPI_COMM_WORLD_SIZE",
        local_rank: Some("OMPI_COMM_WORLD_LOCAL_RANK"),
        local_world: Some("OMPI_COMM_WORLD_LOCAL_SIZE"),
        only_with: None,
    },
    Launcher {
        name: "MPICH or Intel MPI",
        rank: "PMI_RANK",
        world: "PMI_SIZE",
        local_rank: Some("MPI_LOCALRANKID"),
        local_world: Some("MPI_LOCALNRANKS"),
        only_with: None,
    },
    Launcher {
        name: SLURM,
        rank: "SLURM_PROCID",
        world: "SLURM_STEP_NUM_TASKS",
        local_rank: Some("SLURM_LOCALID"),
        local_world: None,
        only_with: Some("SLURM_STEP_ID"),
    },
    Launcher {
        name: "Flux",
        rank: "FLUX_TASK_RANK",
        world: "FLUX_JOB_SIZE",
        local_rank: None,
        local_world: None,
        only_with: None,
    },
    Launcher {
        name: "an Indexed Job of Kubernetes",
        rank: "JOB_COMPLETION_INDEX",
        world: OWN_WORLD,
        local_rank: None,
        local_world: None,
        only_with: None,
    },
];

/// The rank of the first launcher that has set its variables.
pub(super) fn find(value: &impl Fn(&str) -> Option<String>) -> Result<Option<Found>, RankError> {
    let is_set = |name: &str| value(name).is_some();
    let present = |launcher: &&Launcher| is_set(launcher.rank) && launcher.only_with.is_none_or(is_set);
    match LAUNCHERS.iter().find(present) {
        Some(launcher) => launcher.read(value).map(Some),
        None if is_set("SLURM_PROCID") => {
            let said = |name: &str| value(name).unwrap_or_else(|| "?".to_owned());
            Err(RankError::NoStep { job: said("SLURM_JOB_ID"), tasks: said("SLURM_NTASKS") })
        }
        None => Ok(None),
    }
}

impl Launcher {
    fn read(&self, value: &impl Fn(&str) -> Option<String>) -> Result<Found, RankError> {
        let number = |variable: &'static str| match value(variable) {
            None => Ok(None),
            Some(text) => match text.trim().parse::<u32>() {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(RankError::Variable { variable, value: text, launcher: self.name }),
            },
        };
        // It was found to be set.
        let rank = number(self.rank)?.unwrap_or_default();
        let of = number(self.world)?.ok_or(RankError::NoWorld {
            launcher: self.name,
            variable: self.rank,
            rank,
        })?;
        let local_world = match self.local_world {
            Some(variable) => number(variable)?,
            None if self.name == SLURM => slurm_local_world(value),
            None => None,
        };
        if let (Some(variable), Some(local_world)) = (self.local_rank, local_world) {
            let local_rank = number(variable)?.unwrap_or_default();
            if local_rank >= local_world {
                return Err(RankError::Local { variable, local_rank, local_world, launcher: self.name });
            }
        }
        Ok(Found { rank, of, variables: [self.rank, self.world], local_world, launcher: self.name })
    }
}

/// The tasks of the step on this node. SLURM gives the numbers of all nodes, such as `4(x2),3`.
fn slurm_local_world(value: &impl Fn(&str) -> Option<String>) -> Option<u32> {
    let mut node = value("SLURM_NODEID")?.trim().parse::<u32>().ok()?;
    for tasks in value("SLURM_STEP_TASKS_PER_NODE")?.split(',') {
        let (tasks, nodes) = tasks.trim().split_once("(x").unwrap_or((tasks.trim(), "1"));
        let nodes: u32 = nodes.trim_end_matches(')').parse().ok()?;
        if node < nodes {
            return tasks.parse().ok();
        }
        node -= nodes;
    }
    None
}
