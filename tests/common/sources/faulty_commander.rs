//! A commander with one fault, as its configuration says: for tests of `cobuf check`, which build it.
#![forbid(unsafe_code)]

use std::{mem, process};

use cobuf_plugin_api::prelude::*;

#[derive(Deserialize, JsonSchema)]
#[serde(crate = "cobuf_plugin_api::serde")]
#[schemars(crate = "cobuf_plugin_api::schemars")]
pub struct Config {
    /// What it does wrong.
    #[serde(default)]
    fault: String,
}

/// A message depends on the sum of all numbers before it.
#[derive(Serialize)]
#[serde(crate = "cobuf_plugin_api::serde")]
pub struct Message {
    sum: u64,
    text: String,
}

#[derive(Serialize, Deserialize)]
#[serde(crate = "cobuf_plugin_api::serde")]
struct State {
    sum: u64,
}

pub struct FaultyCommander {
    fault: String,
    sum: u64,
}

/// The number of messages.
const COUNT: u64 = 40;
/// The version of the state's form.
const VERSION: u32 = 2;

impl FaultyCommander {
    fn has(&self, fault: &str) -> bool {
        self.fault == fault
    }
}

impl Commander for FaultyCommander {
    type Config = Config;
    type Message = Message;

    fn new(config: Config, _context: &CommanderContext) -> Result<Self> {
        Ok(Self { fault: config.fault, sum: 0 })
    }

    fn next(&mut self, context: &mut CommanderContext) -> Result<Option<Message>> {
        if context.sequence() == COUNT {
            return Ok(None);
        }
        self.sum += context.sequence() + context.seed();
        if self.has("pid") {
            self.sum += u64::from(process::id());
        }
        if self.has("leak") {
            mem::forget(vec![1_u8; 4096]);
        }
        assert!(!self.has("panic") || context.sequence() < 5, "asked to panic");
        let text = if self.has("large") { "x".repeat(100_000) } else { String::new() };
        Ok(Some(Message { sum: self.sum, text }))
    }

    fn total(&self) -> Option<u64> {
        Some(if self.has("total") { COUNT + 1 } else { COUNT })
    }

    fn skip(&mut self, context: &mut CommanderContext, to: u64) -> Result<()> {
        if !self.has("skip") {
            self.sum += (context.sequence()..to).map(|sequence| sequence + context.seed()).sum::<u64>();
        }
        Ok(())
    }

    fn save(&mut self, _: &CommanderContext) -> Result<Option<SavedState>> {
        Ok(Some(SavedState::new(VERSION, &State { sum: self.sum })?))
    }

    fn restore(&mut self, _: &CommanderContext, state: &SavedState) -> Result<()> {
        let known = state.version() == VERSION || self.has("any-version");
        ensure!(known, "the state is of version {}, expected {VERSION}", state.version());
        let lie = u64::from(self.has("restore"));
        self.sum = state.read::<State>()?.sum + lie;
        Ok(())
    }
}

cobuf_plugin_api::export_commander!(FaultyCommander);
