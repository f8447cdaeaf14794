//! Gives a configured list of messages in order, once, a few times or forever. For tests it also
//! fails on request.
//!
//! ```text
//! messages = [{ path = "a.png" }, { path = "b.png" }], repeat = 2
//!
//! sequence      0       1       2       3     end
//! message     a.png   b.png   a.png   b.png
//! ```
//!
//! # Configuration
//! See [`Config`].
//!
//! # Messages
//! Those of the configuration, unchanged.
//!
//! Message number n follows from the configuration alone. If a run is resumed at message n, the
//! host may ask for the messages before n again. Then the sleeps and failures that are configured
//! for them happen again.
#![forbid(unsafe_code)]

mod sleep;

pub use sleep::Seconds;

use std::process;

use cobuf_plugin_api::anyhow;
use cobuf_plugin_api::prelude::*;

/// The `commander.config` table.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "cobuf_plugin_api::serde")]
#[schemars(crate = "cobuf_plugin_api::schemars")]
pub struct Config {
    /// The messages, in their order. With an empty list the stream ends at once.
    messages: Vec<Dictionary>,
    /// How often to give the list; 0 means without end. Default: 1.
    #[serde(default = "once")]
    repeat: u64,
    /// How many seconds to sleep before each message, and before the end of the stream. Default: 0.
    #[serde(default)]
    sleep_seconds: Seconds,
    /// For tests: the number of the message, from 0, in whose place to return an error. Default:
    /// none.
    #[serde(default)]
    fail_at: Option<u64>,
    /// For tests: the number of the message in whose place to panic. Default: none.
    #[serde(default)]
    panic_at: Option<u64>,
    /// For tests: the number of the message in whose place to end the process, with status 3.
    /// Default: none.
    #[serde(default)]
    exit_at: Option<u64>,
    /// For tests: the text of an error that `new` returns. Default: none.
    #[serde(default)]
    fail_new: Option<String>,
}

fn once() -> u64 {
    1
}

/// The status with which `exit_at` ends the process.
const EXIT_STATUS: i32 = 3;

/// The commander.
#[derive(Debug)]
pub struct ListCommander {
    config: Config,
    /// The number of messages in the stream. `None` if it is endless; then the list is not empty.
    total: Option<u64>,
}

impl Commander for ListCommander {
    type Config = Config;
    type Message = Dictionary;

    fn new(config: Config, _context: &CommanderContext) -> Result<Self> {
        if let Some(text) = &config.fail_new {
            return Err(anyhow::Error::msg(text.clone()).context("asked to fail"));
        }
        let total = total(&config)?;
        Ok(Self { config, total })
    }

    fn next(&mut self, context: &mut CommanderContext) -> Result<Option<Dictionary>> {
        let sequence = context.sequence();
        self.config.sleep_seconds.sleep(context)?;
        self.misbehave(sequence)?;
        if self.total.is_some_and(|total| sequence >= total) {
            return Ok(None);
        }
        let place = sequence % self.config.messages.len() as u64;
        // Below the length of the list, which is a `usize`.
        Ok(Some(self.config.messages[place as usize].clone()))
    }

    fn total(&self) -> Option<u64> {
        self.total
    }
}

impl ListCommander {
    /// Misbehaves in the place of this message if the configuration says so, even after the last
    /// message.
    fn misbehave(&self, sequence: u64) -> Result<()> {
        let Config { fail_at, panic_at, exit_at, .. } = self.config;
        if exit_at == Some(sequence) {
            process::exit(EXIT_STATUS);
        }
        assert!(panic_at != Some(sequence), "asked to panic at message {sequence}");
        ensure!(fail_at != Some(sequence), "asked to fail at message {sequence}");
        Ok(())
    }
}

/// The number of messages in the stream; `None` if it is endless.
fn total(config: &Config) -> Result<Option<u64>> {
    let (length, repeat) = (config.messages.len() as u64, config.repeat);
    if repeat == 0 {
        ensure!(length > 0, "messages is empty and repeat is 0: there is no message to repeat without end");
        return Ok(None);
    }
    let total = length.checked_mul(repeat).with_context(|| {
        format!(
            "{length} messages, {repeat} times, are more than a stream can have, {}; \
             take a smaller repeat, or 0 for an endless stream",
            u64::MAX
        )
    })?;
    Ok(Some(total))
}

cobuf_plugin_api::export_commander!(ListCommander);

#[cfg(test)]
mod tests {
    use super::*;
    use cobuf_plugin_api::testing::CommanderHarness;
    use cobuf_plugin_api::{ReportKind, Value};

    fn list(length: i64) -> Dictionary {
        let messages = (0..length).map(|x| Dictionary::new().with("x", x).into()).collect::<Vec<Value>>();
        Dictionary::new().with("messages", messages)
    }

    fn open(config: &Dictionary) -> CommanderHarness<ListCommander> {
        CommanderHarness::open(config, 0).unwrap()
    }

    /// The text of the first messages.
    fn messages(config: &Dictionary, most: usize) -> String {
        let messages = open(config).take(most).unwrap();
        messages.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    fn refusal(config: Dictionary) -> String {
        CommanderHarness::<ListCommander>::open(&config, 0).unwrap_err().to_string()
    }

    #[test]
    fn list_is_repeated_as_configured() {
        assert_eq!(messages(&list(2), 9), r#"{"x":0} {"x":1}"#);
        assert_eq!(messages(&list(2).with("repeat", 2), 9), r#"{"x":0} {"x":1} {"x":0} {"x":1}"#);
        assert_eq!(messages(&list(2).with("repeat", 0), 5), r#"{"x":0} {"x":1} {"x":0} {"x":1} {"x":0}"#);
        assert_eq!(open(&list(2).with("repeat", 3)).total(), Some(6));
        assert_eq!(open(&list(2).with("repeat", 0)).total(), None);
        assert_eq!(messages(&list(0), 1), "");
    }

    #[test]
    fn commander_fails_at_the_configured_message() {
        let mut commander = open(&list(2).with("fail_at", 1).with("panic_at", 2));
        assert!(commander.next_message().unwrap().is_some());
        assert_eq!(commander.next_message().unwrap_err().to_string(), "asked to fail at message 1");

        let mut commander = open(&list(2).with("panic_at", 2));
        commander.take(2).unwrap();
        let report = commander.next_message().unwrap_err();
        assert_eq!(report.kind, ReportKind::Panic);
        assert!(report.to_string().ends_with("asked to panic at message 2"), "{report}");
    }

    #[test]
    fn impossible_configuration_is_refused_by_name() {
        assert_eq!(
            refusal(list(0).with("repeat", 0)),
            "messages is empty and repeat is 0: there is no message to repeat without end"
        );
        assert!(
            refusal(list(2).with("repeat", u64::MAX)).starts_with("2 messages, 18446744073709551615 times")
        );
        assert_eq!(refusal(list(1).with("fail_new", "no camera")), "asked to fail: no camera");
        for seconds in [-1.0, 1e300] {
            let refusal = refusal(list(1).with("sleep_seconds", seconds));
            assert!(refusal.contains("\"sleep_seconds\""), "{refusal}");
            assert!(refusal.contains("expected a number of seconds, at least 0"), "{refusal}");
        }
        assert!(refusal(list(1).with("sleep_seconds", f64::NAN)).contains("\"sleep_seconds\""));
    }

    #[test]
    fn commander_sleeps_before_a_message() {
        let start = std::time::Instant::now();
        open(&list(1).with("sleep_seconds", 0.02)).next_message().unwrap();
        assert!(start.elapsed().as_secs_f64() >= 0.02);
    }
}
