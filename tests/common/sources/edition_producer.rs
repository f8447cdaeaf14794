//! A producer that says which edition of it has filled a batch, and that fails as a file tells it to: for tests, which build it in several
//! editions.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::{fs, process, thread, time};

use cobuf_plugin_api::prelude::*;

/// Each build has another one.
const EDITION: u64 = 0;

#[derive(Deserialize, JsonSchema)]
#[serde(crate = "cobuf_plugin_api::serde")]
#[schemars(crate = "cobuf_plugin_api::schemars")]
pub struct Config {
    /// A file with the name of what goes wrong in all editions but the first. What is not there goes well.
    fault: PathBuf,
}

#[derive(Deserialize)]
#[serde(crate = "cobuf_plugin_api::serde")]
pub struct Message {
    index: u64,
    /// A file to wait for.
    until_file: Option<PathBuf>,
    /// What to say before.
    log: Option<String>,
    /// Whether it cannot be done.
    #[serde(default)]
    bad: bool,
}

pub struct EditionProducer(Config);

/// What is to go wrong here.
fn is_fault(config: &Config, fault: &str) -> bool {
    EDITION > 0 && fs::read_to_string(&config.fault).is_ok_and(|named| named == fault)
}

impl Producer for EditionProducer {
    type Config = Config;
    type Message = Message;

    fn schema(config: &Config) -> Result<Schema> {
        ensure!(!is_fault(config, "error in schema"), "no schema today");
        let numbers = if is_fault(config, "other schema") { 4 } else { 3 };
        Ok(Schema::new([ArraySpec::new("numbers", DType::U64, [numbers])])?)
    }

    fn new(config: Config, context: &WorkerContext) -> Result<Self> {
        // A rehearsal is the first worker, too.
        ensure!(context.worker() == 0 || !is_fault(&config, "error in second new"), "no second producer");
        ensure!(!is_fault(&config, "error in new"), "no producer today");
        assert!(!is_fault(&config, "panic in new"), "asked to panic in new");
        if is_fault(&config, "exit in new") {
            process::exit(7);
        }
        while is_fault(&config, "hang in new") || context.worker() > 0 && is_fault(&config, "hang in second new") {
            thread::sleep(time::Duration::from_millis(1));
        }
        Ok(Self(config))
    }

    fn produce(
        &mut self,
        message: Message,
        slot: &mut Slot<'_>,
        context: &mut ProduceContext<'_>,
    ) -> Result<()> {
        ensure!(!is_fault(&self.0, "error in produce"), "no batch today");
        assert!(!is_fault(&self.0, "panic in produce"), "asked to panic in produce");
        ensure!(!message.bad, "message {} is bad", message.index);
        if is_fault(&self.0, "crash in produce") {
            process::abort();
        }
        if is_fault(&self.0, "exit in produce") {
            process::exit(0);
        }
        while is_fault(&self.0, "hang in produce") {
            thread::sleep(time::Duration::from_millis(1));
        }
        if let Some(text) = message.log {
            log::info!("{text}");
        }
        while message.until_file.as_ref().is_some_and(|file| !file.exists()) {
            ensure!(!context.stop_requested(), "stopped at the gate");
            thread::sleep(time::Duration::from_millis(1));
        }
        let drawn = context.rng().next_u64();
        let mut numbers = slot.array::<u64, Ix1>("numbers")?;
        numbers.assign(&cobuf_plugin_api::ndarray::arr1(&[EDITION, message.index, drawn]));
        Ok(())
    }
}

cobuf_plugin_api::export_producer!(EditionProducer);
