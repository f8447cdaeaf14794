//! Fills any arrays with a number, as slowly as configured, and misbehaves on request: for tests
//! and measurements.
//!
//! ```text
//! { index = 7 }                        every element of every array is 7
//! { value = 2.5, rows = 3 }            the first three rows are 2.5
//! { index = 7, shapes = { x = [3] } }  x has three elements, if it may have fewer than declared
//! { random = true }                    numbers from the message's generator
//! { index = 7, sleep_seconds = 0.1 }   7, after a tenth of a second
//! { panic = "ouch", on_attempt = 1 }   panics
//! { abort = true, on_attempt = 1 }     kills its worker, and is 0 when another worker retries it
//! ```
//!
//! # Configuration
//! See [`Config`]: `arrays = [{ name = "x", dtype = "f32", shape = [32, 3] }]` is enough. With
//! `at_most = [0]` beside the shape, a batch may have any length up to 32 along the first axis.
//!
//! # Messages
//! See [`Message`]; all fields may be left out. The producer does the steps of a message in this
//! order: log, sleep, burn, wait for a file, misbehave (see `misbehave.rs`), shorten the batch, set
//! the shapes, attach the metadata, fill the arrays.
//!
//! # Arrays
//! Those of the configuration.
#![forbid(unsafe_code)]

mod fill;
mod message;
mod misbehave;
mod number;
mod wait;

pub use message::Message;
pub use wait::Seconds;

use std::collections::BTreeMap;

use cobuf_plugin_api::prelude::*;

use fill::Filling;

/// The `producer.config` table.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "cobuf_plugin_api::serde")]
#[schemars(crate = "cobuf_plugin_api::schemars")]
pub struct Config {
    /// The arrays of a batch.
    arrays: Vec<ArraySpec>,
    /// The shapes of arrays that have axes that are at most n, by the arrays' names, unless a
    /// batch's message has shapes. Default: as long as they may be.
    #[serde(default)]
    shapes: BTreeMap<String, Vec<usize>>,
    /// How many seconds to sleep before a batch, unless its message says otherwise. Default: 0.
    #[serde(default)]
    sleep_seconds: Seconds,
    /// How many seconds to keep the processor busy before a batch, unless its message says
    /// otherwise. This is wall-clock time, whatever share of a processor the worker gets. Default:
    /// 0.
    #[serde(default)]
    burn_seconds: Seconds,
    /// For tests: the number of a worker that is slower than the others. Default: none.
    #[serde(default)]
    slow_worker: Option<u32>,
    /// For tests: how many seconds that worker sleeps before a batch, beside all others. Default: 0.
    #[serde(default)]
    slow_seconds: Seconds,
    /// For tests: the text of an error that `new` returns. Default: none.
    #[serde(default)]
    fail_new: Option<String>,
    /// For tests: the text of a panic of `new`. Default: none.
    #[serde(default)]
    panic_new: Option<String>,
}

/// The producer.
#[derive(Debug)]
pub struct FillProducer {
    config: Config,
    /// Whether this is the slow worker.
    slow: bool,
}

impl Producer for FillProducer {
    type Config = Config;
    type Message = Message;

    fn schema(config: &Config) -> Result<Schema> {
        Ok(Schema::new(config.arrays.clone())?)
    }

    fn new(config: Config, context: &WorkerContext) -> Result<Self> {
        if let Some(text) = &config.panic_new {
            panic!("{text}");
        }
        if let Some(text) = &config.fail_new {
            return Err(misbehave::error(text));
        }
        let slow = config.slow_worker == Some(context.worker());
        Ok(Self { config, slow })
    }

    fn produce(
        &mut self,
        message: Message,
        slot: &mut Slot<'_>,
        context: &mut ProduceContext<'_>,
    ) -> Result<()> {
        if let Some(text) = &message.log {
            log::info!("{text}");
        }
        self.wait(&message, context)?;
        misbehave::misbehave(&message, context.attempt())?;
        if let Some(rows) = message.rows {
            slot.set_rows(rows)?;
        }
        let shapes = message.shapes.as_ref().unwrap_or(&self.config.shapes);
        shapes.iter().try_for_each(|(name, shape)| slot.set_shape(name, shape))?;
        misbehave::ask_wrongly(&message, slot)?;
        if let Some(metadata) = &message.metadata {
            slot.set_metadata(metadata)?;
        }
        let filling =
            if message.random { Filling::Random(context.rng()) } else { Filling::Value(message.number()?) };
        fill::fill(slot, filling)
    }
}

impl FillProducer {
    fn wait(&self, message: &Message, context: &ProduceContext<'_>) -> Result<()> {
        wait::sleep(message.sleep_seconds.unwrap_or(self.config.sleep_seconds), context)?;
        if self.slow {
            wait::sleep(self.config.slow_seconds, context)?;
        }
        wait::burn(message.burn_seconds.unwrap_or(self.config.burn_seconds), context)?;
        message.until_file.as_deref().map_or(Ok(()), |path| wait::until_file(path, context))
    }
}

cobuf_plugin_api::export_producer!(FillProducer);

#[cfg(test)]
mod tests;
