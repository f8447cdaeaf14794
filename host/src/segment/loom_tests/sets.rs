//! A set of slots by itself, of two words.

use std::sync::Arc;

use loom::thread;

use super::check;
use crate::segment::slot_set::SlotSet;
use crate::segment::sync::{AtomicU32, AtomicU64, Ordering};

/// Slots of both words. The first is in the set from the beginning.
const SLOTS: [usize; 4] = [0, 1, 2, 64];

struct Slots {
    words: [AtomicU64; 2],
    /// Stands for the slots' words: changed before the slot is added.
    changed: [AtomicU32; SLOTS.len()],
}

impl Slots {
    fn change_and_add(&self, nth: usize) {
        self.changed[nth].store(1, Ordering::Relaxed);
        SlotSet(&self.words).add(SLOTS[nth]);
    }

    /// Takes the slots of one word, and checks that each slot's change is visible.
    fn take(&self) -> Option<Vec<usize>> {
        let taken: Vec<usize> = SlotSet(&self.words).take()?.collect();
        for slot in &taken {
            let nth = SLOTS.iter().position(|added| added == slot).expect("it was added");
            assert_eq!(self.changed[nth].load(Ordering::Relaxed), 1);
        }
        Some(taken)
    }
}

#[test]
fn slot_that_is_added_meanwhile_is_taken_once() {
    check(|| {
        let slots = Arc::new(Slots {
            words: [0; 2].map(|_| AtomicU64::new(0)),
            changed: [0; SLOTS.len()].map(|_| AtomicU32::new(0)),
        });
        slots.change_and_add(0);
        let adders = [&[1, 3][..], &[2]].map(|added| {
            let slots = slots.clone();
            thread::spawn(move || added.iter().for_each(|&nth| slots.change_and_add(nth)))
        });
        let mut taken = slots.take().expect("one is there from the beginning");
        taken.extend(slots.take().into_iter().flatten());
        for adder in adders {
            adder.join().unwrap();
        }
        taken.extend(std::iter::from_fn(|| slots.take()).flatten());
        taken.sort();
        assert_eq!(taken, SLOTS);
        assert!(!SlotSet(&slots.words).has_any());
    });
}
