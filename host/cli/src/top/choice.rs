//! Which run is looked at.

use std::fmt::Write as _;

use anyhow::{Result, bail};
use cobuf_host::observer::{FoundRun, Observer, find_runs};

/// The run that was asked for, or the only one.
pub(super) fn of(run: Option<&str>) -> Result<Observer> {
    let Some(run) = run else {
        return match &find_runs()[..] {
            [] => bail!(
                "no run of this user is going on; start one with `cobuf run PIPELINE`, or embed the host"
            ),
            [run] => Ok(Observer::attach(run)?),
            several => bail!("{} runs are going on; give one of these:\n{}", several.len(), table(several)),
        };
    };
    Ok(match run.parse() {
        Ok(pid) => Observer::of_process(pid)?,
        Err(_) => Observer::of_name(run)?,
    })
}

/// A line for each run.
fn table(runs: &[FoundRun]) -> String {
    let mut text = String::new();
    for run in runs {
        // A text takes everything.
        let _ = writeln!(text, "{}", line(run));
    }
    text.trim_end().to_owned()
}

/// Such as `4711  cobuf-run-a1b2c3  python  digits-producer`.
pub(super) fn line(run: &FoundRun) -> String {
    let producer = match Observer::attach(run) {
        Ok(observer) => observer.producer().to_owned(),
        Err(error) => error.to_string(),
    };
    format!("  {:>7}  {:<18}  {:<15}  {producer}", run.pid, run.run, run.program)
}
