//! Measuring in turns, so that disturbances by other programs affect all measurements alike.
//!
//! ```text
//!   plan      the time and the number of measurements
//!   samples   medians, spreads, percentiles
//!   figure    a figure, the baselines beside it, the goal
//!   text      figures as text
//!   machine   the machine and the time
//! ```

pub mod figure;
pub mod machine;
pub mod plan;
pub mod samples;
mod text;

/// The number of CPUs that this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
