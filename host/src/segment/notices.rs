//! The last things that happened in a run, as texts, for other processes to read.
//!
//! ```text
//!   written ─► counts all notices; the next one overwrites the oldest
//!   entry      │ turn │ at │ kind, length │ text, in words │
//! ```
//!
//! The host's threads write, each to an entry of its own; a reader copies an entry and believes it
//! only if its turn was the same before and after. Values are checked when they are read, since a
//! plugin may have written over them.

use super::sync::{AtomicU64, Ordering};

/// The number of notices that are kept.
const KEPT: usize = 32;
/// Words of text in an entry.
const WORDS: usize = 29;
const WORD: usize = size_of::<u64>();

/// The kind of a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeKind {
    /// A message was given up: an error is in its batch's place, or the policy skips it.
    Failure,
    /// A process died and is replaced, or was ended because it missed a deadline.
    Death,
    /// A plugin was swapped.
    Swap,
}

impl NoticeKind {
    const ALL: [Self; 3] = [Self::Failure, Self::Death, Self::Swap];
}

/// All that are kept. It begins as zeroes.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Notices {
    written: AtomicU64,
    entries: [Entry; KEPT],
}

#[repr(C)]
#[derive(Debug)]
struct Entry {
    /// The notice's number plus one; 0 while it is written.
    turn: AtomicU64,
    at_nanos: AtomicU64,
    /// The kind, and the text's bytes above it.
    about: AtomicU64,
    text: [AtomicU64; WORDS],
}

/// A notice, as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) number: u64,
    /// By `clock`.
    pub(crate) at_nanos: u64,
    pub(crate) kind: NoticeKind,
    pub(crate) text: String,
}

impl Notices {
    /// Adds a notice, whose text is cut if it is too long.
    pub(crate) fn write(&self, kind: NoticeKind, now_nanos: u64, text: &str) {
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let entry = &self.entries[number as usize % KEPT];
        let text = crate::text::cut(text, WORDS * WORD);
        entry.turn.store(0, Ordering::SeqCst);
        entry.at_nanos.store(now_nanos, Ordering::SeqCst);
        entry.about.store(kind as u64 | (text.len() as u64) << 8, Ordering::SeqCst);
        for (word, bytes) in entry.text.iter().zip(text.as_bytes().chunks(WORD)) {
            let mut padded = [0; WORD];
            padded[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_ne_bytes(padded), Ordering::SeqCst);
        }
        entry.turn.store(number.wrapping_add(1), Ordering::SeqCst);
    }

    /// Those that can be read now, oldest first.
    pub(crate) fn read(&self) -> Vec<Seen> {
        let mut seen: Vec<Seen> = self.entries.iter().filter_map(Entry::read).collect();
        seen.sort_by_key(|seen| seen.number);
        seen
    }
}

impl Entry {
    fn read(&self) -> Option<Seen> {
        let turn = self.turn.load(Ordering::SeqCst);
        let about = self.about.load(Ordering::SeqCst);
        let bytes: Vec<u8> =
            self.text.iter().flat_map(|word| word.load(Ordering::SeqCst).to_ne_bytes()).collect();
        let seen = Seen {
            number: turn.checked_sub(1)?,
            at_nanos: self.at_nanos.load(Ordering::SeqCst),
            kind: *NoticeKind::ALL.get((about & 0xff) as usize)?,
            text: String::from_utf8_lossy(bytes.get(..(about >> 8) as usize)?).into_owned(),
        };
        (self.turn.load(Ordering::SeqCst) == turn).then_some(seen)
    }
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;

    fn none() -> Notices {
        let entry = || Entry {
            turn: AtomicU64::new(0),
            at_nanos: AtomicU64::new(0),
            about: AtomicU64::new(0),
            text: [0; WORDS].map(AtomicU64::new),
        };
        Notices { written: AtomicU64::new(0), entries: [(); KEPT].map(|()| entry()) }
    }

    #[test]
    fn last_notices_are_read_in_their_order() {
        let notices = none();
        assert_eq!(notices.read(), []);
        for number in 0..KEPT as u64 + 3 {
            notices.write(NoticeKind::Death, number, &format!("worker {number} died"));
        }
        let seen = notices.read();
        assert_eq!(seen.len(), KEPT);
        assert_eq!((seen[0].number, &*seen[0].text), (3, "worker 3 died"));
        assert!(seen.is_sorted_by_key(|seen| seen.at_nanos));
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        let notices = none();
        notices.write(NoticeKind::Failure, 7, &"ü".repeat(WORDS * WORD));
        let [seen] = &notices.read()[..] else { panic!("one notice") };
        assert_eq!(seen.kind, NoticeKind::Failure);
        assert!(seen.text.len() <= WORDS * WORD && seen.text.starts_with("üü"), "{}", seen.text);
    }

    #[test]
    fn impossible_values_are_left_out() {
        let notices = none();
        notices.write(NoticeKind::Swap, 7, "a swap");
        let entry = &notices.entries[0];
        for about in [u64::MAX, 3, 1 << 40] {
            entry.about.store(about, Ordering::Relaxed);
            assert_eq!(notices.read(), [], "{about:#x}");
        }
    }
}
