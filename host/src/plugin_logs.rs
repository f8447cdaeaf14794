//! Plugins' log records, on their way to the application's subscriber.

use cobuf_plugin_api::PluginKind;

use crate::process::protocol::Role;

/// The plugins' names, for logs and errors.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    pub(crate) commander: String,
    pub(crate) producer: String,
}

impl Names {
    pub(crate) fn of(&self, kind: PluginKind) -> &str {
        match kind {
            PluginKind::Commander => &self.commander,
            PluginKind::Producer => &self.producer,
        }
    }
}

/// Gives a plugin's log record to the application's subscriber, with the plugin and the worker that it came from.
pub(crate) fn forward_log(names: &Names, role: Role, level: u8, origin: &str, message: &str) {
    let plugin = names.of(role.kind());
    // The macros need their level at compile time.
    macro_rules! forward {
        ($level:ident) => {
            match role {
                Role::Worker { worker, .. } => {
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
