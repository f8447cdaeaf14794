//! Batches for event loops: tasks that take them, and descriptors that say when there is one.

use crate::common::forked::in_fork;
use crate::common::seccomp::Refusal;
use crate::common::{
    Delivered, Gate, LONG, Logs, Process, filling, gated, index, isolated, next_batch, plugin, random_stream,
    repeating, small, wait_until,
};
use cobuf_host::{Batch, BatchStream, Batches, Host, Next, Readiness, ReadinessError, StreamError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::cell::Cell;
use std::error::Error;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::runtime::{Builder, Runtime};

/// The example of the repository.
#[path = "../../examples/async_serve.rs"]
mod async_serve;

/// How the kernel calls the thread that waits for all event loops.
const WATCH: &str = "cobuf-watch";

/// The threads of this process that wait for event loops.
fn watches() -> Vec<Process> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|entry| entry.unwrap().file_name());
    let threads = tasks.filter_map(|name| Process::get(name.to_str()?.parse().ok()?));
    threads.filter(|thread| thread.name == WATCH).collect()
}

/// Waits until the thread sleeps.
fn wait_until_watched() {
    // A thread gives itself its name, once it runs.
    wait_until("the watch has its name", || watches().len() == 1);
    watches()[0].wait_until_asleep();
}

/// A runtime of one thread.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// The rest of a stream, by a task.
async fn rest(mut stream: BatchStream) -> Delivered {
    let mut delivered = Delivered::default();
    while let Some(item) = stream.next().await {
        delivered.add(&item.unwrap());
    }
    delivered
}

/// One poll of the next item, whose future is dropped then.
fn poll_once(stream: &mut BatchStream) -> Poll<Option<Result<Batch, StreamError>>> {
    pin!(stream.next()).poll(&mut Context::from_waker(Waker::noop()))
}

fn is_readable_within(readiness: &Readiness, timeout: Duration) -> bool {
    let timeout = Timespec::try_from(timeout).unwrap();
    poll(&mut [PollFd::new(readiness, PollFlags::IN)], Some(&timeout)).unwrap() == 1
}

fn is_readable(readiness: &Readiness) -> bool {
    is_readable_within(readiness, Duration::ZERO)
}

fn wait_until_readable(readiness: &Readiness) {
    assert!(is_readable_within(readiness, LONG), "a descriptor that becomes readable");
}

/// All that is left of a stream, by its descriptor, as poll(2)'s users take it.
fn rest_by_descriptor(batches: &Batches, readiness: &Readiness) -> Delivered {
    let mut delivered = Delivered::default();
    loop {
        wait_until_readable(readiness);
        loop {
            match batches.try_next() {
                Next::Item(item) => delivered.add(&item.unwrap()),
                Next::Pending(_) => break,
                Next::Ended => return delivered,
            }
        }
    }
}

fn assert_each_once(messages: u64, shares: Vec<Delivered>) {
    let mut all: Vec<u64> = shares.into_iter().flat_map(|share| share.sequences).collect();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..messages));
}

/// Three messages, of which the second waits for the gate.
fn second_waits_for(gate: &Gate) -> Host {
    let messages = [index(0), gated(1, "the second waits", gate), index(2)];
    filling(messages, &small()).workers(1).start().unwrap()
}

#[test]
fn task_gets_the_same_as_the_iterator() {
    let _leaks = isolated!();
    let run = || random_stream(200).workers(2).slots(6);
    let expected = Delivered::of(&run().start().unwrap().batches());
    for ordered in [true, false] {
        let host = run().ordered(ordered).start().unwrap();
        let delivered = runtime().block_on(rest(host.batches().stream().unwrap()));
        assert!(!ordered || delivered.sequences.is_sorted());
        assert_eq!(delivered.sorted(), expected);
    }
}

#[test]
fn descriptor_leads_to_the_same_as_the_iterator() {
    let _leaks = isolated!();
    let run = || random_stream(200).workers(2).slots(6);
    let expected = Delivered::of(&run().start().unwrap().batches());
    for ordered in [true, false] {
        let host = run().ordered(ordered).start().unwrap();
        let batches = host.batches();
        let delivered = rest_by_descriptor(&batches, &batches.readiness().unwrap());
        assert!(!ordered || delivered.sequences.is_sorted());
        assert_eq!(delivered.sorted(), expected);
    }
}

#[test]
fn tasks_descriptors_and_threads_share_a_stream() {
    let _leaks = isolated!();
    for ordered in [true, false] {
        let host = random_stream(600).workers(2).slots(8).ordered(ordered).start().unwrap();
        let shares = thread::scope(|scope| {
            let by_thread = scope.spawn(|| Delivered::of(&host.batches()));
            let by_descriptor = scope.spawn(|| {
                let batches = host.batches();
                rest_by_descriptor(&batches, &batches.readiness().unwrap())
            });
            let mut shares = runtime().block_on(async {
                let streams = [(); 3].map(|()| host.batches().stream().unwrap());
                let tasks = streams.map(|stream| tokio::spawn(rest(stream)));
                let mut shares = Vec::new();
                for task in tasks {
                    shares.push(task.await.unwrap());
                }
                shares
            });
            shares.extend([by_thread.join().unwrap(), by_descriptor.join().unwrap()]);
            shares
        });
        assert!(!ordered || shares.iter().all(|share| share.sequences.is_sorted()));
        assert_each_once(600, shares);
    }
}

#[test]
fn futures_that_are_dropped_lose_no_batch() {
    let _leaks = isolated!();
    for ordered in [true, false] {
        let gate = Gate::new();
        let host = filling(
            (0..40).map(|number| if number == 2 { gated(2, "it waits", &gate) } else { index(number) }),
            &small(),
        );
        let host = host.workers(1).slots(4).ordered(ordered).start().unwrap();
        let mut stream = host.batches().stream().unwrap();
        let delivered = runtime().block_on(async {
            let mut delivered = Delivered::default();
            while delivered.sequences.len() < 2 {
                delivered.add(&stream.next().await.unwrap().unwrap());
            }
            for _ in 0..50 {
                assert!(poll_once(&mut stream).is_pending());
                let late = tokio::time::timeout(Duration::from_millis(1), stream.next());
                assert!(late.await.is_err(), "the gate is shut");
            }
            // One that waits when it is dropped, with its waker at the watch.
            drop(host.batches().stream().map(|mut other| poll_once(&mut other)));
            gate.open();
            while delivered.sequences.len() < 40 {
                // Some of these are in time, and some are not.
                if let Ok(item) = tokio::time::timeout(Duration::from_micros(50), stream.next()).await {
                    delivered.add(&item.unwrap().unwrap());
                }
            }
            assert!(stream.next().await.is_none());
            assert!(stream.next().await.is_none(), "it stays over");
            delivered
        });
        assert!(delivered.sequences.into_iter().eq(0..40));
    }
}

#[test]
fn task_that_waits_sees_the_end_when_the_host_is_dropped() {
    let _leaks = isolated!();
    for started in [true, false] {
        let gate = Gate::new();
        let host = second_waits_for(&gate);
        drop(next_batch(&host.batches()));
        let mut stream = host.batches().stream().unwrap();
        thread::scope(|scope| {
            let (waiting, waits) = std::sync::mpsc::channel();
            let task = scope.spawn(move || {
                runtime().block_on(poll_fn(|context| {
                    let polled = stream.poll_next(context).map(|item| item.is_none());
                    waiting.send(()).unwrap();
                    polled
                }))
            });
            waits.recv().unwrap();
            if started {
                wait_until_watched();
            }
            drop(host);
            assert!(task.join().unwrap());
        });
        assert_eq!(watches(), []);
    }
}

#[test]
fn descriptor_is_readable_while_there_is_something() {
    let _leaks = isolated!();
    let gate = Gate::new();
    let host = second_waits_for(&gate);
    let batches = host.batches();
    let readiness = batches.readiness().unwrap();
    let clone = host.batches().readiness().unwrap();
    wait_until_readable(&readiness);
    wait_until_readable(&clone);
    assert!(matches!(batches.try_next(), Next::Item(Ok(batch)) if batch.sequence() == 0));
    assert!(matches!(batches.try_next(), Next::Pending(_)));
    // The watch looks, and finds nothing either.
    wait_until_watched();
    assert!(!is_readable(&readiness) && !is_readable(&clone));
    gate.open();
    wait_until_readable(&readiness);
    wait_until_readable(&clone);
    assert!(matches!(host.batches().try_next(), Next::Item(Ok(batch)) if batch.sequence() == 1));
    drop(next_batch(&batches));
    for _ in 0..3 {
        wait_until_readable(&readiness);
        assert!(matches!(batches.try_next(), Next::Ended));
    }
    drop(host);
    // Also those of a handle that outlives its host.
    assert!(is_readable(&readiness) && is_readable(&batches.readiness().unwrap()));
    assert!(matches!(batches.try_next(), Next::Ended));
    assert!(matches!(poll_once(&mut batches.stream().unwrap()), Poll::Ready(None)));
}

#[test]
fn descriptor_becomes_readable_when_the_host_is_stopped() {
    let _leaks = isolated!();
    let gate = Gate::new();
    let host = second_waits_for(&gate);
    let batches = host.batches();
    drop(next_batch(&batches));
    let readiness = batches.readiness().unwrap();
    wait_until_watched();
    assert!(!is_readable(&readiness));
    thread::scope(|scope| {
        scope.spawn(|| host.stop());
        wait_until_readable(&readiness);
        assert!(matches!(batches.try_next(), Next::Ended));
    });
    assert!(is_readable(&readiness));
    assert_eq!(watches(), []);
}

#[test]
fn descriptors_of_several_handles_wait_in_one_runtime() {
    let _leaks = isolated!();
    let host = random_stream(300).workers(2).slots(4).start().unwrap();
    let take = |batches: Batches| async move {
        #[expect(deprecated, reason = "the same function under its new name is unsafe to call")]
        let readiness = AsyncFd::new(batches.readiness().unwrap()).unwrap();
        let mut delivered = Delivered::default();
        loop {
            let mut ready = readiness.readable().await.unwrap();
            match batches.try_next() {
                Next::Item(item) => delivered.add(&item.unwrap()),
                Next::Pending(_) => ready.clear_ready(),
                Next::Ended => return delivered,
            }
            tokio::task::yield_now().await;
        }
    };
    let shares = runtime().block_on(async {
        let tasks = [(); 3].map(|()| tokio::spawn(take(host.batches())));
        let mut shares = Vec::new();
        for task in tasks {
            shares.push(task.await.unwrap());
        }
        shares
    });
    assert_each_once(300, shares);
}

#[test]
fn message_of_a_worker_that_is_killed_comes_to_the_task_that_waits() {
    let _leaks = isolated!();
    let logs = Logs::collect();
    let gate = Gate::new();
    let host = second_waits_for(&gate);
    let mut stream = host.batches().stream().unwrap();
    let sequences = thread::scope(|scope| {
        let task = scope.spawn(|| {
            let rest = async {
                let mut sequences = Vec::new();
                while let Some(item) = stream.next().await {
                    sequences.push(item.unwrap().sequence());
                }
                sequences
            };
            runtime().block_on(rest)
        });
        logs.wait_for("the second waits");
        assert!(Process::worker(host.fork_server_pid(), 0).kill());
        logs.wait_for_many("the second waits", 2);
        gate.open();
        task.join().unwrap()
    });
    assert_eq!(sequences, [0, 1, 2]);
    assert_eq!(host.statistics().worker_restarts, 1);
}

#[test]
fn errors_stand_in_the_place_of_their_batches() {
    let _leaks = isolated!();
    let messages = [index(0), index(1).with("error", "this one"), index(2)];
    let host = filling(messages, &small()).workers(1).start().unwrap();
    let outline = runtime().block_on(async {
        let mut stream = host.batches().stream().unwrap();
        let mut outline = Vec::new();
        while let Some(item) = stream.next().await {
            match item {
                Ok(batch) => outline.push(batch.sequence().to_string()),
                Err(StreamError::Batch(error)) => outline.push(format!("!{}", error.sequence())),
                Err(other) => panic!("expected the error of a batch, got {other}"),
            }
        }
        outline
    });
    assert_eq!(outline, ["0", "!1", "2"]);
}

#[test]
fn stream_of_futures_gives_the_batches() {
    let _leaks = isolated!();
    /// As the combinators of `futures` see it.
    async fn count(stream: impl futures_core::Stream<Item = Result<Batch, StreamError>>) -> usize {
        let mut stream: Pin<&mut _> = pin!(stream);
        let mut count = 0;
        while let Some(item) = poll_fn(|context| stream.as_mut().poll_next(context)).await {
            item.unwrap();
            count += 1;
        }
        count
    }
    let host = random_stream(30).start().unwrap();
    assert_eq!(runtime().block_on(count(host.batches().stream().unwrap())), 30);
}

#[test]
fn task_with_batches_that_are_always_ready_lets_others_run() {
    let _leaks = isolated!();
    let host = repeating().start().unwrap();
    let mut stream = host.batches().stream().unwrap();
    let turns = Cell::new(0);
    let take = async {
        // The test ends once the other task has had its turns.
        while turns.get() < 100 {
            drop(stream.next().await.unwrap().unwrap());
        }
    };
    let count = async {
        while turns.get() < 100 {
            turns.set(turns.get() + 1);
            tokio::task::yield_now().await;
        }
    };
    let (mut take, mut count) = (pin!(take), pin!(count));
    let (mut taken, mut counted) = (false, false);
    runtime().block_on(poll_fn(|context| {
        taken = taken || take.as_mut().poll(context).is_ready();
        counted = counted || count.as_mut().poll(context).is_ready();
        if taken && counted { Poll::Ready(()) } else { Poll::Pending }
    }));
}

#[test]
fn host_without_event_loops_has_no_thread_for_them() {
    let _leaks = isolated!();
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    let before = threads();
    let host = random_stream(20).start().unwrap();
    let batches = host.batches();
    // The supervisor is one.
    assert_eq!(threads(), before + 1);
    while !matches!(batches.try_next(), Next::Ended) {
        let _ = batches.wait_timeout(LONG);
    }
    assert_eq!(threads(), before + 1);
    let streams = [(); 5].map(|()| batches.stream().unwrap());
    let descriptors = [(); 5].map(|()| batches.readiness().unwrap());
    assert_eq!(threads(), before + 2, "one for all");
    drop((streams, descriptors));
    assert_eq!(threads(), before + 2, "it waits for the next");
    drop(host);
    wait_until("the threads are gone", || threads() == before);
}

#[test]
fn descriptors_and_tasks_in_a_fork_find_an_error() {
    let _leaks = isolated!();
    let gate = Gate::new();
    let host = second_waits_for(&gate);
    let batches = host.batches();
    drop(next_batch(&batches));
    let (readiness, mut stream) = (batches.readiness().unwrap(), batches.stream().unwrap());
    assert!(poll_once(&mut stream).is_pending());
    wait_until_watched();
    let handles = (host, batches, readiness, stream);
    let inert = in_fork(&handles, |(host, batches, readiness, mut stream)| {
        assert!(is_readable(&readiness) && is_readable(&batches.readiness().unwrap()));
        assert!(matches!(batches.try_next(), Next::Item(Err(StreamError::Forked))));
        assert!(matches!(poll_once(&mut stream), Poll::Ready(None)));
        assert!(matches!(poll_once(&mut batches.stream().unwrap()), Poll::Ready(None)));
        assert!(is_readable(&readiness));
        drop((stream, readiness, batches, host));
    });
    assert!(inert);
    let (host, batches, readiness, stream) = handles;
    assert!(!is_readable(&readiness), "the fork has changed nothing here");
    gate.open();
    wait_until_readable(&readiness);
    assert_eq!(runtime().block_on(rest(stream)).sequences, [1, 2]);
    drop((batches, host));
}

#[test]
fn refused_descriptor_or_thread_is_an_error_that_says_so() {
    let _leaks = isolated!();
    let host = random_stream(10).start().unwrap();
    let batches = host.batches();
    for call in [libc::SYS_clone3, libc::SYS_clone] {
        Refusal::of(call, libc::EAGAIN).install();
    }
    for error in [batches.readiness().unwrap_err(), batches.stream().unwrap_err()] {
        assert!(matches!(error, ReadinessError::Thread(_)));
        assert!(error.to_string().starts_with("cannot start the thread that waits for batches;"), "{error}");
        assert!(error.source().unwrap().to_string().contains("temporarily unavailable"));
    }
    // The stream goes on, and other ways to wait with it.
    assert_eq!(Delivered::of(&batches).sequences.len(), 10);
}

#[test]
fn refused_descriptor_is_an_error_and_tasks_need_none() {
    let _leaks = isolated!();
    let host = random_stream(10).start().unwrap();
    let batches = host.batches();
    Refusal::of(libc::SYS_eventfd2, libc::EMFILE).install();
    let error = batches.readiness().unwrap_err();
    assert!(matches!(error, ReadinessError::Descriptor(_)));
    assert!(error.to_string().contains("raise their limit (ulimit -n)"), "{error}");
    let stream = batches.stream().unwrap();
    assert_eq!(Delivered::of(&batches).sequences.len(), 10);
    drop(stream);
}

#[test]
fn task_that_waits_while_all_slots_are_held_is_told() {
    let _leaks = isolated!();
    let logs = Logs::collect();
    let host = repeating().slots(2).start().unwrap();
    let batches = host.batches();
    let held = [next_batch(&batches), next_batch(&batches)];
    let mut stream = batches.stream().unwrap();
    thread::scope(|scope| {
        let task = scope.spawn(|| runtime().block_on(stream.next()).unwrap().unwrap().sequence());
        logs.wait_for("waiting for a batch while all slots are held by batches of this application");
        drop(held);
        assert_eq!(task.join().unwrap(), 2);
    });
}

#[test]
fn example_serves_every_batch_once() {
    let _leaks = isolated!();
    async_serve::run(plugin("index-commander"), plugin("digits-producer")).unwrap();
}
