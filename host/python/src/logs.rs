//! Records of the host and of plugins, on their way to Python's `logging`.
//!
//! ```text
//!   any thread ── event ──► a queue ──► drained by a thread that is attached to the interpreter:
//!                                       the one that asks for a batch, or stops the host
//! ```
//!
//! The host's own threads never wait for the interpreter. If the queue is full, records are lost and
//! counted.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyDict;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record as Values};
use tracing::{Event, Level, Metadata, Subscriber};

/// How many records wait at most.
const MOST: usize = 1000;

static QUEUE: Mutex<Queue> = Mutex::new(Queue { records: VecDeque::new(), lost: 0 });
/// Whether there is something to drain: looked at for each batch.
static WAITING: AtomicBool = AtomicBool::new(false);

struct Queue {
    records: VecDeque<Record>,
    lost: u64,
}

/// One record.
#[derive(Default)]
struct Record {
    /// Python's number of the level.
    level: u8,
    /// Whether a plugin says it; otherwise the host does, perhaps of a plugin.
    said_by_plugin: bool,
    plugin: Option<String>,
    worker: Option<u64>,
    /// The text, and the host's own fields behind it.
    text: String,
    fields: String,
}

/// Collects records up to a level.
struct Collector(LevelFilter);

/// Begins to collect what the logger `cobuf` wants now. The first call counts, and an application
/// in Rust that has a subscriber keeps it.
pub(crate) fn collect(py: Python<'_>) -> PyResult<()> {
    let wanted: u32 = logger(py, false)?.call_method0("getEffectiveLevel")?.extract()?;
    let level = match wanted {
        0..10 => LevelFilter::TRACE,
        10..20 => LevelFilter::DEBUG,
        20..30 => LevelFilter::INFO,
        30..40 => LevelFilter::WARN,
        40..51 => LevelFilter::ERROR,
        _ => LevelFilter::OFF,
    };
    let _ = tracing::subscriber::set_global_default(Collector(level));
    Ok(())
}

/// Hands all records on to `logging`. The exception of a handler is the caller's.
pub(crate) fn drain(py: Python<'_>) -> PyResult<()> {
    if !WAITING.swap(false, Ordering::AcqRel) {
        return Ok(());
    }
    let (records, lost) = {
        let mut queue = QUEUE.lock().unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut queue.records), std::mem::take(&mut queue.lost))
    };
    for Record { level, said_by_plugin, plugin, worker, text, fields } in records {
        let extra = PyDict::new(py);
        extra.set_item("cobuf_plugin", &plugin)?;
        extra.set_item("cobuf_worker", worker)?;
        let keywords = PyDict::new(py);
        keywords.set_item("extra", extra)?;
        let origin = match (&plugin, worker) {
            (Some(plugin), Some(worker)) => format!("{plugin}, worker {worker}: "),
            (Some(plugin), None) => format!("{plugin}: "),
            (None, _) => String::new(),
        };
        let logger = logger(py, said_by_plugin)?;
        logger.call_method("log", (level, "%s%s%s", origin, text, fields), Some(&keywords))?;
    }
    if lost > 0 {
        logger(py, false)?.call_method1("warning", ("%s log records were lost", lost))?;
    }
    Ok(())
}

/// The logger of the host, or of plugins.
fn logger(py: Python<'_>, of_plugins: bool) -> PyResult<Bound<'_, PyAny>> {
    let name = if of_plugins { "cobuf.plugin" } else { "cobuf" };
    py.import("logging")?.call_method1("getLogger", (name,))
}

impl Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= self.0
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.0)
    }

    fn event(&self, event: &Event<'_>) {
        let level = match *event.metadata().level() {
            Level::ERROR => 40,
            Level::WARN => 30,
            Level::INFO => 20,
            Level::DEBUG => 10,
            Level::TRACE => 5,
        };
        let said_by_plugin = event.metadata().target() == "cobuf::plugin";
        let mut record = Record { level, said_by_plugin, ..Record::default() };
        event.record(&mut record);
        let mut queue = QUEUE.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.records.len() < MOST {
            queue.records.push_back(record);
        } else {
            queue.lost += 1;
        }
        WAITING.store(true, Ordering::Release);
    }

    // The host has no spans.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Values<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl Visit for Record {
    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "worker" => self.worker = Some(value),
            _ => self.record_debug(field, &value),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "plugin" => self.plugin = Some(value.to_owned()),
            "origin" => {}
            _ => self.record_debug(field, &value),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // A text takes everything.
        let _ = match field.name() {
            "message" => write!(self.text, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}
