//! The log of a test binary, by which tests wait for what a worker says.

use std::fmt;
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Metadata, Subscriber};

use super::LONG;

/// One log record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) level: String,
    pub(crate) target: String,
    pub(crate) message: String,
    pub(crate) plugin: Option<String>,
    pub(crate) worker: Option<u64>,
}

/// All records of this process, at level info and above, since [`Logs::collect`].
pub(crate) struct Logs {
    records: Mutex<Vec<Record>>,
    added: Condvar,
}

impl Logs {
    /// Collects from now on. A host asks its plugins for as much as there is a subscriber for when
    /// it starts, so this comes before it.
    pub(crate) fn collect() -> &'static Self {
        static LOGS: OnceLock<Logs> = OnceLock::new();
        LOGS.get_or_init(|| {
            tracing::subscriber::set_global_default(Collector)
                .expect("nobody else collects logs in this process");
            Self { records: Mutex::default(), added: Condvar::new() }
        })
    }

    /// The first record with this text, waited for at most [`LONG`].
    pub(crate) fn wait_for(&self, text: &str) -> Record {
        self.wait_for_many(text, 1).remove(0)
    }

    /// The first `count` records with this text.
    pub(crate) fn wait_for_many(&self, text: &str, count: usize) -> Vec<Record> {
        let deadline = Instant::now() + LONG;
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let found: Vec<Record> =
                records.iter().filter(|record| record.message.contains(text)).cloned().collect();
            if found.len() >= count {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "{} of {count} records with {text:?} in {LONG:?}: {records:#?}",
                found.len()
            );
            records = self.added.wait_timeout(records, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Whether there is a record with this text by now.
    pub(crate) fn contains(&self, text: &str) -> bool {
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.iter().any(|record| record.message.contains(text))
    }

    /// Forgets all records.
    pub(crate) fn clear(&self) {
        self.records.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn add(&self, record: Record) {
        self.records.lock().unwrap_or_else(PoisonError::into_inner).push(record);
        self.added.notify_all();
    }
}

struct Collector;

impl Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(tracing::level_filters::LevelFilter::INFO)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let mut record = Record {
            level: metadata.level().to_string(),
            target: metadata.target().to_owned(),
            ..Record::default()
        };
        event.record(&mut record);
        Logs::collect().add(record);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl Visit for Record {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            "plugin" => self.plugin = Some(format!("{value:?}")),
            _ => {}
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "worker" {
            self.worker = Some(value);
        }
    }
}
