//! The metrics in a file, for node_exporter's textfile collector.

use std::path::Path;
use std::time::Duration;

use super::series::{Format, Series};
use crate::cancel::Cancel;
use crate::files;
use crate::text;

/// The time from one writing to the next: shorter than scrapers' usual 15 s.
const INTERVAL: Duration = Duration::from_secs(5);

/// Writes the file at intervals until the end, and then once more.
///
/// If it cannot be written, a warning says so once, and the run goes on.
pub(super) fn keep_written(path: &Path, series: &Series, end: &Cancel) {
    let mut told = false;
    loop {
        let is_over = end.is_cancelled();
        let written = files::refresh(path, series.text(Format::Prometheus, !is_over).as_bytes());
        if let Err(error) = written
            && !std::mem::replace(&mut told, true)
        {
            warn(path, &text::chain(&error));
        }
        if is_over {
            return;
        }
        end.wait(INTERVAL);
    }
}

/// Without a subscriber the warning goes to standard error.
fn warn(path: &Path, reason: &str) {
    let file = path.display();
    if tracing::dispatcher::has_been_set() {
        tracing::warn!("cannot write metrics to the file {file}: {reason}; the run goes on");
    } else {
        eprintln!("cobuf: cannot write metrics to the file {file}: {reason}; the run goes on");
    }
}
