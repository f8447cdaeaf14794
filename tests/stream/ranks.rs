//! Hosts with ranks: each delivers its part of the messages, in the same content.

use crate::common::{
    Delivered, all_items, isolated, random_stream, read_again, submitting_random, wait_for_ready,
};
use cobuf_host::{Checkpoint, CheckpointError, HostBuilder, Rank, Remainder, Source, StartError};

const MESSAGES: u64 = 50;

fn ranked(rank: u32, of: u32) -> HostBuilder {
    random_stream(MESSAGES).rank(Rank::new(rank, of).unwrap())
}

#[test]
fn ranks_deliver_a_partition_of_the_stream() {
    let _leaks = isolated!();
    let whole = Delivered::of(&random_stream(MESSAGES).start().unwrap().batches());
    for of in [2, 3, 7] {
        let mut all = Delivered::default();
        for rank in 0..of {
            let host = ranked(rank, of).ordered(rank % 2 == 0).start().unwrap();
            let own = Delivered::of(&host.batches()).sorted();
            assert!(own.sequences.iter().copied().eq((u64::from(rank)..MESSAGES).step_by(of as usize)));
            assert_eq!(host.total(), Some(MESSAGES));
            assert_eq!(host.total_of_rank(), Some(own.sequences.len() as u64));
            all.sequences.extend(own.sequences);
            all.digest = all.digest + own.digest;
        }
        assert_eq!(all.sorted(), whole);
    }
}

#[test]
fn parts_with_held_batches_are_merged_and_resumed_by_another_number_of_ranks() {
    let _leaks = isolated!();
    let mut all = Delivered::default();
    let mut parts = Vec::new();
    for rank in 0..3 {
        let host = ranked(rank, 3).ordered(rank != 1).slots(8).start().unwrap();
        let mut batches = all_items(&host.batches()).map(Result::unwrap).take(6).collect::<Vec<_>>();
        // One is held, and so is not delivered.
        let held = batches.remove(2);
        batches.iter().for_each(|batch| all.add(batch));
        drop(batches);
        let part = read_again(&host.checkpoint());
        assert_eq!((part.rank(), part.delivered()), (Some((rank, 3)), 5));
        // In any order, a later one may have come before.
        assert!(rank == 1 || part.first_missing() == held.sequence());
        parts.push(part);
    }
    let merged = Checkpoint::merge(parts).unwrap();
    assert_eq!(merged.delivered(), 15);
    for rank in 0..4 {
        let host = ranked(rank, 4).source(Source::Resume(merged.clone())).start().unwrap();
        let own = Delivered::of(&host.batches());
        assert!(own.sequences.is_sorted());
        assert!((8..=9).contains(&own.sequences.len()));
        all.sequences.extend(own.sequences);
        all.digest = all.digest + own.digest;
    }
    assert_eq!(all.sorted(), Delivered::of(&random_stream(MESSAGES).start().unwrap().batches()));
}

#[test]
fn rank_goes_on_from_its_own_part() {
    let _leaks = isolated!();
    let host = ranked(1, 2).start().unwrap();
    let mut own = Delivered::default();
    all_items(&host.batches()).take(7).for_each(|item| own.add(&item.unwrap()));
    let part = host.checkpoint();
    drop(host);
    let host = ranked(1, 2).source(Source::Resume(part.clone())).start().unwrap();
    all_items(&host.batches()).for_each(|item| own.add(&item.unwrap()));
    assert!(own.sequences.into_iter().eq((1..MESSAGES).step_by(2)));
    drop(host);
    for (builder, wanted) in
        [(ranked(0, 2), "this run is rank 0 of 2"), (random_stream(MESSAGES), "this run has no rank")]
    {
        let Err(StartError::Checkpoint(error)) = builder.source(Source::Resume(part.clone())).start() else {
            panic!("another rank's part")
        };
        assert!(matches!(error, CheckpointError::OtherRank { rank: 1, of: 2, .. }));
        assert_eq!(
            error.to_string(),
            format!(
                "this checkpoint is the part of rank 1 of 2, and {wanted}; merge the parts of all ranks into one"
            )
        );
    }
}

#[test]
fn repeated_batch_is_the_last_and_in_no_checkpoint() {
    let _leaks = isolated!();
    for ordered in [true, false] {
        let host = ranked(3, 4).remainder(Remainder::Repeat).ordered(ordered).slots(32).start().unwrap();
        // All of them are ready before the first is taken.
        wait_for_ready(&host, 13);
        let batches: Vec<_> = all_items(&host.batches()).map(Result::unwrap).collect();
        let told: Vec<_> = batches.iter().map(|batch| (batch.sequence(), batch.is_repeated())).collect();
        let own = (0..12).map(|row| (row * 4 + 3, false));
        assert!(told.iter().copied().eq(own.chain([(48, true)])), "{told:?}");
        drop(batches);
        assert_eq!(host.checkpoint().delivered(), 12);
    }
}

#[test]
fn application_that_is_the_commander_has_no_rank() {
    let _leaks = isolated!();
    let refused = submitting_random().rank(Rank::new(1, 2).unwrap()).start();
    assert!(matches!(refused, Err(StartError::RankOfApplication { rank: 1, of: 2 })), "{refused:?}");
    submitting_random().rank(Rank::none()).start().unwrap();
}
