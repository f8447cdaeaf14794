//! The settings of what is delivered: how much at a time, in which order, from which source and rank.

use super::{HostBuilder, Source, Workers};
use crate::record::portion::Remainder;
use crate::record::rank::Rank;

/// # Size
impl HostBuilder {
    /// The number of worker processes: a number, or [`Workers::auto`] to have the host find it.
    ///
    /// Default: one for each CPU that this process may use, divided among the ranks on the
    /// machine if a launcher says how many there are. Range: 1 to
    /// [`limits::MAX_WORKERS`](crate::limits::MAX_WORKERS),
    /// otherwise `start` fails with [`StartError::OutOfRange`](crate::StartError::OutOfRange).
    ///
    /// ```
    /// # use cobuf_host::{Host, Workers};
    /// let four = Host::builder().workers(4);
    /// let found = Host::builder().workers(Workers::auto());
    /// ```
    pub fn workers(mut self, workers: impl Into<Workers>) -> Self {
        self.workers = Some(workers.into());
        self
    }

    /// The number of slots: how many batches can be queued, in production, ready or held by the
    /// application at a time. Memory for all of them is reserved at the start.
    ///
    /// Default: 4 for each worker. Range: 1 to [`limits::MAX_SLOTS`](crate::limits::MAX_SLOTS), otherwise
    /// [`StartError::OutOfRange`](crate::StartError::OutOfRange). For batches that take
    /// microseconds use at least 32, to keep context switches rare.
    ///
    /// ```
    /// # use cobuf_host::Host;
    /// let builder = Host::builder().slots(32);
    /// ```
    pub fn slots(mut self, slots: usize) -> Self {
        self.slots = Some(slots);
        self
    }

    /// The most bytes that an encoded message may have.
    ///
    /// Default: [`limits::DEFAULT_MESSAGE_CAPACITY`](crate::limits::DEFAULT_MESSAGE_CAPACITY), 64 KiB. Range:
    /// [`limits::MIN_MESSAGE_CAPACITY`](crate::limits::MIN_MESSAGE_CAPACITY) to
    /// [`limits::MAX_MESSAGE_CAPACITY`](crate::limits::MAX_MESSAGE_CAPACITY), otherwise
    /// [`StartError::OutOfRange`](crate::StartError::OutOfRange). A larger message is the
    /// commander's error, or [`SubmitError::TooLarge`](crate::SubmitError::TooLarge).
    ///
    /// ```
    /// # use cobuf_host::Host;
    /// let builder = Host::builder().message_capacity(1024 * 1024);
    /// ```
    pub fn message_capacity(mut self, bytes: usize) -> Self {
        self.message_capacity = bytes;
        self
    }

    /// The most bytes that the encoded metadata of a batch may have.
    ///
    /// Default: [`limits::DEFAULT_METADATA_CAPACITY`](crate::limits::DEFAULT_METADATA_CAPACITY), 64 KiB. Range:
    /// [`limits::MIN_METADATA_CAPACITY`](crate::limits::MIN_METADATA_CAPACITY) to
    /// [`limits::MAX_METADATA_CAPACITY`](crate::limits::MAX_METADATA_CAPACITY), otherwise
    /// [`StartError::OutOfRange`](crate::StartError::OutOfRange). Larger metadata are the batch's
    /// error. An error's report has the same room, and is cut if it is longer.
    ///
    /// ```
    /// # use cobuf_host::Host;
    /// let builder = Host::builder().metadata_capacity(1024 * 1024);
    /// ```
    pub fn metadata_capacity(mut self, bytes: usize) -> Self {
        self.metadata_capacity = bytes;
        self
    }
}

/// # Order and content
impl HostBuilder {
    /// Whether batches are delivered in the order of their messages, or as they become ready.
    ///
    /// Default: `true`. The content of each batch is the same either way.
    ///
    /// ```
    /// # use cobuf_host::Host;
    /// let as_they_come = Host::builder().ordered(false);
    /// ```
    pub fn ordered(mut self, ordered: bool) -> Self {
        self.ordered = ordered;
        self
    }

    /// The run's seed, from which commander and producer draw all randomness.
    ///
    /// Default: [`limits::DEFAULT_SEED`](crate::limits::DEFAULT_SEED), 0. Any value is valid.
    ///
    /// ```
    /// # use cobuf_host::Host;
    /// let builder = Host::builder().seed(42);
    /// ```
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Ends the stream after this many messages, if the commander does not end it earlier.
    ///
    /// Default: the commander alone ends it. At least 1, otherwise
    /// [`StartError::OutOfRange`](crate::StartError::OutOfRange). A resumed run counts the messages
    /// of the earlier run.
    ///
    /// ```
    /// # use cobuf_host::Host;
    /// let builder = Host::builder().limit(1000);
    /// ```
    pub fn limit(mut self, messages: u64) -> Self {
        self.limit = Some(messages);
        self
    }

    /// Delivers the first `batches` batches again and again, without producing more: to find out how
    /// fast the application is if batches are always ready. Its [`verdict`](crate::Statistics::verdict) is
    /// then "your application takes at most X batches/s, whatever the loader does".
    ///
    /// Each of these batches stays in its slot, and a dropped one is delivered again after those that were
    /// dropped before it. It keeps its number, its message and its bytes, so numbers repeat. An error is
    /// delivered once. The stream goes on until the host is stopped, or until it has had
    /// [`limit`](Self::limit) items. Nothing counts as delivered in a [checkpoint](crate::Host::checkpoint).
    ///
    /// Default: every batch is delivered once. At least 1 and less than the number of slots, otherwise
    /// `start` fails with [`StartError::ReplayReady`](crate::StartError::ReplayReady); also with another
    /// source than [`Source::Commander`].
    ///
    /// ```
    /// # use cobuf_host::Host;
    /// let builder = Host::builder().slots(16).replay_ready(8);
    /// ```
    pub fn replay_ready(mut self, batches: usize) -> Self {
        self.replay_ready = Some(batches);
        self
    }

    /// Where the messages come from: the commander, a checkpoint to resume, or dead letters to
    /// replay.
    ///
    /// Default: [`Source::Commander`]. `start` fails with
    /// [`StartError::Checkpoint`](crate::StartError::Checkpoint) or
    /// [`StartError::DeadLetters`](crate::StartError::DeadLetters) if the checkpoint or the file
    /// belongs to a different run.
    ///
    /// ```no_run
    /// # use cobuf_host::{Checkpoint, Host, Source};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let builder = Host::builder().source(Source::Resume(Checkpoint::read("run.json")?));
    /// # Ok(())
    /// # }
    /// ```
    pub fn source(mut self, source: Source) -> Self {
        self.source = source;
        self
    }
}

/// # Ranks
impl HostBuilder {
    /// The rank of this process in a job of several, each of which runs a host with the same plugins,
    /// configurations and seed: it delivers the messages of its rank only.
    ///
    /// Default: [`Rank::none`], all messages. But if a launcher has started this process as one of
    /// several, `start` fails with [`StartError::Rank`](crate::StartError::Rank), so that no message
    /// is delivered by each of them unnoticed: give [`Rank::from_env`] or [`Rank::none`]. If the
    /// application is the commander it has no rank, otherwise
    /// [`StartError::RankOfApplication`](crate::StartError::RankOfApplication).
    ///
    /// A checkpoint of the run is then the part of its rank, see
    /// [`Checkpoint::merge`](crate::Checkpoint::merge).
    ///
    /// ```
    /// # use cobuf_host::{Host, Rank, RankError};
    /// let found = Host::builder().rank(Rank::from_env()?);
    /// let third = Host::builder().rank(Rank::new(2, 8)?);
    /// # Ok::<(), RankError>(())
    /// ```
    pub fn rank(mut self, rank: Rank) -> Self {
        self.rank = Some(rank);
        self
    }

    /// What the ranks do with the last messages of the stream, if their number is not a multiple of
    /// the number of ranks. The same for each rank; without ranks it has no effect.
    ///
    /// Default: [`Remainder::Short`].
    ///
    /// ```
    /// # use cobuf_host::{Host, Remainder};
    /// let builder = Host::builder().remainder(Remainder::Drop);
    /// ```
    pub fn remainder(mut self, remainder: Remainder) -> Self {
        self.remainder = remainder;
        self
    }
}
