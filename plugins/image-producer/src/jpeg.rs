//! Tells a truncated JPEG file from a whole one.
//!
//! The decoder paints missing pixels grey and reports nothing, as browsers do. A whole file has an
//! end-of-image marker after its first scan. The scan's data cannot contain one by chance: there
//! every byte 0xFF is followed by 0 or by the number of a restart marker (ITU-T T.81, B.1.1.5). But
//! a thumbnail in the header has markers of its own, so the header is first skipped, segment by
//! segment.

const START_OF_SCAN: u8 = 0xda;
const END_OF_IMAGE: [u8; 2] = [0xff, 0xd9];

/// Whether the file ends before its end-of-image marker. Bytes that cameras append after it are
/// ignored.
pub(crate) fn is_truncated(file: &[u8]) -> bool {
    let scan = scan_start(file).and_then(|start| file.get(start..));
    // Searched from the end, because a whole file has the marker there.
    !scan.is_some_and(|scan| scan.windows(2).rev().any(|pair| pair == END_OF_IMAGE))
}

/// The position of the first scan's segment, after its marker; `None` if the file ends before it.
fn scan_start(file: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let is_marker = |pair: &[u8]| pair[0] == 0xff && pair[1] != 0 && pair[1] != 0xff;
        at += file.get(at..)?.windows(2).position(is_marker)? + 2;
        match file[at - 1] {
            START_OF_SCAN => return Some(at),
            // These markers stand alone. All others are followed by their segment's length, which
            // counts itself.
            0x01 | 0xd0..=0xd8 => {}
            _ => at += usize::from(u16::from_be_bytes([*file.get(at)?, *file.get(at + 1)?])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A start, an application segment with a thumbnail of its own, a scan, and an end.
    const WHOLE: &[u8] = &[
        0xff, 0xd8, 0xff, 0xe1, 0, 8, 0xff, 0xda, 1, 2, 0xff, 0xd9, 0xff, 0xda, 0, 2, 7, 0xff, 0, 7, 0xff,
        0xd9,
    ];

    #[test]
    fn file_is_whole_only_with_its_last_byte() {
        assert!(!is_truncated(WHOLE));
        for length in 0..WHOLE.len() {
            assert!(is_truncated(&WHOLE[..length]), "{length} bytes");
        }
    }

    #[test]
    fn bytes_after_the_end_are_accepted() {
        assert!(!is_truncated(&[WHOLE, b"trailer"].concat()));
    }
}
