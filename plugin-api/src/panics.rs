//! Panics as values: every call from the host goes through [`guard`], so that no panic crosses the
//! boundary.
//!
//! A plugin has its own copy of the standard library, and so its own panic hook and unwinding. Only
//! code that is compiled into the plugin, as this is, can catch its panics.

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use crate::report::Report;

thread_local! {
    /// Whether this thread is inside a guard, whose report carries the panic.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
    /// The last panic inside the guard: its message and place, as the hook saw them.
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Installs a panic hook. It records a guarded panic instead of printing it. All other panics, such
/// as those of the plugin's own threads, go to the log and to the hook that was there before.
pub(crate) fn install_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if GUARDED.get() {
                LAST.set(Some(format!("{info}").replace(":\n", ": ")));
            } else {
                log::error!("{info}");
                before(info);
            }
        }));
    });
}

/// Runs a plugin's code; turns an error or a panic into a report.
pub(crate) fn guard<T>(body: impl FnOnce() -> anyhow::Result<T>) -> Result<T, Report> {
    install_hook();
    let outer = GUARDED.replace(true);
    // Nothing uses the plugin's half-changed state after a panic: the host drops the instance and
    // makes a new one.
    let result = panic::catch_unwind(AssertUnwindSafe(body));
    GUARDED.set(outer);
    match result {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Report::from_error(&error)),
        Err(payload) => {
            // A payload whose own drop panics must not unwind out of here, so it is leaked. Nearly
            // all payloads are texts, which cannot panic and are dropped.
            if !payload.is::<&'static str>() && !payload.is::<String>() {
                std::mem::forget(payload);
            }
            Err(Report::from_panic(LAST.take().unwrap_or_else(|| "panicked without a message".to_owned())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::ReportKind;

    #[test]
    fn panic_becomes_a_report_with_its_place() {
        let report = guard::<()>(|| panic!("no pixels in {}", "scan.png")).unwrap_err();
        assert_eq!(report.kind, ReportKind::Panic);
        assert!(report.to_string().starts_with("panicked at plugin-api/src/panics.rs:"), "{report}");
        assert!(report.to_string().ends_with(": no pixels in scan.png"), "{report}");
    }

    #[test]
    fn payload_whose_drop_panics_is_contained() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("dropped");
            }
        }
        assert_eq!(guard::<()>(|| panic::panic_any(Bomb)).unwrap_err().kind, ReportKind::Panic);
    }

    #[test]
    fn error_becomes_a_report_with_its_chain() {
        let report = guard::<()>(|| Err(anyhow::anyhow!("cause").context("failed"))).unwrap_err();
        assert_eq!(report.chain, ["failed", "cause"]);
    }
}
