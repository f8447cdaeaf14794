//! Runs a producer or a commander inside an author's unit test: without a host, `dlopen` or another
//! process.
//!
//! Configuration and messages pass through the same encoding and checks as in a run. Errors and
//! panics become the same reports.
//!
//! ```
//! use cobuf_plugin_api::prelude::*;
//! use cobuf_plugin_api::testing::ProducerHarness;
//!
//! struct Ones;
//! impl Producer for Ones {
//!     type Config = Dictionary;
//!     type Message = Dictionary;
//!     fn schema(_: &Dictionary) -> Result<Schema> {
//!         Ok(Schema::new([ArraySpec::new("x", DType::F32, [4])])?)
//!     }
//!     fn new(_: Dictionary, _: &WorkerContext) -> Result<Self> {
//!         Ok(Ones)
//!     }
//!     fn produce(
//!         &mut self,
//!         _: Dictionary,
//!         slot: &mut Slot<'_>,
//!         _: &mut ProduceContext<'_>,
//!     ) -> Result<()> {
//!         slot.array::<f32, Ix1>("x")?.fill(1.0);
//!         Ok(())
//!     }
//! }
//!
//! let mut producer = ProducerHarness::<Ones>::open(&Dictionary::new())?;
//! let batch = producer.produce(0, &Dictionary::new())?;
//! assert_eq!(batch.array::<f32, Ix1>("x")?.sum(), 4.0);
//! # Ok::<(), anyhow::Error>(())
//! ```

use std::fmt;

use ndarray::{Array, Dimension};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::abi::{CommanderInfo, WorkerInfo};
use crate::codec;
use crate::commander::Commander;
use crate::dictionary::Dictionary;
use crate::dtype::Element;
use crate::instance::{CommanderInstance, Place, ProducerInstance};
use crate::panics::guard;
use crate::producer::Producer;
use crate::report::Report;
use crate::schema::Schema;
use crate::seed;
use crate::slot::{Slot, SlotError};
use crate::state::SavedState;
use crate::stop::StopFlag;

/// A producer, opened as the only worker of a run.
pub struct ProducerHarness<P> {
    instance: ProducerInstance<P>,
    run_seed: u64,
}

impl<P: Producer> ProducerHarness<P> {
    /// Opens the producer with a configuration: any `serde` struct or map. The run's seed is 0.
    ///
    /// # Errors
    /// The plugin's error or panic, or the reason why the configuration is refused.
    pub fn open(config: &impl Serialize) -> Result<Self, Report> {
        let info = WorkerInfo { worker: 0, workers: 1, incarnation: 0, stop: StopFlag::NEVER };
        let instance = guard(|| ProducerInstance::open(&codec::encode("the configuration", config)?, info))?;
        Ok(Self { instance, run_seed: 0 })
    }

    /// The same producer in a run with another seed.
    #[must_use]
    pub fn with_seed(mut self, run_seed: u64) -> Self {
        self.run_seed = run_seed;
        self
    }

    /// The schema that the producer declared.
    pub fn schema(&self) -> &Schema {
        self.instance.schema()
    }

    /// Produces the batch of the message `sequence` (from 0), into memory that is zero before.
    ///
    /// # Errors
    /// The plugin's error or panic.
    pub fn produce(&mut self, sequence: u64, message: &impl Serialize) -> Result<TestBatch, Report> {
        let schema = self.instance.schema().clone();
        // Words, so that the bytes are aligned for every element type.
        let mut arrays: Vec<Vec<u64>> =
            schema.arrays().iter().map(|array| vec![0; array.bytes().div_ceil(size_of::<u64>())]).collect();
        let mut lengths: Vec<usize> = schema.most_lengths().collect();
        let place = Place { sequence, attempt: 0, seed: seed::message_seed(self.run_seed, sequence) };
        let said = guard(|| {
            let message = codec::encode("a message", message)?;
            self.instance.produce(place, &message, bytes(&schema, &mut arrays), &mut lengths)
        })?;
        Ok(TestBatch { schema, arrays, lengths, rows: said.rows, metadata: said.metadata })
    }
}

impl<P> fmt::Debug for ProducerHarness<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProducerHarness").field("run_seed", &self.run_seed).finish_non_exhaustive()
    }
}

fn bytes<'a>(schema: &Schema, arrays: &'a mut [Vec<u64>]) -> impl Iterator<Item = &'a mut [u8]> {
    arrays
        .iter_mut()
        .zip(schema.arrays())
        .map(|(words, array)| &mut bytemuck::cast_slice_mut(words.as_mut_slice())[..array.bytes()])
}

/// A batch that a harness has produced.
#[derive(Debug, Clone)]
pub struct TestBatch {
    schema: Schema,
    arrays: Vec<Vec<u64>>,
    lengths: Vec<usize>,
    rows: Option<usize>,
    metadata: Vec<u8>,
}

impl TestBatch {
    /// A copy of the array `name`, with the shape that it has in the batch.
    ///
    /// # Errors
    /// As for [`Slot::array`].
    pub fn array<T: Element, D: Dimension>(&self, name: &str) -> Result<Array<T, D>, SlotError> {
        let (mut arrays, mut lengths) = (self.arrays.clone(), self.lengths.clone());
        let mut slot = Slot::new(&self.schema, bytes(&self.schema, &mut arrays), &mut lengths);
        if let Some(rows) = self.rows {
            slot.set_rows(rows)?;
        }
        slot.array(name).map(|view| view.to_owned())
    }

    /// The batch's number of rows; `None` if its arrays do not share a first axis.
    pub fn rows(&self) -> Option<usize> {
        self.rows.or(self.schema.rows())
    }

    /// The metadata; an empty dictionary if the producer attached none.
    ///
    /// # Errors
    /// [`CodecError`](codec::CodecError): the metadata is not a `T`.
    pub fn metadata<T: DeserializeOwned>(&self) -> Result<T, codec::CodecError> {
        const EMPTY_MAP: &[u8] = &[0x80];
        codec::decode("the metadata", if self.metadata.is_empty() { EMPTY_MAP } else { &self.metadata })
    }
}

/// A commander at the start of a run.
pub struct CommanderHarness<C> {
    instance: CommanderInstance<C>,
    sequence: u64,
}

impl<C: Commander> CommanderHarness<C> {
    /// Opens the commander with a configuration (any `serde` struct or map), for a run with the
    /// seed `run_seed`.
    ///
    /// # Errors
    /// The plugin's error or panic, or the reason why the configuration is refused.
    pub fn open(config: &impl Serialize, run_seed: u64) -> Result<Self, Report> {
        let info = CommanderInfo { seed: run_seed, stop: StopFlag::NEVER };
        let instance = guard(|| CommanderInstance::open(&codec::encode("the configuration", config)?, info))?;
        Ok(Self { instance, sequence: 0 })
    }

    /// The number of messages in the whole stream; `None` if the commander does not know it.
    pub fn total(&self) -> Option<u64> {
        self.instance.total()
    }

    /// The next message, or `None` at the end of the stream.
    ///
    /// # Errors
    /// The plugin's error or panic.
    pub fn next_message(&mut self) -> Result<Option<Dictionary>, Report> {
        let message = guard(|| {
            let message = self.instance.next(self.sequence)?;
            Ok(message.map(|message| codec::decode("the message", &message)).transpose()?)
        })?;
        self.sequence += 1;
        Ok(message)
    }

    /// The next `most` messages, or fewer if the stream ends before.
    ///
    /// # Errors
    /// The plugin's error or panic.
    pub fn take(&mut self, most: usize) -> Result<Vec<Dictionary>, Report> {
        (0..most).map_while(|_| self.next_message().transpose()).collect()
    }
}

impl<C: Commander> CommanderHarness<C> {
    /// Skips to the message `to`, as a host does that resumes a run.
    ///
    /// # Errors
    /// The plugin's error or panic.
    pub fn skip(&mut self, to: u64) -> Result<(), Report> {
        guard(|| self.instance.skip(self.sequence, to))?;
        self.sequence = to;
        Ok(())
    }

    /// The state that the commander saves before its next message; `None` if it saves none.
    ///
    /// # Errors
    /// The plugin's error or panic.
    pub fn save(&mut self) -> Result<Option<SavedState>, Report> {
        guard(|| self.instance.save(self.sequence))
    }

    /// Gives a new commander the state that another one saved before the message `sequence`.
    ///
    /// # Errors
    /// The plugin's error or panic.
    pub fn restore(&mut self, sequence: u64, state: &SavedState) -> Result<(), Report> {
        guard(|| self.instance.restore(sequence, state))?;
        self.sequence = sequence;
        Ok(())
    }
}

impl<C> fmt::Debug for CommanderHarness<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommanderHarness").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}
