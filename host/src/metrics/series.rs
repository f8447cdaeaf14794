//! A run's counters as Prometheus' series.
//!
//! Counters never go down, although times of work that is under way are estimates: a series keeps the
//! greatest value that it had. Names have base units, `_total` and `_seconds`, as Prometheus'
//! conventions ask for. Each series has the labels of the run; none has one for each worker or
//! message, so a run has some 60 of them, however large it is.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet, prometheus_text, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::segment::clock;
use crate::segment::sync::Ordering;
use crate::segment::worker_place::TIME_CLASSES;
use crate::stream::delivery::Stream;
use crate::stream::statistics::Statistics;
use crate::stream::volume::{Volume, produce_times};

/// The names by which a run is told from others.
#[derive(Debug)]
pub(crate) struct RunLabels {
    /// The run's name.
    pub(crate) run: String,
    pub(crate) producer: String,
    /// `None` if the application is the commander.
    pub(crate) commander: Option<String>,
    /// `None` if there is only one.
    pub(crate) rank: Option<u32>,
}

/// The two text formats of Prometheus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// The text format 0.0.4, which everything reads, textfile collectors included.
    Prometheus,
    /// OpenMetrics 1.0.0, which has units.
    OpenMetrics,
}

impl Format {
    /// The type of its content, for HTTP.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => prometheus_text::CONTENT_TYPE,
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

type Seconds = Counter<f64, AtomicU64>;
type Label = [(&'static str, String); 1];
type Read<T> = fn(&Statistics) -> T;

const COUNTS: [(&str, &str, Read<u64>); 6] = [
    ("batches", "Batches that were delivered", |now| now.delivered),
    ("errors", "Errors that were delivered in the place of batches", |now| now.errors),
    ("skipped", "Messages that were given up and left out", |now| now.skipped),
    ("retries", "Messages that were queued again because their worker died", |now| now.retries),
    ("timeouts", "Workers and commanders that were killed because they missed a deadline", |now| {
        now.timeouts
    }),
    ("swaps", "Swaps of a plugin", |now| now.swaps),
];
const TIMES: [(&str, &str, Read<Duration>); 6] = [
    ("exposed_wait", "Time in which at least one consumer waited for a batch", |now| now.exposed_wait),
    ("consumer_wait", "Time that consumers waited for batches, summed over all threads", |now| {
        now.consumer_wait
    }),
    ("worker_busy", "Time that workers produced, summed over all workers", |now| now.worker_busy),
    ("worker_wait", "Time that workers waited for messages, summed over all workers", |now| now.worker_wait),
    ("worker_lost", "Time of workers that their deaths took, summed over all workers", |now| now.worker_lost),
    ("commander_wait", "Time that the commander waited for a free slot", |now| now.commander_wait),
];
const RESTARTS: [(&str, Read<u64>); 3] = [
    ("worker", |now| now.worker_restarts),
    ("commander", |now| now.commander_restarts),
    ("fork_server", |now| now.fork_server_restarts),
];
const SLOTS: [(&str, Read<usize>); 4] = [
    ("free", |now| now.slots.free),
    ("writing", |now| now.slots.writing),
    ("ready", |now| now.slots.ready),
    ("reading", |now| now.slots.reading),
];

/// All series of a run.
#[derive(Debug)]
pub(super) struct Series {
    stream: Arc<Stream>,
    registry: Registry,
    counts: [Counter; COUNTS.len()],
    times: [Seconds; TIMES.len()],
    restarts: Family<Label, Counter>,
    rows: Counter,
    bytes: Counter,
    produce: ProduceTimes,
    slots: Family<Label, Gauge>,
    workers: Gauge,
    limited_by: Family<Label, Gauge>,
    /// The parts that have limited the run so far.
    limits: Mutex<Vec<String>>,
    running: Gauge,
    /// Without a checkpoint there is no child.
    checkpoint: Family<Vec<(String, String)>, Gauge<f64, AtomicU64>>,
    /// When the last checkpoint was taken, by the segment's clock.
    known_checkpoint: AtomicU64,
}

impl Series {
    pub(super) fn new(stream: Arc<Stream>, labels: &RunLabels) -> Self {
        let mut registry = Registry::with_prefix_and_labels("cobuf", labels.pairs().into_iter());
        let new = Self {
            counts: COUNTS.map(|_| Counter::default()),
            times: TIMES.map(|_| Seconds::default()),
            restarts: Family::default(),
            rows: Counter::default(),
            bytes: Counter::default(),
            produce: ProduceTimes::default(),
            slots: Family::default(),
            workers: Gauge::default(),
            limited_by: Family::default(),
            limits: Mutex::default(),
            running: Gauge::default(),
            checkpoint: Family::default(),
            known_checkpoint: AtomicU64::new(0),
            registry: Registry::default(),
            stream,
        };
        new.register(&mut registry);
        Self { registry, ..new }
    }

    fn register(&self, all: &mut Registry) {
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        all.register("build", "The version of cobuf", version);
        all.register(
            "running",
            "1 from the start of the run until it is stopped, then 0",
            self.running.clone(),
        );
        for ((name, help, _), counter) in COUNTS.iter().zip(&self.counts) {
            all.register(*name, *help, counter.clone());
        }
        if self.schema().rows().is_some() {
            all.register("rows", "Rows of the batches that were delivered", self.rows.clone());
        }
        let help = "Bytes of the arrays of the batches that were delivered";
        all.register_with_unit("delivered", help, Unit::Bytes, self.bytes.clone());
        for ((name, help, _), counter) in TIMES.iter().zip(&self.times) {
            all.register_with_unit(*name, *help, Unit::Seconds, counter.clone());
        }
        let help = "Time that a worker took for a message";
        all.register_with_unit("produce", help, Unit::Seconds, self.produce.clone());
        all.register("restarts", "Processes that were started again, by role", self.restarts.clone());
        all.register("slots", "Slots, by state", self.slots.clone());
        all.register("workers", "The number of workers that the host keeps alive", self.workers.clone());
        let help = "1 for the part that limits the run, 0 for those that did before";
        all.register("limited_by", help, self.limited_by.clone());
        let help = "When the last checkpoint was taken, in seconds since 1970";
        all.register_with_unit("checkpoint_timestamp", help, Unit::Seconds, self.checkpoint.clone());
    }

    /// The values of now, as text.
    pub(super) fn text(&self, format: Format, is_running: bool) -> String {
        self.update();
        self.running.set(is_running.into());
        let mut text = String::new();
        let encoded = match format {
            Format::Prometheus => prometheus_text::encode(&mut text, &self.registry),
            Format::OpenMetrics => text::encode(&mut text, &self.registry),
        };
        // A string takes every text.
        debug_assert!(encoded.is_ok());
        text
    }

    fn update(&self) {
        let now = Statistics::of(&self.stream);
        for ((.., read), counter) in COUNTS.iter().zip(&self.counts) {
            raise(counter, read(&now));
        }
        for ((.., read), counter) in TIMES.iter().zip(&self.times) {
            raise_seconds(counter, read(&now));
        }
        for (role, read) in RESTARTS {
            raise(&self.restarts.get_or_create(&label("role", role)), read(&now));
        }
        for (state, read) in SLOTS {
            self.slots.get_or_create(&label("state", state)).set(read(&now) as i64);
        }
        let segment = &self.stream.segment;
        let Volume { rows, bytes } = Volume::of(segment, self.schema(), now.delivered);
        raise(&self.rows, rows.unwrap_or_default());
        raise(&self.bytes, bytes);
        let most_workers = self.stream.settled.most_workers.load(Ordering::Relaxed) as usize;
        self.produce.raise(produce_times(segment, most_workers), now.worker_busy);
        self.workers.set(now.workers as i64);
        self.note_limit(&now.limited_by().to_string());
        self.note_checkpoint();
    }

    fn note_limit(&self, part: &str) {
        let mut limits = self.limits.lock();
        if !limits.iter().any(|known| known == part) {
            limits.push(part.to_owned());
        }
        for known in &*limits {
            self.limited_by.get_or_create(&label("part", known)).set((known == part).into());
        }
    }

    /// The time of a checkpoint is computed once: the two clocks drift.
    fn note_checkpoint(&self) {
        let nanos = self.stream.counters().checkpoint_nanos.load(Ordering::Relaxed);
        if self.known_checkpoint.swap(nanos, Ordering::Relaxed) != nanos {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let time = now.saturating_sub(clock::since(nanos));
            self.checkpoint.get_or_create(&Vec::new()).set(time.as_secs_f64());
        }
    }

    fn schema(&self) -> &cobuf_plugin_api::Schema {
        &self.stream.segment.layout().sizes.schema
    }
}

impl RunLabels {
    fn pairs(&self) -> Vec<(Cow<'static, str>, Cow<'static, str>)> {
        let rank = self.rank.map(|rank| rank.to_string());
        let named = [
            ("run", Some(&self.run)),
            ("producer", Some(&self.producer)),
            ("commander", self.commander.as_ref()),
            ("rank", rank.as_ref()),
        ];
        let given = named.into_iter().filter_map(|(name, value)| Some((name, value?.clone())));
        given.map(|(name, value)| (name.into(), value.into())).collect()
    }
}

fn label(name: &'static str, value: &str) -> Label {
    [(name, value.to_owned())]
}

fn raise(counter: &Counter, to: u64) {
    counter.inc_by(to.saturating_sub(counter.get()));
}

fn raise_seconds(counter: &Seconds, to: Duration) {
    counter.inc_by((to.as_secs_f64() - counter.get()).max(0.0));
}

/// The first class whose bound is a bucket of its own: 2^10 ns, about a microsecond.
const FIRST_CLASS: usize = 10;

/// The histogram of produce times: a bucket for each power of two from 1.024 µs to 275 s.
#[derive(Debug, Clone, Default)]
struct ProduceTimes(Arc<Mutex<Produced>>);

#[derive(Debug)]
struct Produced {
    classes: [u64; TIME_CLASSES],
    sum: Duration,
}

impl Default for Produced {
    fn default() -> Self {
        Self { classes: [0; TIME_CLASSES], sum: Duration::ZERO }
    }
}

impl ProduceTimes {
    fn raise(&self, classes: [u64; TIME_CLASSES], sum: Duration) {
        let mut produced = self.0.lock();
        for (known, now) in produced.classes.iter_mut().zip(classes) {
            *known = (*known).max(now);
        }
        produced.sum = produced.sum.max(sum);
    }
}

impl EncodeMetric for ProduceTimes {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> std::fmt::Result {
        let produced = self.0.lock();
        let (short, long) = produced.classes.split_at(FIRST_CLASS + 1);
        let (long, longest) = long.split_at(TIME_CLASSES - FIRST_CLASS - 2);
        let sum = |classes: &[u64]| classes.iter().copied().fold(0, u64::wrapping_add);
        let bound = |class: usize| (1_u64 << class) as f64 / 1e9;
        let mut buckets = vec![(bound(FIRST_CLASS), sum(short))];
        buckets.extend(long.iter().zip(FIRST_CLASS + 1..).map(|(count, class)| (bound(class), *count)));
        buckets.push((f64::INFINITY, sum(longest)));
        let all = sum(&produced.classes);
        encoder.encode_histogram::<NoLabelSet>(produced.sum.as_secs_f64(), all, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(times: &ProduceTimes) -> Vec<String> {
        let (mut registry, mut text) = (Registry::default(), String::new());
        registry.register("t", "Times", times.clone());
        text::encode(&mut text, &registry).unwrap();
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }

    fn classes(counts: &[(usize, u64)]) -> [u64; TIME_CLASSES] {
        std::array::from_fn(|class| {
            counts.iter().find(|(known, _)| *known == class).map_or(0, |(_, count)| *count)
        })
    }

    #[test]
    fn buckets_are_powers_of_two_and_cumulative() {
        let times = ProduceTimes::default();
        // Below 1 ns, up to 1.024 µs, up to 2.048 µs, up to 275 s, longer.
        let all = classes(&[(0, 1), (10, 2), (11, 4), (38, 8), (39, 16)]);
        times.raise(all, Duration::from_secs(5));
        let lines = lines(&times);
        let has = |line: &str| assert!(lines.iter().any(|known| known == line), "{line} in {lines:#?}");
        has("t_sum 5.0");
        has("t_count 31");
        has("t_bucket{le=\"0.000001024\"} 3");
        has("t_bucket{le=\"0.000002048\"} 7");
        has("t_bucket{le=\"137.438953472\"} 7");
        has("t_bucket{le=\"274.877906944\"} 15");
        has("t_bucket{le=\"+Inf\"} 31");
        assert_eq!(lines.len(), 2 + 29 + 1);
    }

    #[test]
    fn counters_keep_their_greatest_value() {
        let (counter, seconds, times) = (Counter::default(), Seconds::default(), ProduceTimes::default());
        for (value, expected) in [(3, 3), (2, 3), (7, 7), (0, 7)] {
            raise(&counter, value);
            raise_seconds(&seconds, Duration::from_secs(value));
            times.raise(classes(&[(12, value)]), Duration::from_secs(value));
            assert_eq!((counter.get(), seconds.get()), (expected, expected as f64));
            assert!(lines(&times).contains(&format!("t_count {expected}")));
        }
        raise(&counter, u64::MAX);
        raise_seconds(&seconds, Duration::MAX);
        assert_eq!(counter.get(), u64::MAX);
    }
}
