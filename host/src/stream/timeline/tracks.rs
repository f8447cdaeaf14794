//! The tracks of the picture: spans side by side, so that none overlaps another on its track.
//!
//! ```text
//!   worker 0   ├──┤ ├──┤        one batch at a time: later spans begin where earlier ones end
//!   consumer   ├──────┤ ├─┤     several batches at a time: as many tracks as are needed
//!   consumer      ├──┤
//! ```

use super::record::Span;

/// Puts the spans, in any order, on tracks: gives each one's track, from 0, in the order of the
/// spans.
pub(super) fn side_by_side(spans: &[Span]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..spans.len()).collect();
    order.sort_by_key(|&index| (spans[index].from, spans[index].to));
    let (mut ends, mut tracks) = (Vec::new(), vec![0; spans.len()]);
    for index in order {
        let Span { from, to } = spans[index];
        let free = ends.iter().position(|&end| end <= from);
        let track = free.unwrap_or_else(|| {
            ends.push(0);
            ends.len() - 1
        });
        (ends[track], tracks[index]) = (to, track);
    }
    tracks
}

/// Has each span, of those sorted by their beginnings, begin no earlier than the one before it
/// ends, and last for a nanosecond at least. Only spans that a plugin wrote over overlap.
pub(super) fn one_after_the_other<'a>(spans: impl Iterator<Item = &'a mut Span>) {
    let mut end = 0;
    for span in spans {
        span.from = span.from.max(end);
        *span = at_least_a_moment(*span);
        end = span.to;
    }
}

/// The span, or a nanosecond from its beginning if it is shorter: viewers draw it, and a flow lies in
/// it.
pub(super) fn at_least_a_moment(Span { from, to }: Span) -> Span {
    Span { from, to: to.max(from + 1) }
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;

    fn span((from, to): (u64, u64)) -> Span {
        Span { from, to }
    }

    #[test]
    fn spans_that_overlap_get_tracks_of_their_own() {
        let spans = [(0, 10), (2, 4), (4, 12), (10, 11), (11, 20), (3, 3)].map(span);
        assert_eq!(side_by_side(&spans), [0, 1, 1, 0, 0, 2]);
    }

    #[test]
    fn spans_one_after_the_other_do_not_overlap() {
        let mut spans = [(0, 10), (2, 4), (4, 12)].map(span);
        one_after_the_other(spans.iter_mut());
        assert_eq!(spans, [(0, 10), (10, 11), (11, 12)].map(span));
    }
}
