//! An error of the stream as `cobuf run` prints it: the cause, then the message, then the attempts.

use cobuf_host::{Attempt, StackThread, StreamError};

/// The most bytes of a message that are shown.
const SHOWN_MESSAGE_BYTES: usize = 300;

/// The error with its causes in the first line; the message, which may be long, follows them.
pub(crate) fn told(error: StreamError) -> String {
    let mut lines = Vec::new();
    if let StreamError::Batch(error) = &error {
        lines.push(format!("  message: {}", cut(&error.message().to_string())));
        lines.extend(attempts(error.attempts()));
    }
    lines.insert(0, format!("error: {:#}", anyhow::Error::new(error)));
    lines.join("\n")
}

fn cut(message: &str) -> String {
    let shown = &message[..message.floor_char_boundary(SHOWN_MESSAGE_BYTES)];
    let rest = message.len() - shown.len();
    if rest > 0 { format!("{shown}… ({rest} more bytes)") } else { shown.to_owned() }
}

/// The attempts in order. Most crashes repeat themselves, so each stack is shown once.
fn attempts(attempts: &[Attempt]) -> Vec<String> {
    let told = |(index, attempt): (usize, &Attempt)| {
        let mut attempt = attempt.clone();
        let same = |other: &Attempt| other.stack.is_some() && frames(other).eq(frames(&attempt));
        let first = attempts[..index].iter().position(same);
        if first.is_some() {
            attempt.stack = None;
        }
        let text = attempt.to_string().replace('\n', "\n  ");
        let stack = first.map(|first| format!("\n    its stack is that of attempt {}", first + 1));
        format!("  attempt {}: {text}{}", index + 1, stack.unwrap_or_default())
    };
    attempts.iter().enumerate().map(told).collect()
}

/// The functions of each thread; the threads' names have the worker's number in them.
fn frames(attempt: &Attempt) -> impl Iterator<Item = &[String]> {
    attempt.stack.iter().flat_map(|stack| &stack.threads).map(|StackThread { frames, .. }| &frames[..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn attempt(worker: u32, log: &str, frame: Option<&str>) -> Attempt {
        let stack = frame.map(|frame| {
            json!({ "threads": [{ "name": format!("cobuf-work-{worker}"), "frames": [frame] }], "left_out": 0 })
        });
        let death = json!({ "exit": { "signal": 11 } });
        let attempt = json!({ "worker": worker, "death": death, "log": [log], "stack": stack });
        serde_json::from_value(attempt.clone()).unwrap_or_else(|error| panic!("{error}: {attempt}"))
    }

    #[test]
    fn stack_that_repeats_itself_is_shown_once() {
        let told = attempts(&[
            attempt(0, "one", Some("boom")),
            attempt(1, "two", Some("boom")),
            attempt(0, "three", Some("bang")),
            attempt(0, "four", None),
        ])
        .join("\n");
        assert_eq!(told.matches("boom").count(), 1, "{told}");
        assert!(told.contains("log: two\n    its stack is that of attempt 1\n  attempt 3"), "{told}");
        assert!(told.contains("thread cobuf-work-0\n        bang\n  attempt 4"), "{told}");
        assert!(told.ends_with("log: four"), "{told}");
    }

    #[test]
    fn long_message_is_cut_between_characters() {
        assert_eq!(cut("{}"), "{}");
        let cut = cut(&"ä".repeat(200));
        assert_eq!(cut, format!("{}… (100 more bytes)", "ä".repeat(150)));
    }
}
