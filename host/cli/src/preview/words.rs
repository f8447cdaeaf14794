//! Text in a space of so many letters.

/// The text, or its beginning and an ellipsis.
pub(super) fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// The text in lines of so many letters, the last of which may be cut.
pub(super) fn wrapped(text: &str, width: usize, most_lines: usize) -> Vec<String> {
    let letters: Vec<char> =
        text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    let lines = letters.chunks(width.max(1));
    let mut shown: Vec<String> = lines.clone().take(most_lines).map(|line| line.iter().collect()).collect();
    if lines.len() > most_lines
        && let Some(last) = shown.last_mut()
    {
        last.push('…');
        *last = cut(last, width.max(1));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_between_letters() {
        assert_eq!((cut("äöü", 3), cut("äöüß", 3)), ("äöü".to_owned(), "äö…".to_owned()));
        assert_eq!(wrapped("abcdefgh", 3, 2), ["abc", "de…"]);
        assert_eq!(wrapped("abc\ndef", 4, 2), ["abc ", "def"]);
        assert!(wrapped("", 4, 2).is_empty());
    }
}
