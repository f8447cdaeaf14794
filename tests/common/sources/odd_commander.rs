//! A commander that does what no plugin should: for tests, which build it.
#![forbid(unsafe_code)]

use std::{process, thread};

use cobuf_plugin_api::prelude::*;

#[derive(Deserialize, JsonSchema)]
#[serde(crate = "cobuf_plugin_api::serde")]
#[schemars(crate = "cobuf_plugin_api::schemars")]
pub struct Config {
    /// The status with which to end the process that makes the commander.
    exit_in_new: Option<i32>,
    /// Whether the commander is never made.
    #[serde(default)]
    hang_in_new: bool,
}

pub struct OddCommander;

impl Commander for OddCommander {
    type Config = Config;
    type Message = Vec<u64>;

    fn new(config: Config, _context: &CommanderContext) -> Result<Self> {
        if let Some(status) = config.exit_in_new {
            process::exit(status);
        }
        while config.hang_in_new {
            thread::park();
        }
        Ok(Self)
    }

    /// A list, where a message must be a dictionary.
    fn next(&mut self, context: &mut CommanderContext) -> Result<Option<Vec<u64>>> {
        Ok(Some(vec![context.sequence()]))
    }
}

cobuf_plugin_api::export_commander!(OddCommander);
