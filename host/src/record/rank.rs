//! Ranks: which of a job's processes this one is.
//!
//! ```text
//!   --rank 2/8, Rank::new(2, 8)   said
//!   --rank auto, from_env         the variables of a launcher, see `launcher`
//!   --rank none, Rank::none       a run of its own, which delivers everything
//! ```

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::launcher::{self, Found};
use super::rank_error::RankError;
use crate::limits::MAX_RANKS;

/// One process of a job of several, each of which runs a host: it delivers the messages of its
/// rank, and no other rank delivers them. See [`guide`](crate::guide).
///
/// The ranks need the same plugins, configurations and seed. They need no connection to each other:
/// each computes its messages from the number of ranks and from what was delivered before. The
/// `i`-th missing message goes to rank `i mod W`.
///
/// ```
/// # use cobuf_host::{Rank, RankError};
/// let rank = Rank::new(2, 8)?;
/// assert_eq!(rank.to_string(), "2/8");
/// assert_eq!("2/8".parse::<Rank>()?, rank);
/// assert_eq!(Rank::new(8, 8).unwrap_err().to_string(),
///     "rank 8 of 8 is out of range, expected 0 to 7; ranks are counted from 0");
/// # Ok::<(), RankError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rank {
    /// `None`: a run of its own.
    seat: Option<Seat>,
    /// The number of ranks on this machine, if the launcher says so.
    local_world: Option<u32>,
    launcher: Option<&'static str>,
}

/// A rank and the number of ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Seat {
    pub(crate) rank: u32,
    pub(crate) of: u32,
}

/// A run without ranks.
impl Default for Seat {
    fn default() -> Self {
        Self { rank: 0, of: 1 }
    }
}

/// Such as `rank 2 of 8`.
impl fmt::Display for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rank {} of {}", self.rank, self.of)
    }
}

impl Rank {
    /// This rank, from 0, of so many ranks.
    ///
    /// # Errors
    /// [`RankError::World`] if there is no rank or more than a million, [`RankError::OutOfRange`] if
    /// the rank is not below their number.
    pub fn new(rank: u32, of: u32) -> Result<Self, RankError> {
        Self::checked(rank, of, None)
    }

    /// No rank: a run of its own, which delivers all messages.
    pub fn none() -> Self {
        Self { seat: None, local_world: None, launcher: None }
    }

    /// The rank that the launcher of this process gave it: torchrun, Open MPI, MPICH and Intel MPI,
    /// SLURM, Flux, an Indexed Job of Kubernetes, or `COBUF_RANK` and `COBUF_WORLD_SIZE`, which come
    /// first. [`none`](Self::none) if there is no launcher.
    ///
    /// # Errors
    /// [`RankError`]: the variables contradict each other, or something is missing. The error says
    /// what to set.
    pub fn from_env() -> Result<Self, RankError> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// The rank that these variables give, as [`from_env`](Self::from_env).
    ///
    /// ```
    /// # use cobuf_host::Rank;
    /// let mpi = [("OMPI_COMM_WORLD_RANK", "1"), ("OMPI_COMM_WORLD_SIZE", "4")];
    /// let value = |name: &str| mpi.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_string());
    /// assert_eq!(Rank::from_variables(value)?.launcher(), Some("Open MPI"));
    /// # Ok::<(), cobuf_host::RankError>(())
    /// ```
    ///
    /// # Errors
    /// As [`from_env`](Self::from_env).
    pub fn from_variables(value: impl Fn(&str) -> Option<String>) -> Result<Self, RankError> {
        let Some(Found { rank, of, variables, local_world, launcher }) = launcher::find(&value)? else {
            return Ok(Self::none());
        };
        Ok(Self { local_world, launcher: Some(launcher), ..Self::checked(rank, of, Some(variables))? })
    }

    /// The rank of a process to which nothing was said: none, unless a launcher started several.
    pub(crate) fn unsaid(value: impl Fn(&str) -> Option<String>) -> Result<Self, RankError> {
        match Self::from_variables(value) {
            // The script of a job is one process.
            Err(RankError::NoStep { .. }) => Ok(Self::none()),
            Ok(Self { seat: Some(Seat { rank, of }), launcher: Some(launcher), .. }) if of > 1 => {
                Err(RankError::Unsaid { launcher, rank, of })
            }
            Ok(_) => Ok(Self::none()),
            Err(error) => Err(error),
        }
    }

    fn checked(rank: u32, of: u32, variables: Option<[&'static str; 2]>) -> Result<Self, RankError> {
        if of == 0 || of > MAX_RANKS {
            return Err(RankError::World { of, variable: variables.map(|[_, world]| world) });
        }
        if rank >= of {
            return Err(RankError::OutOfRange { rank, of, variables });
        }
        Ok(Self { seat: Some(Seat { rank, of }), ..Self::none() })
    }

    /// Whether this is a run of its own.
    pub fn is_none(&self) -> bool {
        self.seat.is_none()
    }

    /// The rank, from 0; 0 if there is none.
    pub fn rank(&self) -> u32 {
        self.seat.unwrap_or_default().rank
    }

    /// The number of ranks; 1 if there is none.
    pub fn of(&self) -> u32 {
        self.seat.unwrap_or_default().of
    }

    /// The launcher that gave the rank, such as `torchrun`; `None` if it was said.
    pub fn launcher(&self) -> Option<&'static str> {
        self.launcher
    }

    /// The number of ranks on this machine; 1 if the launcher does not say.
    pub fn local_world(&self) -> u32 {
        self.local_world.unwrap_or(1)
    }

    pub(crate) fn seat(&self) -> Option<Seat> {
        self.seat
    }
}

/// Such as `2/8`, or `none`.
impl fmt::Display for Rank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.seat {
            Some(Seat { rank, of }) => write!(f, "{rank}/{of}"),
            None => f.write_str("none"),
        }
    }
}

/// `2/8`, `none`, or `auto` for [`from_env`](Rank::from_env).
impl FromStr for Rank {
    type Err = RankError;

    fn from_str(text: &str) -> Result<Self, RankError> {
        match text {
            "auto" => return Self::from_env(),
            "none" => return Ok(Self::none()),
            _ => {}
        }
        let numbers =
            text.split_once('/').and_then(|(rank, of)| Some((rank.parse().ok()?, of.parse().ok()?)));
        let (rank, of) = numbers.ok_or_else(|| RankError::Text { text: text.to_owned() })?;
        Self::new(rank, of)
    }
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;

    fn variables(set: &str) -> impl Fn(&str) -> Option<String> {
        let set = set.to_owned();
        move |name| {
            let value = |set: &str| Some(set.split_once('=').filter(|(key, _)| *key == name)?.1.to_owned());
            set.split_whitespace().find_map(value)
        }
    }

    fn rank(set: &str) -> Result<Rank, RankError> {
        Rank::from_variables(variables(set))
    }

    /// The rank, the launcher and the ranks on this machine.
    fn found(set: &str) -> (String, &'static str, u32) {
        let rank = rank(set).unwrap();
        (rank.to_string(), rank.launcher().unwrap_or("nothing"), rank.local_world())
    }

    fn refusal(set: &str) -> String {
        rank(set).unwrap_err().to_string()
    }

    #[test]
    fn each_launcher_is_known_by_its_variables() {
        assert_eq!(found(""), ("none".to_owned(), "nothing", 1));
        let is = |set: &str, rank: &str, launcher: &'static str, local: u32| {
            assert_eq!(found(set), (rank.to_owned(), launcher, local), "{set}");
        };
        is("COBUF_RANK=2 COBUF_WORLD_SIZE=8", "2/8", "cobuf", 1);
        is("RANK=3 WORLD_SIZE=4 LOCAL_RANK=1 LOCAL_WORLD_SIZE=2 GROUP_RANK=1", "3/4", "torchrun", 2);
        let ompi = "OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=4 OMPI_COMM_WORLD_LOCAL_RANK=1 OMPI_COMM_WORLD_LOCAL_SIZE=4";
        is(ompi, "1/4", "Open MPI", 4);
        is("PMI_RANK=0 PMI_SIZE=2 MPI_LOCALRANKID=0 MPI_LOCALNRANKS=1", "0/2", "MPICH or Intel MPI", 1);
        is("SLURM_PROCID=5 SLURM_STEP_NUM_TASKS=7 SLURM_STEP_ID=0 SLURM_LOCALID=1", "5/7", "SLURM", 1);
        is("FLUX_TASK_RANK=1 FLUX_JOB_SIZE=3", "1/3", "Flux", 1);
        is("JOB_COMPLETION_INDEX=4 COBUF_WORLD_SIZE=5", "4/5", "an Indexed Job of Kubernetes", 1);
        is("OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=1", "0/1", "Open MPI", 1);
    }

    #[test]
    fn innermost_launcher_decides() {
        let slurm = "SLURM_PROCID=0 SLURM_STEP_NUM_TASKS=2 SLURM_STEP_ID=0";
        let ompi = "OMPI_COMM_WORLD_RANK=3 OMPI_COMM_WORLD_SIZE=4";
        assert_eq!(found(&format!("{slurm} {ompi}")).1, "Open MPI");
        assert_eq!(found(&format!("{slurm} {ompi} RANK=1 WORLD_SIZE=2")).1, "torchrun");
        assert_eq!(found(&format!("{slurm} {ompi} RANK=1")).1, "Open MPI");
        assert_eq!(found(&format!("{ompi} COBUF_RANK=0 COBUF_WORLD_SIZE=9")).0, "0/9");
        assert_eq!(found("RANK=7").1, "nothing");
    }

    #[test]
    fn tasks_on_a_node_of_slurm_are_counted() {
        let step = "SLURM_PROCID=5 SLURM_STEP_NUM_TASKS=11 SLURM_STEP_ID=0 SLURM_STEP_TASKS_PER_NODE=4(x2),3";
        for (node, tasks) in [(0, 4), (1, 4), (2, 3), (3, 1)] {
            assert_eq!(found(&format!("{step} SLURM_NODEID={node}")).2, tasks, "{node}");
        }
    }

    #[test]
    fn virtual_local_rank_changes_nothing() {
        assert_eq!(found("RANK=3 WORLD_SIZE=4 LOCAL_RANK=0 LOCAL_WORLD_SIZE=2").0, "3/4");
    }

    #[test]
    fn refusals_say_what_to_set() {
        for (set, said) in [
            (
                "RANK=8 WORLD_SIZE=8",
                "rank 8 of 8 is out of range, expected 0 to 7; set RANK and WORLD_SIZE as the launcher does, or give the rank",
            ),
            (
                "RANK=0 WORLD_SIZE=0",
                "the number of ranks is 0, expected 1 to 1048576; set WORLD_SIZE to the number of ranks",
            ),
            (
                "RANK=x WORLD_SIZE=2",
                "the variable RANK is \"x\", expected a whole number; set it as torchrun does, or give the rank",
            ),
            (
                "JOB_COMPLETION_INDEX=3",
                "an Indexed Job of Kubernetes says that this is rank 3 (variable JOB_COMPLETION_INDEX), and not of how many; \
                 set COBUF_WORLD_SIZE to the number of ranks",
            ),
            (
                "RANK=1 WORLD_SIZE=4 LOCAL_RANK=2 LOCAL_WORLD_SIZE=2",
                "the variable LOCAL_RANK is 2, and this machine has 2 ranks of torchrun, expected 0 to 1; \
                 set it to the rank on this machine, or give the rank",
            ),
            (
                "SLURM_JOB_ID=17 SLURM_PROCID=0 SLURM_NTASKS=4",
                "this process is in SLURM job 17 of 4 tasks and in none of its steps (SLURM_STEP_ID is not set), so it is no rank; \
                 start it by srun, or say that it has no rank (none)",
            ),
        ] {
            assert_eq!(refusal(set), said);
        }
        assert_eq!(
            "2of8".parse::<Rank>().unwrap_err().to_string(),
            "\"2of8\" is no rank, expected auto, none, or I/W such as 2/8: rank I of W ranks, counted from 0"
        );
        assert_eq!(
            "0/0".parse::<Rank>().unwrap_err().to_string(),
            "the number of ranks is 0, expected 1 to 1048576; give I/W with W, the number of ranks"
        );
    }

    #[test]
    fn silence_is_no_rank_unless_a_launcher_started_several() {
        let unsaid = |set: &str| Rank::unsaid(variables(set));
        for alone in ["", "RANK=0 WORLD_SIZE=1", "SLURM_PROCID=0 SLURM_NTASKS=4"] {
            assert_eq!(unsaid(alone), Ok(Rank::none()), "{alone}");
        }
        assert_eq!(
            unsaid("RANK=1 WORLD_SIZE=4").unwrap_err().to_string(),
            "torchrun has started this process as rank 1 of 4, and it was not said whether the ranks share the messages; \
             choose the rank auto for a part of them, or none to have all of them in each process"
        );
        unsaid("JOB_COMPLETION_INDEX=3").unwrap_err();
    }
}
