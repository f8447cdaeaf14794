//! Producers and commanders that are open, in safe code. The boundary's shims and the test harness
//! share them.

use crate::abi::{CommanderInfo, WorkerInfo};
use crate::codec;
use crate::commander::{Commander, CommanderContext};
use crate::producer::{ProduceContext, Producer, WorkerContext};
use crate::schema::Schema;
use crate::slot::{Slot, SlotOutcome};
use crate::state::SavedState;

/// A producer with the schema that it declared.
pub(crate) struct ProducerInstance<P> {
    producer: P,
    schema: Schema,
    /// The number of lengths that a batch has of its own.
    lengths: usize,
    worker: WorkerContext,
}

/// A message's place in the run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) sequence: u64,
    pub(crate) attempt: u32,
    pub(crate) seed: u64,
}

/// The schema that a producer declares for an encoded configuration.
pub(crate) fn schema<P: Producer>(config: &[u8]) -> anyhow::Result<Schema> {
    P::schema(&codec::decode_config(config)?)
}

impl<P: Producer> ProducerInstance<P> {
    pub(crate) fn open(config: &[u8], info: WorkerInfo) -> anyhow::Result<Self> {
        let config: P::Config = codec::decode_config(config)?;
        let schema = P::schema(&config)?;
        let WorkerInfo { worker, workers, incarnation, stop } = info;
        let worker = WorkerContext { worker, workers, incarnation, stop };
        let lengths = schema.most_lengths().count();
        Ok(Self { producer: P::new(config, &worker)?, schema, lengths, worker })
    }

    pub(crate) fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Produces one message. `lengths` are the longest that the batch may have; afterwards they are
    /// those that it has.
    pub(crate) fn produce<'slot>(
        &'slot mut self,
        place: Place,
        message: &[u8],
        arrays: impl Iterator<Item = &'slot mut [u8]>,
        lengths: &'slot mut [usize],
    ) -> anyhow::Result<SlotOutcome> {
        let (room, wanted) = (lengths.len(), self.lengths);
        anyhow::ensure!(
            room == wanted,
            "the host has room for {room} lengths of a batch, expected {wanted} for {}; update the host",
            self.schema
        );
        codec::decode_for("the message", message, |message| {
            let mut slot = Slot::new(&self.schema, arrays, lengths);
            let mut context = ProduceContext::new(&self.worker, place.sequence, place.attempt, place.seed);
            self.producer.produce(message, &mut slot, &mut context)?;
            Ok(slot.take_outcome())
        })
    }
}

/// A commander with its place in the stream.
pub(crate) struct CommanderInstance<C> {
    commander: C,
    context: CommanderContext,
}

impl<C: Commander> CommanderInstance<C> {
    pub(crate) fn open(config: &[u8], info: CommanderInfo) -> anyhow::Result<Self> {
        let context = CommanderContext { seed: info.seed, sequence: 0, ended: false, stop: info.stop };
        let commander = C::new(codec::decode_config(config)?, &context)?;
        Ok(Self { commander, context })
    }

    pub(crate) fn total(&self) -> Option<u64> {
        self.commander.total()
    }

    /// The encoded message `sequence`, or `None` at the end.
    pub(crate) fn next(&mut self, sequence: u64) -> anyhow::Result<Option<Vec<u8>>> {
        // A skip may have found the end. It is not asked for again.
        if self.context.ended {
            return Ok(None);
        }
        self.context.sequence = sequence;
        let message = self.commander.next(&mut self.context)?;
        Ok(message.map(|message| codec::encode("a message", &message)).transpose()?)
    }

    /// Skips from the message `from`, which would be next, to the message `to`.
    pub(crate) fn skip(&mut self, from: u64, to: u64) -> anyhow::Result<()> {
        self.context.sequence = from;
        self.commander.skip(&mut self.context, to)
    }

    pub(crate) fn save(&mut self, sequence: u64) -> anyhow::Result<Option<SavedState>> {
        self.context.sequence = sequence;
        self.commander.save(&self.context)
    }

    pub(crate) fn restore(&mut self, sequence: u64, state: &SavedState) -> anyhow::Result<()> {
        self.context.sequence = sequence;
        self.commander.restore(&self.context, state)
    }
}
