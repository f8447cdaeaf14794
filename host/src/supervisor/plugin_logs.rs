//! Plugins' log records, on their way to the application's subscriber.

use crate::protocol::role::Role;

/// Gives a plugin's log record to the application's subscriber, with the plugin and the worker that
/// it came from.
pub(crate) fn forward_log(plugin: &str, role: Role, level: u8, origin: &str, message: &str) {
    // The macros need their level at compile time.
    macro_rules! forward {
        ($level:ident) => {
            match role {
                Role::Worker { place, .. } => {
                    let worker = place.worker();
                    tracing::$level!(target: "cobuf::plugin", plugin, worker, origin, "{message}");
                }
                _ => tracing::$level!(target: "cobuf::plugin", plugin, origin, "{message}"),
            }
        };
    }
    match level {
        1 => forward!(error),
        2 => forward!(warn),
        3 => forward!(info),
        4 => forward!(debug),
        _ => forward!(trace),
    }
}
