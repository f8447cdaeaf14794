//! A picture as Chrome's trace events: JSON that Perfetto, speedscope and chrome://tracing open.
//!
//! ```text
//!   {"displayTimeUnit":"ms","otherData":{"cobuf":"0.1.0","batches":290,…},"traceEvents":[
//!   {"name":"produce","ph":"X","ts":12.3,"dur":4.5,"pid":1,"tid":3,"args":{"sequence":7}},
//!   …
//! ```
//!
//! The phases of the "Trace Event Format" that are used: `X` is a span, `i` a moment, `s`, `t` and
//! `f` the beginning, a passing and the end of a flow, `M` a name. Times are in microseconds from
//! the run's beginning. Nothing but the event that is being written is in memory.

use std::io::{self, Write};

use cobuf_plugin_api::PluginKind;
use serde::Serialize;

use super::kept::What;
use super::picture::{Drawn, Flow, Kind, Moment, MomentKind, Track};
use super::record::{Span, Stage};

/// The category of flows, and of spans that are part of one.
const FLOW: &str = "batch";

/// The head of the file.
#[derive(Debug, Serialize)]
pub(super) struct Head {
    pub(super) cobuf: &'static str,
    pub(super) batches: u64,
    pub(super) left_out: u64,
    /// The picture's beginning, by the machine's CLOCK_MONOTONIC: to lay traces of several ranks over
    /// each other.
    pub(super) begin_nanos: u64,
}

/// One trace event.
#[derive(Debug, Default, Serialize)]
struct Line<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cat: Option<&'static str>,
    ph: &'static str,
    ts: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    dur: Option<f64>,
    pid: u32,
    tid: usize,
    /// Of a flow: the batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    /// Of a flow's end: "e", it ends in the span around it.
    #[serde(skip_serializing_if = "Option::is_none")]
    bp: Option<&'static str>,
    /// Of a moment: "t", it belongs to its track.
    #[serde(skip_serializing_if = "Option::is_none")]
    s: Option<&'static str>,
    /// A colour, for chrome://tracing.
    #[serde(skip_serializing_if = "Option::is_none")]
    cname: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    args: Option<Args<'a>>,
}

/// What a viewer shows of a chosen event.
#[derive(Debug, Default, Serialize)]
struct Args<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sort_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    edition: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    death: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plugin: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
}

/// Writes the events, one a line.
pub(super) fn write(head: &Head, title: &str, tracks: &[Track<'_>], out: &mut dyn Write) -> io::Result<()> {
    out.write_all(b"{\"displayTimeUnit\":\"ms\",\"otherData\":")?;
    serde_json::to_writer(&mut *out, head)?;
    out.write_all(b",\"traceEvents\":[")?;
    let (begin, pid) = (head.begin_nanos, std::process::id());
    let mut lines = Lines { out, begin, pid, tid: 0, separator: b"\n" };
    let named = |name| Some(Args { name: Some(name), ..Args::default() });
    lines.add(Line { name: "process_name", ph: "M", args: named(title), ..Line::default() })?;
    for (index, track) in tracks.iter().enumerate() {
        lines.tid = index + 1;
        lines.add(Line { name: "thread_name", ph: "M", args: named(&track.name), ..Line::default() })?;
        let args = Some(Args { sort_index: Some(index), ..Args::default() });
        lines.add(Line { name: "thread_sort_index", ph: "M", args, ..Line::default() })?;
        track.spans.iter().try_for_each(|drawn| lines.span(drawn))?;
        track.moments.iter().try_for_each(|moment| lines.moment(moment))?;
    }
    lines.out.write_all(b"\n]}\n")
}

struct Lines<'a> {
    out: &'a mut dyn Write,
    begin: u64,
    pid: u32,
    /// The track.
    tid: usize,
    /// What comes before the next event.
    separator: &'static [u8],
}

impl Lines<'_> {
    fn add(&mut self, line: Line<'_>) -> io::Result<()> {
        self.out.write_all(self.separator)?;
        self.separator = b",\n";
        serde_json::to_writer(&mut *self.out, &Line { pid: self.pid, tid: self.tid, ..line })?;
        Ok(())
    }

    /// A span, and its batch's flow.
    fn span(&mut self, Drawn { span, kind, flow }: &Drawn<'_>) -> io::Result<()> {
        let Span { from, to } = *span;
        let name = match kind {
            Kind::Message(_) => "message",
            Kind::Produce(batch) if batch.stage == Stage::Producing => "produce, unfinished",
            Kind::Produce(_) => "produce",
            Kind::Attempt { .. } => "failed attempt",
            Kind::Hold(batch) if batch.stage == Stage::Held => "hold, unfinished",
            Kind::Hold(_) => "hold",
            Kind::Wait => "wait",
        };
        let args = args_of(kind);
        let is_bad = matches!(kind, Kind::Attempt { .. })
            || matches!(kind, Kind::Produce(batch) | Kind::Hold(batch) if batch.failed);
        let (ts, id) = (self.micros(from), args.sequence);
        self.add(Line {
            name,
            // Chrome's developer tools bind a flow to the span of its category.
            cat: flow.is_some().then_some(FLOW),
            ph: "X",
            ts,
            dur: Some(micros(to - from)),
            cname: is_bad.then_some("terrible"),
            args: Some(args),
            ..Line::default()
        })?;
        let (ph, bp) = match flow {
            Some(Flow::Begins) => ("s", None),
            Some(Flow::Passes) => ("t", None),
            Some(Flow::Ends) => ("f", Some("e")),
            None => return Ok(()),
        };
        self.add(Line { name: "batch", cat: Some(FLOW), ph, ts, id, bp, ..Line::default() })
    }

    fn moment(&mut self, Moment { at, kind }: &Moment<'_>) -> io::Result<()> {
        let died = |death| Args { death: Some(death), ..Args::default() };
        let (name, args) = match kind {
            MomentKind::Stall(lasted) => {
                ("stall", Args { seconds: Some(lasted.as_secs_f64()), ..Args::default() })
            }
            MomentKind::Noted(What::WorkerDied { death, held, .. }) => {
                ("death", Args { sequence: held.map(|(sequence, _)| sequence), ..died(&**death) })
            }
            MomentKind::Noted(What::CommanderDied { death }) => ("death", died(death)),
            MomentKind::Noted(What::ForkServerDied) => ("death of the fork server", Args::default()),
            MomentKind::Noted(What::Swapped { kind, plugin, first }) => {
                let name = match kind {
                    PluginKind::Commander => "swap of the commander",
                    PluginKind::Producer => "swap of the producer",
                };
                (name, Args { plugin: Some(plugin), sequence: Some(*first), ..Args::default() })
            }
            MomentKind::Noted(What::Checkpoint) => ("checkpoint", Args::default()),
        };
        let (ts, s) = (self.micros(*at), Some("t"));
        self.add(Line { name, ph: "i", ts, s, args: Some(args), ..Line::default() })
    }

    /// A time of the picture.
    fn micros(&self, nanos: u64) -> f64 {
        micros(nanos.saturating_sub(self.begin))
    }
}

/// To the nanosecond: JSON has the shortest number that is nearest.
fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1000.0
}

fn args_of<'a>(kind: &Kind<'a>) -> Args<'a> {
    match *kind {
        Kind::Message(batch) | Kind::Produce(batch) => {
            Args { sequence: Some(batch.sequence), ..Args::default() }
        }
        Kind::Attempt { sequence, death, .. } => {
            Args { sequence: Some(sequence), death: Some(death), ..Args::default() }
        }
        Kind::Hold(batch) => Args {
            sequence: Some(batch.sequence),
            worker: batch.worker(),
            edition: Some(batch.edition),
            attempts: Some(batch.attempts),
            failed: Some(batch.failed),
            ..Args::default()
        },
        Kind::Wait => Args::default(),
    }
}
