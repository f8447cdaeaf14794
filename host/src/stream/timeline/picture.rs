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
//! Invariants: spans of a track do not overlap, and are in order. A flow begins, passes and ends in
//! spans that are there.

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
}

/// What a span is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind<'a> {
    /// The commander made the batch's message.
    Message(&'a Record),
    /// A worker produced it.
    Produce(&'a Record),
    /// A worker died with this message. With whether its batch is in the picture, too.
    Attempt { sequence: u64, death: &'a str, has_flow: bool },
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
pub(super) fn tracks(kept: &Kept, begin: u64) -> Vec<Track<'_>> {
    let mut run = Track { name: "run".to_owned(), ..Track::default() };
    let mut commander = Track { name: "commander".to_owned(), ..Track::default() };
    let mut workers: BTreeMap<Lane, Track<'_>> = BTreeMap::new();
    let mut consumers: BTreeMap<usize, Vec<Drawn<'_>>> = BTreeMap::new();
    for batch in &kept.batches {
        let Stations { commanded, produced, held } = batch.stations(begin);
        commander.spans.push(Drawn { span: commanded, kind: Kind::Message(batch) });
        if let Some(span) = produced {
            let lane = workers.entry((batch.worker(), batch.edition)).or_default();
            lane.spans.push(Drawn { span, kind: Kind::Produce(batch) });
        }
        let held = Drawn { span: held, kind: Kind::Hold(batch) };
        consumers.entry(batch.thread).or_default().push(held);
    }
    for wait in &kept.waits {
        let span = Span { from: wait.from.max(begin), to: wait.to.max(begin) };
        consumers.entry(wait.thread).or_default().push(Drawn { span, kind: Kind::Wait });
    }
    let drawn: BTreeSet<u64> = kept.batches.iter().map(|batch| batch.sequence).collect();
    for Event { at, what } in &kept.events {
        let moment = Moment { at: *at, kind: MomentKind::Noted(what) };
        match what {
            What::WorkerDied { worker, edition, death, held } => {
                let lane = workers.entry((Some(*worker), *edition)).or_default();
                lane.moments.push(moment);
                if let Some((sequence, since)) = *held {
                    let has_flow = drawn.contains(&sequence);
                    let span = Span { from: since.clamp(begin, *at), to: *at };
                    lane.spans.push(Drawn { span, kind: Kind::Attempt { sequence, death, has_flow } });
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

/// The tracks of a consumer's thread, which may hold several batches at a time.
fn of_consumer<'a>(kept: &Kept, thread: usize, drawn: Vec<Drawn<'a>>) -> Vec<Track<'a>> {
    let name = match kept.threads.get(thread) {
        Some(consumer) if consumer.name.is_empty() => format!("consumer {thread}"),
        Some(consumer) => format!("consumer {thread}, {}", consumer.name),
        None => format!("consumers beyond the first {MAX_TRACED_THREADS}"),
    };
    let spans: Vec<Span> = drawn.iter().map(|drawn| drawn.span).collect();
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
