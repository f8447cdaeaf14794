//! An event alone.

use std::sync::Arc;

use loom::thread;

use super::check;
use crate::segment::event::Event;
use crate::segment::patience::Patience;
use crate::segment::sync::{AtomicU32, Ordering};

/// Something to wait for: so many tokens, of which each waiter takes one.
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
fn is_a_change_seen_by_whoever_waits_for_it() {
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
fn do_two_wakes_wake_two_waiters() {
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

/// The first wake leaves the bit, the second finds nobody and clears it, the third is for who sleeps by then.
#[test]
fn is_a_waiter_woken_who_sleeps_while_a_waker_finds_nobody() {
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

/// The word says already that somebody sleeps, when another goes to sleep that wants something else.
#[test]
fn does_a_waker_see_what_a_sleeper_wants_beside_another() {
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
