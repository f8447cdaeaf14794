//! The parts of a run, one step at a time, for the benchmarks in `host/benches`, which see this
//! crate from outside as applications do.
//!
//! ```text
//!   Slots      one thread plays commander, worker and consumer    benches/slots.rs
//!   Bells      two threads wake each other                        benches/wake.rs
//!   Producing  a producer plugin, opened in this process          benches/plugin_call.rs
//! ```
//!
//! `benches/instructions.rs` counts the instructions of each.
//!
//! Only the benchmarks use this module, and it promises no stable interface; applications use
//! [`Host`](crate::Host). The steps are those of a run's processes. A step that finds no slot
//! panics: the benchmark is wrong then.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use abi_stable::std_types::RStr;
use cobuf_plugin_api::abi::{Job, LogSink, WorkerInfo};
use cobuf_plugin_api::{Dictionary, PluginKind, StopFlag, codec, message_seed};

use crate::limits::DEFAULT_SEED;
use crate::plugin::Plugin;
use crate::plugin::open::{Logging, OpenProducer, ProducerPlugin};
use crate::process::arena::Arena;
use crate::record::identity::Identity;
use crate::record::policy::PerKind;
use crate::record::portion::Portion;
use crate::segment::arrivals::{Arrivals, Wanted};
use crate::segment::claim::{self, Claim, Commanding, Reading};
use crate::segment::event::Event;
use crate::segment::fixture::segment;
use crate::segment::memory::Segment;
use crate::segment::patience::Patience;
use crate::segment::place::Place;
use crate::segment::slot::Outcome;
use crate::segment::table::Supply;
use crate::stream::batches::Batches;
use crate::stream::delivery::Stream;
use crate::stream::history::History;

/// All slots of a run and the claims on them. Each step takes the slot that has waited longest for
/// it.
#[derive(Debug)]
pub struct Slots {
    segment: Segment,
    supply: Supply,
    arrivals: Arrivals,
    commanding: VecDeque<Claim<Commanding>>,
    producing: VecDeque<Claim<claim::Producing>>,
    reading: VecDeque<Claim<Reading>>,
    /// The sequence number of the next message; `wanted` is that of the next batch.
    commanded: u64,
    wanted: u64,
}

impl Slots {
    /// Makes a run with this number of slots, all of them free.
    pub fn new(slots: usize) -> Self {
        Self {
            segment: segment(slots),
            supply: Supply::default(),
            arrivals: Arrivals::new(slots),
            commanding: VecDeque::with_capacity(slots),
            producing: VecDeque::with_capacity(slots),
            reading: VecDeque::with_capacity(slots),
            commanded: 0,
            wanted: 0,
        }
    }

    /// The commander claims a free slot.
    pub fn claim_free(&mut self) {
        self.commanding.push_back(there(self.segment.table().claim_free(&mut self.supply)));
    }

    /// The commander queues its message.
    pub fn publish(&mut self) {
        let claim = there(self.commanding.pop_front());
        self.segment.table().publish(claim, self.commanded, 0);
        self.commanded += 1;
    }

    /// A worker claims the oldest message.
    pub fn claim_queued(&mut self) {
        let noted = &self.segment.worker_place(Place::FIRST).noted;
        self.producing.push_back(there(self.segment.table().claim_queued(Place::FIRST, noted, 1)));
    }

    /// The worker makes its batch ready.
    pub fn commit(&mut self) {
        let claim = there(self.producing.pop_front());
        self.segment.table().commit(claim, Outcome::default());
    }

    /// The consumer takes the next batch, in the order of the messages.
    pub fn take(&mut self) {
        let table = self.segment.table();
        self.reading.push_back(there(self.arrivals.take(table, Wanted::Sequence(self.wanted))));
        self.wanted += 1;
        table.want(self.wanted);
    }

    /// The consumer releases its batch.
    pub fn release(&mut self) {
        let claim = there(self.reading.pop_front());
        self.segment.table().release(claim);
    }

    /// The ready batches and then the end of the stream, as an application iterates over them in
    /// order.
    pub fn into_batches(self) -> Batches {
        let history = History::new(Identity::default(), Portion::default(), None, None, None);
        self.segment.table().end_stream(self.commanded);
        Batches::new(Arc::new(Stream::new(self.segment, true, PerKind::default(), history)))
    }
}

fn there<T>(found: Option<T>) -> T {
    found.unwrap_or_else(|| panic!("no slot is in the state that this step needs"))
}

/// Two events in shared memory.
#[derive(Debug)]
pub struct Bells(Segment);

/// One of two events, with what a waiting process knows of its earlier waits.
#[derive(Debug)]
pub struct Bell<'a> {
    event: &'a Event,
    patience: Patience,
}

impl Bells {
    /// Two events that have never been notified.
    #[expect(clippy::new_without_default, reason = "it makes shared memory")]
    pub fn new() -> Self {
        Self(segment(1))
    }

    /// Both events.
    pub fn both(&self) -> [Bell<'_>; 2] {
        let control = self.0.table().control;
        [&control.queued.event, &control.ready.event]
            .map(|event| Bell { event, patience: Patience::default() })
    }
}

impl Bell<'_> {
    /// Reports a change, and wakes a waiting thread if it sleeps.
    pub fn ring(&self) {
        self.event.notify_one();
    }

    /// Waits until `so` returns true: it looks repeatedly first, then sleeps.
    pub fn wait_until(&self, mut so: impl FnMut() -> bool) {
        self.event.wait_for(&self.patience, None, || so().then_some(()));
    }
}

/// A producer plugin, opened as a worker opens it, with memory of this process for a batch.
#[expect(missing_debug_implementations, reason = "it is a plugin's object")]
pub struct Producing {
    producer: OpenProducer,
    arena: Arena,
    sequence: u64,
}

impl Producing {
    /// Builds, checks, copies, opens and constructs the plugin.
    ///
    /// # Errors
    /// Any error of the build, of a check, or of the plugin.
    pub fn open(plugin: &Plugin, config: &Dictionary) -> anyhow::Result<Self> {
        static GO_ON: AtomicU32 = AtomicU32::new(0);
        extern "C" fn ignore(_level: u8, _target: RStr<'_>, _message: RStr<'_>) {}
        let folder = tempfile::tempdir()?;
        let plan = plugin.resolve(Some(PluginKind::Producer), None)?.plan(folder.path(), 0)?;
        let logging = Logging { sink: LogSink { emit: ignore }, max_level: 0 };
        let plugin = ProducerPlugin::open(&plan.library, plan.interface, logging)
            .map_err(|error| anyhow::anyhow!(error.0))?;
        let config = codec::encode("the configuration", config)?;
        let arena = Arena::new(&plugin.schema(&config)?)?;
        let info = WorkerInfo { worker: 0, workers: 1, incarnation: 0, stop: StopFlag::new(&GO_ON) };
        Ok(Self { producer: plugin.construct(&config, info)?, arena, sequence: 0 })
    }

    /// Has the plugin produce the batch of the next message.
    ///
    /// # Errors
    /// The plugin's error.
    pub fn produce(&mut self, message: &[u8]) -> Result<(), crate::Report> {
        let (sequence, arrays) = (self.sequence, [][..].into());
        let seed = message_seed(DEFAULT_SEED, sequence);
        self.sequence += 1;
        let job = Job { sequence, seed, attempt: 0, message: message.into(), arrays };
        self.arena.produce(&mut self.producer, job).map(drop)
    }
}
