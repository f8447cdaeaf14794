//! A fork of the application has copies of all handles, which do nothing there.

use crate::common::forked::in_fork;
use crate::common::{Delivered, isolated, next_batch, plugin, random_stream, wait_for_ready};
use cobuf_host::{Next, StreamError, SwapError};

#[test]
fn handles_in_a_fork_of_the_application_do_nothing() {
    let _leaks = isolated!();
    let run = || random_stream(60).workers(2).slots(6);
    let expected = Delivered::of(&run().start().unwrap().batches()).sorted();
    for ordered in [true, false] {
        let host = run().ordered(ordered).start().unwrap();
        let batches = host.batches();
        wait_for_ready(&host, 6);
        let held = next_batch(&batches);
        let handles = (host, batches, held);
        let inert = in_fork(&handles, |(host, mut batches, held)| {
            assert!(matches!(batches.next(), Some(Err(StreamError::Forked))));
            assert!(batches.next().is_none());
            assert!(matches!(host.batches().try_next(), Next::Ended));
            host.set_workers(1).expect("the number is in its range");
            assert!(matches!(host.swap_producer(&plugin("fill-producer")), Err(SwapError::Ended)));
            host.stop();
            drop((held, batches, host));
        });
        assert!(inert);
        // Another one that ends with its copies undropped, as a process of `multiprocessing` does.
        assert!(in_fork(&handles, std::mem::forget));
        let (host, batches, held) = handles;
        let mut delivered = Delivered::default();
        delivered.add(&held);
        drop(held);
        batches.for_each(|batch| delivered.add(&batch.unwrap()));
        assert_eq!(delivered.sorted(), expected);
        assert_eq!((host.workers(), host.statistics().worker_restarts), (2, 0));
    }
}

#[test]
fn fork_of_an_application_can_start_a_host_of_its_own() {
    let _leaks = isolated!();
    let host = random_stream(20).start().unwrap();
    let handles = (host,);
    assert!(in_fork(&handles, |(parents,)| {
        let host = random_stream(20).start().expect("it starts");
        assert_eq!(host.batches().map(Result::unwrap).count(), 20);
        drop((host, parents));
    }));
    assert_eq!(handles.0.batches().map(Result::unwrap).count(), 20);
}
