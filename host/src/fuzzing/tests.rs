//! The required results for segments that were written over: each of these was a bug.

use super::*;
use crate::segment::control::Control;
use crate::segment::failpoint::{Failpoint, Fault};
use crate::segment::place::Place;
use proptest::prelude::*;
use std::thread;

/// The places of areas that are written over.
const SLOT_HEADERS: usize = 4;
const PLACES: usize = 5;
const MESSAGE: usize = 6;
const LENGTHS: usize = 9;

/// Steps that lead to honest states, without a stray write.
const ORDERLY: [&[u8]; 8] = [
    &[1, 0, 0],
    &[1, 0, 2, 0, 0, 2, 1],
    &[1, 0, 2, 0, 4, 2, 6, 0],
    &[1, 0, 2, 0, 4, 1, 0, 2, 1, 8, 0, 2, 0],
    &[5, 0, 2, 0, 4, 0, 0, 6, 10],
    &[2, 0, 2, 0, 4, 0, 0, 11, 0],
    // With lengths.
    &[33, 0, 2, 0, 4, 2, 6, 0],
    &[32, 0, 2, 0, 4, 12, 0],
];

impl World {
    fn after(steps: &[u8]) -> Self {
        let mut input = Input(steps);
        let mut world = Self::new(input.byte());
        while !input.0.is_empty() {
            world.step(&mut input);
        }
        world
    }

    /// A run in which one batch is ready, and one number of its slot was written over.
    fn with_ready(field: usize, value: &[u8]) -> Self {
        let world = Self::after(&[1, 0, 2, 0, 4, 0]);
        let slot = world.areas()[SLOT_HEADERS];
        world.write(slot, field, value);
        world
    }

    /// The text of the next item, which is an error in place of a batch.
    fn error(&self) -> String {
        match self.stream.poll() {
            Ok(Item::Error(StreamError::Batch(error))) => {
                assert_eq!(error.kind(), ReportKind::Crash);
                error.chain().join(": ")
            }
            other => panic!("{other:?}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]
    #[test]
    fn any_bytes_anywhere_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        play(&bytes);
    }
}

#[test]
fn extreme_numbers_in_every_word_of_honest_states_are_survived() {
    for (steps, area) in ORDERLY
        .into_iter()
        .flat_map(|steps| [0, 1, 2, 3, SLOT_HEADERS, PLACES, LENGTHS].map(move |area| (steps, area)))
    {
        let area = World::after(steps).areas()[area];
        for at in (0..area.bytes.min(512)).step_by(4) {
            for extreme in EXTREMES {
                let mut world = World::after(steps);
                // As one number of eight bytes, or of four.
                world.write(area, at, &extreme.to_ne_bytes()[..if at % 8 == 0 { 8 } else { 4 }]);
                world.read_everything();
            }
        }
    }
}

#[test]
fn impossible_numbers_of_a_batch_become_an_error_in_its_place() {
    let cases: [(usize, &[u8], &str); 6] = [
        (SlotHeader::ROWS, &5u64.to_ne_bytes(), "5 rows, its schema has 4"),
        (SlotHeader::ROWS, &(u64::MAX / 2).to_ne_bytes(), "9223372036854775807 rows, its schema has 4"),
        (SlotHeader::MESSAGE_BYTES, &4097u32.to_ne_bytes(), "4097 bytes of message, it has room for 4096"),
        (
            SlotHeader::OUTCOME_BYTES,
            &u32::MAX.to_ne_bytes(),
            "4294967295 bytes of metadata, it has room for 1024",
        ),
        (SlotHeader::WORKER, &1024u32.to_ne_bytes(), "by worker 1024, workers are below 1024"),
        (SlotHeader::SEQUENCE, &0u64.to_ne_bytes(), "no message's number"),
    ];
    for (field, value, said) in cases {
        let mut world = World::with_ready(field, value);
        // Without an order: a sequence number that was overwritten cannot be waited for.
        world.stream = anyone(world.stream);
        let text = world.error();
        assert!(text.contains(said), "{text}");
        assert!(text.contains("wrote outside of its arrays"), "{text}");
        assert_eq!(world.stream.table().occupancy(), [SLOTS, 0, 0, 0], "the slot is released");
    }
}

#[test]
fn impossible_lengths_of_a_batch_become_an_error_in_its_place() {
    for (at, found, said) in [
        (0, 6, "says length 6 along axis 0 of array \"boxes\", its schema has at most 5"),
        (
            8,
            u64::MAX,
            "says length 18446744073709551615 along axis 2 of array \"boxes\", its schema has at most 6",
        ),
    ] {
        let world = World::after(&[33, 0, 2, 0, 4, 0]);
        world.write(world.areas()[LENGTHS], at, &found.to_ne_bytes());
        let text = world.error();
        assert!(text.contains(said), "{text}");
        assert_eq!(world.stream.table().occupancy(), [SLOTS, 0, 0, 0], "the slot is released");
    }
}

#[test]
fn lengths_that_are_written_over_under_a_batch_reach_no_further_than_its_array() {
    let world = World::after(&[33, 0, 2, 0, 4, 0]);
    let Ok(Item::Batch(claim, outcome)) = world.stream.poll() else { panic!() };
    let batch = Batch::new(world.stream.clone(), claim, outcome);
    assert_eq!(batch.shape_at(2).unwrap(), [0, 2, 0]);
    world.write(world.areas()[LENGTHS], 0, &[0xff; 16]);
    assert_eq!(batch.shape_at(2).unwrap(), [5, 2, 6]);
    assert_eq!(batch.array::<f64, IxDyn>("boxes").unwrap().len(), 60);
}

#[test]
fn an_error_in_a_slot_with_an_earlier_batchs_lengths_stays_that_error() {
    let world = World::after(&[33, 0, 2, 0, 4, 1]);
    world.write(world.areas()[LENGTHS], 0, &[0xff; 16]);
    match world.stream.poll() {
        Ok(Item::Error(StreamError::Batch(error))) => assert_eq!(error.kind(), ReportKind::Panic),
        other => panic!("{other:?}"),
    }
}

/// The same run without an order.
fn anyone(stream: Arc<Stream>) -> Arc<Stream> {
    let mut stream = Arc::into_inner(stream).unwrap();
    stream.ordered = false;
    Arc::new(stream)
}

#[test]
fn a_ready_slot_that_a_worker_still_holds_becomes_an_error_and_stays_out_of_use() {
    let mut world = World::after(&[1, 0, 2, 0]);
    let word = world.areas()[SLOT_HEADERS];
    // Generation 1, worker 0, and the state changed to Ready.
    world.write(word, 0, &(1u64 << 32 | 1 << 2 | 2).to_ne_bytes());
    world.stream.table().restore();
    let text = world.error();
    assert!(text.contains("ready while worker 0 holds it"), "{text}");
    // The worker may still be writing there.
    assert_eq!(world.stream.table().occupancy(), [SLOTS - 1, 0, 0, 1]);
    world.commit(0);
    assert_eq!(world.stream.table().occupancy(), [SLOTS - 1, 0, 0, 1]);
}

#[test]
fn a_failpoint_does_not_fire_in_the_host() {
    let mut world = World::after(&[1, 0, 2, 0]);
    let armed = &world.stream.table().control.armed;
    armed.arm(Failpoint::CommitReady, Fault::Kill);
    // The message is given up: the supervisor commits in place of the dead worker.
    world.bury(0);
    world.claim(0);
    world.bury(0);
    assert_eq!(world.stream.table().occupancy(), [SLOTS - 1, 0, 1, 0]);
    assert!(world.stream.table().control.armed.is_armed(), "it waits for a worker");
}

#[test]
fn a_stop_wakes_a_sleeper_whose_event_was_written_over() {
    let world = World::after(&[1]);
    let waits = world.stream.clone();
    let consumer = thread::spawn(move || matches!(waits.next(|| None), Ok(Item::End)));
    let header = world.areas()[0];
    thread::sleep(Duration::from_millis(100));
    // The event is behind magic and format; it is one word.
    let event = align_of::<Control>() + std::mem::offset_of!(Control, ready);
    world.write(header, event, &0u32.to_ne_bytes());
    world.stream.table().request_stop();
    for _ in 0..500 {
        if consumer.is_finished() {
            return assert!(consumer.join().unwrap());
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("the consumer sleeps for ever");
}

#[test]
fn a_dead_workers_slot_is_found_after_its_message_lost_its_number() {
    let world = World::after(&[1, 0, 2, 0]);
    assert_eq!(world.stream.table().held_by(Place::at(0)), Some(0));
    assert_eq!(world.stream.table().held_by(Place::at(1)), None);
    world.write(world.areas()[SLOT_HEADERS], SlotHeader::SEQUENCE, &0u64.to_ne_bytes());
    assert_eq!(world.stream.table().held_by(Place::at(0)), Some(0));
}

#[test]
fn a_message_nested_too_deeply_is_an_error_within_a_small_stack() {
    for nest in [&[0x91][..], &[0x81, 0xa1, b'a']] {
        let mut nested = vec![0x81, 0xa1, b'a'];
        nested.extend(nest.iter().copied().cycle().take(MESSAGE_CAPACITY - 3));
        let world = World::with_ready(SlotHeader::MESSAGE_BYTES, &(MESSAGE_CAPACITY as u32).to_ne_bytes());
        world.write(world.areas()[MESSAGE], 0, &nested);
        let Ok(Item::Batch(claim, outcome)) = world.stream.poll() else { panic!() };
        let batch = Batch::new(world.stream.clone(), claim, outcome);
        let reader = thread::Builder::new().stack_size(1 << 20);
        let read = move || batch.message::<Dictionary>().map(|message| message.to_string());
        assert!(reader.spawn(read).unwrap().join().unwrap().is_err());
    }
}

#[test]
fn counts_that_overflow_do_not_break_the_statistics() {
    let world = World::after(&[1]);
    world.write(world.areas()[PLACES], 0, &[0xff; 2 * size_of::<WorkerPlace>()]);
    world.report();
}
