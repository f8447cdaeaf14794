//! Makes sequences of tokens from texts, one token a byte: a model for sequences that are padded to
//! the longest of their batch.
//!
//! ```text
//!   texts            tokens (2, 3)    length
//!   "abc"            98 99 100        3
//!   "x"              121 0 0          1
//! ```
//!
//! # Configuration
//! See [`Config`].
//!
//! # Messages
//! `texts`: a list of at most `batch_size` texts of at most `longest` bytes of UTF-8. Fewer texts
//! make a shorter batch; no text, or only empty ones, a batch without tokens.
//!
//! # Arrays
//! | array | type | shape | values |
//! |---|---|---|---|
//! | `tokens` | u16 | (batch_size, ≤longest): text, place | 1 + the byte; 0 is padding |
//! | `length` | i64 | (batch_size,) | the number of tokens of a text |
#![forbid(unsafe_code)]

use cobuf_plugin_api::prelude::*;

/// The `producer.config` table.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "cobuf_plugin_api::serde")]
#[schemars(crate = "cobuf_plugin_api::schemars")]
pub struct Config {
    /// The most texts in a batch, at least 1.
    batch_size: usize,
    /// The most bytes of a text, at least 1. Default: 512.
    #[serde(default = "longest")]
    longest: usize,
}

fn longest() -> usize {
    512
}

/// The texts of one batch.
#[derive(Debug, Deserialize)]
#[serde(crate = "cobuf_plugin_api::serde")]
pub struct Message {
    /// One for each sequence.
    texts: Vec<String>,
}

/// The producer.
#[derive(Debug)]
pub struct TokensProducer {
    config: Config,
}

impl Producer for TokensProducer {
    type Config = Config;
    type Message = Message;

    fn schema(config: &Config) -> Result<Schema> {
        let Config { batch_size, longest } = *config;
        Ok(Schema::new([
            ArraySpec::new("tokens", DType::U16, [batch_size, longest]).at_most([1]),
            ArraySpec::new("length", DType::I64, [batch_size]),
        ])?)
    }

    fn new(config: Config, _context: &WorkerContext) -> Result<Self> {
        Ok(Self { config })
    }

    fn produce(
        &mut self,
        Message { texts }: Message,
        slot: &mut Slot<'_>,
        _context: &mut ProduceContext<'_>,
    ) -> Result<()> {
        let width = texts.iter().map(String::len).max().unwrap_or_default();
        ensure!(
            width <= self.config.longest,
            "the longest text has {width} bytes, expected at most longest, {}; cut it, or raise longest",
            self.config.longest
        );
        slot.set_rows(texts.len())?;
        slot.set_shape("tokens", [texts.len(), width])?;
        let mut tokens = slot.array::<u16, Ix2>("tokens")?;
        let mut length = slot.array::<i64, Ix1>("length")?;
        tokens.fill(0);
        for ((mut row, length), text) in tokens.outer_iter_mut().zip(&mut length).zip(&texts) {
            row.iter_mut().zip(text.bytes()).for_each(|(token, byte)| *token = 1 + u16::from(byte));
            *length = text.len() as i64;
        }
        Ok(())
    }
}

cobuf_plugin_api::export_producer!(TokensProducer);

#[cfg(test)]
mod tests {
    use super::*;
    use cobuf_plugin_api::ndarray::array;
    use cobuf_plugin_api::testing::ProducerHarness;

    fn producer() -> ProducerHarness<TokensProducer> {
        ProducerHarness::open(&Config { batch_size: 3, longest: 8 }).unwrap()
    }

    fn message(texts: &[&str]) -> Dictionary {
        let texts: Vec<cobuf_plugin_api::Value> = texts.iter().map(|&text| text.into()).collect();
        Dictionary::new().with("texts", texts)
    }

    #[test]
    fn batch_is_as_wide_as_its_longest_text() {
        let batch = producer().produce(0, &message(&["abc", "x"])).unwrap();
        assert_eq!(batch.array::<u16, Ix2>("tokens").unwrap(), array![[98, 99, 100], [121, 0, 0]]);
        assert_eq!(batch.array::<i64, Ix1>("length").unwrap(), array![3, 1]);
        for (texts, shape) in [(&["", ""][..], (2, 0)), (&[], (0, 0)), (&["12345678"; 3], (3, 8))] {
            let batch = producer().produce(0, &message(texts)).unwrap();
            assert_eq!(batch.array::<u16, Ix2>("tokens").unwrap().dim(), shape);
        }
    }

    #[test]
    fn text_that_is_too_long_is_an_error() {
        let error = producer().produce(0, &message(&["123456789"])).unwrap_err();
        assert_eq!(
            error.chain,
            ["the longest text has 9 bytes, expected at most longest, 8; cut it, or raise longest"]
        );
    }
}
