//! Errors as text, texts cut to a length, and texts that are shown as they are.

use std::borrow::Cow;
use std::error::Error;

/// An error and its causes in one line. A cause is left out if the text before it contains it
/// already.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let reason = error.to_string();
        if !text.contains(&reason) {
            text = format!("{text}: {reason}");
        }
        cause = error.source();
    }
    text
}

/// The beginning of a text, at most so many bytes of it.
pub(crate) fn cut(text: &str, most_bytes: usize) -> &str {
    &text[..text.floor_char_boundary(most_bytes)]
}

/// A text that may be another's, as it can be shown in a terminal: with control characters and those that turn
/// the direction of writing written out, such as `\u001b`. Ends of lines and tabs stay. A text in JSON
/// has the same meaning afterwards.
///
/// Errors, logs and names that come from a plugin can hold any character: input that took it over chooses
/// them.
///
/// ```
/// assert_eq!(cobuf_host::printable("no \x1b[2Jfile\n"), "no \\u001b[2Jfile\n");
/// ```
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_control) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    push_printable(&mut shown, text, |_| false);
    Cow::Owned(shown)
}

/// Adds a text, but with control characters written out unless they are `kept`.
pub(crate) fn push_printable(to: &mut String, text: &str, kept: impl Fn(char) -> bool) {
    for c in text.chars() {
        if is_control(c) && !kept(c) {
            to.push_str(&match c {
                '\r' => "\\r".to_owned(),
                _ => format!("\\u{:04x}", u32::from(c)),
            });
        } else {
            to.push(c);
        }
    }
}

/// Whether a character changes more of what is shown than its own place.
fn is_control(c: char) -> bool {
    let turns = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || c.is_control() && c != '\n' && c != '\t'
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;

    #[test]
    fn only_control_characters_are_written_out() {
        let plain = "Grüße, 世界 🦀\n\tcafe\u{301} \u{5e9}";
        assert!(matches!(printable(plain), Cow::Borrowed(text) if text == plain));
        let shown = printable("a\x1b]0;b\x07\r\u{9b}2J\x7f\u{202e}c\u{2066}\0");
        assert_eq!(shown, r"a\u001b]0;b\u0007\r\u009b2J\u007f\u202ec\u2066\u0000");
        let json = serde_json::to_string("\x1b\u{9b}\u{202e}\x7f\r").unwrap();
        let read: String = serde_json::from_str(&printable(&json)).unwrap();
        assert_eq!(read, "\x1b\u{9b}\u{202e}\x7f\r");
    }
}
