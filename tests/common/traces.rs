//! Traces as a viewer reads them: strictly, and only if they are drawable.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

/// A trace in which each invariant of a picture holds.
#[derive(Debug)]
pub(crate) struct Trace {
    pub(crate) batches: u64,
    pub(crate) left_out: u64,
    /// By name, in the order of the picture.
    pub(crate) tracks: Vec<Track>,
}

#[derive(Debug, Default)]
pub(crate) struct Track {
    pub(crate) name: String,
    pub(crate) spans: Vec<Span>,
    /// Names and what is said of them.
    pub(crate) moments: Vec<(String, Value)>,
}

#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub(crate) name: String,
    /// Nanoseconds, as viewers count.
    pub(crate) from: u64,
    pub(crate) nanos: u64,
    pub(crate) args: Value,
}

/// As the format has it. Times are in microseconds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct File {
    display_time_unit: String,
    other_data: Head,
    trace_events: Vec<Event>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    cobuf: String,
    batches: u64,
    left_out: u64,
    begin_nanos: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Event {
    name: String,
    cat: Option<String>,
    ph: String,
    ts: f64,
    dur: Option<f64>,
    pid: u32,
    tid: u32,
    id: Option<u64>,
    bp: Option<String>,
    s: Option<String>,
    cname: Option<String>,
    #[serde(default)]
    args: Value,
}

/// Where a flow is: its phase, its time in nanoseconds, its track.
type Station = (String, u64, u32);

/// A time of the file, to the nanosecond.
fn nanos(micros: f64) -> u64 {
    (micros * 1000.0).round() as u64
}

impl Span {
    pub(crate) fn sequence(&self) -> u64 {
        self.args["sequence"].as_u64().unwrap_or_else(|| panic!("{self:?} has a batch"))
    }

    fn to(&self) -> u64 {
        self.from + self.nanos
    }
}

impl Trace {
    /// Reads a file, and checks it.
    #[track_caller]
    pub(crate) fn read(path: &Path) -> Self {
        let text =
            std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let file: File = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"));
        assert_eq!(file.display_time_unit, "ms");
        assert!(file.other_data.begin_nanos > 0 && !file.other_data.cobuf.is_empty());
        let (mut tracks, mut flows) = (BTreeMap::<u32, Track>::new(), BTreeMap::<u64, Vec<Station>>::new());
        let pid = file.trace_events[0].pid;
        for event in file.trace_events {
            assert!(event.pid == pid && event.ts >= 0.0, "{event:?}");
            read_event(event, &mut tracks, &mut flows);
        }
        tracks.values().for_each(check_track);
        flows.iter().for_each(|(batch, stations)| check_flow(*batch, stations, &tracks));
        let trace = Self {
            batches: file.other_data.batches,
            left_out: file.other_data.left_out,
            tracks: tracks.into_values().collect(),
        };
        assert_eq!(trace.batches, trace.spans("hold").count() as u64);
        trace
    }

    /// All spans of a name.
    pub(crate) fn spans(&self, name: &str) -> impl Iterator<Item = &Span> {
        self.tracks.iter().flat_map(|track| &track.spans).filter(move |span| span.name == name)
    }

    /// The time of all spans of a name together, in seconds.
    pub(crate) fn seconds(&self, name: &str) -> f64 {
        self.spans(name).map(|span| span.nanos).sum::<u64>() as f64 / 1e9
    }

    /// The batches of spans of a name, in ascending order.
    pub(crate) fn sequences(&self, name: &str) -> Vec<u64> {
        let mut all: Vec<u64> = self.spans(name).map(Span::sequence).collect();
        all.sort_unstable();
        all
    }

    /// The tracks whose names begin so.
    pub(crate) fn tracks(&self, name: &str) -> Vec<&Track> {
        self.tracks.iter().filter(|track| track.name.starts_with(name)).collect()
    }

    /// What is said of all moments of a name.
    pub(crate) fn moments(&self, name: &str) -> Vec<&Value> {
        let all = self.tracks.iter().flat_map(|track| &track.moments);
        all.filter(|(known, _)| known == name).map(|(_, args)| args).collect()
    }
}

fn read_event(event: Event, tracks: &mut BTreeMap<u32, Track>, flows: &mut BTreeMap<u64, Vec<Station>>) {
    let Event { name, cat, ph, ts, dur, tid, id, bp, s, cname, args, .. } = event;
    if ph == "M" {
        match &name[..] {
            "process_name" => assert!(args["name"].as_str().is_some_and(|name| name.starts_with("cobuf"))),
            "thread_name" => {
                let name = args["name"].as_str().expect("a name").to_owned();
                assert!(tracks.insert(tid, Track { name, ..Track::default() }).is_none());
            }
            "thread_sort_index" => assert_eq!(args["sort_index"], tid - 1),
            _ => panic!("no {name} is expected"),
        }
        return;
    }
    let track = tracks.get_mut(&tid).expect("a track is named before it is used");
    match &ph[..] {
        "X" => {
            assert!(cat.is_none_or(|name| name == "batch") && id.is_none() && bp.is_none() && s.is_none());
            assert!(cname.is_none_or(|name| name == "terrible"));
            let lasts = dur.expect("a span lasts");
            track.spans.push(Span { name, from: nanos(ts), nanos: nanos(lasts), args });
        }
        "i" => {
            assert_eq!((s.as_deref(), dur), (Some("t"), None));
            track.moments.push((name, args));
        }
        "s" | "t" | "f" => {
            assert_eq!((&name[..], cat.as_deref(), dur), ("batch", Some("batch"), None));
            assert_eq!(bp.as_deref(), (ph == "f").then_some("e"));
            flows.entry(id.expect("a flow has a number")).or_default().push((ph, nanos(ts), tid));
        }
        _ => panic!("no phase {ph} is expected"),
    }
}

/// Spans do not overlap.
fn check_track(track: &Track) {
    assert!(track.spans.iter().all(|span| span.nanos > 0), "{track:?}");
    for pair in track.spans.windows(2) {
        assert!(pair[0].to() <= pair[1].from, "{}: {pair:?} overlap", track.name);
    }
}

/// A flow begins and ends once, goes forward in time, and is always in a span of its batch.
fn check_flow(batch: u64, stations: &[Station], tracks: &BTreeMap<u32, Track>) {
    let mut stations = stations.to_vec();
    let rank = |phase: &str| ["s", "t", "f"].iter().position(|known| *known == phase);
    stations.sort_by_key(|(phase, at, _)| (rank(phase), *at));
    let phases: String = stations.iter().map(|(phase, ..)| &phase[..]).collect();
    assert!(phases.starts_with('s') && phases.ends_with('f'), "batch {batch}: {phases}");
    assert_eq!(phases.matches(['s', 'f']).count(), 2, "batch {batch}: {phases}");
    assert!(stations.is_sorted_by(|(_, at, _), (_, later, _)| at <= later), "batch {batch}: {stations:?}");
    for (_, at, tid) in stations {
        let around = tracks[&tid].spans.iter().find(|span| span.from <= at && at < span.to());
        let around = around.unwrap_or_else(|| panic!("batch {batch} flows through no span at {at}"));
        assert_eq!(around.sequence(), batch);
    }
}
