//! A sleep that ends early if the host wants to stop.

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

impl Seconds {
    /// Sleeps. Returns an error if the host wants to stop before the time is over.
    pub(crate) fn sleep(self, context: &CommanderContext) -> Result<()> {
        let start = Instant::now();
        while let Some(rest) = self.0.checked_sub(start.elapsed()).filter(|rest| !rest.is_zero()) {
            ensure!(
                !context.stop_requested(),
                "a sleep of {:?} before a message was ended because the host wants to stop",
                self.0
            );
            thread::sleep(rest.min(STEP));
        }
        Ok(())
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
