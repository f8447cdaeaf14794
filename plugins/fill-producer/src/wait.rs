//! Waits that end early if the host wants to stop.

use std::hint;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use cobuf_plugin_api::prelude::*;

/// A duration: a number of seconds, at least 0.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "cobuf_plugin_api::serde", try_from = "f64", into = "f64")]
#[schemars(crate = "cobuf_plugin_api::schemars")]
pub struct Seconds(Duration);

/// The longest time until a sleep notices that the host wants to stop.
const STEP: Duration = Duration::from_millis(5);
/// How often to look for a file.
const POLL: Duration = Duration::from_millis(1);

/// Sleeps. Returns an error if the host wants to stop before the time is over.
pub(crate) fn sleep(seconds: Seconds, context: &ProduceContext<'_>) -> Result<()> {
    let left = seconds.rest();
    while let Some(rest) = left() {
        ensure!(
            !context.stop_requested(),
            "a sleep of {:?} was ended because the host wants to stop",
            seconds.0
        );
        thread::sleep(rest.min(STEP));
    }
    Ok(())
}

/// Keeps the processor busy. Returns an error if the host wants to stop before the time is over.
pub(crate) fn burn(seconds: Seconds, context: &ProduceContext<'_>) -> Result<()> {
    let left = seconds.rest();
    while left().is_some() {
        ensure!(
            !context.stop_requested(),
            "a busy wait of {:?} was ended because the host wants to stop",
            seconds.0
        );
        for step in 0..1000 {
            hint::black_box(step);
        }
    }
    Ok(())
}

/// Waits for a file. Returns an error if the host wants to stop before the file exists.
pub(crate) fn until_file(path: &Path, context: &ProduceContext<'_>) -> Result<()> {
    while !path.exists() {
        ensure!(
            !context.stop_requested(),
            "the wait for the file {} was ended because the host wants to stop",
            path.display()
        );
        thread::sleep(POLL);
    }
    Ok(())
}

impl Seconds {
    /// Starts the time now. The returned function gives the rest of it, or `None` if the time is
    /// over. If the duration is zero it never reads the clock, so that a batch without a wait takes
    /// no longer for it.
    fn rest(self) -> impl Fn() -> Option<Duration> {
        let start = (!self.0.is_zero()).then(Instant::now);
        move || self.0.checked_sub(start?.elapsed()).filter(|rest| !rest.is_zero())
    }
}

impl TryFrom<f64> for Seconds {
    type Error = String;

    fn try_from(seconds: f64) -> Result<Self, String> {
        Duration::try_from_secs_f64(seconds).map(Self).map_err(|reason| {
            format!("{seconds} is wrong, expected a number of seconds, at least 0: {reason}")
        })
    }
}

impl From<Seconds> for f64 {
    fn from(seconds: Seconds) -> Self {
        seconds.0.as_secs_f64()
    }
}
