//! Forwards a plugin's `log` records to the host, and its `tracing` events too if it sets no
//! subscriber.
//!
//! `log` has one logger for each shared library. The host installs this forwarder as the plugin's.

use std::sync::OnceLock;

use abi_stable::std_types::RStr;
use log::{LevelFilter, Log, Metadata, Record};

use crate::abi::LogSink;

struct Forwarder(LogSink);

static FORWARDER: OnceLock<Forwarder> = OnceLock::new();

/// Forwards records up to `max_level` (0 off … 5 trace) to the host. If the plugin has set a logger
/// of its own, that one stays.
pub(crate) fn install(sink: LogSink, max_level: u8) {
    let level = LevelFilter::iter().nth(max_level.into()).unwrap_or(LevelFilter::Trace);
    if log::set_logger(FORWARDER.get_or_init(|| Forwarder(sink))).is_ok() {
        log::set_max_level(level);
    }
}

impl Log for Forwarder {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let message = record.args().to_string();
        (self.0.emit)(record.level() as u8, RStr::from_str(record.target()), RStr::from_str(&message));
    }

    fn flush(&self) {}
}
