//! A timeline as a picture: tracks of spans and moments.
//!
//! ```text
//!   run          checkpoint, swap, death of the fork server: moments
//!   commander    message ─────┐ flow: one a batch, through each span of it
//!   worker 0     (attempt ─┐) └► produce ─┐
//!   worker 1               └────────────► │
//!   consumer     wait │ hold ◄────────────┘
//! ```
//!
//! Invariants: spans of a track do not overlap, are in order, and last for a nanosecond at least, so
//! that a flow lies in them. A flow begins, passes and ends in spans that are there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::kept::{Event, Kept, What};
use super::record::{Record, Span, Stations};
use super::tracks;
use crate::limits::MAX_TRACED_THREADS;

/// A consumer that waits for so long stalls.
const STALL: Duration = Duration::from_secs(1);

/// One track, with its spans and moments in order.
#[derive(Debug, Default)]
pub(super) struct Track<'a> {
    pub(super) name: String,
    pub(super) spans: Vec<Drawn<'a>>,
    pub(super) moments: Vec<Moment<'a>>,
}

/// A span on a track.
#[derive(Debug)]
pub(super) struct Drawn<'a> {
    pub(super) span: Span,
    pub(super) kind: Kind<'a>,
    pub(super) flow: Option<Flow>,
}

/// What a batch's flow does in a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    Begins,
    Passes,
    Ends,
}

/// What a span is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind<'a> {
    /// The commander made the batch's message.
    Message(&'a Record),
    /// A worker produced it.
    Produce(&'a Record),
    /// A worker died with this message.
    Attempt { sequence: u64, death: &'a str },
    /// The application had it.
    Hold(&'a Record),
    /// A consumer waited for a batch.
    Wait,
}

/// A moment on a track.
#[derive(Debug)]
pub(super) struct Moment<'a> {
    pub(super) at: u64,
    pub(super) kind: MomentKind<'a>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum MomentKind<'a> {
    /// Something that the run noted.
    Noted(&'a What),
    /// A consumer has waited for a second. In the end it waits for so long.
    Stall(Duration),
}

/// A worker of an edition has a track. `None` is one whose number a plugin wrote over.
type Lane = (Option<u32>, u32);

/// The tracks from top to bottom.
pub(super) fn tracks<'a>(kept: &'a Kept, under_way: &'a [Record], begin: u64) -> Vec<Track<'a>> {
    let mut run = Track { name: "run".to_owned(), ..Track::default() };
    let mut commander = Track { name: "commander".to_owned(), ..Track::default() };
    let mut workers: BTreeMap<Lane, Track<'_>> = BTreeMap::new();
    let mut consumers: BTreeMap<usize, Vec<Drawn<'_>>> = BTreeMap::new();
    // The batches that have a flow.
    let mut flowing = BTreeSet::new();
    for batch in kept.batches.iter().chain(under_way) {
        let Stations { commanded, produced, held } = batch.stations(begin);
        let flows = produced.is_some() || held.is_some();
        flowing.extend(flows.then_some(batch.sequence));
        let flow = flows.then_some(Flow::Begins);
        commander.spans.push(Drawn { span: commanded, kind: Kind::Message(batch), flow });
        if let Some(span) = produced {
            let lane = workers.entry((batch.worker(), batch.edition)).or_default();
            let flow = Some(if held.is_some() { Flow::Passes } else { Flow::Ends });
            lane.spans.push(Drawn { span, kind: Kind::Produce(batch), flow });
        }
        if let Some(span) = held {
            let held = Drawn { span, kind: Kind::Hold(batch), flow: Some(Flow::Ends) };
            consumers.entry(batch.thread).or_default().push(held);
        }
    }
    let since = beginning(kept, begin);
    for wait in kept.waits.iter().filter(|wait| wait.to >= since) {
        let span = Span { from: wait.from.max(begin), to: wait.to.max(begin) };
        consumers.entry(wait.thread).or_default().push(Drawn { span, kind: Kind::Wait, flow: None });
    }
    for Event { at, what } in kept.events.iter().filter(|event| event.at >= since) {
        let moment = Moment { at: *at, kind: MomentKind::Noted(what) };
        match what {
            What::WorkerDied { worker, edition, death, held } => {
                let lane = workers.entry((Some(*worker), *edition)).or_default();
                lane.moments.push(moment);
                if let Some((sequence, since)) = *held {
                    let flow = flowing.contains(&sequence).then_some(Flow::Passes);
                    let span = Span { from: since.clamp(begin, (*at).max(begin)), to: *at };
                    lane.spans.push(Drawn { span, kind: Kind::Attempt { sequence, death }, flow });
                }
            }
            What::CommanderDied { .. } => commander.moments.push(moment),
            What::ForkServerDied | What::Swapped { .. } | What::Checkpoint => run.moments.push(moment),
        }
    }
    let workers = workers.into_iter().map(|(lane, track)| Track { name: name_of(lane), ..track });
    let mut all: Vec<Track<'_>> = [run, commander].into_iter().chain(workers).collect();
    all.iter_mut().for_each(Track::tidy);
    all.extend(consumers.into_iter().flat_map(|(thread, spans)| of_consumer(kept, thread, spans)));
    all
}

/// The picture's beginning: that of the run, or of the first batch if others were left out.
fn beginning(kept: &Kept, begin: u64) -> u64 {
    let first = kept.batches.iter().map(|batch| batch.stations(begin).commanded.from).min();
    first.filter(|_| kept.left_out > 0).unwrap_or(begin)
}

/// The tracks of a consumer's thread, which may hold several batches at a time.
fn of_consumer<'a>(kept: &Kept, thread: usize, drawn: Vec<Drawn<'a>>) -> Vec<Track<'a>> {
    let name = match kept.threads.get(thread) {
        Some(consumer) if consumer.name.is_empty() => format!("consumer {thread}"),
        Some(consumer) => format!("consumer {thread}, {}", consumer.name),
        None => format!("consumers beyond the first {MAX_TRACED_THREADS}"),
    };
    let spans: Vec<Span> = drawn.iter().map(|drawn| tracks::at_least_a_moment(drawn.span)).collect();
    let places = tracks::side_by_side(&spans);
    let number = places.iter().max().map_or(0, |most| most + 1);
    let mut all: Vec<Track<'_>> =
        (0..number).map(|_| Track { name: name.clone(), ..Track::default() }).collect();
    for (place, drawn) in places.into_iter().zip(drawn) {
        let Span { from, to } = drawn.span;
        let lasted = Duration::from_nanos(to - from);
        if matches!(drawn.kind, Kind::Wait) && lasted >= STALL {
            let at = from + STALL.as_nanos() as u64;
            all[place].moments.push(Moment { at, kind: MomentKind::Stall(lasted) });
        }
        all[place].spans.push(drawn);
    }
    all.iter_mut().for_each(Track::tidy);
    all
}

fn name_of((worker, edition): Lane) -> String {
    let worker = worker.map_or("a worker of unknown number".to_owned(), |worker| format!("worker {worker}"));
    if edition == 0 { worker } else { format!("{worker}, edition {edition}") }
}

impl Track<'_> {
    /// Puts spans and moments in order. Only spans of stamps that a plugin wrote over overlap.
    fn tidy(&mut self) {
        self.spans.sort_by_key(|drawn| (drawn.span.from, drawn.span.to));
        self.moments.sort_by_key(|moment| moment.at);
        tracks::one_after_the_other(self.spans.iter_mut().map(|drawn| &mut drawn.span));
    }
}
