//! A checkpoint leads to exactly the missing batches, at whatever moment it is made: none twice,
//! none lost.

use crate::common::{
    Delivered, Gate, Leaks, all_items, filling, gated, index, isolated, random_stream, read_again, small,
    take_seven_and_keep,
};
use cobuf_host::{Batch, Checkpoint, CheckpointError, Host, HostBuilder, Source, StartError, StreamError};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

/// One host of several: how many batches it reads, how many of the last it holds at its checkpoint,
/// and how it runs.
#[derive(Debug, Clone)]
struct Leg {
    read: usize,
    held: usize,
    workers: usize,
    slots: usize,
    deterministic: bool,
}

fn legs() -> impl Strategy<Value = Vec<Leg>> {
    let leg = (0usize..30, 0usize..4, 1usize..4, 4usize..9, any::<bool>()).prop_map(
        |(read, held, workers, slots, deterministic)| Leg { read, held, workers, slots, deterministic },
    );
    prop::collection::vec(leg, 1..4)
}

fn start(leg: &Leg, messages: u64, checkpoint: Option<Checkpoint>) -> Host {
    let builder = random_stream(messages).workers(leg.workers).slots(leg.slots).ordered(leg.deterministic);
    match checkpoint {
        Some(checkpoint) => builder.source(Source::Resume(read_again(&checkpoint))),
        None => builder,
    }
    .start()
    .unwrap()
}

/// Reads some batches and gives the checkpoint; what is still held at it is not counted as
/// delivered.
fn run_leg(host: &Host, leg: &Leg, delivered: &mut Delivered) -> Checkpoint {
    let mut held: Vec<Batch> = Vec::new();
    for batch in all_items(&host.batches()).take(leg.read).map(Result::unwrap) {
        held.push(batch);
        if held.len() > leg.held {
            // The oldest of them is done.
            delivered.add(&held.remove(0));
        }
    }
    host.checkpoint()
}

#[test]
fn successive_hosts_deliver_the_whole_stream() {
    let _leaks = isolated!();
    let config = ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() };
    let checked = TestRunner::new(config).run(&legs(), |legs| {
        let _leaks = Leaks::watch();
        deliver_in_legs(&legs);
        Ok(())
    });
    checked.unwrap_or_else(|failure| panic!("{failure}"));
}

/// Delivers a stream by several hosts, each of which goes on from the checkpoint of the one before.
fn deliver_in_legs(legs: &[Leg]) {
    let messages = 70;
    let mut delivered = Delivered::default();
    let mut checkpoint = None;
    for leg in legs {
        let host = start(leg, messages, checkpoint.take());
        let made = run_leg(&host, leg, &mut delivered);
        assert_eq!(made.delivered(), delivered.sequences.len() as u64);
        checkpoint = Some(made);
    }
    let last = Leg { read: usize::MAX, held: 0, workers: 2, slots: 6, deterministic: legs[0].deterministic };
    let host = start(&last, messages, checkpoint);
    let before = delivered.sequences.len();
    run_leg(&host, &last, &mut delivered);
    if last.deterministic {
        assert!(delivered.sequences[before..].is_sorted());
    }
    let undisturbed = Delivered::of(&random_stream(messages).workers(2).slots(6).start().unwrap().batches());
    assert_eq!(delivered.sorted(), undisturbed);
}

#[test]
fn checkpoint_remembers_holes() {
    let _leaks = isolated!();
    let gate = Gate::new();
    let messages = |gate: &Gate| {
        let first = gated(0, "", gate);
        std::iter::once(first).chain((1..8).map(index)).collect::<Vec<_>>()
    };
    let host = filling(messages(&gate), &small()).workers(2).slots(8).ordered(false).start().unwrap();
    let batches = host.batches();
    // The first one waits; of the others one is kept.
    let kept = take_seven_and_keep(&batches, 4);
    let checkpoint = host.checkpoint();
    assert_eq!((checkpoint.delivered(), checkpoint.first_missing()), (6, 0));
    drop((kept, host));
    gate.open();
    for deterministic in [true, false] {
        let host = filling(messages(&gate), &small()).source(Source::Resume(read_again(&checkpoint)));
        let host = host.ordered(deterministic).workers(1).slots(2).start().unwrap();
        let mut sequences = Delivered::of(&host.batches()).sequences;
        sequences.sort_unstable();
        assert_eq!(sequences, [0, 4]);
        assert_eq!(host.checkpoint().delivered(), 8);
    }
}

#[test]
fn checkpoint_of_an_ended_stream_leaves_nothing() {
    let _leaks = isolated!();
    let host = random_stream(9).start().unwrap();
    assert_eq!(Delivered::of(&host.batches()).sequences.len(), 9);
    let checkpoint = host.checkpoint();
    drop(host);
    let host = random_stream(9).source(Source::Resume(checkpoint)).start().unwrap();
    assert!(all_items(&host.batches()).next().is_none());
}

#[test]
fn raised_error_counts_as_delivered() {
    let _leaks = isolated!();
    let messages =
        || (0..6).map(|number| if number == 2 { index(2).with("error", "no") } else { index(number) });
    let host = filling(messages(), &small()).start().unwrap();
    let batches = host.batches();
    let items: Vec<Result<Batch, StreamError>> = all_items(&batches).take(4).collect();
    assert!(items[2].is_err());
    drop(items);
    let checkpoint = host.checkpoint();
    drop((batches, host));
    let host = filling(messages(), &small()).source(Source::Resume(checkpoint)).start().unwrap();
    assert_eq!(Delivered::of(&host.batches()).sequences, [4, 5]);
}

#[test]
fn limit_counts_from_the_beginning_of_the_stream() {
    let _leaks = isolated!();
    let host = random_stream(50).limit(10).start().unwrap();
    assert_eq!(Delivered::of(&host.batches()).sequences.len(), 10);
    let checkpoint = host.checkpoint();
    drop(host);
    for (limit, expected) in [(5, 0), (10, 0), (15, 5)] {
        let host = random_stream(50).limit(limit).source(Source::Resume(checkpoint.clone())).start().unwrap();
        assert_eq!(Delivered::of(&host.batches()).sequences.len(), expected, "{limit}");
    }
}

fn refusal(builder: HostBuilder) -> String {
    match builder.start().unwrap_err() {
        StartError::Checkpoint(error) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn checkpoint_of_another_run_is_refused_by_the_difference() {
    let _leaks = isolated!();
    let host = random_stream(9).start().unwrap();
    let checkpoint = host.checkpoint();
    drop(host);
    let and_then = "; restore that setting or start without the checkpoint";
    assert_eq!(
        refusal(random_stream(9).seed(3).source(Source::Resume(checkpoint.clone()))),
        format!("this checkpoint belongs to a different run: the seed is 3, it was 0{and_then}")
    );
    assert_eq!(
        refusal(random_stream(8).source(Source::Resume(checkpoint.clone()))),
        format!("this checkpoint belongs to a different run: commander.repeat is 8, it was 9{and_then}")
    );
    let other_producer = random_stream(9).producer(crate::common::plugin("digits-producer"));
    assert_eq!(
        refusal(other_producer.source(Source::Resume(checkpoint.clone()))),
        format!(
            "this checkpoint belongs to a different run: the producer is digits-producer, it was fill-producer{and_then}"
        )
    );
    let mut newer: serde_json::Value = serde_json::to_value(&checkpoint).unwrap();
    newer["format"] = 2.into();
    assert_eq!(
        refusal(random_stream(9).source(Source::Resume(serde_json::from_value(newer).unwrap()))),
        "the checkpoint is of format 2, expected 1; resume it with the version of cobuf that wrote it"
    );
}

#[test]
fn checkpoint_carries_the_state_of_the_application() {
    let _leaks = isolated!();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.json");
    let host = random_stream(3).start().unwrap();
    let checkpoint = host.checkpoint().with_application_state(&("sum", 42)).unwrap();
    checkpoint.write(&path).unwrap();
    let again = Checkpoint::read(&path).unwrap();
    assert_eq!(again.application_state::<(String, u32)>().unwrap(), Some(("sum".to_owned(), 42)));
    assert!(matches!(again.application_state::<u32>(), Err(CheckpointError::Application { .. })));
    assert_eq!(host.checkpoint().application_state::<u32>().unwrap(), None);

    std::fs::write(&path, "{}").unwrap();
    let error = Checkpoint::read(&path).unwrap_err();
    assert_eq!(error.to_string(), format!("{} is no checkpoint of cobuf", path.display()));
    let missing = folder.path().join("none/run.json");
    let error = checkpoint.write(&missing).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot write the checkpoint {}", missing.display()));
    // Nothing but the checkpoint is left in its folder.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}
