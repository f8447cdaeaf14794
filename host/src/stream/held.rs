//! Warnings of waits that only the application can end, by what it does with its batches. Such a wait
//! must not be silent: without a subscriber the warning goes to standard error.

/// The application's own batches hold every slot. `waiting` names the thing that it waits for.
pub(super) fn warn_of_held(waiting: &str, held: usize) {
    let advice = "of this application; drop one, or use more slots";
    if tracing::dispatcher::has_been_set() {
        tracing::warn!(held, "waiting {waiting} while all slots are held by batches {advice}");
    } else {
        eprintln!("cobuf: waiting {waiting} while all {held} slots are held by batches {advice}");
    }
}

/// Every slot has a batch that the application has not taken, or not dropped.
pub(super) fn warn_of_untaken(ready: usize, held: usize) {
    let text = "waiting to submit a message while every slot has a batch";
    let advice = "take batches in another thread, or between two messages";
    if tracing::dispatcher::has_been_set() {
        tracing::warn!(ready, held, "{text} that was not taken or not dropped; {advice}");
    } else {
        eprintln!("cobuf: {text}, of which {ready} were not taken and {held} not dropped; {advice}");
    }
}
