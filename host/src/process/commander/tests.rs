//! The loop of a commander on real slots, with a stream that counts what it is asked for.

use super::source::Counted;
use super::*;
use crate::protocol::channel::event_channel;
use crate::record::ledger::Ledger;
use crate::record::portion::{Given, Portion};
use crate::record::rank::Seat;
use crate::segment::fixture::segment;
use cobuf_plugin_api::{Dictionary, codec};

/// What a commander queued.
#[derive(Debug, PartialEq, Eq)]
struct Queued {
    sequences: Vec<u64>,
    made: u64,
    /// How many batches the run has, as its stream counts them.
    own: u64,
}

fn portion(earlier: &[[u64; 2]], seat: Seat, remainder: Remainder) -> Portion {
    Given { earlier: Ledger::from(earlier.to_vec()), seat, remainder, ..Given::default() }.into()
}

/// Has a commander queue all of its messages, after those below `commanded` were queued by others.
fn queued(portion: Portion, total: u64, limit: u64, commanded: Option<u64>) -> Queued {
    let segment = segment(256);
    let (events, _host) = event_channel().unwrap();
    let plan = Plan { portion, ..Plan::default() };
    let commanded = commanded.unwrap_or(plan.portion.begin());
    let own = plan.portion.next(commanded);
    let at = plan.portion.opening(own).min(limit);
    let mut commander = Commander {
        source: Source::Counted(Counted { total, at, ..Counted::default() }),
        segment: &segment,
        events: &events,
        plan: &plan,
        limit,
        commanded,
        at,
        save_at: None,
        supply: Supply::default(),
        patience: Patience::default(),
    };
    commander.command_all(own).unwrap();
    let Source::Counted(Counted { made, .. }) = commander.source else { panic!("it was counted") };
    let mut sequences = Vec::new();
    for (sequence, encoded) in segment.messages() {
        let message: Dictionary = codec::decode("the message", &encoded).unwrap();
        assert_eq!(message, Dictionary::new().with("index", sequence));
        sequences.push(sequence);
    }
    sequences.reverse();
    let own = plan.portion.count_below(segment.table().end().unwrap());
    Queued { sequences, made, own }
}

fn ranks(of: u32) -> impl Iterator<Item = Seat> {
    (0..of).map(move |rank| Seat { rank, of })
}

#[test]
fn ranks_that_skip_for_nothing_make_as_many_messages_as_one() {
    let alone = queued(portion(&[], Seat::default(), Remainder::Short), 100, u64::MAX, None);
    // The last one asked for is the end.
    assert_eq!((alone.sequences.len(), alone.made), (100, 101));
    for of in [2, 3, 8, 100, 140] {
        let mut all = Vec::new();
        let mut made = 0;
        for seat in ranks(of) {
            let queued = queued(portion(&[], seat, Remainder::Short), 100, u64::MAX, None);
            assert_eq!(queued.own, queued.sequences.len() as u64);
            made += queued.made;
            all.extend(queued.sequences);
        }
        all.sort_unstable();
        assert!(all.into_iter().eq(0..100));
        assert_eq!(made, 100 + u64::from(of), "each rank finds the end");
    }
}

#[test]
fn incomplete_row_is_dropped_by_every_rank() {
    for (total, limit) in [(10, u64::MAX), (50, 10), (9, u64::MAX), (2, u64::MAX)] {
        let whole_rows = total.min(limit) / 4;
        for seat in ranks(4) {
            let queued = queued(portion(&[], seat, Remainder::Drop), total, limit, None);
            let expected = (0..whole_rows).map(|row| row * 4 + u64::from(seat.rank));
            assert!(queued.sequences.iter().copied().eq(expected), "{seat}: {queued:?}");
            assert_eq!(queued.own, whole_rows);
            assert!(queued.made <= 2 * (whole_rows + 1), "{queued:?}");
        }
    }
}

#[test]
fn ranks_without_a_last_message_repeat_the_first_of_the_row() {
    for (total, limit) in [(10, u64::MAX), (50, 10)] {
        let of_rank =
            |rank| queued(portion(&[], Seat { rank, of: 4 }, Remainder::Repeat), total, limit, None);
        assert_eq!(of_rank(0).sequences, [0, 4, 8]);
        assert_eq!(of_rank(1).sequences, [1, 5, 9]);
        for rank in [2, 3] {
            let queued = of_rank(rank);
            assert_eq!(queued.sequences, [u64::from(rank), u64::from(rank) + 4, 8]);
            assert_eq!(queued.own, 2, "the repeated one is not its own");
        }
    }
    for seat in ranks(4) {
        let full = queued(portion(&[], seat, Remainder::Repeat), 8, u64::MAX, None);
        assert_eq!((full.sequences.len(), full.own), (2, 2));
        let none = queued(portion(&[], seat, Remainder::Repeat), 0, u64::MAX, None);
        assert_eq!((none.sequences.len(), none.own), (0, 0));
    }
}

#[test]
fn rows_are_of_the_missing_messages() {
    // Missing: 1 2 5 6 7 8 9.
    let earlier = [[0, 1], [3, 5]];
    let of_rank = |rank, remainder| {
        queued(portion(&earlier, Seat { rank, of: 3 }, remainder), 10, u64::MAX, None).sequences
    };
    assert_eq!(
        [0, 1, 2].map(|rank| of_rank(rank, Remainder::Short)),
        [vec![1, 6, 9], vec![2, 7], vec![5, 8]]
    );
    assert_eq!([0, 1, 2].map(|rank| of_rank(rank, Remainder::Drop)), [[1, 6], [2, 7], [5, 8]]);
    assert_eq!([0, 1, 2].map(|rank| of_rank(rank, Remainder::Repeat)), [[1, 6, 9], [2, 7, 9], [5, 8, 9]]);
}

#[test]
fn commander_that_takes_over_repeats_no_message_that_was_queued() {
    let of_rank = |commanded| {
        let portion = portion(&[], Seat { rank: 3, of: 4 }, Remainder::Repeat);
        queued(portion, 10, u64::MAX, Some(commanded))
    };
    // The one before it queued 3; 3 and 7; and 8, too.
    assert_eq!(of_rank(4).sequences, [7, 8]);
    assert_eq!(of_rank(8).sequences, [8]);
    let nothing = of_rank(9);
    assert_eq!((nothing.sequences.len(), nothing.own), (0, 2));
}
