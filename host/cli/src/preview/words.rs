//! Text in a space of so many letters, which may be a plugin's: it controls no terminal.

use cobuf_host::printable;

/// The text, or its beginning and an ellipsis.
pub(super) fn cut(text: &str, most: usize) -> String {
    let text = printable(text);
    if text.chars().count() <= most {
        return text.into_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// The text in lines of so many letters, which end at a space if there is one near; the last line may
/// be cut.
pub(super) fn wrapped(text: &str, width: usize, most_lines: usize) -> Vec<String> {
    let text = printable(text);
    let letters: Vec<char> =
        text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    let (mut lines, mut rest, width) = (Vec::new(), &letters[..], width.max(1));
    while !rest.is_empty() && lines.len() < most_lines {
        let mut end = rest.len().min(width);
        if end < rest.len()
            && let Some(space) = rest[..=end].iter().rposition(|&letter| letter == ' ')
            && space > width / 2
        {
            end = space;
        }
        lines.push(rest[..end].iter().collect::<String>());
        let space = rest.get(end).is_some_and(|&letter| letter == ' ');
        rest = &rest[end + usize::from(space)..];
    }
    if !rest.is_empty()
        && let Some(last) = lines.last_mut()
    {
        last.push('…');
        *last = cut(last, width);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_between_letters() {
        assert_eq!((cut("äöü", 3), cut("äöüß", 3)), ("äöü".to_owned(), "äö…".to_owned()));
        assert_eq!(wrapped("abcdefgh", 3, 2), ["abc", "de…"]);
        assert_eq!(wrapped("abc\ndef", 4, 2), ["abc", "def"]);
        assert_eq!(cut("\x1b[2J", 20), r"\u001b[2J");
        assert_eq!(wrapped("\x1b[2J", 20, 1), [r"\u001b[2J"]);
        assert_eq!(wrapped("abc def gh", 7, 2), ["abc def", "gh"]);
        assert_eq!(wrapped("a bcdefghij", 7, 3), ["a bcdef", "ghij"]);
        assert!(wrapped("", 4, 2).is_empty());
    }
}
