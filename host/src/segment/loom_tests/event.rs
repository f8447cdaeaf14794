//! An event by itself.

use std::sync::Arc;

use loom::thread;

use super::check;
use crate::segment::event::Event;
use crate::segment::patience::Patience;
use crate::segment::sync::{AtomicU32, Ordering};

/// Something to wait for: tokens, of which each waiter takes one.
struct Tokens {
    event: Event,
    count: AtomicU32,
}

impl Tokens {
    fn none() -> Arc<Self> {
        Arc::new(Self { event: Event::new(), count: AtomicU32::new(0) })
    }

    fn add(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.event.notify_one();
    }

    fn take(&self) {
        let order = Ordering::Relaxed;
        let take = || self.count.fetch_update(order, order, |count| count.checked_sub(1)).ok();
        self.event.wait_for(&Patience::default(), None, take);
    }
}

#[test]
fn waiter_sees_the_change_that_it_waits_for() {
    check(|| {
        let tokens = Tokens::none();
        let waiter = thread::spawn({
            let tokens = tokens.clone();
            move || tokens.take()
        });
        tokens.add();
        waiter.join().unwrap();
    });
}

#[test]
fn two_wakes_wake_two_waiters() {
    check(|| {
        let tokens = Tokens::none();
        let waiters = [0, 1].map(|_| {
            let tokens = tokens.clone();
            thread::spawn(move || tokens.take())
        });
        tokens.add();
        tokens.add();
        for waiter in waiters {
            waiter.join().unwrap();
        }
    });
}

/// The first wake leaves the bit. The second finds no sleeper and clears it. The third is for a
/// waiter that sleeps by then.
#[test]
fn waiter_that_falls_asleep_while_a_waker_finds_no_sleeper_is_woken() {
    check(|| {
        let tokens = Tokens::none();
        let waiter = thread::spawn({
            let tokens = tokens.clone();
            move || (0..3).for_each(|_| tokens.take())
        });
        (0..3).for_each(|_| tokens.add());
        waiter.join().unwrap();
    });
}

/// The word says "asleep" already when a second waiter goes to sleep that wants something else.
#[test]
fn waker_sees_the_want_of_a_second_sleeper() {
    check(|| {
        let (first, second, wanted) = (Tokens::none(), Tokens::none(), Arc::new(AtomicU32::new(0)));
        // All wait on the first's event.
        let wait_for = |tokens: &Arc<Tokens>, wants: u32| {
            let (first, tokens, wanted) = (first.clone(), tokens.clone(), wanted.clone());
            thread::spawn(move || {
                if wants > 0 {
                    wanted.store(wants, Ordering::Relaxed);
                }
                let look = || (tokens.count.load(Ordering::Relaxed) > 0).then_some(());
                first.event.wait_for(&Patience::default(), None, look);
            })
        };
        let (other, waiter) = (wait_for(&first, 0), wait_for(&second, 1));
        second.count.store(1, Ordering::Relaxed);
        first.event.notify_all_if(|| wanted.load(Ordering::Relaxed) > 0);
        waiter.join().unwrap();
        first.count.store(1, Ordering::Relaxed);
        first.event.notify_all();
        other.join().unwrap();
    });
}
