//! The machine and the time of a measurement.

use std::fmt;
use std::fs;

use serde::Serialize;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};

use super::cores;

/// The machine and the time of a measurement, printed with all figures.
#[derive(Debug, Serialize)]
pub struct Machine {
    cobuf: &'static str,
    /// Whether the command, and so its plugins, was built without optimisation.
    debug_build: bool,
    date: String,
    cpu: String,
    /// The CPUs that this process may use.
    cores: usize,
    kernel: String,
}

impl Machine {
    /// This machine, now.
    pub fn here() -> Self {
        let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let kernel = rustix::system::uname();
        Self {
            cobuf: env!("CARGO_PKG_VERSION"),
            debug_build: cfg!(debug_assertions),
            date: now(),
            // ARM machines do not name their model.
            cpu: model.map_or(std::env::consts::ARCH, |(_, model)| model).to_owned(),
            cores: cores(),
            kernel: format!("{} {}", kernel.sysname().to_string_lossy(), kernel.release().to_string_lossy()),
        }
    }
}

/// The time in UTC, to the second: `2026-11-28T17:33:22Z`.
fn now() -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    match text.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => text,
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cobuf, date, cpu, cores, kernel, .. } = self;
        write!(f, "cobuf {cobuf}, {cpu}, {cores} cores, {kernel}, {date}")?;
        if self.debug_build {
            f.write_str("\na debug build: its figures say little, build with --release")?;
        }
        Ok(())
    }
}
