//! A worker's loop: wait for a queued message, let the plugin fill the slot, make the slot ready.
#![expect(unsafe_code, reason = "hands the slot's memory to the plugin")]

use std::borrow::Cow;
use std::cell::Cell;
use std::time::{Duration, Instant};

use cobuf_plugin_api::abi::{Job, Produced, WorkerInfo};
use cobuf_plugin_api::lengths::LengthsError;
use cobuf_plugin_api::{Report, Schema, SlotError, message_seed};

use super::child::{self, Child};
use super::crash;
use super::lengths::Room;
use super::system;
use crate::limits::QUICK_MESSAGE;
use crate::plugin::open::{OpenProducer, ProducerPlugin};
use crate::protocol::channel::EventSender;
use crate::protocol::message::{Event, SetupFailure};
use crate::protocol::role::Role;
use crate::segment::claim::{Claim, Producing};
use crate::segment::clock;
use crate::segment::failpoint::Failpoint;
use crate::segment::memory::Segment;
use crate::segment::patience::Patience;
use crate::segment::place::Place;
use crate::segment::slot::Outcome;
use crate::segment::stamps::Stamps;
use crate::segment::sync::Ordering;
use crate::segment::worker_place::{Retire, WorkerPlace};

/// Opens the plugin and produces batches until a stop.
pub(super) fn run(
    child: Child,
    segment: &'static Segment,
    events: &EventSender,
    place: Place,
    incarnation: u32,
) -> Result<(), SetupFailure> {
    let plugin = open(&child, segment)?;
    let stop = child::stop_flag(segment);
    let info = WorkerInfo { worker: place.worker(), workers: child.plan.workers, incarnation, stop };
    let (cpu_seconds, edition) = (child.plan.limits.cpu_seconds, child.plan.edition(place.crew()));
    let (patience, seed) = (Patience::default(), child.plan.seed);
    let (typical, tends) = (None, Cell::new(false));
    let lengths = Room::new(&segment.layout().sizes.schema);
    let step = u64::from(child.plan.portion.seat().of);
    let jailed = child.plan.is_jailed();
    let mut worker = Worker {
        segment,
        place,
        info,
        seed,
        step,
        cpu_seconds,
        edition,
        patience,
        typical,
        tends,
        lengths,
        jailed,
    };
    let mut producer = plugin.construct(&child.config, info)?;
    let role = Role::Worker { place, incarnation };
    crash::report_crashes(events, role);
    child::tell(events, &Event::Ready { role })?;
    worker.wait_for_share();
    while let Some(claim) = worker.wait_for_message() {
        if worker.produce(claim, &mut producer) == Next::Renew {
            // The drop of the old one may fail. From here on the deadline of the start applies, not
            // that of a message.
            child::tell(events, &Event::Renewing { role })?;
            worker.place().looked_nanos.store(u64::MAX, Ordering::Relaxed);
            let _ = producer.close();
            producer = plugin.construct(&child.config, info)?;
            child::tell(events, &Event::Ready { role })?;
        }
    }
    producer.close().map_err(SetupFailure::from)
}

/// Opens the producer; fails unless it declares the arrays that the slots were laid out for.
pub(super) fn open(child: &Child, segment: &Segment) -> Result<ProducerPlugin, SetupFailure> {
    let plugin = ProducerPlugin::open(&child.plugin.library, child.plugin.interface, child.logging)?;
    let declared = plugin.schema(&child.config)?;
    // Other arrays would overlap.
    if declared == segment.layout().sizes.schema { Ok(plugin) } else { Err(SetupFailure::Schema(declared)) }
}

/// With which producer the next message is done.
#[derive(PartialEq, Eq)]
enum Next {
    Same,
    /// With a new one: a panic may have left this one in any state, or it asks for that.
    Renew,
}

struct Worker {
    segment: &'static Segment,
    place: Place,
    info: WorkerInfo,
    seed: u64,
    /// How far the run's messages are apart: the number of ranks.
    step: u64,
    /// The limit of processor time for each message, in seconds.
    cpu_seconds: Option<u64>,
    /// The edition of the producer's code.
    edition: u32,
    patience: Patience,
    /// How long recent messages took; `None` before the first.
    typical: Option<Duration>,
    /// Whether it tends the queue, see `segment::queue`.
    tends: Cell<bool>,
    lengths: Room,
    /// Whether this process is in a sandbox.
    jailed: bool,
}

impl Worker {
    fn place(&self) -> &'static WorkerPlace {
        self.segment.worker_place(self.place)
    }

    /// Waits until its crew has messages. Until then it does not wait on the workers' event,
    /// because it would take wakes from the other crew's workers.
    fn wait_for_share(&self) {
        let table = self.segment.table();
        table.control.shares.opened.wait_for(&self.patience, None, || {
            let ends = table.stop_requested() || self.place().retire() != Retire::No;
            (ends || table.is_open_for(self.place.crew())).then_some(())
        });
    }

    /// The oldest queued message; `None` on a stop, or if the worker is to retire.
    fn wait_for_message(&mut self) -> Option<Claim<Producing>> {
        let (table, place) = (self.segment.table(), self.place());
        let leave = || {
            if self.tends.take() {
                table.queue().leave();
            }
        };
        let look = || {
            let retire = place.retire();
            if table.stop_requested() || retire == Retire::Next {
                return Some(None);
            }
            // Stored before the claim, so that a worker that is interrupted in between has never
            // held the message longer than this time says.
            place.looked_nanos.store(clock::now_nanos(), Ordering::Relaxed);
            let claim = table.claim_queued(self.place, &place.noted, self.step);
            (claim.is_some() || retire == Retire::Drained).then_some(claim)
        };
        let sleeps = || {
            leave();
            Some(table.queue().note_sleeper(self.place))
        };
        let (found, waited) = table.control.queued.event.wait_and_tell(&self.patience, None, look, sleeps);
        let claim = found.flatten();
        if claim.is_none() {
            leave();
        } else if self.typical.is_some_and(|typical| typical < QUICK_MESSAGE) {
            table.queue().tend(place.looked_nanos.load(Ordering::Relaxed));
            self.tends.set(true);
        }
        if waited > Duration::ZERO {
            place.wait_nanos.fetch_add(waited.as_nanos() as u64, Ordering::Relaxed);
        }
        claim
    }

    /// Produces one message. Afterwards its batch, or the report of its failure, is ready.
    fn produce(&mut self, mut claim: Claim<Producing>, producer: &mut OpenProducer) -> Next {
        let (table, place) = (self.segment.table(), self.place());
        self.cpu_seconds.into_iter().for_each(system::limit_cpu_time);
        let stamps = self.segment.stamps(claim.index());
        stamps.into_iter().for_each(Stamps::note_claimed);
        let started = Instant::now();
        let sizes = &self.segment.layout().sizes;
        let result = self.call(&mut claim, producer);
        let result = result.map_err(|report| if self.jailed { child::hint(report) } else { report });
        let lengths = self.lengths.said();
        let result = result.and_then(|said| checked(said, lengths, &sizes.schema, sizes.metadata_capacity));
        let nanos = started.elapsed().as_nanos() as u64;
        stamps.into_iter().for_each(|stamps| stamps.note_ready(nanos));
        self.cpu_seconds.into_iter().for_each(|_| system::lift_cpu_limit());
        table.control.armed.pass(Failpoint::WorkFilled);
        let next = if result.as_ref().is_err_and(Report::ends_producer) { Next::Renew } else { Next::Same };
        if result.is_ok() {
            self.segment.lengths_mut(&mut claim).copy_from_slice(lengths);
        }
        let room = self.segment.outcome_mut(&mut claim);
        let (bytes, rows) = match &result {
            Ok(said) => (Cow::Borrowed(&said.metadata[..]), (said.rows != usize::MAX).then_some(said.rows)),
            Err(report) => (Cow::Owned(report.encode(room.len())), None),
        };
        room[..bytes.len()].copy_from_slice(&bytes);
        let (failed, bytes) = (result.is_err(), bytes.len());
        let outcome = Outcome { failed, bytes, rows, nanos, worker: self.info.worker, edition: self.edition };
        place.produced.fetch_add(1, Ordering::Relaxed);
        place.busy_nanos.fetch_add(nanos, Ordering::Relaxed);
        place.note_time(nanos);
        let took = Duration::from_nanos(nanos);
        self.typical = self.typical.map_or(took, |typical| typical * 7 / 8 + took / 8).into();
        table.commit(claim, outcome);
        next
    }

    fn call(
        &mut self,
        claim: &mut Claim<Producing>,
        producer: &mut OpenProducer,
    ) -> Result<Produced, Report> {
        let sequence = self.segment.table().sequence(claim);
        let (attempt, arrays) = (claim.attempts(), self.segment.raw_arrays(claim));
        let message = self.segment.message(claim);
        let seed = message_seed(self.seed, sequence);
        let job = Job { sequence, seed, attempt, message: message.into(), arrays: arrays.as_slice().into() };
        // SAFETY: the arrays are those of the claimed slot, laid out for the schema that this
        // producer declares (`open` checks that). The claim is exclusive and held until `commit`.
        unsafe { producer.produce(job, self.lengths.prepare()) }
    }
}

/// Refuses numbers from a plugin that would make the host read beyond its memory.
pub(super) fn checked(
    said: Produced,
    lengths: &[usize],
    schema: &Schema,
    metadata_capacity: usize,
) -> Result<Produced, Report> {
    let refuse = |text: String| Err(Report::from_error(&anyhow::anyhow!(text)));
    let bytes = said.metadata.len();
    if bytes > metadata_capacity {
        return refuse(format!(
            "the metadata has {bytes} bytes, a slot has room for {metadata_capacity}; attach less, declare an \
             array for it, or raise the setting metadata_capacity"
        ));
    }
    let most = schema.rows();
    if said.rows != usize::MAX && most.is_none_or(|most| said.rows > most) {
        return refuse(SlotError::Rows { rows: said.rows, most }.to_string());
    }
    // The plugin's own side checks them, too.
    let too_long = if lengths.is_empty() { None } else { schema.too_long(lengths) };
    too_long.map_or(Ok(said), |too_long| refuse(LengthsError::from(too_long).to_string()))
}
