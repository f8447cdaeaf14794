//! Takes a plugin's `log` records, and `tracing` events where no subscriber is set, to the host.
//!
//! `log` has one logger per shared library. The host installs this forwarder in the plugin's.

use std::sync::OnceLock;

use abi_stable::std_types::RStr;
use log::{LevelFilter, Log, Metadata, Record};

use crate::abi::LogSink;

struct Forwarder(LogSink);

static FORWARDER: OnceLock<Forwarder> = OnceLock::new();

/// Sends records up to `max_level` (0 off … 5 trace) to the host. A logger that the plugin set itself stays.
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
