//! A commander whose messages follow from what it has drawn and summed up itself, which asking again does not bring back: for
//! tests, which build it.
#![forbid(unsafe_code)]

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::PathBuf;
use std::{fs, process};

use cobuf_plugin_api::prelude::*;
use cobuf_plugin_api::SavedState;

#[derive(Deserialize, JsonSchema)]
#[serde(crate = "cobuf_plugin_api::serde")]
#[schemars(crate = "cobuf_plugin_api::schemars")]
pub struct Config {
    /// The number of messages.
    count: u64,
    /// The secret, instead of one that nobody knows.
    secret: Option<u64>,
    /// Bytes of the state that are there to make it large.
    #[serde(default)]
    padding: usize,
    /// The bytes by which it grows with each message.
    #[serde(default)]
    grows_by: usize,
    /// A file. Where it is there, it is removed, and the state cannot be saved this once.
    fails_once: Option<PathBuf>,
    /// Whether to take over a state never ends.
    #[serde(default)]
    hang_in_restore: bool,
}

#[derive(Serialize)]
#[serde(crate = "cobuf_plugin_api::serde")]
pub struct Message {
    index: u64,
    secret: u64,
    /// Of the secret and all messages up to this one.
    sum: u64,
    /// The process that made the message, and how many it was asked for so far.
    maker: u32,
    asked: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(crate = "cobuf_plugin_api::serde")]
struct State {
    secret: u64,
    sum: u64,
    padding: String,
}

pub struct StatefulCommander {
    config: Config,
    state: State,
    asked: u64,
}

/// The version of the state's form.
const VERSION: u32 = 3;

impl Commander for StatefulCommander {
    type Config = Config;
    type Message = Message;

    fn new(config: Config, _context: &CommanderContext) -> Result<Self> {
        let secret = config.secret.unwrap_or_else(|| RandomState::new().build_hasher().finish() >> 32);
        let state = State { secret, sum: secret, padding: "x".repeat(config.padding) };
        Ok(Self { config, state, asked: 0 })
    }

    fn next(&mut self, context: &mut CommanderContext) -> Result<Option<Message>> {
        let index = context.sequence();
        if index == self.config.count {
            return Ok(None);
        }
        self.asked += 1;
        let State { secret, sum, padding } = &mut self.state;
        padding.extend(std::iter::repeat_n('x', self.config.grows_by));
        *sum = (*sum * 31 + index) % (1 << 40);
        Ok(Some(Message { index, secret: *secret, sum: *sum, maker: process::id(), asked: self.asked }))
    }

    fn save(&mut self, _context: &CommanderContext) -> Result<Option<SavedState>> {
        let fails = self.config.fails_once.as_ref().is_some_and(|file| fs::remove_file(file).is_ok());
        ensure!(!fails, "there is nothing to save this once");
        Ok(Some(SavedState::new(VERSION, &self.state)?))
    }

    fn restore(&mut self, _context: &CommanderContext, state: &SavedState) -> Result<()> {
        ensure!(
            state.version() == VERSION,
            "the state is of version {}, expected {VERSION}; resume with the plugin that saved it",
            state.version()
        );
        while self.config.hang_in_restore {
            std::thread::park();
        }
        self.state = state.read()?;
        Ok(())
    }
}

cobuf_plugin_api::export_commander!(StatefulCommander);
