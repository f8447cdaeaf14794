//! Measuring: in turns, so that whatever else the machine does meets all alike.
//!
//! ```text
//!   plan      how long and how often things are measured
//!   samples   medians, spreads, percentiles
//!   figure    what is said: a figure, the baselines beside it, the goal
//!   text      figures as people read them
//!   machine   which machine it was, and when
//! ```

pub mod figure;
pub mod machine;
pub mod plan;
pub mod samples;
mod text;

/// How many CPUs this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
