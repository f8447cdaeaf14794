//! A run without processes whose segment is written over: it plays what a plugin's stray pointer
//! can do to the host.
//!
//! ```text
//!   bytes ──► steps, one after the other, on one thread
//!              honest: command, claim, commit (what commander and workers do), deaths,
//!                      the end of the stream
//!              astray: any bytes anywhere: header, slot words, numbers, worker places,
//!                      messages, outcomes, arrays
//!              read:   consumers' polls, batches' views, statistics, stall reports, checkpoints
//! ```
//!
//! No results are compared. Whatever was written, nothing may panic, reach beyond the mapping or go
//! on for ever. The tests below say which states must become an error. Two callers use this module:
//! those tests, and the target of cargo-fuzz in `host/fuzz`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cobuf_plugin_api::{ArraySpec, DType, Dictionary, Report, ReportKind, Schema, codec};
use ndarray::IxDyn;

use crate::limits::{MAX_WORKERS, MIN_METADATA_CAPACITY};
use crate::observer::View;
use crate::record::death::{Death, Exit};
use crate::record::identity::Identity;
use crate::record::ledger::Ledger;
use crate::record::policy::{OnFailure, PerKind};
use crate::record::portion::Portion;
use crate::segment::about::About;
use crate::segment::claim::{Claim, Producing};
use crate::segment::header::Header;
use crate::segment::layout::{Layout, Sizes, Span};
use crate::segment::memory::Segment;
use crate::segment::place::Place;
use crate::segment::recovery::Reclaimed;
use crate::segment::slot::{Outcome, SlotHeader};
use crate::segment::stamps::Stamps;
use crate::segment::table::Supply;
use crate::segment::worker_place::WorkerPlace;
use crate::stream::batch::Batch;
use crate::stream::delivery::Item;
use crate::stream::delivery::Stream;
use crate::stream::digest::ContentDigest;
use crate::stream::error::StreamError;
use crate::stream::history::History;
use crate::stream::stall::StallReport;
use crate::stream::statistics::Statistics;

/// Few slots, so that random steps meet in one of them.
const SLOTS: usize = 3;
const WORKERS: u32 = 2;
/// Large enough for values that are nested more deeply than a decoder may follow.
const MESSAGE_CAPACITY: usize = 4096;
/// The most steps of one run.
const MAX_STEPS: usize = 64;
/// The batches that a traced run keeps: fewer than a run may have.
const KEPT_IN_TRACE: usize = 2;
/// The values that numbers are overwritten with.
const EXTREMES: [u64; 12] = [
    0,
    1,
    2,
    3,
    1 << 16,
    u32::MAX as u64,
    1 << 32,
    i64::MAX as u64,
    1 << 63,
    u64::MAX - 1,
    u64::MAX,
    0x0101_0101_0101_0101,
];

/// A run that consists of the host's process only.
struct World {
    stream: Arc<Stream>,
    supply: Supply,
    /// The claims of the workers.
    producing: Vec<Claim<Producing>>,
    /// The batches that the application holds.
    batches: Vec<Batch>,
}

/// Bytes, read from the front; zeros after the last one.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    fn number(&mut self) -> usize {
        usize::from(self.byte()) << 8 | usize::from(self.byte())
    }

    fn bytes(&mut self, count: usize) -> &[u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

/// Plays the steps that the bytes encode.
pub(crate) fn play(bytes: &[u8]) {
    let mut input = Input(bytes);
    let mut world = World::new(input.byte());
    for _ in 0..MAX_STEPS {
        if input.0.is_empty() {
            break;
        }
        world.step(&mut input);
    }
    world.read_everything();
}

impl World {
    fn new(choices: u8) -> Self {
        static RUNS: AtomicU32 = AtomicU32::new(0);
        let run = RUNS.fetch_add(1, Ordering::Relaxed);
        let name = format!("/cobuf-fuzz-{}-{run}", std::process::id());
        let sizes = Sizes {
            slots: SLOTS,
            message_capacity: MESSAGE_CAPACITY,
            metadata_capacity: MIN_METADATA_CAPACITY,
            schema: schema(choices & 1 != 0, choices & 32 != 0),
            is_traced: choices & 64 != 0,
        };
        let layout = Layout::new(sizes).unwrap_or_else(|| unreachable!("small sizes have a layout"));
        let segment = Segment::create(&name, layout, &[], &mut |_, _| true)
            .unwrap_or_else(|error| panic!("no segment: {error}"));
        let earlier = if choices & 2 != 0 { vec![[0, 2], [4, 5]] } else { Vec::new() };
        let history =
            History::new(Identity::default(), Portion::whole(Ledger::from(earlier)), None, None, None);
        let on_failure = [OnFailure::Raise, OnFailure::Raise, OnFailure::Skip, OnFailure::Stop]
            [usize::from(choices >> 3 & 3)];
        let on_failure = PerKind::new(OnFailure::Raise, on_failure, on_failure, OnFailure::Raise);
        let mut stream = Stream::new(segment, choices & 4 == 0, on_failure, history);
        if choices & 64 != 0 {
            stream = stream.traced(KEPT_IN_TRACE);
        }
        stream.settled.most_workers.store(WORKERS, Ordering::Relaxed);
        let supply = Supply::default();
        Self { stream: Arc::new(stream), supply, producing: Vec::new(), batches: Vec::new() }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.byte() % 16 {
            0 | 1 => self.command(),
            2 | 3 => self.claim(input.byte()),
            4 | 5 => self.commit(input.byte()),
            6 => self.poll(),
            7 => drop((!self.batches.is_empty()).then(|| self.batches.remove(0))),
            8 => self.bury(input.byte()),
            9 => self.bury_commander(),
            10 => self.stream.table().end_stream(self.stream.table().commanded()),
            11 => self.fail(input.byte()),
            12 => self.report(),
            13 => self.go_astray(input, |input| {
                let extreme = EXTREMES[usize::from(input.byte()) % EXTREMES.len()].to_ne_bytes();
                extreme[..if input.byte() & 1 == 0 { 8 } else { 4 }].to_vec()
            }),
            14 => self.go_astray(input, |input| {
                let count = usize::from(input.byte());
                input.bytes(count).to_vec()
            }),
            _ => self.go_astray(input, |input| vec![input.byte(); input.number()]),
        }
    }

    /// The commander's work for one message.
    fn command(&mut self) {
        let table = self.stream.table();
        let Some(mut claim) = table.claim_free(&mut self.supply) else { return };
        let sequence = self.stream.history.portion().next(table.commanded());
        if sequence == u64::MAX {
            return table.abandon(claim);
        }
        let stamps = self.stream.segment.stamps(claim.index());
        stamps.into_iter().for_each(Stamps::note_begun);
        let message = Dictionary::new().with("index", sequence);
        let encoded = codec::encode("a message", &message).unwrap_or_default();
        self.stream.segment.message_mut(&mut claim)[..encoded.len()].copy_from_slice(&encoded);
        stamps.into_iter().for_each(Stamps::note_queued);
        table.publish(claim, sequence, encoded.len());
    }

    fn claim(&mut self, worker: u8) {
        let place = Place::at(usize::from(worker) % WORKERS as usize);
        let noted = &self.stream.segment.worker_place(place).noted;
        let claim = self.stream.table().claim_queued(place, noted, 1);
        let stamps = claim.as_ref().and_then(|claim| self.stream.segment.stamps(claim.index()));
        stamps.into_iter().for_each(Stamps::note_claimed);
        self.producing.extend(claim);
    }

    /// A worker's work once its plugin is done.
    fn commit(&mut self, choices: u8) {
        if self.producing.is_empty() {
            return;
        }
        let mut claim = self.producing.remove(0);
        let stamps = self.stream.segment.stamps(claim.index());
        stamps.into_iter().for_each(|stamps| stamps.note_ready(1));
        let failed = choices & 1 != 0;
        let said = if failed {
            Report::from_panic("no".to_owned()).encode(MIN_METADATA_CAPACITY)
        } else {
            codec::encode("the metadata", &Dictionary::new().with("mean", 0.5)).unwrap_or_default()
        };
        self.stream.segment.outcome_mut(&mut claim)[..said.len()].copy_from_slice(&said);
        let most = self.stream.segment.layout().sizes.schema.rows();
        let rows = most.filter(|_| choices & 2 != 0).map(|most| usize::from(choices >> 2) % (most + 1));
        let worker = u32::from(choices >> 7);
        let schema = &self.stream.segment.layout().sizes.schema;
        let lengths = schema.most_lengths().map(|most| usize::from(choices >> 2) % (most + 1));
        self.stream.segment.lengths_mut(&mut claim).iter_mut().zip(lengths).for_each(|(to, from)| *to = from);
        self.stream
            .table()
            .commit(claim, Outcome { failed, bytes: said.len(), rows, nanos: 1, worker, edition: 0 });
    }

    /// A consumer takes the next item, reads all of it, and keeps a batch.
    fn poll(&mut self) {
        match self.stream.poll() {
            Ok(Item::Batch(claim, outcome)) => {
                let batch = Batch::new(self.stream.clone(), claim, outcome);
                look_at(&batch);
                self.batches.push(batch);
            }
            Ok(Item::Error(error)) => say(&error),
            Ok(Item::End) => {}
            Err(waiting_for) => drop(format!("{waiting_for:?}")),
        }
    }

    /// The supervisor's work after a worker's death.
    fn bury(&mut self, choices: u8) {
        let place = Place::at(usize::from(choices >> 1) % WORKERS as usize);
        let max_attempts = (choices & 1 == 0).then_some(2);
        self.stream.note_death(place, 0, Death::Exit(Exit::Signal(9)));
        match self.stream.table().reclaim_worker(place, max_attempts) {
            Some(Reclaimed::GivenUp { mut claim, .. }) => {
                let room = self.stream.segment.outcome_mut(&mut claim);
                let bytes = Report::from_host(ReportKind::Crash, "dead".to_owned()).encode(room.len());
                room[..bytes.len()].copy_from_slice(&bytes);
                let outcome = Outcome {
                    failed: true,
                    bytes: bytes.len(),
                    rows: None,
                    nanos: 0,
                    worker: place.worker(),
                    edition: 0,
                };
                self.stream.table().commit(claim, outcome);
            }
            Some(Reclaimed::Requeued { .. }) | None => {}
        }
        self.stream.table().restore();
    }

    /// The supervisor's work after the commander's death; another commander begins.
    fn bury_commander(&mut self) {
        let table = self.stream.table();
        table.reclaim_commander();
        table.restore();
        self.supply = Supply::default();
    }

    fn fail(&self, choices: u8) {
        let error = StreamError::WorkersLost { reason: "all".to_owned() };
        if choices & 1 == 0 { self.stream.fail_after_commanded(error) } else { self.stream.fail_now(error) }
    }

    /// Asks for everything that an application can ask a host.
    fn report(&self) {
        let (table, stream) = (self.stream.table(), &self.stream);
        drop(format!("{:?} {:?} {:?}", table.total(), table.end(), table.stop_requested()));
        let statistics = Statistics::of(stream);
        drop(format!("{statistics:?} {} {}", statistics.limited_by(), statistics.slots.total()));
        drop(format!("{:?}", self.seen_from_outside()));
        let stall = StallReport::of(stream);
        drop(format!("{stall} {stall:?} {:?}", serde_json::to_string(&stall)));
        drop(serde_json::to_string(&stream.checkpoint()));
        drop(stream.write_timeline(&mut std::io::sink()));
        crate::supervisor::tuner::produced(&stream.segment, MAX_WORKERS);
        table.wake_everyone();
    }

    /// What another process sees, which believes no number.
    fn seen_from_outside(&self) -> View {
        let about = About {
            version: String::new(),
            sizes: self.stream.segment.layout().sizes.clone(),
            run: String::new(),
            producer: String::new(),
            commander: None,
            ordered: true,
            cpus: 1,
            rank: None,
            begun_nanos: 0,
        };
        View::of(&self.stream.segment, &about, (0, ""), true)
    }

    /// Writes the bytes that `make` returns to a place that the input names.
    fn go_astray(&self, input: &mut Input<'_>, make: impl FnOnce(&mut Input<'_>) -> Vec<u8>) {
        let areas = self.areas();
        let area = areas[usize::from(input.byte()) % areas.len()];
        // Three in four times a whole field.
        let at = if input.byte() & 3 == 0 { input.number() } else { usize::from(input.byte()) * 4 };
        let bytes = make(input);
        self.write(area, at % area.bytes, &bytes);
    }

    /// The areas that may be written over: the whole header, three parts of it, and those that tests name.
    fn areas(&self) -> [Span; 10] {
        let layout = self.stream.segment.layout();
        let arrays = layout.arrays(0).next().unwrap_or_else(|| unreachable!("a schema has arrays"));
        let lengths = layout.lengths(0);
        let [ready, free, shared] = Header::PARTS.map(|(offset, bytes)| Span { offset, bytes });
        [
            Span { offset: 0, bytes: size_of::<Header>() },
            shared,
            ready,
            free,
            Span { offset: layout.slot_headers, bytes: size_of::<SlotHeader>() * SLOTS },
            Span { offset: layout.worker_places, bytes: size_of::<WorkerPlace>() * WORKERS as usize },
            layout.message(0),
            layout.outcome(0),
            arrays,
            if lengths.bytes > 0 { lengths } else { arrays },
        ]
    }

    /// Writes bytes, even beyond the area's end.
    fn write(&self, area: Span, at: usize, bytes: &[u8]) {
        self.stream.segment.scribble(area.offset + at, bytes);
    }

    /// Does all remaining work once more.
    fn read_everything(&mut self) {
        for choices in 0..4 {
            self.bury(choices);
        }
        self.bury_commander();
        for choices in [0, 3] {
            self.command();
            self.claim(choices);
            self.commit(choices);
        }
        self.report();
        for _ in 0..2 * SLOTS {
            self.poll();
        }
        drop(self.stream.next(|| Some(std::time::Instant::now())));
        self.report();
        self.batches.iter().for_each(look_at);
        self.batches.clear();
        self.poll();
        self.report();
    }
}

/// Arrays that share their first axis, or do not; with lengths of each batch's own, or without.
fn schema(rows: bool, lengths: bool) -> Schema {
    let (first, second): (&[usize], &[usize]) = if rows { (&[4, 3], &[4]) } else { (&[], &[7]) };
    let mut arrays =
        vec![ArraySpec::new("x", DType::F32, first), ArraySpec::new("flags", DType::Bool, second)];
    if lengths {
        arrays.push(ArraySpec::new("boxes", DType::F64, [5, 2, 6]).at_most([0, 2]));
    }
    Schema::new(arrays).unwrap_or_else(|error| unreachable!("{error}"))
}

/// Asks a batch for everything that an application can.
fn look_at(batch: &Batch) {
    if let Ok(array) = batch.array::<f32, IxDyn>("x") {
        drop(array.sum().to_string());
    }
    if let Ok(array) = batch.array_at::<bool, IxDyn>(1) {
        drop(array.iter().filter(|flag| **flag).count().to_string());
    }
    if let Ok(array) = batch.array::<f64, IxDyn>("boxes") {
        drop(array.sum().to_string());
    }
    for index in 0..4 {
        drop(batch.bytes_at(index).map(|(_, bytes)| bytes.to_vec()));
        drop(batch.shape_at(index).map(|shape| format!("{shape:?}")));
    }
    ContentDigest::new().add(batch);
    drop(batch.message::<Dictionary>().map(|message| message.to_string()));
    drop(batch.metadata::<Dictionary>().map(|metadata| metadata.to_string()));
    let times: (Duration, u32) = (batch.produce_time(), batch.retries());
    drop(format!("{batch:?} {:?} {} {} {times:?}", batch.rows(), batch.sequence(), batch.worker()));
}

/// Asks an error for everything that an application can.
fn say(error: &StreamError) {
    drop(format!("{error} {error:?}"));
    if let StreamError::Batch(error) = error {
        drop(format!("{} {:?} {:?}", error.message(), error.chain(), error.kind()));
    }
}

#[cfg(test)]
mod tests;
