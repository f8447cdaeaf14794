//! A producer: fills arrays in shared memory, one batch for each message, in worker processes.
//!
//! This one makes rows of numbers for the items that a message names. Put your own decoding,
//! reading or computing into `load`, and your own arrays into `schema`.
#![forbid(unsafe_code)]

use cobuf_plugin_api::prelude::*;

/// The table `[producer.config]` of a pipeline file. `cobuf inspect` shows these comments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(crate = "cobuf_plugin_api::serde")]
#[schemars(crate = "cobuf_plugin_api::schemars")]
pub struct Config {
    /// The most rows in a batch.
    batch_size: usize,
    /// The number of values in a row.
    #[serde(default = "default_width")]
    width: usize,
    /// The most that random noise adds to a value, or takes from it.
    #[serde(default)]
    noise: f32,
}

fn default_width() -> usize {
    16
}

impl Config {
    /// Checks the rules that types cannot express.
    fn check(&self) -> Result<()> {
        ensure!(
            self.noise >= 0.0,
            "noise is {}, expected 0 or more",
            self.noise
        );
        Ok(())
    }
}

/// The entries of a commander's message that this producer needs. Other entries are ignored.
#[derive(Debug, Deserialize)]
#[serde(crate = "cobuf_plugin_api::serde")]
pub struct Message {
    /// The numbers of the batch's items, one for each row.
    items: Vec<u64>,
}

/// The producer. Each worker has its own; they share nothing.
#[derive(Debug)]
pub struct Samples {
    config: Config,
}

impl Producer for Samples {
    type Config = Config;
    type Message = Message;

    /// The arrays of each slot. They follow from the configuration only. A wrong configuration is
    /// refused here, before any worker is started.
    fn schema(config: &Config) -> Result<Schema> {
        config.check()?;
        let Config {
            batch_size, width, ..
        } = *config;
        Ok(Schema::new([
            ArraySpec::new("x", DType::F32, [batch_size, width]),
            ArraySpec::new("item", DType::U64, [batch_size]),
        ])?)
    }

    /// Called in each worker, before its first message. Open files, load models and start threads
    /// here.
    fn new(config: Config, context: &WorkerContext) -> Result<Self> {
        log::info!(
            "worker {} of {} is ready",
            context.worker(),
            context.workers()
        );
        Ok(Self { config })
    }

    /// Fills the slot. The content should follow from configuration, message and `context.rng()`
    /// only; then a run gives the same batches for any number of workers, and if a message is
    /// retried.
    fn produce(
        &mut self,
        message: Message,
        slot: &mut Slot<'_>,
        context: &mut ProduceContext<'_>,
    ) -> Result<()> {
        log::debug!(
            "message {}: {} items",
            context.sequence(),
            message.items.len()
        );
        // A batch may be shorter than the slot. More rows than the slot has are an error.
        slot.set_rows(message.items.len())?;
        let mut x = slot.array::<f32, Ix2>("x")?; // a view of the application's memory: nothing is copied
        for (mut row, &item) in x.outer_iter_mut().zip(&message.items) {
            let value = load(item).with_context(|| format!("cannot load item {item}"))?;
            for element in &mut row {
                // This generator is seeded with the run's seed and the message's number.
                *element = value + self.config.noise * context.rng().random_range(-1.0..=1.0);
            }
        }
        let mut items = slot.array::<u64, Ix1>("item")?;
        for (element, &item) in items.iter_mut().zip(&message.items) {
            *element = item;
        }
        Ok(())
    }
}

/// The value of an item, which would come from a file or a device.
fn load(item: u64) -> Result<f32> {
    const MOST_ITEMS: u64 = 1_000_000;
    ensure!(
        item < MOST_ITEMS,
        "there are {MOST_ITEMS} items only, counted from 0"
    );
    Ok(item as f32)
}

cobuf_plugin_api::export_producer!(Samples);

#[cfg(test)]
mod tests {
    use super::*;
    use cobuf_plugin_api::Value;
    use cobuf_plugin_api::testing::ProducerHarness;

    fn open(noise: f64) -> ProducerHarness<Samples> {
        let config = Dictionary::new()
            .with("batch_size", 4)
            .with("width", 3)
            .with("noise", noise);
        ProducerHarness::open(&config).unwrap()
    }

    fn message(items: &[u64]) -> Dictionary {
        let items: Vec<_> = items.iter().copied().map(Value::from).collect();
        Dictionary::new().with("items", items)
    }

    #[test]
    fn each_item_has_its_row() {
        let batch = open(0.0).produce(0, &message(&[5, 7])).unwrap();
        let x = batch.array::<f32, Ix2>("x").unwrap();
        assert_eq!((x.dim(), x[[0, 0]], x[[1, 2]]), ((2, 3), 5.0, 7.0));
        assert_eq!(batch.array::<u64, Ix1>("item").unwrap().to_vec(), [5, 7]);
    }

    #[test]
    fn same_message_gives_the_same_batch() {
        let values = |sequence| {
            let batch = open(0.5).produce(sequence, &message(&[1, 2, 3])).unwrap();
            batch.array::<f32, Ix2>("x").unwrap()
        };
        assert_eq!(values(9), values(9));
        assert_ne!(values(9), values(10));
    }

    #[test]
    fn negative_noise_is_refused() {
        let config = Dictionary::new().with("batch_size", 4).with("noise", -1);
        let error = ProducerHarness::<Samples>::open(&config).unwrap_err();
        assert!(error.to_string().contains("noise is -1"), "{error}");
    }

    #[test]
    fn item_that_cannot_be_loaded_is_named() {
        let error = open(0.0).produce(0, &message(&[2_000_000])).unwrap_err();
        assert!(
            error.to_string().contains("cannot load item 2000000"),
            "{error}"
        );
    }
}
