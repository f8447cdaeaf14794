//! A consumer allocates nothing on the way from one batch to the next.

use crate::common::{isolated, next_batch, repeating};
use cobuf_host::ndarray::Ix1;
use std::hint::black_box;
use std::task::{Context, Poll, Waker};

const BATCHES: usize = 1000;

#[test]
fn consumer_in_order_allocates_nothing_for_a_batch() {
    let _leaks = isolated!();
    let host = repeating().slots(8).start().unwrap();
    let batches = host.batches();
    // Locks and lists have their sizes by then.
    (0..BATCHES).for_each(|_| drop(next_batch(&batches)));
    let allocated = allocation_counter::measure(|| {
        for _ in 0..BATCHES {
            let batch = next_batch(&batches);
            black_box(batch.array::<u32, Ix1>("x").unwrap()[0]);
        }
    });
    assert_eq!((allocated.count_total, allocated.bytes_total), (0, 0));
}

#[test]
fn consumer_that_holds_batches_allocates_nothing() {
    let _leaks = isolated!();
    let host = repeating().slots(8).start().unwrap();
    let batches = host.batches();
    let mut held = std::collections::VecDeque::with_capacity(4);
    let mut turn = || {
        if held.len() == 3 {
            held.pop_front();
        }
        held.push_back(next_batch(&batches));
    };
    (0..BATCHES).for_each(|_| turn());
    let allocated = allocation_counter::measure(|| (0..BATCHES).for_each(|_| turn()));
    assert_eq!((allocated.count_total, allocated.bytes_total), (0, 0));
}

#[test]
fn task_allocates_nothing_for_a_batch() {
    let _leaks = isolated!();
    let host = repeating().slots(8).start().unwrap();
    let mut stream = host.batches().stream().unwrap();
    let mut next = || loop {
        match stream.poll_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(item) => break item.unwrap().unwrap(),
            Poll::Pending => std::thread::yield_now(),
        }
    };
    let mut allocated = || {
        allocation_counter::measure(|| {
            for _ in 0..BATCHES {
                black_box(next().array::<u32, Ix1>("x").unwrap()[0]);
            }
        })
    };
    // The first time that this thread waits for a lock, which the watch may hold, parking_lot
    // allocates what it needs for the thread. That happens once, and not always in the first round.
    let allocated: Vec<u64> = (0..4).map(|_| allocated().count_total).collect();
    let rounds = allocated.iter().filter(|count| **count > 0).count();
    assert!(rounds <= 1 && allocated.iter().sum::<u64>() < 10, "{allocated:?}");
}
